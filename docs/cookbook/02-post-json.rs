//! Posts JSON and reads the JSON that comes back. usage: post-json URL

fn main() -> Result<(), conpool::Error> {
    let url = std::env::args().nth(1).expect("usage: post-json URL");
    let client = conpool::Client::new()?;
    let response = client
        .post(url)
        .header("content-type", "application/json")
        .body(r#"{"name":"Ann"}"#)
        .send()?;
    println!("{}\n{}", response.status(), response.text());
    Ok(())
}
