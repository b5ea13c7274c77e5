//! Clients and endpoints: what a program makes once and uses from everywhere.

use crate::{
    engine::lock, engine::Call, engine::Engine, engine::Keep, engine::Op, engine::Pool,
    error::Error, lease::Connection, options::OptionValue, options::Options, raw::c_text,
    raw::checked, raw::create, raw::nanoseconds, raw::text_of, raw::wait, raw::Event, raw::Handle,
    request::Request, request::RequestBuilder, response::NO_CONFIG, sys,
};
use std::{net::SocketAddr, ptr, sync::Arc, time::Duration};

/// A pool of connections, and everything that is asked of it.
///
/// Clones are the same pool; any number of threads use it at once. The last clone, call, lease or
/// queue that is dropped frees it: what is still open then closes.
///
/// In a child that was forked from the process every call fails with
/// [`ErrorKind::Forked`](crate::ErrorKind::Forked), and the parent is not disturbed.
#[derive(Clone)]
pub struct Client {
    pub(crate) pool: Arc<Pool>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) pumped: bool,
}

/// Options for a [`Client`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ClientBuilder(Options);

impl ClientBuilder {
    /// Sets an option of any scope by its name: the default of everything made with the client.
    ///
    /// The library judges names and values when the client is built.
    pub fn option(mut self, name: &str, value: impl OptionValue) -> Self {
        self.0.set(name, value);
        self
    }

    /// The time for a whole request: the option `total.timeout`.
    pub fn timeout(self, limit: Duration) -> Self {
        self.option("total.timeout", limit)
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// An option that does not exist (the error offers the nearest name), whose value is not of its
    /// type or out of range, or that contradicts another; files that options name and that cannot
    /// be used; a library that this crate cannot work with
    /// ([`ErrorKind::Library`](crate::ErrorKind::Library)).
    pub fn build(self) -> Result<Client, Error> {
        check_library()?;
        let config = self.0.config()?;
        // SAFETY: the config is this thread's alone and outlives the call.
        let handle =
            create(|out, error| unsafe { sys::conpool_pool_new(config.get(), out, error) })?;
        let pool = Arc::new(Pool::new(handle));
        let engine = Engine::new(&pool)?;
        lock(&pool.closing).push(Arc::clone(&engine));
        Ok(Client { pool, engine, pumped: true })
    }
}

/// Refuses a library that is older than the declarations, or of another major version.
fn check_library() -> Result<(), Error> {
    let (major, minor) = (sys::CONPOOL_VERSION_MAJOR, sys::CONPOOL_VERSION_MINOR);
    let patch = sys::CONPOOL_VERSION_PATCH;
    // SAFETY: it has no parameters.
    let found = unsafe { sys::conpool_version() };
    if found >> 16 == major && found & 0xffff >= (minor << 8 | patch) {
        return Ok(());
    }
    Err(Error::of_library(format!(
        "the crate conpool {} needs libconpool {major}.{minor}.{patch} or a later {major}.x, and \
         the one that was loaded is {}",
        env!("CARGO_PKG_VERSION"),
        crate::version()
    )))
}

macro_rules! verbs {
    ($($name:ident $verb:literal)*) => {$(
        #[doc = concat!("A ", $verb, " request.")]
        pub fn $name(&self, url: impl AsRef<str>) -> RequestBuilder {
            self.request($verb, url)
        }
    )*};
}

impl Client {
    /// A client with the defaults.
    ///
    /// # Errors
    ///
    /// See [`ClientBuilder::build`].
    pub fn new() -> Result<Self, Error> {
        Client::builder().build()
    }

    /// A client with options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The engine for calls that are polled; starts the thread that takes their events.
    pub(crate) fn awaited(&self) -> Result<&Arc<Engine>, Error> {
        self.pool.check()?;
        if self.pumped {
            self.engine.pump()?;
        }
        Ok(&self.engine)
    }

    /// Starts an op whose future this client's thread or queue wakes; it keeps what is borrowed.
    pub(crate) fn begin(&self, keep: Keep, call: impl Start) -> Result<Op, Error> {
        self.awaited()?.start(&self.pool, keep, |queue, token, op| status(call(queue, token, op)))
    }

    /// A request. Nothing is checked or sent before it is built or sent.
    pub fn request(&self, method: &str, url: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self, None, method, url.as_ref())
    }

    verbs! { get "GET" head "HEAD" post "POST" put "PUT" delete "DELETE" }

    /// An endpoint by URL: `https://host:8443` for requests, `tcp://host:port`, `tls://host:port`
    /// or `unix:/path` for connections.
    pub fn endpoint(&self, url: impl AsRef<str>) -> EndpointBuilder {
        self.place(Place::Url(url.as_ref().to_owned()))
    }

