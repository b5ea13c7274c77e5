//! Leases: read, write, release, lend.

mod support;

use conpool::{block_on, Connection, ErrorKind};
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::io::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::{mpsc, Arc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;
use support::{builder, client, eventually, stat, After, Server, ThisThread, LONG};

fn ask(connection: &Connection, text: &str) {
    let mut connection = connection;
    connection.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), text);
}

#[test]
fn a_released_connection_is_used_again() {
    let server = Server::echo();
    let client = client();
    let mut first = client.connect(server.tcp()).unwrap();
    assert!(!first.is_reused());
    assert_eq!(first.address(), server.address.to_string());
    assert_eq!(format!("{first:?}"), format!("Connection({})", server.address));
    first.write_all(b"ping").unwrap();
    first.flush().unwrap();
    let mut answer = [0; 4];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    assert_eq!(first.facts().unwrap().flag("reused"), Some(false));
    first.release();
    let second = block_on(client.connect_async(server.tcp())).unwrap();
    assert!(second.is_reused());
    ask(&second, "again");
    // Dropped: nobody gets it any more.
    drop(second);
    assert!(!client.connect(server.tcp()).unwrap().is_reused());
    eventually("both to be accepted", || server.accepted() == 2);
    eventually("the broken one to be counted", || stat(&client, "pool.leases.broken") >= 1.0);
}

#[test]
fn a_connection_that_nobody_took_goes_back() {
    let server = Server::echo();
    let client = client();
    let call = client.connect_async(server.tcp());
    eventually("the lease to be there", || stat(&client, "pool.leases.active") == 1.0);
    drop(call);
    assert!(client.connect(server.tcp()).unwrap().is_reused());
    // The same for one that a queue has not taken yet.
    let queue = client.queue().unwrap();
    let call = queue.client().connect_async(server.tcp());
    eventually("the lease to be there", || stat(&client, "pool.leases.active") == 1.0);
    queue.turn(None).unwrap();
    drop(call);
    assert!(client.connect(server.tcp()).unwrap().is_reused());
}

#[test]
fn a_conversation_that_ended_is_no_failure() {
    let (echo, silent) = (Server::echo(), Server::silent());
    let bye = Server::answering(b"bye", After::Close);
    // Whether leases that end in this way open the circuit breaker.
    let opens = |server: &Server, end: fn(Connection)| {
        let client = client();
        let connect = || client.connect(server.tcp()).map(end).map_err(|error| error.kind());
        (0..60).any(|_| connect() == Err(ErrorKind::Breaker))
    };
    assert!(opens(&echo, drop));
    assert!(!opens(&echo, |connection| connection.close().unwrap()));
    assert!(!opens(&echo, |connection| {
        drop(begun(connection.read_async()));
        connection.close().unwrap();
    }));
    assert!(!opens(&echo, |connection| {
        block_on(connection.shutdown_write_async()).unwrap();
        connection.close().unwrap();
    }));
    // Dropped after our end, and after the peer's.
    assert!(!opens(&echo, |connection| {
        ask(&connection, "ping");
        connection.shutdown_write().unwrap();
    }));
    assert!(!opens(&bye, |mut connection| {
        connection.write_all(b"x\r\n\r\n").unwrap();
        connection.read_to_string(&mut String::new()).unwrap();
    }));
    // An answer that is still waited for.
    assert!(opens(&silent, |connection| {
        connection.shutdown_write().unwrap();
        drop(begun(connection.read_async()));
    }));
}

#[test]
fn what_was_not_read_closes_the_connection() {
    let server = Server::echo();
    let client = client();
    let mut connection = client.connect(server.tcp()).unwrap();
    connection.write_all(b"ab").unwrap();
    let chunk = block_on(connection.read_async()).unwrap().unwrap();
    connection.unread(chunk);
    connection.release();
    assert!(!client.connect(server.tcp()).unwrap().is_reused());
}

