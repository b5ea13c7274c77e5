//! Bridges to the crate `log`, in both directions.

use conpool::{Client, Error, Follower, Level};

/// A logger that records the program's own lines among the pool's events.
///
/// A line's target becomes the event's name, as far as a name may be: `shop::cart` is recorded as
/// `app.shop.cart`. Give it to `log::set_boxed_logger`, or call it from a logger of your own.
#[derive(Clone, Debug)]
pub struct Recorder(Client);

impl Recorder {
    /// A logger into a client's events.
    pub fn new(client: Client) -> Self {
        Recorder(client)
    }
}

impl log::Log for Recorder {
    /// The option `events.level` decides.
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warning,
            log::Level::Info => Level::Info,
            log::Level::Debug | log::Level::Trace => Level::Debug,
        };
        // A logger has nobody to tell that it failed: in a forked child nothing is recorded.
        let _ = self.0.event(level, &name_of(record.target()), &record.args().to_string());
    }

    fn flush(&self) {}
}

/// The most that a name may have.
const NAME: usize = 32;

fn name_of(target: &str) -> String {
    let plain = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => letter,
        _ => '_',
    };
    let name: String = target.replace("::", ".").chars().map(plain).collect();
    // The end of a path tells more than its beginning.
    let name = &name[name.len().saturating_sub(NAME)..];
    if name.is_empty() {
        "log".to_owned()
    } else {
        name.to_owned()
    }
}

/// Logs what a follower has not read yet, under the target `conpool`, and returns how many events
/// were overwritten before. Call it now and then, on any thread.
///
/// Events that came from [`Recorder`] are left out: they were in the log already.
///
/// # Errors
///
/// In a forked child, and when memory is short.
pub fn forward(follower: &mut Follower) -> Result<u64, Error> {
    let (records, lost) = follower.read()?;
    for record in records {
        let name = record.name();
        if name.starts_with("app.") {
            continue;
        }
        let level = match record.level() {
            Level::Error => log::Level::Error,
            Level::Warning => log::Level::Warn,
            Level::Info => log::Level::Info,
            _ => log::Level::Debug,
        };
        log::log!(target: "conpool", level, "{name} {}", record.facts());
    }
    Ok(lost)
}
