//! Fetches a URL over HTTPS, trusting one certificate authority. usage: get URL CA_FILE

fn main() -> Result<(), conpool::Error> {
    let args: Vec<String> = std::env::args().collect();
    let client = conpool::Client::builder().option("tls.ca_file", &args[2]).build()?;
    let response = client.get(&args[1]).send()?;
    print!("{}\n{}", response.status(), response.text());
    Ok(())
}
