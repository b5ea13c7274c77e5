//! Connects to addresses of the program's own, in place of a name. usage: addresses HOST:PORT,…

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let list = std::env::args().nth(1).expect("usage: addresses HOST:PORT,…");
    let addresses = list.split(',').map(str::parse).collect::<Result<Vec<_>, _>>()?;
    let client = conpool::Client::new()?;
    let connection = client.endpoint_of_addresses("tcp", &addresses).open()?.connect()?;
    println!("connected to {}", connection.address());
    connection.release();
    Ok(())
}
