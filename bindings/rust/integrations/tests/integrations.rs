//! Programs of tokio, tower, http and log, on a client.
#![cfg(all(feature = "http", feature = "log", feature = "tokio", feature = "tower"))]

#[path = "../../conpool/tests/support/mod.rs"]
mod support;

use conpool::{Body, Client, ErrorKind, Level};
use conpool_integrations::{
    http as with_http, log as with_log, tokio as with_tokio, tower as with_tower,
};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use support::{client, eventually, stat, After, ClosedPort, Server};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tower::{ServiceBuilder, ServiceExt};

const ANSWER: &[u8] = b"HTTP/1.1 201 Made\r\nX-A: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n";

fn request(url: &str) -> http::Request<&'static str> {
    http::Request::post(url).header("x-one", "1").header("x-one", "2").body("a body").unwrap()
}

fn check_head<T>(response: &http::Response<T>) {
    assert_eq!((response.status().as_u16(), response.version()), (201, http::Version::HTTP_11));
    assert_eq!(response.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn types_of_http() {
    let server = Server::answering(ANSWER, After::Stay);
    let client = client();
    let response = with_http::send(&client, request(&server.url("/"))).await.unwrap();
    check_head(&response);
    assert_eq!(response.body().as_ref(), b"hello");
    assert_eq!(response.body().trailers().get("x-sum"), Some(&b"7"[..]));
    let url = server.url("/");
    let blocking =
        tokio::task::spawn_blocking(move || with_http::send_blocking(&client, request(&url)));
    check_head(&blocking.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_request_goes_out_whole() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let server = Server::start(move |mut stream| {
        if let Some(request) = support::read_request(&mut stream) {
            tell.lock().unwrap().send(String::from_utf8(request).unwrap()).unwrap();
        }
    });
    let client = client();
    // Like every call of conpool it runs from the moment it was made.
    let call = with_http::send(&client, request(&server.url("/a?b")));
    let sent = told.recv_timeout(support::LONG).unwrap().to_lowercase();
    assert!(sent.starts_with("post /a?b http/1.1\r\n"), "{sent}");
    assert!(sent.contains("x-one: 1\r\nx-one: 2\r\n") && sent.ends_with("a body"), "{sent}");
    tokio::spawn(call).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn tokio_reads_and_writes_a_lease() {
    let server = Server::echo();
    let client = client();
    let lease = client.connect_async(server.tcp()).await.unwrap();
    let mut stream = with_tokio::Stream::from(lease);
    stream.write_all(b"one\ntwo\n").await.unwrap();
    stream.flush().await.unwrap();
    {
        let mut lines = BufReader::with_capacity(3, &mut stream).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "one");
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "two");
    }
    assert_eq!(stream.connection().address(), server.address.to_string());
    stream.release().await.unwrap();
    let lease = client.connect_async(server.tcp()).await.unwrap();
    assert!(lease.is_reused());

    // Both directions at once, more than any buffer holds.
    let data: Arc<Vec<u8>> = Arc::new((0..5_000_000u32).map(|i| (i % 251) as u8).collect());
    let (mut reader, mut writer) = tokio::io::split(with_tokio::Stream::new(lease));
    let sent = data.clone();
    let upload = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
        assert!(writer.write(b"more").await.is_err());
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.unwrap();
    upload.await.unwrap();
    assert!(received == *data);
}

#[tokio::test]
async fn a_stream_that_is_closed_is_no_failure() {
    let server = Server::echo();
    let client = client();
    for _ in 0..60 {
        // No circuit breaker opens by it.
        let lease = client.connect_async(server.tcp()).await.unwrap();
        let mut stream = with_tokio::Stream::new(lease);
        stream.write_all(b"ping").await.unwrap();
        let mut byte = [0; 4];
        stream.read_exact(&mut byte).await.unwrap();
        let read = tokio::time::timeout(Duration::ZERO, stream.read(&mut byte)).await;
        assert!(read.is_err());
        stream.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_read_that_tokio_gives_up_loses_nothing() {
    let server = Server::echo();
    let lease = client().connect_async(server.tcp()).await.unwrap();
    let mut stream = with_tokio::Stream::new(lease);
    let mut buffer = [0; 10];
    for _ in 0..20 {
        let read = stream.read(&mut buffer);
        assert!(tokio::time::timeout(Duration::from_millis(1), read).await.is_err());
    }
    stream.write_all(b"still here").await.unwrap();
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_on_tokio() {
    let server = Server::hello();
    let client = client();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (client, url) = (client.clone(), server.url("/"));
            tokio::spawn(async move { client.get(url).send_async().await.unwrap().text().len() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 5);
    }
}

#[tokio::test]
async fn tokio_cancels() {
    let server = Server::silent();
    let client = client();
    let call = client.get(server.url("/")).send_async();
    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    let task = tokio::spawn(client.get(server.url("/")).send_async());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    eventually("both to end", || stat(&client, "pool.requests.running") == 0.0);
}

#[tokio::test]
async fn a_tower_of_layers() {
    let server = Server::answering(ANSWER, After::Stay);
    let silent = Server::silent();
    let service = ServiceBuilder::new()
        .buffer::<http::Request<String>>(16)
        .concurrency_limit(4)
        .timeout(Duration::from_secs(20))
        .service(with_tower::HttpService::new(client()));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (service, message) = (service.clone(), request(&server.url("/")));
            let message = message.map(str::to_owned);
            tokio::spawn(async move { service.oneshot(message).await })
        })
        .collect();
    for call in calls {
        let response = call.await.unwrap().unwrap();
        check_head(&response);
        let whole = response.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-sum"], "7");
        assert_eq!(whole.to_bytes(), "hello");
    }
    let hasty = ServiceBuilder::new()
        .timeout(Duration::from_millis(20))
        .service(with_tower::HttpService::new(client()));
    let late = hasty.oneshot(request(&silent.url("/"))).await;
    assert!(late.unwrap_err().is::<tower::timeout::error::Elapsed>());
    let plain = with_tower::HttpService::new(client());
    let body = http::Request::put(server.url("/")).body(Body::reader(&b"read"[..], None)).unwrap();
    check_head(&plain.clone().oneshot(body).await.unwrap());
    let closed = ClosedPort::new();
    let bad = http::Request::get(closed.url()).body("").unwrap();
    let error = plain.oneshot(bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn a_body_that_tower_drops_cancels() {
    let answer =
        [&b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"[..], &[b'x'; 5_000_000]].concat();
    let server = Server::answering(&answer, After::Stay);
    let client = client();
    let service = with_tower::HttpService::new(client.clone());
    let mut response = service.oneshot(request(&server.url("/"))).await.unwrap();
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert!(!frame.into_data().unwrap().as_ref().is_empty());
    drop(response);
    eventually("it to end", || stat(&client, "pool.requests.running") == 0.0);
}

/// What went to the program's log.
struct Kept(std::sync::Mutex<Vec<String>>);

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn log_in_both_directions() {
    let client = Client::builder().option("events.level", "debug").build().unwrap();
    let server = Server::hello();
    let recorder = with_log::Recorder::new(client.clone());
    let mut follower = client.follow().unwrap();
    let mut kept = client.follow().unwrap();
    let note = |level, target: &str, words: &str| {
        let builder = &mut log::Record::builder();
        let builder = builder.level(level).target(target);
        log::Log::log(&recorder, &builder.args(format_args!("{words}")).build());
    };
    note(log::Level::Warn, "shop::cart", "seven left");
    note(log::Level::Trace, "a very odd/target of more than thirty-two letters", "x");
    note(log::Level::Error, "", "y");
    note(log::Level::Info, "shop", "z");
    log::Log::flush(&recorder);
    client.get(server.url("/")).send().unwrap();
    let (records, _) = kept.read().unwrap();
    let app: Vec<_> = records.iter().filter(|record| record.name().starts_with("app.")).collect();
    assert_eq!(app.len(), 4);
    assert!(app[0].name().ends_with("shop.cart") && app[0].level() == Level::Warning);
    assert_eq!(app[0].facts().text("text").unwrap(), "seven left");
    assert!(
        app[1].name().ends_with("more_than_thirty-two_letters") && app[1].level() == Level::Debug
    );
    assert!(app[2].name().ends_with("log") && app[2].level() == Level::Error);

    static LOG: Kept = Kept(std::sync::Mutex::new(Vec::new()));
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    assert_eq!(with_log::forward(&mut follower).unwrap(), 0);
    let lines = LOG.0.lock().unwrap();
    let opened = lines.iter().find(|line| line.starts_with("INFO conpool connection.opened {"));
    assert!(opened.is_some(), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("app.")), "{lines:?}");
}
