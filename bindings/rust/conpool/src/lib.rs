//! Client-side connections: a program names a host and gets the best live connection to it,
//! resolved, raced over its addresses, verified by TLS, pooled by name. HTTP requests go out over
//! it, as HTTP/1.1 or HTTP/2; every other protocol leases the connection itself.
//!
//! ```no_run
//! fn main() -> Result<(), conpool::Error> {
//!     let client = conpool::Client::builder().option("connect.timeout", "2s").build()?;
//!     let response = client.get("https://example.org/").header("accept", "text/html").send()?;
//!     println!("{} {}\n{}", response.version(), response.status(), response.text());
//!     Ok(())
//! }
//! ```
//!
//! Every call has two forms: a blocking one, and one that is a future for any executor. Dropping a
//! future cancels its call.
//!
//! | | blocking | as a future |
//! |---|---|---|
//! | a request and its whole response | [`RequestBuilder::send`] | [`RequestBuilder::send_async`] |
//! | a response in parts | [`RequestBuilder::stream`] | [`RequestBuilder::stream_async`] |
//! | a connection for any protocol | [`Client::connect`] | [`Client::connect_async`] |
//!
//! Redirects, cookies, decompression and caching belong to the program, or to a layer above.
//!
//! # Options
//!
//! Everything that can be set is an option with a name, on the client, on an endpoint or on a
//! request. The table is in the library: [`describe`]`("options")` prints it, and an unknown name
//! is refused with the nearest one.
//!
//! # Threads and forks
//!
//! Everything here is `Send`, and what takes `&self` works from many threads at once. The first
//! future starts one thread for its client, which takes events and wakes; blocking calls need none.
//! A [`Queue`] replaces that thread by the program's own loop. After a fork, the child's calls fail
//! with [`ErrorKind::Forked`].
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

/// `Debug` for types that have nothing to show but their name.
macro_rules! named_only {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

/// The value of a poll that is ready. (`std::task::ready` came after the oldest Rust supported.)
macro_rules! ready {
    ($poll:expr) => {
        match $poll {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => return std::task::Poll::Pending,
        }
    };
}

mod body;
mod client;
mod engine;
mod error;
mod events;
mod exchange;
mod facts;
mod lease;
mod options;
mod queue;
mod raw;
mod request;
mod resolver;
mod response;

pub use crate::{
    body::Body, body::BodyWriter, client::Client, client::ClientBuilder, client::Endpoint,
    client::EndpointBuilder, engine::block_on, engine::Call, error::Attempt, error::Error,
    error::ErrorKind, error::Phase, error::Proof, events::Events, events::Follower, events::Level,
    events::Record, exchange::AsyncExchange, exchange::Chunks, exchange::Exchange, facts::Facts,
    lease::Connection, lease::Lent, options::OptionValue, queue::Queue, request::Request,
    request::RequestBuilder, resolver::Lookup, response::Chunk, response::Headers,
    response::Response, response::Version,
};
pub use conpool_sys as sys;

/// The README's examples, built by the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The library's own tables as JSON text: `options`, `statuses`, `events`, `build`.
///
/// # Errors
///
/// For another table.
pub fn describe(what: &str) -> Result<String, Error> {
    let what = raw::c_text(what, sys::CONPOOL_E_INVALID)?;
    // SAFETY: the text ends in NUL.
    raw::text_of(|out| unsafe { sys::conpool_describe(what.as_ptr().cast(), out) })
}

/// The version of the library that runs, such as `0.1.0`.
pub fn version() -> String {
    // SAFETY: the text is static.
    unsafe { raw::borrowed(sys::conpool_version_string()) }
}

/// The text of a status code, such as `connection refused`.
pub fn status_text(code: i32) -> String {
    // SAFETY: any code is allowed; the text is static.
    unsafe { raw::borrowed(sys::conpool_status_text(code)) }
}
