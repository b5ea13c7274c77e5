//! Queues for programs that have a loop or reactor of their own.

use crate::{client::Client, engine::Engine, error::Error, raw::nanoseconds, sys};
use std::{
    future::Future, os::unix::io::AsFd, os::unix::io::AsRawFd, os::unix::io::BorrowedFd,
    os::unix::io::RawFd, sync::Arc, time::Duration,
};

/// Where the events of calls arrive, in place of the client's own thread.
///
/// Calls that are started through [`client`](Self::client) are woken by [`turn`](Self::turn), on
/// the thread that calls it. The descriptor tells a reactor (epoll, mio, an executor's `AsyncFd`)
/// when that is worth while. Without a reactor, [`run`](Self::run) drives one future, and with
/// `loop.drive = caller` the whole pool, on the calling thread.
///
/// Dropping the queue cancels its calls: their futures end with
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
pub struct Queue {
    client: Client,
    fd: RawFd,
}

impl Client {
    /// A queue of this pool.
    ///
    /// # Errors
    ///
    /// When no descriptor is left, and in a forked child.
    pub fn queue(&self) -> Result<Queue, Error> {
        self.pool.check()?;
        let engine = Engine::new(&self.pool)?;
        // SAFETY: the queue lives.
        let fd = unsafe { sys::conpool_queue_fd(engine.queue()) };
        if fd < 0 && fd != sys::CONPOOL_E_UNSUPPORTED {
            return Err(Error::of_status(fd));
        }
        let client = Client { pool: Arc::clone(&self.pool), engine, pumped: false };
        Ok(Queue { client, fd })
    }
}

impl Queue {
    /// The same client, whose calls this queue wakes.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Takes events, and wakes the futures that wait for them. Waits for the first at most `limit`,
    /// or for ever. Returns how many there were; 0 also when [`wake`](Self::wake) was called.
    ///
    /// # Errors
    ///
    /// In a forked child; with `loop.drive = caller` while another thread drives.
    pub fn turn(&self, limit: Option<Duration>) -> Result<usize, Error> {
        self.client.pool.check()?;
        self.client.engine.turn(nanoseconds(limit))
    }

    /// Makes one `turn` return early: the one that waits now, or the next.
    pub fn wake(&self) {
        // SAFETY: the queue lives; "any thread".
        unsafe { sys::conpool_queue_wake(self.client.engine.queue()) }
    }

    /// Polls a future to its end on this thread, taking this queue's events meanwhile.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn run<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.client.pool.check()?;
        let mut future = Box::pin(future);
        self.client.engine.run(None, |context| future.as_mut().poll(context))
    }
}

impl AsFd for Queue {
    /// Readable exactly while `turn` has something to give. Never read, write or close it.
    ///
    /// # Panics
    ///
    /// In a simulated world (`loop.world = simulated`), whose queues have no descriptor.
    fn as_fd(&self) -> BorrowedFd<'_> {
        assert!(self.fd >= 0, "queues of a simulated world have no descriptor");
        // SAFETY: the descriptor is open as long as the queue.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.client.pool.check().is_ok() {
            self.client.engine.close();
        }
    }
}

named_only!(Queue);
