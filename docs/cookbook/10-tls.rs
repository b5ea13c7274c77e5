//! Leases a TLS connection, with a protocol agreed on by ALPN. usage: tls URL CA_FILE

use std::io::{BufRead, BufReader, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let client = conpool::Client::new()?;
    let at = client
        .endpoint(&args[1])
        .option("tls.ca_file", &args[2])
        .option("tls.alpn", "echo")
        .open()?;
    let mut connection = at.connect()?;
    connection.write_all(b"hello\n")?;
    let mut line = String::new();
    BufReader::new(&connection).read_line(&mut line)?;
    print!("{line}");
    connection.release();
    Ok(())
}
