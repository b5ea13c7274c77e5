//! Makes 96 requests at once over at most 8 connections. usage: many URL

fn main() -> Result<(), conpool::Error> {
    let url = std::env::args().nth(1).expect("usage: many URL");
    let client = conpool::Client::builder().option("endpoint.max_connections", 8u32).build()?;
    // A call starts when it is made, and is a future: any executor can await it.
    let calls: Vec<_> = (0..96).map(|_| client.get(&url).send_async()).collect();
    let responses: Vec<_> = calls.into_iter().map(conpool::block_on).collect();
    let good = responses.iter().flatten().filter(|response| response.status() == 200).count();
    println!("{good} of {} answered", responses.len());
    Ok(())
}
