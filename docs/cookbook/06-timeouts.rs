//! Bounds a request as a whole and the wait for its answer. usage: timeouts URL

use std::time::Duration;

fn main() -> Result<(), conpool::Error> {
    let url = std::env::args().nth(1).expect("usage: timeouts URL");
    let client = conpool::Client::new()?;
    let request = client
        .get(url)
        .timeout(Duration::from_secs(30))
        .option("first_byte.timeout", Duration::from_millis(200));
    match request.send() {
        Err(error) if error.is_timeout() => {
            println!("{}", error.name());
            println!("safe to send again: {}", if error.is_safe_to_retry() { "yes" } else { "no" });
            Ok(())
        }
        other => other.map(drop),
    }
}
