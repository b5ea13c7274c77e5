//! Bodies in both directions: files, readers, pieces; chunks that hold the server back.

mod support;

use conpool::{block_on, sys, Body, ErrorKind, Phase, Proof};
use std::error::Error as _;
use std::io::{self, Read, Write};
use std::sync::{mpsc, Arc, Mutex};
use support::{builder, client, eventually, read_request, After, ClosedPort, Server};

/// Answers each request with its own body, whatever its coding.
fn body_echo() -> Server {
    Server::start(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let at = request.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
            let chunked =
                String::from_utf8_lossy(&request[..at]).to_lowercase().contains("chunked");
            let body = if chunked { unchunked(&request[at..]) } else { request[at..].to_vec() };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
        }
    })
}

fn unchunked(mut coded: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = coded.windows(2).position(|part| part == b"\r\n").unwrap();
        let size = std::str::from_utf8(&coded[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&coded[line + 2..line + 2 + size]);
        coded = &coded[line + 4 + size..];
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

#[test]
fn bodies_from_memory_and_files() {
    let server = body_echo();
    let client = client();
    let put = || client.put(server.url("/"));
    assert_eq!(put().body("text").send().unwrap().text(), "text");
    assert_eq!(put().body("text".to_owned()).send().unwrap().text(), "text");
    assert_eq!(put().body(vec![1, 2]).send().unwrap().body(), [1, 2]);
    assert_eq!(put().body(b"ab").send().unwrap().text(), "ab");
    assert_eq!(put().body(Body::of(Arc::<[u8]>::from(vec![7, 8]))).send().unwrap().body(), [7, 8]);
    assert_eq!(put().body(Body::empty()).send().unwrap().body(), b"");
    assert_eq!(
        block_on(put().body(pattern(300_000)).send_async()).unwrap().body(),
        pattern(300_000)
    );
    let path = std::env::temp_dir().join(format!("conpool-body-{}", std::process::id()));
    std::fs::write(&path, pattern(200_000)).unwrap();
    let open = || std::fs::File::open(&path).unwrap();
    let whole = put().body(open()).send().unwrap();
    assert_eq!(whole.body(), pattern(200_000));
    let part = block_on(put().body(Body::file(open(), 1000, Some(5000))).send_async()).unwrap();
    assert_eq!(part.body(), &pattern(200_000)[1000..6000]);
    let beyond = put().body(Body::file(open(), 300_000, Some(1))).send().unwrap_err();
    assert_eq!(beyond.name(), "E_BAD_BODY");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_body_from_a_reader() {
    let server = body_echo();
    let client = client();
    for size in [None, Some(200_000)] {
        let put = || {
            client.put(server.url("/")).body(Body::reader(io::Cursor::new(pattern(200_000)), size))
        };
        assert_eq!(put().send().unwrap().body(), pattern(200_000));
        assert_eq!(block_on(put().send_async()).unwrap().body(), pattern(200_000));
        let mut received = Vec::new();
        put().stream().unwrap().read_to_end(&mut received).unwrap();
        assert_eq!(received, pattern(200_000));
    }
    let request =
        client.put(server.url("/")).body(Body::reader(&b"once"[..], None)).build().unwrap();
    assert_eq!(request.send().unwrap().text(), "once");
    assert_eq!(request.send().unwrap_err().name(), "E_WRONG_STATE");
    assert_eq!(block_on(request.send_async()).unwrap_err().name(), "E_WRONG_STATE");
}

#[test]
fn a_reader_is_kept_when_the_request_does_not_start() {
    let (server, silent) = (body_echo(), Server::silent());
    let client = builder().option("pool.max_ops", 2).build().unwrap();
    let others: Vec<_> = (0..2).map(|_| client.get(silent.url("/")).send_async()).collect();
    let request =
        client.put(server.url("/")).body(Body::reader(&b"once"[..], None)).build().unwrap();
    assert_eq!(request.send().unwrap_err().name(), "E_OPS_LIMIT");
    assert_eq!(block_on(request.send_async()).unwrap_err().name(), "E_OPS_LIMIT");
    assert_eq!(request.stream().unwrap_err().name(), "E_OPS_LIMIT");
    drop(others);
    eventually("the others to end", || support::stat(&client, "pool.ops.running") == 0.0);
    assert_eq!(request.send().unwrap().text(), "once");
}

#[test]
fn a_reader_without_a_place_for_its_pieces_ends_the_request() {
    // The request takes the only place of an op, and no piece can be written.
    let (server, client) = (Server::silent(), builder().option("pool.max_ops", 1).build().unwrap());
    let put = || client.put(server.url("/")).body(Body::reader(&b"a body"[..], None));
    for error in [put().send().unwrap_err(), block_on(put().send_async()).unwrap_err()] {
        assert_eq!(error.name(), "E_HTTP_BODY_SOURCE");
        assert!(error.source().unwrap().to_string().contains("too many ops"), "{error}");
    }
}

/// Gives some bytes, then fails.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {
            0 => Err(io::Error::new(io::ErrorKind::Other, "the tape tore")),
            1 => {
                self.0 = 0;
                Err(io::ErrorKind::Interrupted.into())
            }
            left => {
                self.0 = 1;
                Ok((&b"some bytes"[..]).read(&mut buffer[..left])?)
            }
        }
    }
}

