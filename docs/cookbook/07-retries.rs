//! Lets the pool repeat a request that a server answers with 503. usage: retries URL

use std::time::Duration;

fn main() -> Result<(), conpool::Error> {
    let url = std::env::args().nth(1).expect("usage: retries URL");
    let client = conpool::Client::builder()
        .option("retry.attempts", 4u32)
        .option("retry.base", Duration::from_millis(10))
        .option("retry.statuses", "503")
        .build()?;
    let response = client.get(url).send()?;
    let sends = response.facts()?.number("sends").unwrap_or(1);
    println!("{} after {sends} sends", response.status());
    Ok(())
}
