//! Responses that are taken in parts, while the request's body may still be under way.

use crate::{
    body::BodyWriter, body::Upload, client::Client, engine::Engine, engine::Op, engine::PollWith,
    error::Error, raw::Event, response::Chunk, response::Response, sys,
};
use std::{io, io::Read, sync::Arc, task::Context, task::Poll};

/// A request under way, whose response is taken in parts by futures.
///
/// The parts come in this order: interim responses, the head, chunks of the body, trailers. Whoever
/// asks for a later part gets past the earlier ones, which are kept but for the chunks.
///
/// A chunk that is not dropped holds the server back. `total.timeout` (60 s unless set) bounds all
/// of it, the program's reading included.
///
/// # Cancellation
///
/// Dropping the exchange cancels the request. Dropping one of its futures loses nothing.
pub struct AsyncExchange {
    op: Op,
    writer: Option<BodyWriter>,
    upload: Upload,
    interim: Vec<Response>,
    head: Option<Response>,
    trailers: Option<Response>,
    end: Option<Response>,
    chunk: Option<Chunk>,
    ended: bool,
}

impl AsyncExchange {
    pub(crate) fn new(
        client: &Client,
        op: Op,
        upload: Upload,
        pieces: Option<Option<u64>>,
    ) -> Self {
        let writer = pieces.map(|left| BodyWriter {
            op: op.id(),
            client: client.clone(),
            left,
            finished: left == Some(0),
        });
        AsyncExchange {
            op,
            writer,
            upload,
            interim: Vec::new(),
            head: None,
            trailers: None,
            end: None,
            chunk: None,
            ended: false,
        }
    }

    /// The writer of a body in pieces, once.
    pub fn body_writer(&mut self) -> Option<BodyWriter> {
        self.writer.take()
    }