#[test]
fn reads_and_writes_as_futures() {
    let server = Server::echo();
    let client = client();
    block_on(async {
        let connection = client.connect_async(server.tcp()).await.unwrap();
        assert_eq!(connection.write_async("hello").await.unwrap(), 5);
        let mut received = Vec::new();
        while received.len() < 5 {
            received.extend_from_slice(&connection.read_async().await.unwrap().unwrap());
        }
        assert_eq!(received, b"hello");
        connection.shutdown_write_async().await.unwrap();
        assert!(connection.read_async().await.unwrap().is_none());
        assert!(connection.read_async().await.unwrap().is_none());
    });
}

#[test]
fn a_read_future_that_is_dropped_loses_nothing() {
    let server = Server::echo();
    let client = client();
    let connection = client.connect(server.tcp()).unwrap();
    for round in 0..50u8 {
        drop(begun(connection.read_async()));
        (&connection).write_all(&[round; 3]).unwrap();
        let mut received = Vec::new();
        while received.len() < 3 {
            // Forms take turns: both get what the abandoned read received.
            if round % 2 == 0 {
                received.extend_from_slice(&block_on(connection.read_async()).unwrap().unwrap());
            } else {
                let mut byte = [0];
                (&connection).read_exact(&mut byte).unwrap();
                received.push(byte[0]);
            }
        }
        assert_eq!(received, [round; 3]);
    }
    connection.release();
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// A future that was polled once, and waits.
fn begun<F: Future>(future: F) -> Pin<Box<F>> {
    let (mut future, waker) = (Box::pin(future), Waker::from(Arc::new(Nobody)));
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    future
}

#[test]
fn a_blocking_read_after_an_abandoned_one() {
    let (echo, client) = (Server::echo(), client());
    let queue = client.queue().unwrap();
    for mut connection in [client.clone(), queue.client()].map(|c| c.connect(echo.tcp()).unwrap()) {
        drop(begun(connection.read_async()));
        connection.set_timeout(Some(Duration::from_millis(30)));
        let error = connection.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        connection.set_timeout(Some(Duration::ZERO));
        assert_eq!(connection.read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        connection.set_timeout(None);
        // Without somebody else who takes the queue's events, and nothing was lost.
        ask(&connection, "ping");
        connection.release();
    }
    assert!(client.connect(echo.tcp()).unwrap().is_reused());
}

#[test]
fn what_an_abandoned_read_received_is_given_along_to_the_borrower() {
    let server = Server::start(|mut stream| {
        stream.write_all(b"HELLO").unwrap();
        let _ = stream.read(&mut [0]);
    });
    let client = client();
    let queue = client.queue().unwrap();
    for client in [client.clone(), queue.client()] {
        let connection = client.connect(server.tcp()).unwrap();
        drop(begun(connection.read_async()));
        eventually("the read to end", || stat(&client, "pool.pinned.bytes") > 0.0);
        assert_eq!(connection.lend(false).unwrap().received(), b"HELLO");
    }
}

#[test]
fn a_second_reader_is_refused() {
    let server = Server::echo();
    let (client, wrong) = (client(), "another read of this connection waits; one may at a time");
    let connection = client.connect(server.tcp()).unwrap();
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| (&connection).read(&mut [0; 4]));
        let refused = || (&connection).read(&mut []).map_err(|error| error.to_string());
        eventually("it to be refused", || refused() == Err(wrong.to_owned()));
        let error = block_on(connection.read_async()).unwrap_err();
        assert_eq!((error.name().as_str(), error.to_string().as_str()), ("E_WRONG_STATE", wrong));
        (&connection).write_all(b"ping").unwrap();
        assert!(blocked.join().unwrap().is_ok());
    });
    let first = begun(connection.read_async());
    assert_eq!(block_on(connection.read_async()).unwrap_err().name(), "E_WRONG_STATE");
    (&connection).write_all(b"pong").unwrap();
    assert!(block_on(first).unwrap().is_some());
}

