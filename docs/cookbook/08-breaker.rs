//! Gives the circuit breaker numbers of its own, and meets it open. usage: breaker URL

use std::time::Duration;

fn main() -> Result<(), conpool::Error> {
    let url = std::env::args().nth(1).expect("usage: breaker URL");
    let client = conpool::Client::builder()
        .option("breaker.consecutive", 3u32)
        .option("breaker.open", Duration::from_secs(120))
        .option("breaker.open_jitter", 0u32)
        .build()?;
    for _ in 0..4 {
        if let Err(error) = client.get(&url).send() {
            println!("{}", error.name());
            if let Some(after) = error.retry_after() {
                println!("try again in {:.0} min", after.as_secs_f64() / 60.0);
            }
        }
    }
    Ok(())
}
