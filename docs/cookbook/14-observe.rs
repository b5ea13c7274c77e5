//! Hands the pool's events to the program's log, and figures to its metrics. usage: observe URL

use conpool::{Client, Facts, Level};

fn log_events(client: &Client, since: u64) -> Result<u64, conpool::Error> {
    let events = client.events_since("jsonl", since, 0)?;
    for event in events.text.lines().map(Facts::from_json) {
        let (level, name) = (event.text("level"), event.text("event"));
        println!("{}: {}", level.unwrap_or_default(), name.unwrap_or_default());
    }
    Ok(events.next)
}

fn main() -> Result<(), conpool::Error> {
    let url = std::env::args().nth(1).expect("usage: observe URL");
    let client = Client::new()?;
    client.get(url).send()?;
    client.event(Level::Info, "order.shipped", "42")?; // our own
    let seen = log_events(&client, 0)?;
    log_events(&client, seen)?; // nothing new
    let figures = client.metrics("openmetrics")?;
    for line in figures.lines().filter(|line| line.starts_with("conpool_pool_requests_done_total"))
    {
        println!("{line}");
    }
    Ok(())
}
