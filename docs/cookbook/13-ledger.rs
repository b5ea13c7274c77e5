//! Reads all that an error tells: every attempt, and whether anything was sent. usage: ledger URL

fn main() -> Result<(), conpool::Error> {
    let url = std::env::args().nth(1).expect("usage: ledger URL");
    let client = conpool::Client::new()?;
    if let Err(error) = client.connect(url) {
        println!("{}", error.name());
        for attempt in error.attempts() {
            println!("{}: {}", attempt.target, conpool::status_text(attempt.code));
        }
        let sent = error.proof() != conpool::Proof::NeverSent;
        println!("anything sent: {}", if sent { "yes" } else { "no" });
    }
    Ok(())
}
