//! Leases a connection to a unix socket. usage: unix PATH

use std::io::{BufRead, BufReader, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).expect("usage: unix PATH");
    let client = conpool::Client::new()?;
    let mut connection = client.connect(format!("unix:{path}"))?;
    connection.write_all(b"hello\n")?;
    let mut answer = String::new();
    BufReader::new(&connection).read_line(&mut answer)?;
    print!("{}\n{answer}", connection.address());
    connection.release();
    Ok(())
}