#[test]
fn a_reader_that_fails_is_the_source_of_the_error() {
    let server = body_echo();
    let client = client();
    let put = || client.put(server.url("/")).body(Body::reader(Failing(5), None));
    for error in [put().send().unwrap_err(), block_on(put().send_async()).unwrap_err()] {
        assert_eq!(error.name(), "E_HTTP_BODY_SOURCE");
        assert_eq!(error.source().unwrap().to_string(), "the tape tore");
    }
    let error = put().stream().unwrap().head().unwrap_err();
    assert_eq!(error.name(), "E_HTTP_BODY_SOURCE");
}

struct Panicking;

impl Read for Panicking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("the tape burns")
    }
}

#[test]
fn a_reader_that_panics_ends_its_request() {
    // Never answers: only the end of the body ends the request.
    let server = Server::silent();
    let client = client();
    let put = || client.put(server.url("/")).body(Body::reader(Panicking, None));
    let error = block_on(put().send_async()).unwrap_err();
    assert_eq!(error.name(), "E_HTTP_BODY_SOURCE");
    assert_eq!(error.source().unwrap().to_string(), "the reader panicked");
    let error = put().stream().unwrap().head().unwrap_err();
    assert!(error.to_string().ends_with("the reader panicked"), "{error}");
    // On the caller's own thread the panic goes on, once the request has ended.
    let sent = || put().send().map(drop);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(sent)).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the tape burns"));
    assert_eq!(support::stat(&client, "pool.requests.running"), 0.0);
}

/// Tells of more than it was asked for.
struct Boasting;

impl Read for Boasting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(buffer.len() + 1)
    }
}

#[test]
fn a_reader_that_tells_of_too_much_ends_its_request() {
    let server = Server::silent();
    let client = client();
    let put = || client.put(server.url("/")).body(Body::reader(Boasting, None));
    assert_eq!(block_on(put().send_async()).unwrap_err().name(), "E_HTTP_BODY_SOURCE");
    let sent = || put().send().map(drop);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(sent)).is_err());
    assert_eq!(support::stat(&client, "pool.requests.running"), 0.0);
}

