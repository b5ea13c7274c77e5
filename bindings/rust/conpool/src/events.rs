//! The pool's recorded events, and the program's own among them.

use crate::{
    client::status, client::Client, error::Error, facts::Facts, raw::c_text, raw::text_of, sys,
};

/// How urgent an event is: the choices of the option `events.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What must not happen.
    Error = sys::CONPOOL_LEVEL_ERROR as isize,
    /// What a user should look at.
    Warning = sys::CONPOOL_LEVEL_WARNING as isize,
    /// What changes the pool.
    Info = sys::CONPOOL_LEVEL_INFO as isize,
    /// Every step.
    Debug = sys::CONPOOL_LEVEL_DEBUG as isize,
}

/// A part of the recorded events.
#[derive(Clone, Debug)]
pub struct Events {
    /// The events in the asked format.
    pub text: String,
    /// The sequence number to go on with.
    pub next: u64,
    /// How many of those asked for were overwritten before.
    pub lost: u64,
}

impl Client {
    /// The recorded events, oldest first, as `jsonl`, `text` or `trace`.
    ///
    /// # Errors
    ///
    /// Another format.
    pub fn events(&self, format: &str) -> Result<String, Error> {
        let format = c_text(format, sys::CONPOOL_E_INVALID)?;
        // SAFETY: the pool lives, and the text ends in NUL.
        text_of(|out| unsafe {
            sys::conpool_pool_events(self.pool.handle.get(), format.as_ptr().cast(), out)
        })
    }

    /// The recorded events from a sequence number on, at most `limit`; 0 means the oldest that is
    /// kept, and all.
    ///
    /// # Errors
    ///
    /// Another format.
    pub fn events_since(&self, format: &str, since: u64, limit: u64) -> Result<Events, Error> {
        let format = c_text(format, sys::CONPOOL_E_INVALID)?;
        let (mut next, mut lost) = (0, 0);
        // SAFETY: the pool lives, and the text ends in NUL.
        let text = text_of(|out| unsafe {
            let (pool, format) = (self.pool.handle.get(), format.as_ptr().cast());
            sys::conpool_pool_events_since(pool, format, since, limit, &mut next, &mut lost, out)
        })?;
        Ok(Events { text, next, lost })
    }

    /// Records an event of the program's own among the pool's: readouts show it as `app.NAME`.
    ///
    /// `name` is 1 to 32 letters, digits, `.`, `_` and `-`; of `text` at least the first 64 bytes
    /// are kept. What `events.level` leaves out is not recorded, and that is no error.
    ///
    /// # Errors
    ///
    /// A name that is not of this form.
    pub fn event(&self, level: Level, name: &str, text: &str) -> Result<(), Error> {
        let (name, name_size) = (name.as_ptr().cast(), name.len());
        let (text, text_size) = (text.as_ptr().cast(), text.len());
        let pool = self.pool.handle.get();
        // SAFETY: the pool lives; the texts are copied.
        status(unsafe {
            sys::conpool_pool_event(pool, level as i32, name, name_size, text, text_size)
        })
    }

    /// Follows the recorded events from now on.
    ///
    /// # Errors
    ///
    /// In a forked child, and when memory is short.
    pub fn follow(&self) -> Result<Follower, Error> {
        let mut follower = Follower { client: self.clone(), next: 0 };
        follower.read()?;
        Ok(follower)
    }
}

/// Reads events as they are recorded, for bridges to a program's own log.
///
/// It reads when it is asked to: call [`read`](Self::read) now and then, on any thread.
#[derive(Clone)]
pub struct Follower {
    client: Client,
    next: u64,
}

impl Follower {
    /// The events since the last call, and how many were overwritten before they were read.
    ///
    /// # Errors
    ///
    /// In a forked child, and when memory is short.
    pub fn read(&mut self) -> Result<(Vec<Record>, u64), Error> {
        let events = self.client.events_since("jsonl", self.next, 0)?;
        self.next = events.next;
        let records = events.text.lines().map(|line| Record(Facts::new(line.to_owned())));
        Ok((records.collect(), events.lost))
    }
}

named_only!(Follower);

/// One recorded event.
#[derive(Clone, Debug)]
pub struct Record(Facts);

impl Record {
    /// Its members; `Display` of them is the event as JSON.
    pub fn facts(&self) -> &Facts {
        &self.0
    }

    /// Its name, such as `connection.opened`; events of the program's own begin with `app.`.
    pub fn name(&self) -> String {
        self.0.text("event").unwrap_or_default()
    }

    /// How urgent it is. Levels that this crate does not know count as debug.
    pub fn level(&self) -> Level {
        match self.0.text("level").as_deref() {
            Some("error") => Level::Error,
            Some("warning") => Level::Warning,
            Some("info") => Level::Info,
            _ => Level::Debug,
        }
    }
}