    /// Takes one event in.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let event = ready!(self.op.poll_event(context));
        let taken = event.and_then(|event| {
            self.ended |= event.is_final();
            event.ok().map(|event| self.accept(event))
        });
        Poll::Ready(taken.map_err(|error| {
            self.ended = true;
            self.upload.explain(error)
        }))
    }

    fn accept(&mut self, mut event: Event) {
        let kind = event.kind();
        // SAFETY: called for those kinds whose events carry a conpool_response.
        let mut response = || unsafe { event.object(kind) }.map(Response::new);
        match kind {
            sys::CONPOOL_EVENT_HEAD => self.head = response(),
            sys::CONPOOL_EVENT_INTERIM => self.interim.extend(response()),
            sys::CONPOOL_EVENT_TRAILERS => self.trailers = response(),
            sys::CONPOOL_EVENT_RESPONSE => self.end = response(),
            // SAFETY: a CHUNK event carries a conpool_chunk.
            sys::CONPOOL_EVENT_CHUNK => self.chunk = unsafe { event.object(kind) }.map(Chunk::new),
            // Of a newer library: dropped, which disposes it.
            _ => {}
        }
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.head.is_none() {
            if self.ended {
                return Poll::Ready(Err(Error::of_status(sys::CONPOOL_E_STALE)));
            }
            ready!(self.poll_step(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Polls for the next chunk of the body; `None` after the last one.
    ///
    /// # Errors
    ///
    /// What the request failed with, once.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        loop {
            if let Some(chunk) = self.chunk.take() {
                return Poll::Ready(Ok(Some(chunk)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            ready!(self.poll_step(context))?;
        }
    }

    /// Waits for the response's head.
    ///
    /// # Errors
    ///
    /// What the request failed with.
    pub async fn head(&mut self) -> Result<&Response, Error> {
        PollWith(|context: &mut Context<'_>| self.poll_head(context)).await?;
        self.head.as_ref().ok_or_else(|| Error::of_status(sys::CONPOOL_E_STALE))
    }

    /// Waits for the next chunk of the body; `None` after the last one.
    ///
    /// # Errors
    ///
    /// What the request failed with, once.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>, Error> {
        PollWith(|context: &mut Context<'_>| self.poll_chunk(context)).await
    }

    /// The interim (1xx) responses that came so far.
    pub fn interim(&self) -> &[Response] {
        &self.interim
    }

    /// The response with its trailers, once they came.
    pub fn trailers(&self) -> Option<&Response> {
        self.trailers.as_ref()
    }

    /// The response as it was at the end of the exchange: it has the final facts.
    pub fn end(&self) -> Option<&Response> {
        self.end.as_ref()
    }
}

/// A request under way, whose response is taken in parts by the calling thread.
///
/// Its body is taken as one stream of bytes ([`Read`]) or in [`chunks`](Self::chunks), as it came.
/// See [`AsyncExchange`] for the order of the parts.
///
/// # Cancellation
///
/// Dropping it cancels the request.
pub struct Exchange {
    inner: AsyncExchange,
    engine: Arc<Engine>,
    rest: Option<Chunk>,
    failed: Option<Error>,
}

impl Exchange {
    pub(crate) fn new(inner: AsyncExchange, engine: Arc<Engine>) -> Self {
        Exchange { inner, engine, rest: None, failed: None }
    }

    /// The writer of a body in pieces, once. Chunks of the response wait while it writes.
    pub fn body_writer(&mut self) -> Option<BodyWriter> {
        self.inner.body_writer()
    }

    /// Waits for the response's head.
    ///
    /// # Errors
    ///
    /// What the request failed with.
    pub fn head(&mut self) -> Result<&Response, Error> {
        self.part(AsyncExchange::poll_head)?;
        self.inner.head.as_ref().ok_or_else(|| Error::of_status(sys::CONPOOL_E_STALE))
    }

    /// Waits for the next chunk of the body; `None` after the last one.
    ///
    /// # Errors
    ///
    /// What the request failed with, once.
    pub fn chunk(&mut self) -> Result<Option<Chunk>, Error> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        self.part(AsyncExchange::poll_chunk)
    }

    /// Takes events until a part is there. What fails first is the end of the exchange.
    fn part<T>(
        &mut self,
        mut poll: impl FnMut(&mut AsyncExchange, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Result<T, Error> {
        let inner = &mut self.inner;
        let part = self.engine.run(None, |context| poll(inner, context)).and_then(|part| part);
        part.map_err(|error| {
            self.inner.ended = true;
            self.failed.get_or_insert(error).clone()
        })
    }

    /// The chunks of the body that are still to come.
    pub fn chunks(&mut self) -> Chunks<'_> {
        Chunks(self)
    }

    /// The interim (1xx) responses that came so far.
    pub fn interim(&self) -> &[Response] {
        self.inner.interim()
    }

    /// The response with its trailers, once they came.
    pub fn trailers(&self) -> Option<&Response> {
        self.inner.trailers()
    }

    /// The response as it was at the end of the exchange: it has the final facts.
    pub fn end(&self) -> Option<&Response> {
        self.inner.end()
    }
}

/// The chunks of a response's body, until the first error.
pub struct Chunks<'a>(&'a mut Exchange);

impl Iterator for Chunks<'_> {
    type Item = Result<Chunk, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.chunk().transpose()
    }
}

impl<'a> IntoIterator for &'a mut Exchange {
    type Item = Result<Chunk, Error>;
    type IntoIter = Chunks<'a>;

    fn into_iter(self) -> Chunks<'a> {
        self.chunks()
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.chunk()? {
            // A body that broke off has no end, however often it is read.
            None => self.failed.clone().map_or(Ok(0), |error| Err(error.into())),
            Some(mut chunk) => {
                let count = chunk.take_into(buffer);
                if !chunk.is_empty() {
                    self.rest = Some(chunk);
                }
                Ok(count)
            }
        }
    }
}

named_only!(AsyncExchange, Exchange);
