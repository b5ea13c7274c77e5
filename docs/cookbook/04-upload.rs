//! Uploads a file, which is read while it is sent. usage: upload URL FILE

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let client = conpool::Client::new()?;
    let response = client.request("PUT", &args[1]).body(std::fs::File::open(&args[2])?).send()?;
    print!("{}\n{}", response.status(), response.text());
    Ok(())
}