#[test]
fn a_write_beside_a_blocking_read_that_waits_for_an_abandoned_one() {
    let (echo, client) = (Server::echo(), client());
    let connection = Arc::new(client.connect(echo.tcp()).unwrap());
    drop(begun(connection.read_async()));
    let ((tell, told), (give, given)) = (mpsc::channel(), mpsc::channel());
    let (reader, writer) = (Arc::clone(&connection), Arc::clone(&connection));
    thread::spawn(move || {
        tell.send(ThisThread::new()).unwrap();
        let mut answer = [0; 4];
        give.send((&*reader).read_exact(&mut answer).map(|()| answer)).unwrap();
    });
    let reading = told.recv().unwrap();
    eventually("it to read", || (&*connection).read(&mut []).is_err() && reading.sleeps());
    thread::spawn(move || {
        writer.set_timeout(None);
        (&*writer).write_all(b"ping").unwrap();
    });
    assert_eq!(&given.recv_timeout(LONG).expect("the write waits for the read").unwrap(), b"ping");
}

#[test]
fn two_threads_on_one_connection() {
    let server = Server::echo();
    let connection = client().connect(server.tcp()).unwrap();
    let data: Vec<u8> = (0..3_000_000u32).map(|index| (index % 253) as u8).collect();
    let mut received = vec![0; data.len()];
    std::thread::scope(|scope| {
        let (writer, data) = (&connection, &data);
        scope.spawn(move || {
            let mut writer = writer;
            for part in data.chunks(100_000) {
                writer.write_all(part).unwrap();
            }
        });
        (&connection).read_exact(&mut received).unwrap();
    });
    assert!(received == data);
}

#[test]
fn the_end_of_the_stream() {
    let server = Server::answering(b"bye", After::Close);
    let client = client();
    let mut connection = client.connect(server.tcp()).unwrap();
    connection.write_all(b"x\r\n\r\n").unwrap();
    connection.shutdown_write().unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bye");
    assert_eq!(connection.read(&mut [0]).unwrap(), 0);
    assert_eq!(connection.read(&mut []).unwrap(), 0);
    assert_eq!(connection.write(&[]).unwrap(), 0);
}

#[test]
fn a_pipe_that_broke() {
    let server = Server::answering(b"", After::Reset);
    let client = client();
    let mut connection = client.connect(server.tcp()).unwrap();
    connection.write_all(b"x\r\n\r\n").unwrap();
    let kind = (0..).find_map(|_| Some(connection.write_all(b"more").err()?.kind())).unwrap();
    // The first write may have met the reset itself.
    assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{kind:?}");
    // A half-closed one: its reset is eaten by the first write, and the others meet the pipe.
    let server = Server::start(drop);
    let mut connection = client.connect(server.tcp()).unwrap();
    assert_eq!(connection.read(&mut [0; 1]).unwrap(), 0);
    let error = (0..).find_map(|_| connection.write_all(b"more").err()).unwrap();
    let own = error.get_ref().unwrap().downcast_ref::<conpool::Error>().unwrap();
    assert_eq!((error.kind(), own.os_errno()), (io::ErrorKind::BrokenPipe, Some(32)), "{own}");
}

#[test]
fn a_reset_is_an_error() {
    let server = Server::answering(b"", After::Reset);
    let client = client();
    let mut connection = client.connect(server.tcp()).unwrap();
    connection.write_all(b"x\r\n\r\n").unwrap();
    let error = connection.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let own = error.into_inner().unwrap().downcast::<conpool::Error>().unwrap();
    assert_eq!((own.kind(), own.name().as_str()), (ErrorKind::Connect, "E_CONNECTION_RESET"));
}

