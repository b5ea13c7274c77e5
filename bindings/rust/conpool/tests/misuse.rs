//! Misuse: each ends in an error or a clean end, never in a crash or a hang.
//!
//! Every scenario runs in a process of its own, as often as CONPOOL_MISUSE_RUNS says (20).
//! CONPOOL_MISUSE_ONLY names one, CONPOOL_MISUSE_WITHOUT those that are left out.

mod support;

use conpool::{block_on, Call, Client, Error, ErrorKind, Response};
use std::future::Future;
use std::io::{Read, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use support::{client, setting, stat, Server, LONG};

const SCENARIOS: &[(&str, fn())] = &[
    ("use_after_close", use_after_close),
    ("use_after_fork", use_after_fork),
    ("fork_while_threads_work", fork_while_threads_work),
    ("queue_dropped_in_flight", queue_dropped_in_flight),
    ("main_returns_in_flight", main_returns_in_flight),
    ("exit_in_flight", exit_in_flight),
    ("panic_in_a_consumer", panic_in_a_consumer),
    ("panic_in_a_waker", panic_in_a_waker),
    ("dropped_by_its_own_waker", dropped_by_its_own_waker),
    ("forgotten", forgotten),
    ("panic_in_a_drop", panic_in_a_drop),
];

const CLEAN: &str = "clean";

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--scenario") {
        let name = arguments.next().expect("the scenario's name");
        let found = SCENARIOS.iter().find(|(own, _)| *own == name);
        found.unwrap_or_else(|| panic!("no scenario {name}")).1();
        println!("{CLEAN}");
        return;
    }
    let runs = setting("CONPOOL_MISUSE_RUNS", 20);
    let only = std::env::var("CONPOOL_MISUSE_ONLY").ok();
    let without = std::env::var("CONPOOL_MISUSE_WITHOUT").unwrap_or_default();
    let wanted = |name: &str| {
        only.as_deref().unwrap_or(name) == name && !without.split(',').any(|out| out == name)
    };
    for (name, _) in SCENARIOS.iter().filter(|(name, _)| wanted(name)) {
        (0..runs).for_each(|run| one_run(name, run));
        println!("{name}: {runs} runs");
    }
}

fn one_run(name: &str, run: u64) {
    // A file: whoever else inherits it, it can be read once the child has ended.
    let path = std::env::temp_dir().join(format!("conpool-misuse-{}", std::process::id()));
    let log = std::fs::File::create(&path).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--scenario", name])
        .env("CONPOOL_RUST_SEED", run.to_string())
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let deadline = Instant::now() + 4 * LONG;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                break None;
            }
            // Nothing waits for a process with a limit of time.
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    let _ = child.wait();
    let output = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let good = status.map_or(false, |status| status.success()) && output.contains(CLEAN);
    assert!(good, "{name}, run {run}: {status:?}\n{output}");
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn use_after_close() {
    let server = Server::hello();
    let client = client();
    let endpoint = client.endpoint(server.url("")).open().unwrap();
    let request = endpoint.get("/").unwrap();
    let lease = client.connect(server.tcp()).unwrap();
    let queue = client.queue().unwrap();
    request.send().unwrap();
    client.close(Duration::ZERO).unwrap();
    client.close(Duration::ZERO).unwrap();
    assert_eq!(kind(request.send()), ErrorKind::Closed);
    assert_eq!(kind(block_on(request.send_async())), ErrorKind::Closed);
    assert_eq!(kind(request.stream().and_then(|mut e| e.head().map(drop))), ErrorKind::Closed);
    assert_eq!(kind(endpoint.preconnect(1)), ErrorKind::Closed);
    assert_eq!(kind(client.connect(server.tcp())), ErrorKind::Closed);
    assert_eq!(kind(block_on(client.connect_async(server.tcp()))), ErrorKind::Closed);
    assert!((&lease).write_all(b"x").is_err());
    assert!((&lease).read(&mut [0]).is_err());
    lease.release();
    assert!(client.stats().is_ok() && endpoint.explain().is_ok() && client.events("text").is_ok());
    drop(queue);
}

extern "C" {
    fn fork() -> i32;
    fn prctl(option: i32, value: u64) -> i32;
    fn waitpid(child: i32, status: *mut i32, options: i32) -> i32;
}

/// Runs a function in a forked child, which then ends like any program, and checks its status.
fn in_child(body: impl FnOnce()) {
    // SAFETY: the child calls what the binding promises to work there, and exits.
    let child = unsafe { fork() };
    if child == 0 {
        // SAFETY: PR_SET_PDEATHSIG, SIGKILL: it does not outlive the scenario.
        unsafe { prctl(1, 9) };
        let good = catch_unwind(AssertUnwindSafe(body)).is_ok();
        std::process::exit(if good { 0 } else { 1 });
    }
    let mut status = 0;
    // SAFETY: the child is ours.
    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child's end");
}

fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::new(Silent));
    future.as_mut().poll(&mut Context::from_waker(&waker))
}

struct Silent;

impl Wake for Silent {
    fn wake(self: Arc<Self>) {}
}

