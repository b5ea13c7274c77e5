//! Leases a connection to Redis twice: the second time it is the same one. usage: redis URL

use std::io::{BufRead, BufReader, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).expect("usage: redis URL");
    let client = conpool::Client::new()?;
    let redis = client.endpoint(url).open()?;
    for _ in 0..2 {
        let mut connection = redis.connect()?;
        connection.write_all(b"PING\r\n")?;
        let mut answer = String::new();
        BufReader::new(&connection).read_line(&mut answer)?;
        let reused = if connection.is_reused() { "yes" } else { "no" };
        println!("{}, reused: {reused}", answer.trim_end());
        connection.release();
    }
    Ok(())
}
