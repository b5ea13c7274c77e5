//! Clients, endpoints, requests, errors and readouts.

mod support;

use conpool::{block_on, sys, Client, Error, ErrorKind, Level, Phase, Proof, Version};
use std::error::Error as _;
use std::io;
use std::sync::mpsc;
use std::time::Duration;
use support::{builder, client, read_request, stat, After, ClosedPort, Server, LONG};

fn requests_of(server_answer: &'static [u8]) -> (Server, mpsc::Receiver<String>) {
    use std::io::Write;
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let server = Server::start(move |mut stream| {
        let tell = tell.lock().unwrap().clone();
        while let Some(request) = read_request(&mut stream) {
            let _ = tell.send(String::from_utf8(request).unwrap());
            if stream.write_all(server_answer).is_err() {
                return;
            }
        }
    });
    (server, told)
}

const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_request_goes_out_as_built() {
    let (server, told) = requests_of(EMPTY);
    let client = client();
    let url = server.url("/a?b=c");
    client.post(&url).header("X-One", "1").header("x-one", b"2").body("text").send().unwrap();
    let sent = told.recv_timeout(LONG).unwrap();
    assert!(sent.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{sent}");
    assert!(
        sent.contains(&format!("\r\nhost: {}\r\n", server.address).replace("host", "Host")),
        "{sent}"
    );
    let lower = sent.to_lowercase();
    assert!(lower.contains("\r\nx-one: 1\r\nx-one: 2\r\n"), "{sent}");
    assert!(
        lower.contains("\r\ncontent-length: 4\r\n") && sent.ends_with("\r\n\r\ntext"),
        "{sent}"
    );
    for (method, request) in [
        ("GET", client.get(&url)),
        ("HEAD", client.head(&url)),
        ("PUT", client.put(&url)),
        ("DELETE", client.delete(&url)),
        ("REPORT", client.request("REPORT", &url)),
    ] {
        block_on(request.send_async()).unwrap();
        let sent = told.recv_timeout(LONG).unwrap();
        assert!(sent.starts_with(&format!("{method} /a?b=c ")), "{sent}");
    }
    let request = client.post(&url).body(&b"ab"[..]).trailer("X-Sum", "7").build().unwrap();
    request.send().unwrap();
    let sent = told.recv_timeout(LONG).unwrap().to_lowercase();
    assert!(
        sent.contains("transfer-encoding: chunked") && sent.contains("2\r\nab\r\n0\r\n"),
        "{sent}"
    );
}

#[test]
fn a_response_tells_all() {
    let answer = b"HTTP/1.1 201 Made\r\nX-A: one\r\nx-a: two\r\nContent-Length: 4\r\nX-B: \xff\r\n\r\nb\xffdy";
    let server = Server::answering(answer, After::Stay);
    let client = client();
    let response = client.get(server.url("/")).send().unwrap();
    assert_eq!((response.status(), response.is_success()), (201, true));
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(response.version().to_string(), "HTTP/1.1");
    assert_eq!(response.header("x-A"), Some("one"));
    assert_eq!(response.header("x-b"), None);
    let headers = response.headers();
    assert_eq!(headers.get("X-b"), Some(&b"\xff"[..]));
    assert_eq!(headers.get_all("x-a").collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(headers.get("x-none"), None);
    assert_eq!(headers.get("x\0a"), None);
    assert_eq!((headers.len(), headers.is_empty()), (4, false));
    assert_eq!(headers.iter().nth(1).unwrap().1, b"two");
    assert!(response.trailers().is_empty());
    assert_eq!(response.text(), "b\u{fffd}dy");
    assert_eq!(response.as_ref(), b"b\xffdy");
    let facts = response.facts().unwrap();
    assert_eq!(facts.flag("reused"), Some(false));
    assert_eq!(facts.text("address").unwrap(), server.address.to_string());
    assert!(facts.number("total_ns").unwrap() > 0);
    let again = client.get(server.url("/")).send().unwrap();
    assert_eq!(again.facts().unwrap().flag("reused"), Some(true));
}

#[test]
fn an_endpoint_is_asked_many_times() {
    let server = Server::hello();
    let client = client();
    let by_url = client.endpoint(server.url("")).option("endpoint.max_connections", 3).open();
    let by_host = client.endpoint_of_host("http", "127.0.0.1", &[server.address.port()]).open();
    let by_address = client
        .endpoint_of_addresses("http", &[server.address])
        .option("tls.server_name", "hello.test")
        .open();
    for endpoint in [by_url.unwrap(), by_host.unwrap(), by_address.unwrap()] {
        let request = endpoint.get("/").unwrap();
        for _ in 0..3 {
            assert_eq!(request.send().unwrap().text(), "hello");
            assert_eq!(block_on(request.send_async()).unwrap().text(), "hello");
        }
        let limited = endpoint.request("GET", "/").option("total.timeout", LONG).build().unwrap();
        assert_eq!(limited.clone().send().unwrap().text(), "hello");
        assert!(endpoint.explain().unwrap().contains("127.0.0.1"));
    }
}

#[test]
fn one_request_from_two_threads_at_once() {
    let server = Server::silent();
    let client = client();
    let endpoint = client.endpoint(server.url("")).open().unwrap();
    let plain = endpoint.get("/").unwrap();
    let own = endpoint.request("GET", "/").option("total.timeout", LONG).build().unwrap();
    std::thread::scope(|scope| {
        for request in [&plain, &plain, &own, &own] {
            scope.spawn(move || assert_eq!(request.send().unwrap_err().kind(), ErrorKind::Closed));
        }
        support::eventually("all to run", || stat(&client, "pool.requests.running") == 4.0);
        client.close(Duration::ZERO).unwrap();
    });
}

#[test]
fn connections_are_opened_ahead() {
    let server = Server::hello();
    let client = client();
    let endpoint = client.endpoint(server.tcp()).open().unwrap();
    assert_eq!(endpoint.preconnect(2).unwrap(), 2);
    assert_eq!(block_on(endpoint.preconnect_async(3)).unwrap(), 3);
    support::eventually("three to be accepted", || server.accepted() == 3);
    let lease = endpoint.connect().unwrap();
    assert_eq!(stat(&client, "pool.connections.opened"), 3.0);
    lease.release();
    assert_eq!(endpoint.preconnect(0).unwrap_err().name(), "E_INVALID");
}

#[test]
fn a_breaker_is_forced() {
    let server = Server::hello();
    let endpoint = client().endpoint(server.url("")).open().unwrap();
    endpoint.force_breaker("open").unwrap();
    let error = endpoint.get("/").unwrap().send().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Breaker, None));
    assert!(error.is_safe_to_retry());
    endpoint.force_breaker("auto").unwrap();
    assert_eq!(endpoint.get("/").unwrap().send().unwrap().status(), 200);
    assert_eq!(endpoint.force_breaker("ajar").unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(endpoint.force_breaker("o\0pen").unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn a_breaker_that_opened_says_when_to_ask_again() {
    let server = Server::answering(b"", After::Close);
    let client = client();
    for _ in 0..100 {
        let error = client.get(server.url("/")).send().unwrap_err();
        if error.kind() == ErrorKind::Breaker {
            let after = error.retry_after().expect("a time");
            assert!(after > Duration::ZERO && after < Duration::from_secs(3600), "{after:?}");
            return;
        }
    }
    panic!("the breaker never opened");
}

#[test]
fn an_error_tells_all() {
    let closed = ClosedPort::new();
    let error = client().get(closed.url()).send().unwrap_err();
    assert_eq!((error.kind(), error.phase()), (ErrorKind::Connect, Phase::Connect));
    assert_eq!((error.name().as_str(), error.code()), ("E_CONNECT_REFUSED", -400));
    assert_eq!((error.proof(), error.is_safe_to_retry()), (Proof::NeverSent, true));
    assert!(!error.is_timeout());
    assert_eq!((error.os_errno(), error.h2_code(), error.tls_verify()), (Some(111), None, None));
    assert!(error.to_string().starts_with("connection refused (ECONNREFUSED), connecting to"));
    assert!(error.report().lines().count() > 1, "{}", error.report());
    assert!(format!("{error:?}").contains("Connect E_CONNECT_REFUSED (-400): connection refused"));
    let attempts = error.attempts();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    let attempt = &attempts[0];
    assert_eq!(attempt.target, format!("tcp:{}", closed.address()));
    assert_eq!((attempt.code, attempt.name.as_str()), (-400, "E_CONNECT_REFUSED"));
    assert_eq!((attempt.phase, attempt.os_errno), (Phase::Connect, Some(111)));
    assert!(attempt.started < LONG && attempt.duration < LONG);
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(111));
    let io = io::Error::from(error);
    assert_eq!(io.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(io.get_ref().unwrap().downcast_ref::<Error>().unwrap().code(), -400);
}

#[test]
fn lists_of_options() {
    let list = vec!["127.0.0.1:53".to_owned(), "127.0.0.2:53".to_owned()];
    let build = |builder: conpool::ClientBuilder| builder.build().unwrap();
    build(builder().option("dns.servers", &list));
    build(builder().option("dns.servers", &list[..]));
    build(builder().option("dns.servers", list.clone()));
    build(builder().option("dns.servers", ["127.0.0.1", "127.0.0.2"]));
    let array = [list[0].clone()];
    build(builder().option("dns.servers", &array));
    build(builder().option("dns.servers", array));
    let error = builder().option("dns.servers", ["127.0.0.1", "nowhere"]).build().map(drop);
    assert!(error.unwrap_err().to_string().contains("nowhere"));
}

#[test]
fn limits_of_time() {
    let server = Server::silent();
    let client = client();
    let get = || client.get(server.url("/"));
    for (request, name, kind) in [
        (get().timeout(Duration::from_millis(30)), "E_TIMEOUT", ErrorKind::Timeout),
        (get().option("first_byte.timeout", "30ms"), "E_HTTP_FIRST_BYTE_TIMEOUT", ErrorKind::Http),
    ] {
        let error = request.send().unwrap_err();
        assert_eq!((error.name().as_str(), error.kind()), (name, kind));
        assert!(error.is_timeout() && !error.is_safe_to_retry());
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    }
    let error = block_on(get().timeout(Duration::from_millis(30)).send_async()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_sent() {
    let client = client();
    let url = "http://127.0.0.1:1/";
    for (error, name, words) in [
        (
            Client::builder().option("conect.timeout", "1s").build().unwrap_err(),
            "E_UNKNOWN_OPTION",
            "connect.timeout",
        ),
        (
            Client::builder().option("con\0nect", "1s").build().unwrap_err(),
            "E_UNKNOWN_OPTION",
            "NUL",
        ),
        (
            Client::builder().option("connect.timeout", "10").build().unwrap_err(),
            "E_OPTION_TYPE",
            "connect.timeout",
        ),
        (
            Client::builder().option("connect.timeout", Duration::ZERO).build().unwrap_err(),
            "E_OPTION_RANGE",
            "connect.timeout",
        ),
        (
            client.get(url).option("pool.max_ops", 7).send().unwrap_err(),
            "E_OPTION_SCOPE",
            "pool.max_ops",
        ),
        (client.get("ftp://x/").send().unwrap_err(), "E_BAD_URL", "ftp"),
        (client.request("GE T", url).send().unwrap_err(), "E_BAD_METHOD", ""),
        (client.request("GE\0T", url).send().unwrap_err(), "E_BAD_METHOD", "NUL"),
        (client.get(url).header("a b", "c").send().unwrap_err(), "E_BAD_FIELD", ""),
        (client.get(url).header("a", "c\r\nd: e").send().unwrap_err(), "E_BAD_FIELD", ""),
        (client.get(url).trailer("host", "x").send().unwrap_err(), "E_BAD_FIELD", ""),
        (client.get("http://a_b..c/").send().unwrap_err(), "E_BAD_NAME", ""),
        (client.connect("tcp://localhost:0").unwrap_err(), "E_BAD_PORT", ""),
        (client.connect("http://localhost").unwrap_err(), "E_UNSUPPORTED", ""),
        (client.endpoint_of_addresses("tcp", &[]).open().unwrap_err(), "E_BAD_ADDRESS", ""),
        (client.metrics("xml").unwrap_err(), "E_INVALID", ""),
        (client.events("xml").unwrap_err(), "E_INVALID", ""),
        (conpool::describe("nothing").unwrap_err(), "E_INVALID", ""),
    ] {
        assert_eq!(error.name(), name, "{error}");
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.is_safe_to_retry() && error.attempts().is_empty());
    }
    let error = block_on(client.get("ftp://x/").send_async()).unwrap_err();
    assert_eq!(error.name(), "E_BAD_URL");
    assert_eq!(block_on(client.connect_async("ftp://x/")).unwrap_err().name(), "E_BAD_URL");
}

#[test]
fn readouts() {
    let server = Server::hello();
    let client = builder().option("events.level", "debug").build().unwrap();
    client.get(server.url("/")).send().unwrap();
    assert_eq!(stat(&client, "pool.requests.done"), 1.0);
    assert!(client.metrics("openmetrics").unwrap().contains("# EOF"));
    assert!(client.metrics("json").unwrap().starts_with('{'));
    assert!(client.events("text").unwrap().contains("connection.opened"));
    assert!(client.events("trace").unwrap().contains("\"ph\""));
    for what in ["options", "statuses", "events", "build"] {
        assert!(conpool::describe(what).unwrap().len() > 10);
    }
    assert_eq!(conpool::version(), "0.1.0");
    assert_eq!(conpool::status_text(sys::CONPOOL_E_CANCELLED), "cancelled");
}

#[test]
fn events_of_the_program_among_the_pools() {
    let server = Server::hello();
    let client = client();
    let mut follower = client.follow().unwrap();
    client.event(Level::Warning, "order.paid", "number 7").unwrap();
    client.get(server.url("/")).send().unwrap();
    client.event(Level::Info, "order.shipped", "").unwrap();
    // Below events.level, whose default is info.
    client.event(Level::Debug, "order.detail", "unseen").unwrap();
    let (records, lost) = follower.read().unwrap();
    assert_eq!(lost, 0);
    let names: Vec<String> = records.iter().map(|record| record.name()).collect();
    assert!(
        names.first().unwrap().starts_with("app.") && names[0].ends_with("order.paid"),
        "{names:?}"
    );
    assert!(names.iter().any(|name| name == "connection.opened"), "{names:?}");
    assert!(names.last().unwrap().ends_with("order.shipped"), "{names:?}");
    assert_eq!(records[0].level(), Level::Warning);
    assert_eq!(records[0].facts().text("text").unwrap(), "number 7");
    assert!(follower.read().unwrap().0.is_empty());
    for name in ["", "a b", "0123456789012345678901234567890123"] {
        assert_eq!(client.event(Level::Info, name, "").unwrap_err().name(), "E_INVALID");
    }
    let page = client.events_since("text", 0, 1).unwrap();
    assert_eq!((page.text.lines().count(), page.lost), (1, 0));
    assert!(page.next > 1);
}

#[test]
fn events_that_were_overwritten_are_counted() {
    let client = builder().option("events.capacity", 16).build().unwrap();
    let mut follower = client.follow().unwrap();
    for number in 0..100 {
        client.event(Level::Info, "tick", &number.to_string()).unwrap();
    }
    let (records, lost) = follower.read().unwrap();
    assert_eq!(records.len() as u64 + lost, 100);
    assert_eq!(records.last().unwrap().facts().text("text").unwrap(), "99");
}

#[test]
fn the_program_resolves_names() {
    let server = Server::hello();
    let client = builder().option("dns.backend", "queue").build().unwrap();
    client
        .resolve_with(|lookup| match lookup.name.as_str() {
            "shop.example.net" => Ok(vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]),
            "crash.example.net" => panic!("the book is torn"),
            name => Err(format!("{name} is not in the book")),
        })
        .unwrap();
    let url = format!("http://shop.example.net:{}/", server.address.port());
    assert_eq!(client.get(&url).send().unwrap().text(), "hello");
    assert_eq!(block_on(client.get(&url).send_async()).unwrap().text(), "hello");
    let error = client.get("http://other.example.net/").send().unwrap_err();
    assert_eq!((error.name().as_str(), error.phase()), ("E_DNS_APPLICATION", Phase::Dns));
    assert!(error.report().contains("other.example.net is not in the book"), "{}", error.report());
    let error = client.get("http://crash.example.net/").send().unwrap_err();
    assert!(error.report().contains("the resolver panicked"), "{}", error.report());
    assert_eq!(client.get(&url).send().unwrap().text(), "hello");
    struct Torn;
    impl std::fmt::Display for Torn {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            std::panic::panic_any(Torn)
        }
    }
    // What it panics with panics once more where it is dropped.
    impl Drop for Torn {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("the book is torn")
            }
        }
    }
    let client = builder().option("dns.backend", "queue").build().unwrap();
    client.resolve_with(|_| Err(Torn)).unwrap();
    for _ in 0..2 {
        let error = client.get("http://torn.example.net/").send().unwrap_err();
        assert!(error.report().contains("the resolver panicked"), "{}", error.report());
    }
    let error = support::client().resolve_with(|_| Ok::<_, String>(vec![])).unwrap_err();
    assert_eq!(error.name(), "E_WRONG_STATE");
}

