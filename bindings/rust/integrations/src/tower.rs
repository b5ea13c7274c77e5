//! A client as a `tower` service of HTTP requests.

use crate::http::{copy_head, header_map, request};
use bytes::Buf;
use conpool::{AsyncExchange, Body, Chunk, Client, Error};
use http_body::Frame;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// A service that sends `http` requests and answers with their heads; bodies come in parts.
///
/// It is always ready: limits are the pool's (`endpoint.max_connections`, `endpoint.max_waiters`),
/// and a layer of the program's own may add others.
#[derive(Clone, Debug)]
pub struct HttpService(Client);

impl HttpService {
    /// A service on a client.
    pub fn new(client: Client) -> Self {
        HttpService(client)
    }
}

type Answered = Result<http::Response<Incoming>, Error>;

/// What [`HttpService`] answers with. Dropping it cancels the request.
// A type of its own: behind `buffer`, the compiler does not see that a task with the bare
// `Pin<Box<dyn Future>>` is `Send`.
#[must_use = "dropping it cancels the request"]
pub struct Answer(Pin<Box<dyn Future<Output = Answered> + Send>>);

impl Future for Answer {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        self.0.as_mut().poll(context)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl<B: Into<Body>> Service<http::Request<B>> for HttpService {
    type Response = http::Response<Incoming>;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    /// Starts the request. Dropping the future cancels it.
    fn call(&mut self, message: http::Request<B>) -> Answer {
        let started = request(&self.0, message).stream_async();
        Answer(Box::pin(async move {
            let mut exchange = started?;
            let mut result = http::Response::new(());
            copy_head(exchange.head().await?, &mut result);
            Ok(result.map(|()| Incoming { exchange, trailers_given: false }))
        }))
    }
}

/// A response's body as `http_body::Body`. Dropping it cancels what is still to come.
#[derive(Debug)]
pub struct Incoming {
    exchange: AsyncExchange,
    trailers_given: bool,
}

impl http_body::Body for Incoming {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        match self.exchange.poll_chunk(context)? {
            Poll::Ready(Some(chunk)) => Poll::Ready(Some(Ok(Frame::data(Data(chunk))))),
            Poll::Ready(None) if self.trailers_given => Poll::Ready(None),
            Poll::Ready(None) => {
                self.trailers_given = true;
                let trailers = self.exchange.trailers().map(|last| header_map(last.trailers()));
                Poll::Ready(trailers.map(|map| Ok(Frame::trailers(map))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Bytes of a body. They hold the server back until they are dropped.
#[derive(Debug)]
pub struct Data(Chunk);

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Buf for Data {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.0
    }

    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
}
