//! Many threads on one client, and calls that are cancelled at any moment.
//!
//! One test: it counts this process's descriptors.

mod support;

use conpool::{block_on, Body, Client, Error, ErrorKind};
use std::future::Future;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use support::{builder, eventually, open_descriptors, read_request, setting, stat, Random, Server};

const THREADS: u64 = 8;

/// Answers after a moment that differs: cancels are to meet calls in every state, so time is what
/// is tested here.
fn moody() -> Server {
    let turn = AtomicU64::new(1);
    Server::start(move |mut stream| {
        let mut random = Random(turn.fetch_add(0x9e37_79b9, Ordering::SeqCst) | 1);
        while read_request(&mut stream).is_some() {
            if random.below(4) == 0 {
                thread::sleep(Duration::from_micros(random.below(2000)));
            }
            let size = random.below(20_000) as usize;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            let body = vec![b'm'; size];
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
        }
    })
}

/// A future that gives up after some polls or some time, whichever comes first: in any state.
struct Fickle<F> {
    inner: Pin<Box<F>>,
    patience: u64,
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<F: Future> Fickle<F> {
    fn wait(mut self) -> Option<F::Output> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        for _ in 0..self.patience {
            if let Poll::Ready(value) = self.inner.as_mut().poll(&mut context) {
                return Some(value);
            }
            thread::park_timeout(Duration::from_micros(self.patience * 50));
        }
        None
    }
}

fn fickle<F: Future>(inner: F, random: &mut Random) -> Fickle<F> {
    Fickle { inner: Box::pin(inner), patience: random.below(12) }
}

struct Outcomes {
    done: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
}

impl Outcomes {
    fn note<T>(&self, result: Option<Result<T, Error>>) {
        match result {
            None => self.cancelled.fetch_add(1, Ordering::SeqCst),
            Some(Ok(_)) => self.done.fetch_add(1, Ordering::SeqCst),
            Some(Err(error)) => {
                assert_ne!(error.kind(), ErrorKind::Usage, "{error:?}");
                self.failed.fetch_add(1, Ordering::SeqCst)
            }
        };
    }
}

fn one(client: &Client, http: &str, tcp: &str, random: &mut Random, seen: &Outcomes) {
    match random.below(8) {
        0 => seen.note(Some(client.get(http).send())),
        1 => seen.note(fickle(client.get(http).send_async(), random).wait()),
        2 => {
            let body = vec![b'b'; random.below(100_000) as usize];
            seen.note(fickle(client.put(http).body(body).send_async(), random).wait());
        }
        3 => {
            let mut exchange = client.get(http).stream_async().unwrap();
            let whole = async {
                exchange.head().await?;
                while exchange.chunk().await?.is_some() {}
                Ok::<_, Error>(())
            };
            seen.note(fickle(whole, random).wait());
        }
        4 => {
            let parts = random.below(3) as usize;
            let mut exchange = client.get(http).stream().unwrap();
            let taken: Result<Vec<_>, Error> = exchange.chunks().take(parts).collect();
            seen.note(if parts == 0 { None } else { Some(taken) });
        }
        5 => {
            let text = vec![b'r'; random.below(50_000) as usize];
            let body = Body::reader(std::io::Cursor::new(text), None);
            seen.note(fickle(client.put(http).body(body).send_async(), random).wait());
        }
        6 => {
            let lease = fickle(client.connect_async(tcp), random).wait();
            if let Some(Ok(mut lease)) = lease {
                lease.write_all(b"four").unwrap();
                lease.read_exact(&mut [0; 4]).unwrap();
                if random.below(2) == 0 {
                    lease.release();
                }
            }
        }
        _ => {
            let lease = client.connect(tcp).unwrap();
            let _ = fickle(lease.read_async(), random).wait();
            let _ = fickle(lease.write_async(vec![0; 3000]), random).wait();
        }
    }
}

#[test]
fn calls_of_eight_threads_each_end_once() {
    let (http, echo) = (moody(), Server::echo());
    // What the process opens once and keeps is not counted.
    drop(block_on(builder().build().unwrap().get(http.url("/")).send_async()));
    eventually("the first connection to go", || http.open() == 0);
    let before = open_descriptors();
    // Leases that are dropped count as failures of their peer: here they are none.
    let client = builder().option("retry.stale", 3).option("breaker.mode", "off").build().unwrap();
    let seen = Outcomes {
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        cancelled: AtomicU64::new(0),
    };
    let rounds = setting("CONPOOL_RUST_ROUNDS", 150);
    let seed = setting("CONPOOL_RUST_SEED", 1);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (client, seen) = (client.clone(), &seen);
            let (http, tcp) = (http.url("/"), echo.tcp());
            let mut random = Random((seed * 1000 + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            scope.spawn(move || {
                for _ in 0..rounds {
                    one(&client, &http, &tcp, &mut random, seen);
                }
            });
        }
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    assert_eq!(count(&seen.failed), 0);
    assert!(count(&seen.done) > 0 && count(&seen.cancelled) > 0);
    eventually("all requests to end", || stat(&client, "pool.requests.running") == 0.0);
    eventually("all leases to end", || stat(&client, "pool.leases.active") == 0.0);
    let (made, done, failed) = (
        stat(&client, "pool.requests.made"),
        stat(&client, "pool.requests.done"),
        stat(&client, "pool.requests.failed"),
    );
    assert_eq!(made, done + failed);
    assert!(done >= count(&seen.done) as f64, "{done} of {}", count(&seen.done));
    drop(client);
    eventually("every connection to go", || http.open() + echo.open() == 0);
    eventually("descriptors at the baseline", || open_descriptors() == before);
}