fn use_after_fork() {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    let (parent, url) = (client.clone(), hello.url("/"));
    let request = client.get(&url).body(vec![1; 100]).build().unwrap();
    let endpoint = client.endpoint(hello.url("")).open().unwrap();
    request.send().unwrap();
    let mut call = Box::pin(client.get(silent.url("/")).send_async());
    let mut exchange = client.get(silent.url("/")).stream().unwrap();
    let lease = client.connect(silent.tcp()).unwrap();
    let response = client.get(&url).send().unwrap();
    let error = client.get("ftp://x/").send().unwrap_err();
    let queue = client.queue().unwrap();
    assert!(poll_once(&mut call).is_pending());
    in_child(|| {
        assert_eq!(kind(request.send()), ErrorKind::Forked);
        assert_eq!(kind(block_on(request.send_async())), ErrorKind::Forked);
        assert_eq!(kind(request.stream()), ErrorKind::Forked);
        assert_eq!(kind(client.get(&url).send()), ErrorKind::Forked);
        assert_eq!(kind(client.endpoint(&url).open()), ErrorKind::Forked);
        assert_eq!(kind(client.connect(silent.tcp())), ErrorKind::Forked);
        assert_eq!(kind(endpoint.preconnect(1)), ErrorKind::Forked);
        assert_eq!(kind(block_on(endpoint.preconnect_async(1))), ErrorKind::Forked);
        assert_eq!(kind(endpoint.force_breaker("open")), ErrorKind::Forked);
        assert_eq!(kind(endpoint.explain()), ErrorKind::Forked);
        assert_eq!(kind(client.stats()), ErrorKind::Forked);
        assert_eq!(kind(client.events("text")), ErrorKind::Forked);
        assert_eq!(kind(client.event(conpool::Level::Info, "x", "")), ErrorKind::Forked);
        assert_eq!(kind(client.close(Duration::ZERO)), ErrorKind::Forked);
        assert_eq!(kind(client.queue()), ErrorKind::Forked);
        assert_eq!(kind(queue.turn(None)), ErrorKind::Forked);
        assert_eq!(kind(exchange.head().map(drop)), ErrorKind::Forked);
        assert_eq!(kind(block_on(lease.read_async())), ErrorKind::Forked);
        assert!((&lease).write_all(b"x").is_err() && (&lease).read(&mut [0]).is_err());
        match poll_once(&mut call) {
            Poll::Ready(result) => assert_eq!(kind(result), ErrorKind::Forked),
            Poll::Pending => panic!("it would wait for ever"),
        }
        assert_eq!((response.status(), response.text().as_ref()), (200, "hello"));
        assert_eq!(error.name(), "E_BAD_URL");
        // The child may make a client of its own. Nobody serves it here, and it says so.
        drop(Client::new().unwrap());
        drop((call, exchange, lease, response, error, queue, request, endpoint));
        drop(client);
    });
    assert_eq!(parent.get(hello.url("/")).send().unwrap().text(), "hello");
}

fn fork_while_threads_work() {
    let hello = Server::hello();
    let client = client();
    let stop = Arc::new(Mutex::new(false));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (client, url, stop) = (client.clone(), hello.url("/"), stop.clone());
            thread::spawn(move || {
                while !*stop.lock().unwrap() {
                    block_on(client.get(&url).send_async()).unwrap();
                }
            })
        })
        .collect();
    for _ in 0..5 {
        in_child(|| {
            let url = hello.url("/");
            assert_eq!(kind(block_on(client.get(&url).send_async())), ErrorKind::Forked);
            assert_eq!(kind(client.get(&url).send()), ErrorKind::Forked);
        });
    }
    *stop.lock().unwrap() = true;
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(client.get(hello.url("/")).send().unwrap().text(), "hello");
}

fn in_flight(client: &Client, url: &str) -> Vec<Call<Response>> {
    let put = |size| client.put(url).body(vec![7; size]).send_async();
    (0..30).map(|index| put(index * 10_000)).collect()
}

