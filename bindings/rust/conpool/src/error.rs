//! Errors: what failed, where, after which attempts, and whether the peer may have seen it.

use crate::raw::{borrowed, duration, Handle};
use crate::sys;
use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

/// What a call failed with.
///
/// Its `Display` form is one line that names the cause and the way to it; [`report`](Self::report)
/// adds every attempt that was made.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    status: sys::conpool_status,
    handle: Option<Arc<Handle<sys::conpool_error>>>,
    words: Option<String>,
    kind: Option<ErrorKind>,
    proof: i32,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What sort of failure it was: the class of its status code, told apart where programs want to.
///
/// Codes of newer libraries have the kind of their class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call itself is wrong: an argument, an option, a name, or the moment.
    Usage,
    /// The pool belongs to the parent process: this one was forked from it.
    Forked,
    /// The library that was loaded is not one that this crate can work with.
    Library,
    /// Memory, descriptors, the operating system.
    System,
    /// The name could not be resolved.
    Dns,
    /// A connection could not be made, or it ended.
    Connect,
    /// TLS was refused or broke.
    Tls,
    /// The peer or its answer broke the protocol.
    Http,
    /// One of the pool's own limits was reached.
    Limit,
    /// The circuit breaker is open.
    Breaker,
    /// The caller cancelled it.
    Cancelled,
    /// The deadline of the whole op passed. Other limits of time have the kind of their phase; see
    /// [`Error::is_timeout`].
    Timeout,
    /// The pool or the queue was closed.
    Closed,
    /// The op was ended in a way that this crate does not know.
    Ended,
    /// A class of failures that this crate does not know.
    Unknown,
}

impl ErrorKind {
    /// The kind of a status code, one of `sys::CONPOOL_E_*` or of a newer library.
    pub fn of_code(status: i32) -> ErrorKind {
        match status {
            sys::CONPOOL_E_FORKED => return ErrorKind::Forked,
            sys::CONPOOL_E_CANCELLED => return ErrorKind::Cancelled,
            sys::CONPOOL_E_TIMEOUT => return ErrorKind::Timeout,
            sys::CONPOOL_E_CLOSED => return ErrorKind::Closed,
            _ => {}
        }
        // SAFETY: any code is allowed.
        match unsafe { sys::conpool_status_class(status) } {
            sys::CONPOOL_CLASS_USAGE => ErrorKind::Usage,
            sys::CONPOOL_CLASS_SYSTEM => ErrorKind::System,
            sys::CONPOOL_CLASS_DNS => ErrorKind::Dns,
            sys::CONPOOL_CLASS_CONNECT => ErrorKind::Connect,
            sys::CONPOOL_CLASS_TLS => ErrorKind::Tls,
            sys::CONPOOL_CLASS_HTTP => ErrorKind::Http,
            sys::CONPOOL_CLASS_LIMIT => ErrorKind::Limit,
            sys::CONPOOL_CLASS_BREAKER => ErrorKind::Breaker,
            sys::CONPOOL_CLASS_ENDED => ErrorKind::Ended,
            _ => ErrorKind::Unknown,
        }
    }
}

/// Where an op was when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Before anything began.
    None,
    /// Waiting for a connection.
    Queue,
    /// Resolving the name.
    Dns,
    /// Connecting.
    Connect,
    /// The hop before TLS.
    Hop,
    /// The TLS handshake.
    Tls,
    /// The start of the session.
    Session,
    /// Sending.
    Send,
    /// Receiving.
    Receive,
    /// A phase that this crate does not know.
    Unknown,
}

/// What became of the caller's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// No byte was handed to the operating system.
    NeverSent,
    /// Sent, and the peer said that it did not process them.
    NotProcessed,
    /// Sent; nobody can tell.
    MaybeProcessed,
}

fn phase(code: i32) -> Phase {
    match code {
        sys::CONPOOL_PHASE_NONE => Phase::None,
        sys::CONPOOL_PHASE_QUEUE => Phase::Queue,
        sys::CONPOOL_PHASE_DNS => Phase::Dns,
        sys::CONPOOL_PHASE_CONNECT => Phase::Connect,
        sys::CONPOOL_PHASE_HOP => Phase::Hop,
        sys::CONPOOL_PHASE_TLS => Phase::Tls,
        sys::CONPOOL_PHASE_SESSION => Phase::Session,
        sys::CONPOOL_PHASE_SEND => Phase::Send,
        sys::CONPOOL_PHASE_RECEIVE => Phase::Receive,
        _ => Phase::Unknown,
    }
}