#[test]
fn limits_of_reads_and_writes() {
    let server = Server::silent();
    let mut connection = client().connect(server.tcp()).unwrap();
    connection.set_timeout(Some(Duration::from_millis(30)));
    let error = connection.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // Nothing was lost by it: the connection goes on.
    connection.write_all(b"more").unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let stuck = Server::start(move |_stream| ended.lock().unwrap().recv().unwrap_or(()));
    let mut connection = client().connect(stuck.tcp()).unwrap();
    connection.set_timeout(Some(Duration::from_millis(50)));
    let error = connection.write_all(&vec![0; 64 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(end);
}

#[test]
fn a_limit_while_another_thread_drives_the_callers_loop() {
    let server = Server::silent();
    let client = builder().option("loop.drive", "caller").build().unwrap();
    let connection = client.connect(server.tcp()).unwrap();
    connection.set_timeout(Some(Duration::from_millis(30)));
    // The first future starts the client's thread, which drives until an event comes for it.
    let call = client.get(server.url("/")).timeout(4 * LONG).send_async();
    let queue = client.queue().unwrap();
    let turn = || queue.turn(Some(Duration::ZERO)).map_err(|error| error.name());
    eventually("that thread to drive", || turn() == Err("E_BUSY".to_owned()));
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let _ = tell.send((&connection).read(&mut [0; 10]).unwrap_err().kind());
    });
    let read = told.recv_timeout(LONG).expect("the read has no limit");
    assert_eq!(read, io::ErrorKind::TimedOut);
    drop(call);
}

#[test]
fn a_lent_descriptor() {
    let server = Server::echo();
    let client = client();
    let connection = client.connect(server.tcp()).unwrap();
    ask(&connection, "warm");
    let lent = connection.lend(true).unwrap();
    assert!(lent.received().is_empty());
    assert_eq!(lent.connection().address(), server.address.to_string());
    assert!(lent.as_fd().as_raw_fd() == lent.as_raw_fd());
    {
        let mut stream = TcpStream::from(lent.as_fd().try_clone_to_owned_here());
        stream.write_all(b"through it").unwrap();
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"through it");
    }
    lent.release();
    let again = client.connect(server.tcp()).unwrap();
    assert!(again.is_reused());
    // With bytes left to read it does not come back.
    let lent = again.lend(true).unwrap();
    let mut stream = TcpStream::from(lent.as_fd().try_clone_to_owned_here());
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    stream.peek(&mut byte).unwrap();
    drop(stream);
    lent.release();
    eventually("it to be closed", || !client.connect(server.tcp()).unwrap().is_reused());
}

/// `BorrowedFd::try_clone_to_owned` is newer than the oldest Rust that is tested.
trait Duplicate {
    fn try_clone_to_owned_here(&self) -> std::os::unix::io::OwnedFd;
}

extern "C" {
    fn dup(fd: i32) -> i32;
}

impl Duplicate for std::os::unix::io::BorrowedFd<'_> {
    fn try_clone_to_owned_here(&self) -> std::os::unix::io::OwnedFd {
        use std::os::unix::io::FromRawFd;
        // SAFETY: the descriptor is open, and its copy is owned by nobody else.
        unsafe { std::os::unix::io::OwnedFd::from_raw_fd(dup(self.as_raw_fd())) }
    }
}

#[test]
fn bytes_that_came_before_the_lending_are_given_along() {
    let server = Server::echo();
    let connection = client().connect(server.tcp()).unwrap();
    (&connection).write_all(b"abc").unwrap();
    let mut chunk = block_on(connection.read_async()).unwrap().unwrap();
    chunk.advance(1);
    let rest = chunk.to_vec();
    connection.unread(chunk);
    let lent = connection.lend(false).unwrap();
    assert_eq!(lent.received(), rest);
}

#[test]
fn a_limit_of_connections_makes_others_wait() {
    let server = Server::echo();
    let client = builder().option("endpoint.max_connections", 1).build().unwrap();
    let endpoint = client.endpoint(server.tcp()).open().unwrap();
    let first = endpoint.connect().unwrap();
    let waiting = endpoint.connect_async();
    first.release();
    assert!(block_on(waiting).unwrap().is_reused());
    let held = endpoint.connect().unwrap();
    let hasty = client.endpoint(server.tcp()).option("queue.timeout", "20ms").open().unwrap();
    let error = hasty.connect().unwrap_err();
    assert_eq!((error.name().as_str(), error.kind()), ("E_QUEUE_TIMEOUT", ErrorKind::Limit));
    drop(held);
    // A wait that is dropped takes its place in the line away.
    let held = endpoint.connect().unwrap();
    drop(endpoint.connect_async());
    let waiting = endpoint.connect_async();
    held.release();
    assert!(block_on(waiting).unwrap().is_reused());
}
