//! Bodies of requests: memory, files, readers, pieces.

use crate::{
    client::wait_for, client::Client, client::Start, engine::lock, engine::start_thread,
    engine::Call, error::Error, sys,
};
use std::{
    fs::File, io, io::Read, io::Write, os::unix::io::AsRawFd, os::unix::io::OwnedFd,
    panic::catch_unwind, panic::AssertUnwindSafe, sync::Arc, sync::Mutex, thread,
};

/// Bytes that somebody else's op may borrow: their place in memory does not move.
pub(crate) type Shared = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What a body is read from.
pub(crate) type Reader = Box<dyn Read + Send>;

/// A request's body.
///
/// Strings, byte vectors and files convert into it.
pub struct Body(pub(crate) Form);

/// What a body is, also in a request that was built. A reader is there until a request starts.
pub(crate) enum Form {
    Empty,
    Memory(Shared),
    File { file: OwnedFd, offset: i64, size: i64 },
    Reader { reader: Mutex<Option<Reader>>, size: Option<u64> },
    Pieces { size: Option<u64> },
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Body(Form::Empty)
    }

    /// Bytes that their owner keeps: they are not copied.
    pub fn of(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Body(Form::Memory(Arc::new(bytes)))
    }

    /// A regular file from `offset` on: `size` bytes, or all that follow.
    pub fn file(file: impl Into<OwnedFd>, offset: u64, size: Option<u64>) -> Self {
        let size = size.map_or(-1, as_i64);
        Body(Form::File { file: file.into(), offset: as_i64(offset), size })
    }

    /// What a reader gives, in pieces of at most 64 KiB, each read when the connection has taken
    /// the one before. Such a request can be sent once.
    ///
    /// Unless the request is sent by [`RequestBuilder::send`](crate::RequestBuilder::send), the
    /// reader is read on a thread of its own.
    pub fn reader(reader: impl Read + Send + 'static, size: Option<u64>) -> Self {
        Body(Form::Reader { reader: Mutex::new(Some(Box::new(reader))), size })
    }

    /// Pieces that the program writes with the [`BodyWriter`] of the started exchange.
    pub fn pieces(size: Option<u64>) -> Self {
        Body(Form::Pieces { size })
    }
}

fn as_i64(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Form {
    /// Sets the body of a request.
    ///
    /// # Safety
    ///
    /// The request lives, and is this thread's alone; the body outlives its ops.
    pub(crate) unsafe fn set(&self, request: *mut sys::conpool_request) -> sys::conpool_status {
        // SAFETY: the caller's promise; the descriptor is open, and duplicated in the call.
        unsafe {
            match self {
                Form::Empty => 0,
                Form::Memory(shared) => {
                    let bytes = (**shared).as_ref();
                    sys::conpool_request_body(request, bytes.as_ptr().cast(), bytes.len())
                }
                Form::File { file, offset, size } => {
                    sys::conpool_request_body_fd(request, file.as_raw_fd(), *offset, *size)
                }
                Form::Reader { size, .. } | Form::Pieces { size } => {
                    sys::conpool_request_body_stream(request, size.map_or(-1, as_i64))
                }
            }
        }
    }
}

macro_rules! body_from {
    ($([$($generic:tt)*] $type:ty, $own:expr;)*) => {$(
        impl<$($generic)*> From<$type> for Body {
            fn from(bytes: $type) -> Self {
                Body::of($own(bytes))
            }
        }
    )*};
}

body_from! {
    [] Vec<u8>, |bytes| bytes;
    [] String, |text| text;
    [] &[u8], <[u8]>::to_vec;
    [] &str, str::to_owned;
    [const N: usize] &[u8; N], |bytes: &[u8; N]| *bytes;
}

impl From<File> for Body {
    /// The whole file.
    fn from(file: File) -> Self {
        Body::file(file, 0, None)
    }
}

/// # Safety
///
/// The piece outlives the op.
unsafe fn writing(request: sys::conpool_op, piece: &[u8], last: bool) -> impl Start {
    let (data, size) = (piece.as_ptr().cast(), piece.len());
    // SAFETY: any id is allowed, and the queue lives; of the piece it is the caller's promise.
    move |queue, token, op| unsafe {
        sys::conpool_body_write(request, data, size, last.into(), queue, token, op)
    }
}

/// Writes one piece and waits until the connection has taken it.
fn write_piece(op: sys::conpool_op, piece: &[u8], last: bool) -> Result<usize, Error> {
    // SAFETY: the op has ended when `wait_for` returns, and the piece is borrowed until then.
    let event = wait_for(unsafe { writing(op, piece, last) }, None).map_err(after_the_end)?;
    Ok(event.value(0) as usize)
}

/// A piece for a request that is over fails as one does that was under way when it ended: the
/// writer cannot know which of the two it writes.
fn after_the_end(error: Error) -> Error {
    if error.code() != sys::CONPOOL_E_STALE {
        return error;
    }
    let words = "the request has ended, and takes no more of its body";
    error
        .reworded(sys::CONPOOL_E_CANCELLED, words.to_owned())
        .with_proof(sys::CONPOOL_PROOF_MAYBE_PROCESSED)
}

const PIECE: usize = 64 * 1024;

/// A reader's own failure, for the error of the request that it ended.
#[derive(Clone, Default)]
pub(crate) struct Upload(Arc<Mutex<Option<io::Error>>>);

impl Upload {
    /// Feeds a request from a reader, until its end or the request's; a panic of the reader comes
    /// back once the request is told to end.
    pub(crate) fn feed(&self, op: sys::conpool_op, mut reader: Reader) -> thread::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            // The slice: a reader that tells of more than there is room for panics here.
            let read = || reader.read(&mut piece).map(|size| piece[..size].len());
            let size = match catch_unwind(AssertUnwindSafe(read)) {
                Ok(Ok(size)) => size,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(Err(error)) => return self.give_up(op, error),
                Err(panic) => {
                    let words = io::Error::new(io::ErrorKind::Other, "the reader panicked");
                    return self.give_up(op, words).and(Err(panic));
                }
            };
            match write_piece(op, &piece[..size], size == 0) {
                Ok(_) if size > 0 => {}
                Err(error) if error.code() == sys::CONPOOL_E_HTTP_BODY_LENGTH => {
                    let words = "the reader gave another number of bytes than was announced";
                    return self.give_up(op, io::Error::new(io::ErrorKind::InvalidData, words));
                }
                Err(error) if error.code() == sys::CONPOOL_E_OPS_LIMIT => {
                    return self.give_up(op, error.into());
                }
                // The body is complete; or the request has ended, and tells why by itself.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }

    fn give_up(&self, op: sys::conpool_op, cause: io::Error) -> thread::Result<()> {
        *lock(&self.0) = Some(cause);
        // SAFETY: any id is allowed.
        unsafe { sys::conpool_op_cancel(op) };
        Ok(())
    }

    pub(crate) fn feed_on_thread(&self, op: sys::conpool_op, reader: Reader) -> Result<(), Error> {
        let upload = self.clone();
        start_thread("conpool-upload", move || drop(upload.feed(op, reader)))
    }

    /// The error of the request, which is the reader's where that was the cause.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match lock(&self.0).take() {
            None => error,
            Some(cause) => {
                let words = format!("the request's body could not be read: {cause}");
                error.reworded(sys::CONPOOL_E_HTTP_BODY_SOURCE, words).with_source(cause)
            }
        }
    }
}