    /// An endpoint by scheme (`http`, `https`, `tcp`, `tls`), host and ports; several are raced.
    pub fn endpoint_of_host(&self, scheme: &str, host: &str, ports: &[u16]) -> EndpointBuilder {
        self.place(Place::Host(scheme.to_owned(), host.to_owned(), ports.to_vec()))
    }

    /// An endpoint by scheme and addresses: no name is resolved.
    pub fn endpoint_of_addresses(&self, scheme: &str, addresses: &[SocketAddr]) -> EndpointBuilder {
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        self.place(Place::Addresses(scheme.to_owned(), list.join(",")))
    }

    fn place(&self, place: Place) -> EndpointBuilder {
        EndpointBuilder { client: self.clone(), place, options: Options::default() }
    }

    /// Leases a connection to `tcp://host:port`, `tls://host:port` or `unix:/path`.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL; what the dial failed with, and each of its attempts.
    pub fn connect(&self, url: impl AsRef<str>) -> Result<Connection, Error> {
        self.endpoint(url).open()?.connect()
    }

    /// Leases a connection, as a future.
    pub fn connect_async(&self, url: impl AsRef<str>) -> Call<Connection> {
        match self.endpoint(url).open() {
            Ok(endpoint) => endpoint.connect_async(),
            Err(error) => Call::ended(Err(error)),
        }
    }

    /// Counters, gauges and latencies, as `text` (name=value lines), `json` or `openmetrics`.
    ///
    /// # Errors
    ///
    /// Another format.
    pub fn metrics(&self, format: &str) -> Result<String, Error> {
        let format = c_text(format, sys::CONPOOL_E_INVALID)?;
        // SAFETY: the pool lives, and the text ends in NUL.
        text_of(|out| unsafe {
            sys::conpool_pool_metrics(self.pool.handle.get(), format.as_ptr().cast(), out)
        })
    }

    /// The counters, gauges and latencies by name, in the library's order.
    ///
    /// # Errors
    ///
    /// In a forked child, and when memory is short.
    pub fn stats(&self) -> Result<Vec<(String, f64)>, Error> {
        let lines = self.metrics("text")?;
        let pairs = lines.lines().filter_map(|line| line.rsplit_once('='));
        Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Closes the pool gracefully, and waits for its end: new calls are refused, running ones go on
    /// for at most `drain`, then they are ended. Returns how many leases had to be broken.
    ///
    /// # Errors
    ///
    /// In a forked child.
    pub fn close(&self, drain: Duration) -> Result<u64, Error> {
        Ok(wait_for(self.closing(drain), None)?.value(0))
    }

    /// Closes the pool gracefully, as a future.
    pub fn close_async(&self, drain: Duration) -> Call<u64> {
        Call::new(self.begin(None, self.closing(drain)), |event| Ok(event?.value(0)))
    }

    fn closing(&self, drain: Duration) -> impl Start {
        let (pool, drain) = (self.pool.handle.get(), nanoseconds(Some(drain)));
        // SAFETY: the pool lives, and so does the queue.
        move |queue, token, op| unsafe { sys::conpool_pool_close(pool, drain, queue, token, op) }
    }
}

/// A status as a result, for calls that give no error object.
pub(crate) fn status(status: sys::conpool_status) -> Result<(), Error> {
    checked(|_| status)
}

/// Starts an op without a queue, and waits for its end.
pub(crate) fn wait_for(start: impl Start, limit: Option<Duration>) -> Result<Event, Error> {
    let mut op = 0;
    status(start(ptr::null_mut(), 0, &mut op))?;
    wait(op, limit)
}

/// A call that starts an op; it gets the queue, the token and where the op's id goes.
pub(crate) trait Start: FnOnce(*mut sys::conpool_queue, u64, *mut u64) -> i32 {}

impl<F: FnOnce(*mut sys::conpool_queue, u64, *mut u64) -> i32> Start for F {}

enum Place {
    Url(String),
    Host(String, String, Vec<u16>),
    Addresses(String, String),
}

/// Options for an [`Endpoint`].
#[must_use]
pub struct EndpointBuilder {
    client: Client,
    place: Place,
    options: Options,
}

impl EndpointBuilder {
    /// Sets an option of scope endpoint or request by its name, over the client's.
    pub fn option(mut self, name: &str, value: impl OptionValue) -> Self {
        self.options.set(name, value);
        self
    }

