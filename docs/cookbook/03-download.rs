//! Streams a download into a file, never holding more than a part of it. usage: download URL FILE

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let client = conpool::Client::new()?;
    let mut exchange = client.get(&args[1]).stream()?;
    println!("{}", exchange.head()?.status());
    let mut file = std::fs::File::create(&args[2])?;
    println!("{} bytes", std::io::copy(&mut exchange, &mut file)?);
    Ok(())
}
