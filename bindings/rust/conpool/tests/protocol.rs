//! The protocol table: each answer of a server has one outcome, in every form of a call.

mod support;

use conpool::{block_on, Client, Error, Response};
use support::{builder, verdict, After, ClosedPort, Server};

/// What an answer must come to.
enum Expected {
    /// Status, body, trailers.
    Done(u16, &'static [u8], &'static [(&'static str, &'static str)]),
    /// Name, kind, phase and proof of the error.
    Failed(&'static str),
}

struct Case {
    name: &'static str,
    method: &'static str,
    answer: &'static [u8],
    after: After,
    expected: Expected,
}

use Expected::{Done, Failed};

const fn case(
    name: &'static str,
    method: &'static str,
    answer: &'static [u8],
    after: After,
    expected: Expected,
) -> Case {
    Case { name, method, answer, after, expected }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("content-length", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", After::Stay, Done(200, b"hello", &[])),
    case("an empty body", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", After::Stay, Done(200, b"", &[])),
    case("a status that is no success", "GET", b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", After::Stay, Done(404, b"gone", &[])),
    case("a server's error", "GET", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", After::Stay, Done(503, b"", &[])),
    case("a status nobody defined", "GET", b"HTTP/1.1 599 What\r\nContent-Length: 0\r\n\r\n", After::Stay, Done(599, b"", &[])),
    case("chunked", "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n", After::Stay, Done(200, b"abcdefg", &[])),
    case("trailers", "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 97\r\nX-More: b\r\n\r\n", After::Stay, Done(200, b"a", &[("x-sum", "97"), ("x-more", "b")])),
    case("until the close", "GET", b"HTTP/1.1 200 OK\r\n\r\nto the end", After::Close, Done(200, b"to the end", &[])),
    case("HTTP/1.0", "GET", b"HTTP/1.0 200 OK\r\n\r\nold", After::Close, Done(200, b"old", &[])),
    case("HEAD", "HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", After::Stay, Done(200, b"", &[])),
    case("204", "GET", b"HTTP/1.1 204 No Content\r\n\r\n", After::Stay, Done(204, b"", &[])),
    case("304", "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", After::Stay, Done(304, b"", &[])),
    case("interim responses", "GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", After::Stay, Done(200, b"ok", &[])),
    case("truncated by length", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", After::Close, Failed("E_HTTP_TRUNCATED Http Receive MaybeProcessed")),
    case("truncated in a chunk", "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", After::Close, Failed("E_HTTP_TRUNCATED Http Receive MaybeProcessed")),
    case("truncated in the head", "GET", b"HTTP/1.1 200 OK\r\nContent-Le", After::Close, Failed("E_HTTP_TRUNCATED Http Receive MaybeProcessed")),
    case("no status line", "GET", b"this is no answer\r\n\r\n", After::Close, Failed("E_HTTP_MALFORMED Http Receive MaybeProcessed")),
    case("a header without a colon", "GET", b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", After::Close, Failed("E_HTTP_MALFORMED Http Receive MaybeProcessed")),
    case("two lengths", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", After::Close, Failed("E_HTTP_MALFORMED Http Receive MaybeProcessed")),
    case("a chunk size that is none", "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", After::Close, Failed("E_HTTP_MALFORMED Http Receive MaybeProcessed")),
    case("closed before a response", "GET", b"", After::Close, Failed("E_HTTP_NO_RESPONSE Http Receive MaybeProcessed")),
    case("reset before a response", "GET", b"", After::Reset, Failed("E_HTTP_NO_RESPONSE Http Receive MaybeProcessed")),
    case("switched protocols", "GET", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", After::Close, Failed("E_HTTP_UPGRADED Http Receive MaybeProcessed")),
];

type Outcome = Result<(u16, Vec<u8>, Vec<(String, String)>), String>;

fn trailers_of(response: &Response) -> Vec<(String, String)> {
    let lines = response.trailers();
    assert_eq!(lines.iter().count(), lines.len());
    let line = |(name, value): (&str, &[u8])| {
        (name.to_lowercase(), String::from_utf8(value.to_vec()).unwrap())
    };
    lines.iter().map(line).collect()
}

fn whole(result: Result<Response, Error>) -> Outcome {
    let response = result.map_err(|error| verdict(&error))?;
    Ok((response.status(), response.body().to_vec(), trailers_of(&response)))
}

fn blocking_stream(client: &Client, method: &str, url: &str) -> Outcome {
    let failed = |error: Error| verdict(&error);
    let mut exchange = client.request(method, url).stream().map_err(failed)?;
    let status = exchange.head().map_err(failed)?.status();
    let mut body = Vec::new();
    for chunk in &mut exchange {
        body.extend_from_slice(&chunk.map_err(failed)?);
    }
    Ok((status, body, exchange.trailers().map_or(Vec::new(), trailers_of)))
}

async fn async_stream(client: &Client, method: &str, url: &str) -> Outcome {
    let failed = |error: Error| verdict(&error);
    let mut exchange = client.request(method, url).stream_async().map_err(failed)?;
    let status = exchange.head().await.map_err(failed)?.status();
    let mut body = Vec::new();
    while let Some(chunk) = exchange.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
    }
    Ok((status, body, exchange.trailers().map_or(Vec::new(), trailers_of)))
}

#[test]
fn every_form_has_the_same_outcome() {
    let client = support::client();
    for case in CASES {
        let server = Server::answering(case.answer, case.after);
        let url = server.url("/");
        let expected: Outcome = match case.expected {
            Done(status, body, trailers) => {
                let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
                Ok((status, body.to_vec(), trailers.iter().map(own).collect()))
            }
            Failed(verdict) => Err(verdict.to_owned()),
        };
        let request = || client.request(case.method, &url);
        assert_eq!(whole(request().send()), expected, "{}: send", case.name);
        assert_eq!(whole(block_on(request().send_async())), expected, "{}: send_async", case.name);
        let streamed = blocking_stream(&client, case.method, &url);
        assert_eq!(streamed, expected, "{}: stream", case.name);
        let streamed = block_on(async_stream(&client, case.method, &url));
        assert_eq!(streamed, expected, "{}: stream_async", case.name);
    }
}

#[test]
fn a_header_beyond_the_limit() {
    let mut answer = b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec();
    answer.extend([b'x'; 2000]);
    answer.extend(b"\r\nContent-Length: 0\r\n\r\n");
    let server = Server::answering(&answer, After::Close);
    let client = builder().option("response.max_header", 1024).build().unwrap();
    let expected = Err("E_HTTP_HEADER_LIMIT Http Receive MaybeProcessed".to_owned());
    assert_eq!(whole(client.get(server.url("/")).send()), expected);
    assert_eq!(whole(block_on(client.get(server.url("/")).send_async())), expected);
    assert_eq!(blocking_stream(&client, "GET", &server.url("/")), expected);
    assert_eq!(block_on(async_stream(&client, "GET", &server.url("/"))), expected);
}

#[test]
fn a_body_beyond_the_limit() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n";
    let server = Server::answering(&[&answer[..], &[b'x'; 2000]].concat(), After::Close);
    let client = builder().option("response.max_body", 1000).build().unwrap();
    let expected = Err("E_HTTP_BODY_LIMIT Http Receive MaybeProcessed".to_owned());
    assert_eq!(whole(client.get(server.url("/")).send()), expected);
    assert_eq!(whole(block_on(client.get(server.url("/")).send_async())), expected);
    // Taken in parts, nothing has to be kept: there is no limit.
    assert_eq!(blocking_stream(&client, "GET", &server.url("/")).unwrap().1.len(), 2000);
}

#[test]
fn nobody_listens() {
    let closed = ClosedPort::new();
    let url = closed.url();
    let client = builder().build().unwrap();
    let expected = Err("E_CONNECT_REFUSED Connect Connect NeverSent".to_owned());
    assert_eq!(whole(client.get(&url).send()), expected);
    assert_eq!(whole(block_on(client.get(&url).send_async())), expected);
    assert_eq!(blocking_stream(&client, "GET", &url), expected);
    assert_eq!(block_on(async_stream(&client, "GET", &url)), expected);
}

#[test]
fn interim_responses_are_kept() {
    let answer =
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let server = Server::answering(answer, After::Stay);
    let client = support::client();
    let mut exchange = client.get(server.url("/")).stream().unwrap();
    assert_eq!(exchange.head().unwrap().status(), 200);
    assert_eq!(exchange.interim().len(), 1);
    assert_eq!(exchange.interim()[0].status(), 103);
    assert_eq!(exchange.interim()[0].header("link"), Some("a"));
    assert!(exchange.chunk().unwrap().is_none());
    assert_eq!(exchange.end().unwrap().facts().unwrap().number("sends"), Some(1));
}
