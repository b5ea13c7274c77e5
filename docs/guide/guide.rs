//! The code of docs/rust.md, which shows the marked parts. usage: guide SITE ECHO REFUSED

use conpool::{Client, Error, ErrorKind, Level, Phase, Proof};
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

// [request]
fn fetch(client: &Client, url: &str) -> Result<(), Error> {
    let response = client.get(url).header("accept", "text/plain").send()?;
    print!("{} {}", response.status(), response.text());
    Ok(())
}
// [end]

// [options]
fn small_client() -> Result<Client, Error> {
    Client::builder()
        .option("endpoint.max_connections", 4u32)
        .option("connect.timeout", Duration::from_secs(2))
        .build()
}
// [end]

// [streaming]
fn stream(client: &Client, url: &str) -> std::io::Result<usize> {
    let mut exchange = client.get(url).stream()?;
    let mut body = Vec::new();
    exchange.read_to_end(&mut body) // or in chunks(), as they came
}
// [end]

// [connection]
fn echo(client: &Client, url: &str) -> std::io::Result<String> {
    let mut connection = client.connect(url)?;
    connection.write_all(b"hello\n")?;
    let mut answer = String::new();
    BufReader::new(&connection).read_line(&mut answer)?;
    connection.release(); // for the next one; a lease that is dropped closes its connection
    Ok(answer)
}
// [end]

// [errors]
fn explain(error: &Error) {
    println!("{}", error.name());
    if error.kind() == ErrorKind::Connect {
        println!("no connection");
    }
    if error.phase() == Phase::Connect {
        println!("while connecting");
    }
    if error.proof() == Proof::NeverSent {
        println!("nothing was sent");
    }
    for attempt in error.attempts() {
        println!("tried {}", attempt.target);
    }
}
// [end]

// [many]
async fn many(client: &Client, url: &str) -> usize {
    let calls: Vec<_> = (0..32).map(|_| client.get(url).send_async()).collect();
    let mut good = 0;
    for call in calls {
        good += usize::from(call.await.is_ok()); // all of them run already
    }
    good
}
// [end]

// [threads]
fn threads(client: &Client, url: &str) -> usize {
    std::thread::scope(|scope| {
        let run = || client.get(url).send().map_or(0, |response| response.status());
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).filter(|s| *s == 200).count()
    })
}
// [end]

// [events]
fn observe(client: &Client) -> Result<(), Error> {
    let mut events = client.follow()?;
    client.event(Level::Warning, "stock.low", "3 left")?;
    let (records, _lost) = events.read()?;
    let found = records.iter().any(|record| record.name().contains("stock.low"));
    println!("{}", if found { "recorded" } else { "not recorded" });
    let counted = client.metrics("openmetrics")?.contains("conpool_pool_requests_done_total");
    println!("{}", if counted { "counted" } else { "not counted" });
    Ok(())
}
// [end]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let (site, client) = (args[1].as_str(), small_client()?);
    fetch(&client, site)?;
    if let Err(error) = Client::builder().option("connect.timout", "2s").build() {
        println!("{}", error.name());
    }
    println!("{} bytes", stream(&client, &format!("{site}bytes/1000000"))?);
    print!("{}", echo(&client, &args[2])?);
    if let Err(error) = client.get(&args[3]).send() {
        explain(&error);
    }
    println!("{} answers", conpool::block_on(many(&client, site)));
    println!("{} answers", threads(&client, site));
    observe(&client)?;
    Ok(())
}
