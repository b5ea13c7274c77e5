//! Real servers over TLS, as HTTP/1.1 and HTTP/2.
//!
//! CONPOOL_TEST_CA names the authority's certificate, CONPOOL_TEST_HTTP1, CONPOOL_TEST_HTTP2 and
//! CONPOOL_TEST_ECHO the servers' URLs (nginx, nginx, nghttpd). What is not set is skipped.

mod support;

use conpool::{block_on, Body, Client, ErrorKind, Phase, Version};
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use support::{builder, LONG};

fn named(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        println!("skipped: {name} is not set");
    }
    value
}

fn trusting() -> Option<Client> {
    let ca = named("CONPOOL_TEST_CA")?;
    Some(builder().option("tls.ca_file", ca.as_str()).build().unwrap())
}

#[test]
fn both_versions_over_tls() {
    for (name, version) in
        [("CONPOOL_TEST_HTTP1", Version::HTTP_11), ("CONPOOL_TEST_HTTP2", Version::HTTP_2)]
    {
        let (client, url) = match (trusting(), named(name)) {
            (Some(client), Some(url)) => (client, url),
            _ => continue,
        };
        let response = client.get(&url).send().unwrap();
        assert_eq!((response.status(), response.version()), (200, version));
        assert_eq!(response.text(), "hello\n");
        let response = block_on(client.get(&url).send_async()).unwrap();
        assert_eq!((response.text().as_ref(), response.version()), ("hello\n", version));
        let facts = response.facts().unwrap();
        assert_eq!(facts.flag("reused"), Some(true));
        assert!(facts.text("tls_version").unwrap().starts_with("TLSv1."));
        let mut text = String::new();
        client.get(&url).stream().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n");
        let missing = client.get(format!("{url}files/missing")).send().unwrap();
        assert_eq!((missing.status(), missing.is_success()), (404, false));
        assert_eq!(client.head(&url).send().unwrap().body(), b"");
    }
}

#[test]
fn a_server_that_nobody_vouches_for() {
    let url = match named("CONPOOL_TEST_HTTP2") {
        Some(url) => url,
        None => return,
    };
    let client = builder().build().unwrap();
    for error in [client.get(&url).send(), block_on(client.get(&url).send_async())] {
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Tls, Phase::Tls));
        assert_eq!(error.name(), "E_TLS_CERTIFICATE");
        assert!(error.tls_verify().is_some() && error.is_safe_to_retry());
    }
    let careless = builder().option("tls.insecure", true).build().unwrap();
    assert_eq!(careless.get(&url).send().unwrap().status(), 200);
}

#[test]
fn eight_threads_share_one_http2_connection() {
    let (client, url) = match (trusting(), named("CONPOOL_TEST_HTTP2")) {
        (Some(client), Some(url)) => (client, url),
        _ => return,
    };
    let url = Arc::new(url);
    client.get(url.as_str()).send().unwrap();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            thread::spawn(move || {
                let calls: Vec<_> =
                    (0..50).map(|_| client.get(url.as_str()).send_async()).collect();
                for call in calls {
                    assert_eq!(block_on(call).unwrap().version(), Version::HTTP_2);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // As many as an endpoint opens before it knows what its server speaks, and far fewer than calls.
    assert!(support::stat(&client, "pool.connections.opened") <= 16.0);
}

#[test]
fn uploads_over_http2() {
    let (client, url) = match (trusting(), named("CONPOOL_TEST_ECHO")) {
        (Some(client), Some(url)) => (client, url),
        _ => return,
    };
    let data: Vec<u8> = (0..2_000_000u32).map(|index| (index % 249) as u8).collect();
    let echoed = client.post(&url).body(data.clone()).send().unwrap();
    assert_eq!(echoed.version(), Version::HTTP_2);
    assert!(echoed.body() == data);
    let reader = Body::reader(std::io::Cursor::new(data.clone()), None);
    assert!(client.post(&url).body(reader).send().unwrap().body() == data);
    // Both directions at once: more than all windows hold, so that neither may wait for the other.
    let body = Body::pieces(None);
    let mut exchange = client.post(&url).timeout(2 * LONG).body(body).stream_async().unwrap();
    let mut writer = exchange.body_writer().unwrap();
    let sent = data.clone();
    let upload = thread::spawn(move || {
        for piece in sent.chunks(30_000) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap();
    });
    let received = block_on(async {
        let mut received = Vec::new();
        while let Some(chunk) = exchange.chunk().await.unwrap() {
            received.extend_from_slice(&chunk);
        }
        received
    });
    upload.join().unwrap();
    assert!(received == data);
    // A stream that is given up costs the connection nothing.
    let opened = support::stat(&client, "pool.connections.opened");
    drop(client.post(&url).body(Body::pieces(None)).stream_async().unwrap());
    assert!(client.post(&url).body(data.clone()).send().unwrap().body() == data);
    assert_eq!(support::stat(&client, "pool.connections.opened"), opened);
}
