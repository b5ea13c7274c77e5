//! Requests: built, then sent as often as wanted, blocking or as futures.

use crate::{
    body::Body, body::Form, body::Reader, body::Upload, client::Client, client::Endpoint,
    engine::lock, engine::Call, engine::Engine, engine::Keep, engine::Op, error::Error,
    exchange::AsyncExchange, exchange::Exchange, options::Config, options::OptionValue,
    options::Options, raw::c_text, raw::checked, raw::create, raw::wait, raw::Event, raw::Handle,
    response::Response, sys,
};
use std::{
    fmt, panic::resume_unwind, ptr, sync::Arc, sync::Mutex, sync::MutexGuard, time::Duration,
};

type Field = (Vec<u8>, Vec<u8>);

/// A request that is being built.
#[must_use]
pub struct RequestBuilder {
    client: Client,
    endpoint: Option<Endpoint>,
    method: String,
    target: String,
    options: Options,
    headers: Vec<Field>,
    trailers: Vec<Field>,
    body: Body,
    idempotent: Option<bool>,
}

impl RequestBuilder {
    pub(crate) fn new(
        client: &Client,
        endpoint: Option<Endpoint>,
        method: &str,
        target: &str,
    ) -> Self {
        RequestBuilder {
            client: client.clone(),
            endpoint,
            method: method.to_owned(),
            target: target.to_owned(),
            options: Options::default(),
            headers: Vec::new(),
            trailers: Vec::new(),
            body: Body::empty(),
            idempotent: None,
        }
    }

    /// Adds a header line; lines of one name keep their order. The library adds `Host`,
    /// `Content-Length` or `Transfer-Encoding`, and what the connection needs.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds a trailer line, sent after the body.
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Declares whether the request may be sent again, whatever its method, because sending it
    /// twice has the effect of once.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Sets an option by its name, over the client's: of scope request, and for a request by URL
    /// also of scope endpoint.
    pub fn option(mut self, name: &str, value: impl OptionValue) -> Self {
        self.options.set(name, value);
        self
    }

    /// The time for all of it, from the call to the last byte: the option `total.timeout`.
    pub fn timeout(self, limit: Duration) -> Self {
        self.option("total.timeout", limit)
    }

    /// Checks everything, and makes a request that can be sent many times.
    ///
    /// # Errors
    ///
    /// What is wrong with method, URL, options, headers or body.
    pub fn build(self) -> Result<Request, Error> {
        self.client.pool.check()?;
        let config = self.options.config()?;
        let method = c_text(&self.method, sys::CONPOOL_E_BAD_METHOD)?;
        let (method, pool) = (method.as_ptr().cast(), self.client.pool.handle.get());
        let (target, size) = (self.target.as_ptr().cast(), self.target.len());
        // SAFETY: pool, endpoint and config live; texts are copied before the calls return.
        let handle = create(|out, error| unsafe {
            match &self.endpoint {
                None => {
                    sys::conpool_request_new(pool, method, target, size, config.get(), out, error)
                }
                Some(at) => {
                    let at = at.handle.get();
                    sys::conpool_request_new_at(at, method, target, size, out, error)
                }
            }
        })?;
        let request = handle.get();
        let headers = self.headers.iter().map(|line| (line, false));
        for ((name, value), last) in headers.chain(self.trailers.iter().map(|line| (line, true))) {
            let (name, name_size) = (name.as_ptr().cast(), name.len());
            let (value, value_size) = (value.as_ptr().cast(), value.len());
            let set = if last { sys::conpool_request_trailer } else { sys::conpool_request_header };
            // SAFETY: the request lives, and is this thread's alone; texts are copied.
            checked(|error| unsafe { set(request, name, name_size, value, value_size, error) })?;
        }
        if let Some(idempotent) = self.idempotent {
            // SAFETY: the request lives, and is this thread's alone until it is built.
            checked(|_| unsafe { sys::conpool_request_idempotent(request, idempotent.into()) })?;
        }
        let config = self.endpoint.is_some().then(|| Mutex::new(config));
        let mut body = self.body.0;
        // SAFETY: the request lives, and is this thread's alone; each op keeps what it borrows.
        checked(|_| unsafe { body.set(request) })?;
        if let Form::File { .. } = body {
            // The library has a duplicate of the descriptor.
            body = Form::Empty;
        }
        Ok(Request(Arc::new(Prepared { handle, config, body, client: self.client })))
    }

    /// Sends the request and waits for its whole response.
    ///
    /// A status such as 404 is a response like any other, not an error.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); what the request failed with, and what became of it.
    pub fn send(self) -> Result<Response, Error> {
        self.build()?.send()
    }

    /// Sends the request; the future is ready with the whole response.
    pub fn send_async(self) -> Call<Response> {
        match self.build() {
            Ok(request) => request.send_async(),
            Err(error) => Call::ended(Err(error)),
        }
    }

    /// Sends the request, and takes its response in parts.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and when too many ops run. What comes later, the exchange tells.
    pub fn stream(self) -> Result<Exchange, Error> {
        self.build()?.stream()
    }

    /// Sends the request, and takes its response in parts, as futures.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream).
    pub fn stream_async(self) -> Result<AsyncExchange, Error> {
        self.build()?.stream_async()
    }
}

/// A request that was built. It can be sent many times, also at once and from many threads; only
/// a body from a reader can be sent once, and one in pieces once at a time.
#[derive(Clone)]
pub struct Request(Arc<Prepared>);