fn name_of(status: sys::conpool_status) -> String {
    // SAFETY: any code is allowed; the text is static.
    unsafe { borrowed(sys::conpool_status_name(status)) }
}

impl Error {
    pub(crate) fn new(
        mut status: sys::conpool_status,
        handle: Option<Handle<sys::conpool_error>>,
    ) -> Self {
        let mut proof = sys::CONPOOL_PROOF_NEVER_SENT;
        let mut source: Option<Arc<dyn StdError + Send + Sync>> = None;
        if let Some(handle) = &handle {
            // SAFETY: errors are immutable and this one lives.
            let errno = unsafe {
                status = sys::conpool_error_status(handle.get());
                proof = sys::conpool_error_proof(handle.get());
                sys::conpool_error_os_errno(handle.get())
            };
            if errno != 0 {
                source = Some(Arc::new(io::Error::from_raw_os_error(errno)));
            }
        }
        let handle = handle.map(Arc::new);
        Error(Box::new(Inner { status, handle, words: None, kind: None, proof, source }))
    }

    pub(crate) fn of_status(status: sys::conpool_status) -> Self {
        Error::new(status, None)
    }

    pub(crate) fn worded(status: sys::conpool_status, words: impl Into<String>) -> Self {
        let mut error = Error::of_status(status);
        error.0.words = Some(words.into());
        error
    }

    pub(crate) fn of_library(words: String) -> Self {
        let mut error = Error::worded(sys::CONPOOL_E_UNSUPPORTED, words);
        error.0.kind = Some(ErrorKind::Library);
        error
    }

    /// The same with another status and line: phase, proof and attempts stay.
    pub(crate) fn reworded(mut self, status: sys::conpool_status, words: String) -> Self {
        (self.0.status, self.0.words) = (status, Some(words));
        self
    }

    /// The proof for an error that the library gave no object for.
    pub(crate) fn with_proof(mut self, proof: i32) -> Self {
        if self.0.handle.is_none() {
            self.0.proof = proof;
        }
        self
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Asks the error object, if there is one.
    fn ask<T>(&self, otherwise: T, get: impl FnOnce(*const sys::conpool_error) -> T) -> T {
        self.0.handle.as_ref().map_or(otherwise, |handle| get(handle.get()))
    }

    /// What sort of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind.unwrap_or_else(|| ErrorKind::of_code(self.0.status))
    }

    /// The status code: one of `sys::CONPOOL_E_*`, or one of a newer library.
    pub fn code(&self) -> i32 {
        self.0.status
    }

    /// The code's name, such as `E_CONNECT_REFUSED`; `UNKNOWN` for one that the library does not
    /// know either.
    pub fn name(&self) -> String {
        name_of(self.0.status)
    }

    /// Where the op was when it failed.
    pub fn phase(&self) -> Phase {
        // SAFETY: errors are immutable, and this one lives.
        self.ask(Phase::None, |error| phase(unsafe { sys::conpool_error_phase(error) }))
    }

    /// What became of the caller's bytes.
    pub fn proof(&self) -> Proof {
        match self.0.proof {
            sys::CONPOOL_PROOF_NEVER_SENT => Proof::NeverSent,
            sys::CONPOOL_PROOF_NOT_PROCESSED => Proof::NotProcessed,
            _ => Proof::MaybeProcessed,
        }
    }

    /// Whether the peer cannot have processed it: doing it again is not doing it twice.
    pub fn is_safe_to_retry(&self) -> bool {
        self.proof() != Proof::MaybeProcessed
    }

    /// Whether a limit of time ended it, that of the whole op or that of a phase.
    pub fn is_timeout(&self) -> bool {
        self.name().ends_with("TIMEOUT")
    }

    /// Of a breaker that is open: the time from the failure to the next trial.
    pub fn retry_after(&self) -> Option<Duration> {
        // SAFETY: errors are immutable, and this one lives.
        self.ask(None, |error| duration(unsafe { sys::conpool_error_retry_after(error) }))
    }

    /// The operating system's error number of the cause.
    pub fn os_errno(&self) -> Option<i32> {
        // SAFETY: errors are immutable, and this one lives.
        let errno = self.ask(0, |error| unsafe { sys::conpool_error_os_errno(error) });
        Some(errno).filter(|errno| *errno != 0)
    }

