//! Leases as `tokio::io::AsyncRead` and `AsyncWrite`.

use conpool::{Call, Connection, Error};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A lease that reads and writes as a `tokio::net::TcpStream` does, plain or TLS alike.
///
/// Writes are taken as soon as the write before has ended; flush to know that all have. As with the
/// lease itself, [`release`](Self::release) gives the connection back, and dropping it closes it.
#[derive(Debug)]
pub struct Stream {
    connection: Connection,
    write: Write,
}

enum Write {
    Nothing,
    Bytes(Call<usize>),
    Shutdown(Call<()>),
    Ended,
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Write::Nothing => "idle",
            Write::Bytes(_) => "writing",
            Write::Shutdown(_) => "ending",
            Write::Ended => "ended",
        })
    }
}

/// At most so much of one write is taken at a time.
const PIECE: usize = 64 * 1024;

impl Stream {
    /// Wraps a lease.
    pub fn new(connection: Connection) -> Self {
        Stream { connection, write: Write::Nothing }
    }

    /// The lease inside, for its facts.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Waits for what was written, and gives the connection back to the pool.
    ///
    /// A read that was begun and given up, as by `tokio::time::timeout`, is still under way. The
    /// connection closes then, as it does with bytes that were received and not read, and the
    /// circuit breaker counts that as a failure. [`close`](Self::close) ends a conversation without.
    ///
    /// # Errors
    ///
    /// What the last write failed with; the connection is closed then.
    pub async fn release(mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_written(context)).await?;
        self.connection.release();
        Ok(())
    }

    /// Waits for what was written, ends our direction and closes the connection: the end of a
    /// conversation, which the circuit breaker does not count as a failure.
    ///
    /// # Errors
    ///
    /// What the connection failed with.
    pub async fn close(mut self) -> io::Result<()> {
        std::future::poll_fn(|context| Pin::new(&mut self).poll_shutdown(context)).await?;
        Ok(self.connection.close()?)
    }

    /// Waits until no write is under way.
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended: Result<Write, Error> = match &mut self.write {
            Write::Nothing | Write::Ended => return Poll::Ready(Ok(())),
            Write::Bytes(call) => match Pin::new(call).poll(context) {
                Poll::Ready(result) => result.map(|_| Write::Nothing),
                Poll::Pending => return Poll::Pending,
            },
            Write::Shutdown(call) => match Pin::new(call).poll(context) {
                Poll::Ready(result) => result.map(|()| Write::Ended),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.write = Write::Nothing;
        self.write = ended?;
        Poll::Ready(Ok(()))
    }
}

impl From<Connection> for Stream {
    fn from(connection: Connection) -> Self {
        Stream::new(connection)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match self.connection.poll_chunk(context)? {
            Poll::Ready(Some(mut chunk)) => {
                let count = chunk.len().min(buffer.remaining());
                buffer.put_slice(&chunk[..count]);
                chunk.advance(count);
                self.connection.unread(chunk);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(None) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.poll_written(context)? {
            Poll::Ready(()) if data.is_empty() => Poll::Ready(Ok(0)),
            Poll::Ready(()) if matches!(self.write, Write::Ended) => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            Poll::Ready(()) => {
                let count = data.len().min(PIECE);
                self.write = Write::Bytes(self.connection.write_async(data[..count].to_vec()));
                Poll::Ready(Ok(count))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.poll_written(context)? {
                Poll::Ready(()) if matches!(self.write, Write::Ended) => {
                    return Poll::Ready(Ok(()))
                }
                Poll::Ready(()) => {
                    self.write = Write::Shutdown(self.connection.shutdown_write_async());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