    /// Makes the endpoint. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// A URL, name, port, address or option that is not valid; files that options name and that
    /// cannot be used.
    pub fn open(self) -> Result<Endpoint, Error> {
        let config = self.options.config()?;
        let (pool, config) = (self.client.pool.handle.get(), config.get());
        let (scheme, text) = match &self.place {
            Place::Url(url) => ("", url),
            Place::Host(scheme, host, _) => (scheme.as_str(), host),
            Place::Addresses(scheme, list) => (scheme.as_str(), list),
        };
        let scheme = c_text(scheme, sys::CONPOOL_E_BAD_URL)?;
        let (scheme, data, size) = (scheme.as_ptr().cast(), text.as_ptr().cast(), text.len());
        // SAFETY: the pool lives; texts, ports and config are read before the call returns.
        let handle = create(|out, error| unsafe {
            match &self.place {
                Place::Url(_) => sys::conpool_endpoint_new(pool, data, size, config, out, error),
                Place::Host(.., ports) => {
                    let (ports, count) = (ports.as_ptr(), ports.len());
                    sys::conpool_endpoint_new_host(
                        pool, scheme, data, size, ports, count, config, out, error,
                    )
                }
                Place::Addresses(..) => sys::conpool_endpoint_new_addresses(
                    pool, scheme, data, size, config, out, error,
                ),
            }
        })?;
        Ok(Endpoint { client: self.client, handle: Arc::new(handle) })
    }
}

/// What connections are made to: the fast way to ask the same server many times.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) client: Client,
    pub(crate) handle: Arc<Handle<sys::conpool_endpoint>>,
}

impl Endpoint {
    /// A request for a target such as `/path?query`.
    pub fn request(&self, method: &str, target: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(&self.client, Some(self.clone()), method, target.as_ref())
    }

    /// A GET request that is built, to be sent as often as wanted.
    ///
    /// # Errors
    ///
    /// A target that is not valid; an endpoint that is not for requests.
    pub fn get(&self, target: impl AsRef<str>) -> Result<Request, Error> {
        self.request("GET", target).build()
    }

    /// Leases a connection: an idle one that is still good, else the next that is released or
    /// dialed.
    ///
    /// # Errors
    ///
    /// What the dial failed with, and each of its attempts; a limit of the pool.
    pub fn connect(&self) -> Result<Connection, Error> {
        self.client.pool.check()?;
        Connection::of_event(&self.client, wait_for(self.acquiring(), None)?)
    }

    /// Leases a connection, as a future.
    pub fn connect_async(&self) -> Call<Connection> {
        let op = self.client.begin(None, self.acquiring());
        let client = self.client.clone();
        Call::new(op, move |event| Connection::of_event(&client, event?))
    }

    fn acquiring(&self) -> impl Start {
        let at = self.handle.get();
        // SAFETY: the endpoint lives, and so does the queue.
        move |queue, token, op| unsafe {
            sys::conpool_endpoint_acquire(at, NO_CONFIG, queue, token, op)
        }
    }

    /// Opens connections before they are needed, until `count` are open or a limit is reached, and
    /// returns how many are.
    ///
    /// # Errors
    ///
    /// What a dial failed with, when none is open.
    pub fn preconnect(&self, count: u32) -> Result<u64, Error> {
        Ok(wait_for(self.opening(count), None)?.value(0))
    }

    /// Opens connections before they are needed, as a future.
    pub fn preconnect_async(&self, count: u32) -> Call<u64> {
        Call::new(self.client.begin(None, self.opening(count)), |event| Ok(event?.value(0)))
    }

    fn opening(&self, count: u32) -> impl Start {
        let at = self.handle.get();
        // SAFETY: the endpoint lives, and so does the queue.
        move |queue, token, op| unsafe {
            sys::conpool_endpoint_preconnect(at, count, NO_CONFIG, queue, token, op)
        }
    }

    /// Forces the circuit breaker: `open`, `closed`, or `auto` to let it decide again.
    ///
    /// # Errors
    ///
    /// Another state; a pool that was closed.
    pub fn force_breaker(&self, state: &str) -> Result<(), Error> {
        let state = c_text(state, sys::CONPOOL_E_INVALID)?;
        // SAFETY: the endpoint lives, and the text ends in NUL.
        status(unsafe {
            sys::conpool_endpoint_force_breaker(self.handle.get(), state.as_ptr().cast())
        })
    }

    /// What the pool knows of the endpoint and would do, in words.
    ///
    /// # Errors
    ///
    /// In a forked child, and when memory is short.
    pub fn explain(&self) -> Result<String, Error> {
        let pool = self.client.pool.handle.get();
        // SAFETY: pool and endpoint live.
        text_of(|out| unsafe { sys::conpool_pool_explain(pool, self.handle.get(), out) })
    }
}

named_only!(Client, EndpointBuilder, Endpoint);
