//! conpool with the types that programs use already. Every integration is a feature:
//!
//! - `http`: [`mod@http`]: requests and responses of the crate `http`
//! - `tokio`: [`tokio::Stream`]: a lease as `AsyncRead` and `AsyncWrite`
//! - `tower`: [`tower::HttpService`]: a client as a `tower` service
//! - `log`: [`log::Recorder`] and [`log::forward`]: the
//!   program's log among the pool's events, and the pool's events in the program's log
#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "tower")]
pub mod tower;