#[test]
fn what_failed_first_stays_known_when_the_reader_fails_too() {
    struct Late(mpsc::Receiver<()>, Arc<()>);
    impl Read for Late {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            let (_, _alive) = (self.0.recv(), &self.1);
            Err(io::Error::new(io::ErrorKind::Other, "too late"))
        }
    }
    let (closed, client) = (ClosedPort::new(), client());
    let (alive, (end, ended)) = (Arc::new(()), mpsc::channel());
    let body = Body::reader(Late(ended, alive.clone()), None);
    let call = client.put(closed.url()).body(body).send_async();
    eventually("it to fail", || support::stat(&client, "pool.requests.failed") == 1.0);
    drop(end);
    eventually("the reader to fail", || Arc::strong_count(&alive) == 1);
    let error = block_on(call).unwrap_err();
    assert_eq!((error.name().as_str(), error.phase()), ("E_HTTP_BODY_SOURCE", Phase::Connect));
    assert_eq!((error.proof(), error.attempts().len()), (Proof::NeverSent, 1), "{error}");
}

#[test]
fn a_reader_that_gives_another_length() {
    let server = body_echo();
    let client = client();
    for size in [3, 30] {
        let body = Body::reader(&b"ten bytes."[..], Some(size));
        let error = client.put(server.url("/")).body(body).send().unwrap_err();
        assert_eq!(error.name(), "E_HTTP_BODY_SOURCE", "{error}");
    }
}