struct Prepared {
    // Freed before the body that it points to.
    handle: Handle<sys::conpool_request>,
    config: Option<Mutex<Config>>,
    body: Form,
    client: Client,
}

impl Request {
    /// Starts it for a client's thread or queue. The op keeps what it borrows until its last event.
    fn start(&self, client: &Client, how: i32, upload: &Upload) -> Result<Op, Error> {
        if how == sys::CONPOOL_WHOLE {
            self.check_whole()?;
        }
        let engine = client.awaited()?;
        let reader = self.reader()?;
        let keep: Keep = match &self.0.body {
            Form::Memory(shared) => Some(Box::new(Arc::clone(shared))),
            _ => None,
        };
        let op = engine
            .start(&client.pool, keep, |queue, token, op| self.start_on(how, queue, token, op))?;
        if let Some(reader) = reader.and_then(|mut reader| reader.take()) {
            upload.feed_on_thread(op.id(), reader)?;
        }
        Ok(op)
    }

    fn start_on(
        &self,
        how: i32,
        queue: *mut sys::conpool_queue,
        token: u64,
        op: *mut u64,
    ) -> Result<(), Error> {
        let request = self.0.handle.get();
        // Held for the start alone: "one at a time" is said of configs.
        let guard = self.0.config.as_ref().map(lock);
        let config = guard.as_ref().map_or(ptr::null(), |config| config.get());
        // SAFETY: request, config and queue live; what is borrowed is kept by the op's slot, or by a
        // caller that waits for the op's end.
        checked(|error| unsafe {
            sys::conpool_request_start(request, config, how, queue, token, op, error)
        })
    }

    /// The reader of the body, to be taken once the request has started: it is read once.
    fn reader(&self) -> Result<Option<MutexGuard<'_, Option<Reader>>>, Error> {
        let words = "the body's reader was taken by a send before; build the request again";
        match &self.0.body {
            Form::Reader { reader, .. } => match lock(reader) {
                reader if reader.is_none() => Err(Error::worded(sys::CONPOOL_E_WRONG_STATE, words)),
                reader => Ok(Some(reader)),
            },
            _ => Ok(None),
        }
    }

    /// Refuses a body in pieces where nobody could write them.
    fn check_whole(&self) -> Result<(), Error> {
        self.0.client.pool.check()?;
        if self.pieces().is_some() {
            let words = "a body in pieces is written while the response is taken in parts: use \
                         stream() or stream_async()";
            return Err(Error::worded(sys::CONPOOL_E_WRONG_STATE, words));
        }
        Ok(())
    }

    /// Sends the request and waits for its whole response.
    ///
    /// # Errors
    ///
    /// What the request failed with, and what became of it.
    pub fn send(&self) -> Result<Response, Error> {
        self.check_whole()?;
        let reader = self.reader()?;
        let (upload, mut op) = (Upload::default(), 0);
        self.start_on(sys::CONPOOL_WHOLE, ptr::null_mut(), 0, &mut op)?;
        let reader = reader.and_then(|mut reader| reader.take());
        let fed = reader.map_or(Ok(()), |reader| upload.feed(op, reader));
        let ended = wait(op, None);
        fed.unwrap_or_else(|panic| resume_unwind(panic));
        response(ended).map_err(|error| upload.explain(error))
    }

    /// Sends the request; the future is ready with the whole response.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the request.
    pub fn send_async(&self) -> Call<Response> {
        let upload = Upload::default();
        let op = self.start(&self.0.client, sys::CONPOOL_WHOLE, &upload);
        Call::new(op, move |event| response(event).map_err(|error| upload.explain(error)))
    }

    fn pieces(&self) -> Option<Option<u64>> {
        match &self.0.body {
            Form::Pieces { size } => Some(*size),
            _ => None,
        }
    }

    /// Sends the request, and takes its response in parts.
    ///
    /// # Errors
    ///
    /// When too many ops run, and after the pool was closed.
    pub fn stream(&self) -> Result<Exchange, Error> {
        self.0.client.pool.check()?;
        // A queue of its own: the calling thread takes the events itself.
        let engine = Engine::new(&self.0.client.pool)?;
        let client = Client { engine, pumped: false, ..self.0.client.clone() };
        let upload = Upload::default();
        let op = self.start(&client, sys::CONPOOL_STREAM, &upload)?;
        let inner = AsyncExchange::new(&client, op, upload, self.pieces());
        Ok(Exchange::new(inner, client.engine))
    }

    /// Sends the request, and takes its response in parts, as futures.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream).
    ///
    /// # Cancellation
    ///
    /// Dropping the exchange cancels the request.
    pub fn stream_async(&self) -> Result<AsyncExchange, Error> {
        let upload = Upload::default();
        let op = self.start(&self.0.client, sys::CONPOOL_STREAM, &upload)?;
        Ok(AsyncExchange::new(&self.0.client, op, upload, self.pieces()))
    }
}

fn response(event: Result<Event, Error>) -> Result<Response, Error> {
    let mut event = event?;
    // SAFETY: a RESPONSE event that did not fail carries a conpool_response.
    unsafe { event.object(sys::CONPOOL_EVENT_RESPONSE) }
        .map(Response::new)
        .ok_or_else(|| Error::of_status(sys::CONPOOL_E_INTERNAL))
}

named_only!(Request);

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestBuilder({} {})", self.method, self.target)
    }
}
