//! Leases a connection to a Redis server, asks PING, and gives it back.
use std::io::{BufRead, BufReader, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = conpool::Client::new()?;
    let mut redis = client.connect(std::env::args().nth(1).expect("usage: lease URL"))?;
    redis.write_all(b"PING\r\n")?;
    let mut line = String::new();
    BufReader::new(&redis).read_line(&mut line)?;
    print!("{line}");
    redis.release();
    Ok(())
}