#[test]
fn pieces_while_the_response_comes() {
    let server = body_echo();
    let client = client();
    let mut exchange = client.put(server.url("/")).body(Body::pieces(None)).stream().unwrap();
    let mut writer = exchange.body_writer().unwrap();
    assert!(exchange.body_writer().is_none());
    for piece in pattern(500_000).chunks(70_000) {
        writer.write_all(piece).unwrap();
    }
    assert_eq!(writer.write(&[]).unwrap(), 0);
    writer.flush().unwrap();
    writer.finish().unwrap();
    assert_eq!(exchange.head().unwrap().status(), 200);
    let mut received = Vec::new();
    for chunk in &mut exchange {
        received.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(received, pattern(500_000));
    assert!(exchange.end().unwrap().facts().unwrap().number("body_sent").unwrap() >= 500_000);
}

#[test]
fn pieces_as_futures() {
    let server = body_echo();
    let client = client();
    block_on(async {
        let request = client.put(server.url("/")).body(Body::pieces(Some(6)));
        let mut exchange = request.stream_async().unwrap();
        let mut writer = exchange.body_writer().unwrap();
        assert_eq!(writer.write_async("abc").await.unwrap(), 3);
        assert_eq!(writer.write_async(vec![b'd', b'e', b'f']).await.unwrap(), 3);
        // The announced length was reached: dropping the writer cancels nothing.
        drop(writer);
        assert_eq!(exchange.head().await.unwrap().header("content-length"), Some("6"));
        assert_eq!(&*exchange.chunk().await.unwrap().unwrap(), b"abcdef");
        assert!(exchange.chunk().await.unwrap().is_none());
        assert!(exchange.chunk().await.unwrap().is_none());

        let request = client.put(server.url("/")).body(Body::pieces(None));
        let mut exchange = request.stream_async().unwrap();
        let mut writer = exchange.body_writer().unwrap();
        writer.write_async("xy").await.unwrap();
        writer.finish_async().await.unwrap();
        assert_eq!(&*exchange.chunk().await.unwrap().unwrap(), b"xy");
    });
}

#[test]
fn a_complete_body_is_finished_also_after_the_response() {
    let (server, client) = (Server::hello(), client());
    let put = || client.put(server.url("/")).body(Body::pieces(Some(5)));
    let mut exchange = put().stream().unwrap();
    let mut writer = exchange.body_writer().unwrap();
    writer.write_all(b"abcde").unwrap();
    exchange.read_to_string(&mut String::new()).unwrap();
    writer.finish().unwrap();
    block_on(async {
        let mut exchange = put().stream_async().unwrap();
        let mut writer = exchange.body_writer().unwrap();
        assert_eq!(writer.write_async("abcde").await.unwrap(), 5);
        while exchange.chunk().await.unwrap().is_some() {}
        let mut finish = writer.finish_async();
        assert_eq!((&mut finish).await.unwrap(), 0);
        assert_eq!(finish.await.unwrap_err().name(), "E_STALE");
    });
}

#[test]
fn a_response_before_the_whole_body_ends_the_writing() {
    let server = Server::start(|mut stream| {
        let (mut head, mut byte) = (Vec::new(), [0; 1]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
        while let Ok(1..) = stream.read(&mut [0; 4096]) {}
    });
    let client = client();
    for size in [None, Some(1 << 30)] {
        let put = || client.put(server.url("/")).body(Body::pieces(size));
        let mut exchange = put().stream().unwrap();
        let mut writer = exchange.body_writer().unwrap();
        let mut text = String::new();
        exchange.read_to_string(&mut text).unwrap();
        assert_eq!((exchange.head().unwrap().status(), text.as_str()), (413, "big"));
        let error = writer.write(b"more").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        let own = error.into_inner().unwrap().downcast::<conpool::Error>().unwrap();
        assert_eq!((own.kind(), own.proof()), (ErrorKind::Cancelled, Proof::MaybeProcessed));
        assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Cancelled);
        block_on(async {
            let mut exchange = put().stream_async().unwrap();
            let mut writer = exchange.body_writer().unwrap();
            while exchange.chunk().await.unwrap().is_some() {}
            let error = writer.write_async("more").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert_eq!(writer.finish_async().await.unwrap_err().kind(), ErrorKind::Cancelled);
        });
    }
}

#[test]
fn a_writer_that_is_dropped_cancels() {
    let server = body_echo();
    let client = client();
    let mut exchange = client.put(server.url("/")).body(Body::pieces(None)).stream().unwrap();
    let mut writer = exchange.body_writer().unwrap();
    writer.write_all(b"half of it").unwrap();
    drop(writer);
    assert_eq!(exchange.head().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(exchange.chunk().unwrap().is_none());
    // The other way round: the writer learns that the request is over.
    let mut exchange = client.put(server.url("/")).body(Body::pieces(None)).stream().unwrap();
    let mut writer = exchange.body_writer().unwrap();
    drop(exchange);
    eventually("the write to fail", || writer.write_all(b"x").is_err());
}

#[test]
fn a_body_that_is_finished_too_early_cancels() {
    let server = Server::silent();
    let client = client();
    let put = || client.put(server.url("/")).body(Body::pieces(Some(10)));
    let mut exchange = put().stream().unwrap();
    let mut writer = exchange.body_writer().unwrap();
    writer.write_all(b"hello").unwrap();
    assert_eq!(writer.finish().unwrap_err().name(), "E_HTTP_BODY_LENGTH");
    assert_eq!(exchange.head().unwrap_err().kind(), ErrorKind::Cancelled);
    let mut exchange = put().stream_async().unwrap();
    let mut writer = exchange.body_writer().unwrap();
    assert_eq!(block_on(writer.write_async("hello")).unwrap(), 5);
    assert_eq!(block_on(writer.finish_async()).unwrap_err().name(), "E_HTTP_BODY_LENGTH");
    assert_eq!(block_on(exchange.head()).unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn pieces_need_an_exchange() {
    let client = client();
    let request = client.put("http://127.0.0.1:1/").body(Body::pieces(None)).build().unwrap();
    assert_eq!(request.send().unwrap_err().code(), sys::CONPOOL_E_WRONG_STATE);
    let error = block_on(request.send_async()).unwrap_err();
    assert!(error.to_string().contains("stream_async()"), "{error}");
}

#[test]
fn chunks_hold_the_server_back() {
    const ALL: usize = 64 << 20;
    let (accepted, streams) = mpsc::channel();
    let accepted = Mutex::new(accepted);
    let server = Server::start(move |mut stream| {
        if read_request(&mut stream).is_some() {
            accepted.lock().unwrap().send(stream).unwrap();
        }
    });
    let (other, client) = (Server::hello(), client());
    let mut exchange = client.get(server.url("/")).stream().unwrap();
    let mut stream = streams.recv_timeout(support::LONG).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\nfirst");
    stream.write_all(head.as_bytes()).unwrap();
    let first = exchange.chunk().unwrap().unwrap();
    // It goes on until every buffer is full: nothing more fits after many turns of the loop, each
    // of which reads what may be read. Another request is such turns.
    let (block, mut sent, mut refused) = (vec![7; 65536], first.len(), 0);
    stream.set_nonblocking(true).unwrap();
    while refused < 50 && sent < ALL {
        match stream.write(&block[..block.len().min(ALL - sent)]) {
            Ok(size) => {
                sent += size;
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                refused += 1;
                assert_eq!(client.get(other.url("/")).send().unwrap().text(), "hello");
            }
        }
    }
    assert!(sent < ALL, "nothing held it back");
    stream.set_nonblocking(false).unwrap();
    let rest = std::thread::spawn(move || stream.write_all(&vec![7; ALL - sent]));
    let mut received = first.len();
    drop(first);
    let mut buffer = vec![0; 100_000];
    loop {
        match exchange.read(&mut buffer).unwrap() {
            0 => break,
            size => received += size,
        }
        assert_eq!(exchange.read(&mut []).unwrap(), 0);
    }
    assert_eq!(received, ALL);
    rest.join().unwrap().unwrap();
}

#[test]
fn reading_in_small_steps_and_iterating_mix() {
    let server =
        Server::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", After::Stay);
    let mut exchange = client().get(server.url("/")).stream().unwrap();
    let mut three = [0; 3];
    exchange.read_exact(&mut three).unwrap();
    assert_eq!(&three, b"012");
    let mut rest = exchange.chunk().unwrap().unwrap();
    rest.advance(2);
    assert_eq!(&*rest, b"56789");
    assert!(exchange.chunk().unwrap().is_none());
}

#[test]
fn a_body_that_breaks_off_never_ends() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello";
    let server = Server::answering(half, After::Close);
    let mut exchange = client().get(server.url("/")).stream().unwrap();
    let mut text = String::new();
    for _ in 0..3 {
        let error = exchange.read_to_string(&mut text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let own = error.into_inner().unwrap().downcast::<conpool::Error>().unwrap();
        assert_eq!(own.name(), "E_HTTP_TRUNCATED");
    }
    // Those who iterate get it once.
    assert!(exchange.chunks().next().is_none());
}

#[test]
fn an_exchange_without_a_head_has_no_empty_body() {
    let closed = ClosedPort::new();
    let mut exchange = client().get(closed.url()).stream().unwrap();
    for _ in 0..2 {
        assert_eq!(exchange.head().unwrap_err().name(), "E_CONNECT_REFUSED");
        let error = exchange.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_request_that_waits_for_100() {
    let (told, tell) = (Mutex::new(None), mpsc::channel());
    *told.lock().unwrap() = Some(tell.0);
    let server = Server::start(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        told.lock().unwrap().take().unwrap().send(body).unwrap();
    });
    let client = builder().option("expect.timeout", support::LONG).build().unwrap();
    let request = client.put(server.url("/")).header("expect", "100-continue").body("late");
    assert_eq!(request.send().unwrap().status(), 200);
    assert_eq!(&tell.1.recv_timeout(support::LONG).unwrap(), b"late");
}

#[test]
fn dropping_an_exchange_costs_nobody_else() {
    let server = Server::hello();
    let client = client();
    for _ in 0..20 {
        drop(client.get(server.url("/")).stream().unwrap());
        drop(client.get(server.url("/")).stream_async().unwrap());
        drop(client.get(server.url("/")).send_async());
        assert_eq!(client.get(server.url("/")).send().unwrap().text(), "hello");
    }
    eventually("all to end", || support::stat(&client, "pool.requests.running") == 0.0);
}
