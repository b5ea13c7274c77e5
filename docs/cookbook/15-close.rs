//! Closes gracefully: what runs may end, what is new is refused. usage: close URL

use std::io::Read;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).expect("usage: close URL");
    let client = conpool::Client::new()?;
    let mut exchange = client.get(&url).stream()?;
    exchange.head()?; // the body is still under way
    let closing = client.close_async(Duration::from_secs(30));
    let mut body = Vec::new();
    println!("{} bytes", exchange.read_to_end(&mut body)?);
    conpool::block_on(closing)?;
    println!("closed");
    if let Err(error) = client.get(&url).send() {
        println!("{}", error.name());
    }
    Ok(())
}
