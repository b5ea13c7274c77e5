//! Fetches a URL from a server that an authority's certificate vouches for.
fn main() -> Result<(), conpool::Error> {
    let argument = |n| std::env::args().nth(n).expect("usage: get URL CA_FILE");
    let client = conpool::Client::builder().option("tls.ca_file", argument(2)).build()?;
    let response = client.get(argument(1)).option("total.timeout", "5s").send()?;
    println!("{} {}\n{}", response.status(), response.version(), response.text());
    Ok(())
}