#[test]
fn a_request_that_may_be_sent_again_is() {
    use std::io::Write;
    // Every connection answers once, and closes without a word on the second request.
    let server = Server::start(|mut stream| {
        if read_request(&mut stream).is_some() && stream.write_all(EMPTY).is_ok() {
            read_request(&mut stream);
        }
    });
    let client = Client::builder().timeout(LONG).build().unwrap();
    let post = || client.post(server.url("/")).body("twice");
    client.get(server.url("/")).send().unwrap();
    let error = post().send().unwrap_err();
    assert_eq!(
        (error.name().as_str(), error.proof()),
        ("E_HTTP_NO_RESPONSE", Proof::MaybeProcessed)
    );
    client.get(server.url("/")).send().unwrap();
    let response = post().idempotent(true).send().unwrap();
    assert_eq!(response.facts().unwrap().number("sends"), Some(2));
}

#[test]
fn closing() {
    let server = Server::hello();
    let client = client();
    client.get(server.url("/")).send().unwrap();
    let lease = client.connect(server.tcp()).unwrap();
    assert_eq!(client.close(Duration::ZERO).unwrap(), 1);
    drop(lease);
    let error = client.get(server.url("/")).send().unwrap_err();
    assert_eq!((error.kind(), error.name().as_str()), (ErrorKind::Closed, "E_CLOSED"));
    let error = block_on(client.get(server.url("/")).send_async()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(client.connect(server.tcp()).unwrap_err().kind(), ErrorKind::Closed);
    // Again: harmless.
    block_on(client.close_async(Duration::ZERO)).unwrap();
    assert!(client.stats().is_ok());
}

#[test]
fn the_library_that_runs_is_one_that_fits() {
    assert!(Client::new().is_ok());
    assert_eq!(format!("{:?}", Client::new().unwrap()), "Client");
}
