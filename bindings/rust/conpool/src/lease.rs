//! Leases: connections for every protocol that the program speaks itself.

use crate::{
    client::status, client::wait_for, client::Client, client::Start, engine::lock, engine::Call,
    engine::Op, engine::PollWith, error::Error, facts::Facts, raw::borrowed, raw::text_of,
    raw::Event, raw::Handle, response::Chunk, sys,
};
use std::{
    fmt, io, io::Read, io::Write, mem::ManuallyDrop, os::unix::io::AsFd, os::unix::io::AsRawFd,
    os::unix::io::BorrowedFd, os::unix::io::FromRawFd, os::unix::io::OwnedFd, os::unix::io::RawFd,
    sync::atomic::AtomicBool, sync::atomic::Ordering, sync::Arc, sync::Mutex, task::Context,
    task::Poll, time::Duration,
};

/// One lease of one connection, plain or TLS. Its bytes are the program's alone.
///
/// [`release`](Self::release) gives the connection back, for the next one who asks. A lease that is
/// merely dropped, by an early return or a panic, closes its connection: nobody else gets one in
/// the middle of a conversation. The circuit breaker counts that as a failure of the peer, unless
/// one side had ended its direction and no read was under way. [`close`](Self::close) ends a
/// conversation in that way.
///
/// Reading and writing may happen at once from two threads, through `&Connection`; a second read
/// that would wait beside the first fails at once with `E_WRONG_STATE`.
pub struct Connection {
    handle: ManuallyDrop<Handle<sys::conpool_connection>>,
    client: Client,
    input: Mutex<Input>,
    limit: Mutex<Option<Duration>>,
    reused: bool,
    /// Whether our direction has ended.
    shut: Arc<AtomicBool>,
    released: bool,
}

/// What was received and not yet read, and the read under way.
#[derive(Default)]
struct Input {
    rest: Option<Chunk>,
    op: Option<Op>,
    ended: bool,
    claimed: bool,
}

impl Connection {
    pub(crate) fn of_event(client: &Client, mut event: Event) -> Result<Self, Error> {
        // SAFETY: a CONNECTION event that did not fail carries a conpool_connection.
        let handle = unsafe { event.object(sys::CONPOOL_EVENT_CONNECTION) }
            .ok_or_else(|| Error::of_status(sys::CONPOOL_E_INTERNAL))?;
        Ok(Connection {
            handle: ManuallyDrop::new(handle),
            client: client.clone(),
            input: Mutex::default(),
            limit: Mutex::new(None),
            reused: event.value(0) == 1,
            shut: Arc::default(),
            released: false,
        })
    }

    /// Whether the connection was used before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// The address that won: `192.0.2.1:443`, `[2001:db8::1]:443`, `unix:/path`.
    pub fn address(&self) -> String {
        // SAFETY: the text is borrowed from the connection, which lives, and copied.
        unsafe { borrowed(sys::conpool_connection_address(self.handle.get())) }
    }

    /// How the connection came to be: addresses, age, uses, phases and attempts of the dial, TLS.
    ///
    /// # Errors
    ///
    /// In a forked child, and when memory is short.
    pub fn facts(&self) -> Result<Facts, Error> {
        // SAFETY: the connection lives.
        text_of(|out| unsafe { sys::conpool_connection_describe(self.handle.get(), out) })
            .map(Facts::new)
    }

    /// Limits how long each blocking read and write may take. A read that is too late loses
    /// nothing; a write that is too late breaks the connection.
    pub fn set_timeout(&self, limit: Option<Duration>) {
        *lock(&self.limit) = limit;
    }

    /// Polls for the bytes that come next; `None` at the end of the stream.
    ///
    /// A read that was begun goes on when nobody polls it: no byte is lost. Of several tasks that
    /// poll, the last one is woken.
    ///
    /// # Errors
    ///
    /// What the connection failed with; `E_WRONG_STATE` while another read waits.
    pub fn poll_chunk(&self, context: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        self.client.pool.check()?;
        let _claim = self.claim()?;
        self.poll_next(context)
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        let mut input = lock(&self.input);
        if let Some(rest) = input.rest.take() {
            return Poll::Ready(Ok(Some(rest)));
        }
        if input.ended {
            return Poll::Ready(Ok(None));
        }
        if input.op.is_none() {
            input.op = Some(self.client.begin(None, self.reading(0))?);
        }
        let event = match input.op.as_mut().map(|op| op.poll_end(context)) {
            Some(Poll::Ready(event)) => event,
            _ => return Poll::Pending,
        };
        input.op = None;
        let chunk = chunk_of(event?);
        input.ended = chunk.is_none();
        Poll::Ready(Ok(chunk))
    }