/// Writes the pieces of a body whose request was started.
///
/// Dropping it before the body is complete cancels the request.
pub struct BodyWriter {
    pub(crate) op: sys::conpool_op,
    pub(crate) client: Client,
    /// How many bytes are still owed of a length that was announced.
    pub(crate) left: Option<u64>,
    pub(crate) finished: bool,
}

impl BodyWriter {
    /// Writes a piece, as a future: it is ready when the connection has taken the piece. Once the
    /// request has ended, as by a response before the whole body, it fails with `E_CANCELLED`.
    ///
    /// It needs somebody who takes the exchange's events: that of a blocking
    /// [`Exchange`](crate::Exchange) is written with [`Write`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the request: part of the piece may have been sent.
    pub fn write_async(&mut self, piece: impl AsRef<[u8]> + Send + Sync + 'static) -> Call<usize> {
        self.start(Arc::new(piece), false)
    }

    /// Says that the body is complete, as a future.
    pub fn finish_async(mut self) -> Call<usize> {
        if self.finished {
            return Call::ended(self.client.pool.check().map(|()| 0));
        }
        self.start(Arc::new([]), true)
    }

    fn start(&mut self, piece: Shared, last: bool) -> Call<usize> {
        let size = (*piece).as_ref().len();
        // SAFETY: the op's slot keeps the piece, whose place does not move, until its last event.
        let start = unsafe { writing(self.op, (*piece).as_ref(), last) };
        let op = self.client.begin(Some(Box::new(piece)), start).map_err(after_the_end);
        if op.is_ok() {
            self.wrote(size, last);
        }
        Call::new(op, |event| Ok(event?.value(0) as usize))
    }

    /// Says that the body is complete. Nothing is left to say where all of an announced length was
    /// written: the request may even have ended by then.
    ///
    /// # Errors
    ///
    /// What the request ended with, or `E_CANCELLED`, where it ended without the whole body; short
    /// of a length that was announced, which cancels it.
    pub fn finish(mut self) -> Result<(), Error> {
        self.client.pool.check()?;
        if !self.finished {
            write_piece(self.op, &[], true)?;
            self.finished = true;
        }
        Ok(())
    }

    fn wrote(&mut self, size: usize, last: bool) {
        self.left = self.left.map(|left| left.saturating_sub(size as u64));
        self.finished |= last || self.left == Some(0);
    }
}

impl Write for BodyWriter {
    /// Writes a piece, and waits until the connection has taken it.
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.is_empty() {
            return Ok(0);
        }
        self.client.pool.check()?;
        let size = write_piece(self.op, piece, false)?;
        self.wrote(size, false);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.finished {
            // SAFETY: any id is allowed, also of an op that has ended.
            unsafe { sys::conpool_op_cancel(self.op) };
        }
    }
}

named_only!(Body, BodyWriter);
