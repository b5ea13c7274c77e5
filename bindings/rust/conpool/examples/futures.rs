//! Asks many times at once, on one thread, and prints the first answers; the others are cancelled.
use conpool::{block_on, Client, Error};

async fn first_bytes(client: Client, url: String) -> Result<usize, Error> {
    let mut exchange = client.get(url).stream_async()?;
    exchange.head().await?;
    Ok(exchange.chunk().await?.map_or(0, |chunk| chunk.len()))
}

fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).expect("usage: futures URL");
    let client = Client::builder().option("endpoint.max_connections", 4).build()?;
    // A call runs from the moment it was made; dropping it cancels it.
    let calls: Vec<_> = (0..20).map(|_| client.get(&url).send_async()).collect();
    for call in calls.into_iter().take(10) {
        let response = block_on(call)?;
        println!("{} {} bytes", response.status(), response.body().len());
    }
    println!("{} bytes came first", block_on(first_bytes(client, url))?);
    Ok(())
}