    /// Reads what comes next, as a future; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the connection failed with; `E_WRONG_STATE` while another read waits.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: the next read gets the bytes.
    pub async fn read_async(&self) -> Result<Option<Chunk>, Error> {
        self.client.pool.check()?;
        let _claim = self.claim()?;
        PollWith(|context: &mut Context<'_>| {
            self.client.pool.check()?;
            self.poll_next(context)
        })
        .await
    }

    /// Puts bytes back that were received and not used: the next read gets them.
    ///
    /// # Panics
    ///
    /// When a chunk is there already, because two readers take turns in a wrong order.
    pub fn unread(&self, chunk: Chunk) {
        let mut input = lock(&self.input);
        assert!(input.rest.is_none(), "bytes were put back twice");
        input.rest = Some(chunk).filter(|chunk| !chunk.is_empty());
    }

    /// Writes bytes that their owner keeps, as a future; ready when the operating system has
    /// accepted all of them.
    ///
    /// # Cancellation
    ///
    /// Dropping the future breaks the connection when part of it was written.
    pub fn write_async(&self, data: impl AsRef<[u8]> + Send + Sync + 'static) -> Call<usize> {
        let data = Arc::new(data);
        // SAFETY: the op's slot keeps the bytes, whose place does not move, until its last event.
        let start = unsafe { self.writing((*data).as_ref()) };
        let op = self.client.begin(Some(Box::new(data)), start);
        Call::new(op, |event| Ok(event?.value(0) as usize))
    }

    /// Ends our direction, after all writes before. Such a connection is not pooled again.
    ///
    /// # Errors
    ///
    /// What the connection failed with.
    pub fn shutdown_write(&self) -> Result<(), Error> {
        self.run(self.ending()).map(|_| self.shut.store(true, Ordering::Release))
    }

    /// Ends our direction, as a future.
    pub fn shutdown_write_async(&self) -> Call<()> {
        let (op, shut) = (self.client.begin(None, self.ending()), Arc::clone(&self.shut));
        Call::new(op, move |event| event.map(|_| shut.store(true, Ordering::Release)))
    }

    /// Closes a connection whose conversation has ended as it should: the circuit breaker does not
    /// count it as a failure. Ends our direction first, after all writes before, and gives up a
    /// read that was begun.
    ///
    /// # Errors
    ///
    /// What the connection failed with.
    pub fn close(self) -> Result<(), Error> {
        self.client.pool.check()?;
        drop(lock(&self.input).op.take());
        if self.shut.load(Ordering::Acquire) {
            return Ok(());
        }
        self.shutdown_write()
    }

    fn ending(&self) -> impl Start {
        let lease = self.handle.get();
        // SAFETY: the connection lives, and so does the queue.
        move |queue, token, op| unsafe {
            sys::conpool_connection_shutdown_write(lease, queue, token, op)
        }
    }

    fn reading(&self, size: usize) -> impl Start {
        let lease = self.handle.get();
        // SAFETY: as above.
        move |queue, token, op| unsafe {
            sys::conpool_connection_read(lease, size, queue, token, op)
        }
    }

    /// # Safety
    ///
    /// The bytes outlive the op.
    unsafe fn writing(&self, bytes: &[u8]) -> impl Start {
        let (lease, start, size) = (self.handle.get(), bytes.as_ptr().cast(), bytes.len());
        // SAFETY: as above; of the bytes it is the caller's promise.
        move |queue, token, op| unsafe {
            sys::conpool_connection_write(lease, start, size, queue, token, op)
        }
    }

    /// Gives the connection back to the pool.
    ///
    /// Nothing may be under way. With a read that has not ended, or bytes that were received and
    /// not read, the connection closes as if it had been dropped.
    pub fn release(mut self) {
        self.released = self.client.pool.check().is_ok();
    }

    /// Lends the connection's descriptor, for code that wants to read and write itself. Not for
    /// TLS.
    ///
    /// # Errors
    ///
    /// While a read or write runs, and for TLS connections. The connection closes then.
    pub fn lend(self, blocking: bool) -> Result<Lent, Error> {
        self.client.pool.check()?;
        let (mut fd, mut read) = (-1, std::ptr::null_mut());
        // SAFETY: the connection lives; a descriptor and a chunk come out.
        status(unsafe {
            let connection = self.handle.get();
            sys::conpool_connection_lend(connection, blocking.into(), &mut fd, &mut read)
        })?;
        // SAFETY: "a close-on-exec duplicate that is the caller's to close".
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut received = lock(&self.input).rest.take().map_or(Vec::new(), |rest| rest.to_vec());
        if lock(&self.input).op.is_some() {
            // A read that nobody waited for: it has ended, or there were no lending.
            if let Ok(Some(chunk)) = self.finish_read(None) {
                received.extend_from_slice(&chunk);
            }
        }
        // SAFETY: the chunk is NULL or ours.
        if let Some(chunk) = unsafe { Handle::new(read) }.map(Chunk::new) {
            received.extend_from_slice(&chunk);
        }
        Ok(Lent { fd, received, connection: self })
    }

    /// Starts an op without a queue and waits for it, as long as the limit allows.
    fn run(&self, start: impl Start) -> Result<Event, Error> {
        self.client.pool.check()?;
        // A guard inside the call's arguments would be held while it waits.
        let limit = *lock(&self.limit);
        wait_for(start, limit)
    }

    fn read_some(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.client.pool.check()?;
        let _claim = self.claim()?;
        let mut input = lock(&self.input);
        if buffer.is_empty() || input.ended {
            return Ok(0);
        }
        if input.rest.is_none() {
            let (begun, limit) = (input.op.is_some(), *lock(&self.limit));
            // Unlocked while it waits: others write, and are told that somebody reads.
            drop(input);
            let chunk = match begun {
                true => self.finish_read(limit)?,
                false => chunk_of(self.run(self.reading(buffer.len()))?),
            };
            input = lock(&self.input);
            input.ended = chunk.is_none();
            input.rest = chunk;
        }
        let count = input.rest.as_mut().map_or(0, |rest| rest.take_into(buffer));
        input.rest = input.rest.take().filter(|rest| !rest.is_empty());
        Ok(count)
    }

    /// Waits for a read that was begun as a future and abandoned, whoever takes its events.
    fn finish_read(&self, limit: Option<Duration>) -> Result<Option<Chunk>, Error> {
        self.client.engine.run(limit, |context| self.poll_next(context))?
    }

    /// Makes the caller the one who reads.
    fn claim(&self) -> Result<Claim<'_>, Error> {
        if std::mem::replace(&mut lock(&self.input).claimed, true) {
            let words = "another read of this connection waits; one may at a time";
            return Err(Error::worded(sys::CONPOOL_E_WRONG_STATE, words));
        }
        Ok(Claim(self))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let input = std::mem::take(&mut *lock(&self.input));
        // Where one side has ended its direction the library pools the connection no more.
        let over = input.ended || self.shut.load(Ordering::Acquire);
        let good = input.op.is_none() && (over || (self.released && input.rest.is_none()));
        let how = if good { sys::CONPOOL_REUSABLE } else { sys::CONPOOL_BROKEN };
        // SAFETY: the handle is given up.
        unsafe { sys::conpool_connection_release(self.handle.get(), how) }
    }
}

struct Claim<'a>(&'a Connection);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.0.input).claimed = false;
    }
}

fn chunk_of(mut event: Event) -> Option<Chunk> {
    // SAFETY: a READ event that did not fail carries a conpool_chunk, or nothing at the end.
    unsafe { event.object(sys::CONPOOL_EVENT_READ) }.map(Chunk::new)
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}

impl Write for &Connection {
    /// Writes all of it, and waits until the operating system has accepted it.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        // SAFETY: the op has ended when `run` returns, and the bytes are borrowed until then.
        let event = self.run(unsafe { self.writing(data) })?;
        Ok(event.value(0) as usize)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.address())
    }
}

/// A connection whose descriptor is lent to the program. Dropping it closes the connection.
pub struct Lent {
    fd: OwnedFd,
    received: Vec<u8>,
    connection: Connection,
}

impl Lent {
    /// What was received before: it belongs before anything the descriptor gives.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// The lease itself, for its facts.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives the connection back to the pool, which takes it only when nothing is left to read.
    pub fn release(self) {
        drop(self.fd);
        self.connection.release();
    }
}

impl AsFd for Lent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Lent {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

named_only!(Lent);