    /// The HTTP/2 error code of the cause (RFC 9113 section 7).
    pub fn h2_code(&self) -> Option<u32> {
        // SAFETY: errors are immutable, and this one lives.
        let code = self.ask(-1, |error| unsafe { sys::conpool_error_h2_code(error) });
        u32::try_from(code).ok()
    }

    /// OpenSSL's code for why a certificate was refused (`X509_V_ERR_*`).
    pub fn tls_verify(&self) -> Option<i64> {
        // SAFETY: errors are immutable, and this one lives.
        let code = self.ask(0, |error| unsafe { sys::conpool_error_tls_verify(error) });
        Some(code).filter(|code| *code != 0)
    }

    /// Several lines: the cause, the contexts from inside out, each attempt with its address,
    /// result and duration.
    pub fn report(&self) -> String {
        // SAFETY: errors are immutable, and this one lives; the text is copied.
        self.ask(None, |error| Some(unsafe { borrowed(sys::conpool_error_report(error)) }))
            .unwrap_or_else(|| self.to_string())
    }

    /// Every attempt that was made: DNS queries and connection attempts, in the order of their
    /// start.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.ask(Vec::new(), |error| {
            // SAFETY: errors are immutable, and this one lives; each index is below the count.
            unsafe {
                (0..sys::conpool_error_attempt_count(error))
                    .map(|index| {
                        let code = sys::conpool_error_attempt_status(error, index);
                        let errno = sys::conpool_error_attempt_os_errno(error, index);
                        let started = sys::conpool_error_attempt_started(error, index);
                        let took = sys::conpool_error_attempt_duration(error, index);
                        Attempt {
                            target: borrowed(sys::conpool_error_attempt_target(error, index)),
                            code,
                            name: name_of(code),
                            phase: phase(sys::conpool_error_attempt_phase(error, index)),
                            os_errno: Some(errno).filter(|errno| *errno != 0),
                            started: duration(started).unwrap_or_default(),
                            duration: duration(took).unwrap_or_default(),
                        }
                    })
                    .collect()
            }
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(words) = &self.0.words {
            return f.write_str(words);
        }
        // SAFETY: errors are immutable, and this one lives; status texts are static.
        let line =
            self.ask(None, |error| Some(unsafe { borrowed(sys::conpool_error_line(error)) }));
        match line {
            Some(line) => f.write_str(&line),
            None if name_of(self.0.status) == "UNKNOWN" => {
                write!(f, "status {} of a newer library", self.0.status)
            }
            // SAFETY: any code is allowed.
            None => f.write_str(&unsafe { borrowed(sys::conpool_status_text(self.0.status)) }),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} ({}): {self}", self.kind(), self.name(), self.code())
    }
}

impl StdError for Error {
    /// The operating system's error, or that of the reader that gave the body.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<Error> for io::Error {
    /// Keeps the error inside, under the kind that programs look at.
    fn from(error: Error) -> Self {
        let kind = match error.code() {
            _ if error.is_timeout() => io::ErrorKind::TimedOut,
            // EPIPE.
            _ if error.os_errno() == Some(32) => io::ErrorKind::BrokenPipe,
            sys::CONPOOL_E_CONNECT_REFUSED => io::ErrorKind::ConnectionRefused,
            sys::CONPOOL_E_CONNECT_RESET | sys::CONPOOL_E_CONNECTION_RESET => {
                io::ErrorKind::ConnectionReset
            }
            sys::CONPOOL_E_CONNECTION_CLOSED | sys::CONPOOL_E_CLOSED => {
                io::ErrorKind::ConnectionAborted
            }
            sys::CONPOOL_E_TLS_TRUNCATED | sys::CONPOOL_E_HTTP_TRUNCATED => {
                io::ErrorKind::UnexpectedEof
            }
            sys::CONPOOL_E_UNSUPPORTED => io::ErrorKind::Unsupported,
            _ if error.kind() == ErrorKind::Usage => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// One attempt that an [`Error`] lists.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// What was tried: `tcp:127.0.0.1:8088`, `AAAA localhost @192.0.2.53:53`.
    pub target: String,
    /// Its status code; 0 for success.
    pub code: i32,
    /// The name of its code.
    pub name: String,
    /// Where it ended.
    pub phase: Phase,
    /// Its operating system's error number.
    pub os_errno: Option<i32>,
    /// The time from the dial's start to its start.
    pub started: Duration,
    /// The time from its start to its end.
    pub duration: Duration,
}