fn queue_dropped_in_flight() {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    let queue = client.queue().unwrap();
    let stuck = in_flight(&queue.client(), &silent.url("/"));
    let quick = in_flight(&queue.client(), &hello.url("/"));
    let seed = setting("CONPOOL_RUST_SEED", 1);
    for _ in 0..seed % 7 {
        queue.turn(Some(Duration::from_millis(1))).unwrap();
    }
    drop(queue);
    for call in stuck {
        assert_eq!(kind(block_on(call)), ErrorKind::Closed);
    }
    for call in quick {
        if let Err(error) = block_on(call) {
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
    }
    assert_eq!(client.get(hello.url("/")).send().unwrap().text(), "hello");
}

/// Everything that can be under way at once, on threads that nobody waits for.
fn keep_busy() -> (Server, Server, Client) {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    for url in [hello.url("/"), silent.url("/")] {
        for _ in 0..2 {
            let (client, url) = (client.clone(), url.clone());
            thread::spawn(move || while client.get(&url).send().is_ok() {});
        }
        let (client, url) = (client.clone(), url.clone());
        thread::spawn(move || while block_on(client.get(&url).send_async()).is_ok() {});
    }
    let lease = client.connect(silent.tcp()).unwrap();
    thread::spawn(move || (&lease).read(&mut [0]).map(drop));
    assert_eq!(client.get(hello.url("/")).send().unwrap().text(), "hello");
    (hello, silent, client)
}

fn main_returns_in_flight() {
    let busy = keep_busy();
    std::mem::forget(in_flight(&busy.2, &busy.1.url("/")));
    // Dropping them would end what is under way: main is to return in the middle of it.
    std::mem::forget(busy);
}

fn exit_in_flight() {
    let (_hello, silent, client) = keep_busy();
    let _calls = in_flight(&client, &silent.url("/"));
    println!("{CLEAN}");
    std::process::exit(0);
}

fn panic_in_a_consumer() {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut exchange = client.get(hello.url("/")).stream().unwrap();
        let _chunk = exchange.chunk().unwrap().unwrap();
        let _lease = client.connect(silent.tcp()).unwrap();
        let _queue = client.queue().unwrap();
        let _calls = in_flight(&client, &silent.url("/"));
        let _exchange = client.get(silent.url("/")).stream_async().unwrap();
        panic!("a consumer's own fault");
    }));
    assert!(panicked.is_err());
    let thread_panicked = {
        let (client, url) = (client.clone(), silent.url("/"));
        thread::spawn(move || {
            block_on(async {
                let _call = client.get(&url).send_async();
                panic!("a task's own fault");
            })
        })
        .join()
    };
    assert!(thread_panicked.is_err());
    support::eventually("nothing to run", || stat(&client, "pool.requests.running") == 0.0);
    assert_eq!(stat(&client, "pool.leases.active"), 0.0);
    assert_eq!(block_on(client.get(hello.url("/")).send_async()).unwrap().text(), "hello");
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        std::panic::panic_any(PanicsInDrop(Vec::new()));
    }
}

fn panic_in_a_waker() {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    let waker = Waker::from(Arc::new(Panics));
    let mut call = Box::pin(client.get(hello.url("/")).send_async());
    let _ = call.as_mut().poll(&mut Context::from_waker(&waker));
    for _ in 0..20 {
        assert_eq!(block_on(client.get(hello.url("/")).send_async()).unwrap().text(), "hello");
    }
    assert_eq!(block_on(call).unwrap().text(), "hello");
    let queue = client.queue().unwrap();
    let mut call = Box::pin(queue.client().get(silent.url("/")).send_async());
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(queue);
    assert_eq!(kind(block_on(call)), ErrorKind::Closed);
}

struct PanicsInDrop(Vec<u8>);

impl AsRef<[u8]> for PanicsInDrop {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a body's own fault");
        }
    }
}

fn panic_in_a_drop() {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    let post = |client: &Client, server: &Server| {
        let body = conpool::Body::of(PanicsInDrop(vec![1; 10]));
        let request = client.post(server.url("/")).body(body).build().unwrap();
        let call = request.send_async();
        // The last owner is the program itself where the call has ended already.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(request)));
        call
    };
    // The drop is that of the thread that takes the events, after the last one.
    let bad: Vec<_> = (0..5).map(|_| post(&client, &silent)).collect();
    let good = in_flight(&client, &hello.url("/"));
    drop(bad);
    for call in good {
        assert_eq!(block_on(call).unwrap().text(), "hello");
    }
    let ended = post(&client, &hello);
    assert_eq!(block_on(ended).unwrap().text(), "hello");
    assert_eq!(block_on(client.get(hello.url("/")).send_async()).unwrap().text(), "hello");
    // The same where a queue closes.
    let queue = client.queue().unwrap();
    let bad: Vec<_> = (0..5).map(|_| post(&queue.client(), &silent)).collect();
    drop(queue);
    for call in bad {
        assert_eq!(kind(block_on(call)), ErrorKind::Closed);
    }
}

/// Drops the last client on the thread that wakes.
struct LastOwner(Mutex<Option<(Client, Call<Response>)>>, thread::Thread);

impl Wake for LastOwner {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
        self.1.unpark();
    }
}

fn dropped_by_its_own_waker() {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    let mut call = Box::pin(client.get(hello.url("/")).send_async());
    let other = client.get(silent.url("/")).send_async();
    let owner = Arc::new(LastOwner(Mutex::new(Some((client, other))), thread::current()));
    let waker = Waker::from(owner.clone());
    if call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        drop(waker);
        support::eventually("the wake", || owner.0.lock().unwrap().is_none());
    }
    drop(call);
}

fn forgotten() {
    let (hello, silent) = (Server::hello(), Server::silent());
    let client = client();
    for call in in_flight(&client, &silent.url("/")) {
        std::mem::forget(call);
    }
    std::mem::forget(client.get(hello.url("/")).stream().unwrap());
    std::mem::forget(client.get(hello.url("/")).stream_async().unwrap());
    std::mem::forget(client.connect(silent.tcp()).unwrap());
    std::mem::forget(client.queue().unwrap());
    client.close(Duration::ZERO).unwrap();
    std::mem::forget(client);
}
