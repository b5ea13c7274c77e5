//! Queues in place of the client's own thread, and futures on several executors.

mod support;

use conpool::{block_on, Client, Error, ErrorKind, Response};
use std::collections::HashMap;
use std::future::Future;
use std::os::unix::io::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use support::{builder, client, eventually, Server, ThisThread, LONG};

#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    happened: i16,
}

extern "C" {
    fn poll(list: *mut PollFd, count: u64, timeout_ms: i32) -> i32;
}

fn readable(fd: i32, timeout_ms: i32) -> bool {
    let mut one = PollFd { fd, events: 1, happened: 0 };
    // SAFETY: one descriptor, which is open.
    unsafe { poll(&mut one, 1, timeout_ms) == 1 }
}

/// Tells a channel which task to poll again.
struct Task(usize, Mutex<mpsc::Sender<usize>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let _ = self.1.lock().unwrap().send(self.0);
    }
}

#[test]
fn a_reactor_of_the_programs_own() {
    let server = Server::hello();
    let client = client();
    let queue = client.queue().unwrap();
    assert_eq!(queue.as_fd().as_raw_fd(), queue.as_raw_fd());
    assert!(!readable(queue.as_raw_fd(), 0));
    let (tell, told) = mpsc::channel();
    let mut calls = HashMap::new();
    for number in 0..50 {
        let call = queue.client().get(server.url("/")).send_async();
        calls.insert(number, Box::pin(call));
        tell.send(number).unwrap();
    }
    while !calls.is_empty() {
        while let Ok(number) = told.try_recv() {
            let waker = Waker::from(Arc::new(Task(number, Mutex::new(tell.clone()))));
            let call = calls.get_mut(&number).unwrap();
            if let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
                assert_eq!(result.unwrap().text(), "hello");
                calls.remove(&number);
            }
        }
        if !calls.is_empty() {
            assert!(readable(queue.as_raw_fd(), LONG.as_millis() as i32), "nothing comes");
            queue.turn(Some(Duration::ZERO)).unwrap();
        }
    }
    assert_eq!(queue.turn(Some(Duration::ZERO)).unwrap(), 0);
    queue.wake();
    assert_eq!(queue.turn(None).unwrap(), 0);
}

#[test]
fn one_thread_drives_everything() {
    let server = Server::hello();
    let client = builder().option("loop.drive", "caller").build().unwrap();
    let queue = client.queue().unwrap();
    let url = server.url("/");
    let texts = queue.run(async {
        let first = queue.client().get(&url).send_async();
        let second = queue.client().get(&url).send_async();
        (first.await.unwrap().text().into_owned(), second.await.unwrap().text().into_owned())
    });
    assert_eq!(texts.unwrap(), ("hello".to_owned(), "hello".to_owned()));
    assert_eq!(client.get(&url).send().unwrap().text(), "hello");
    let chunks: Vec<_> =
        client.get(&url).stream().unwrap().chunks().map(|chunk| chunk.unwrap().len()).collect();
    assert_eq!(chunks.iter().sum::<usize>(), 5);
}

#[test]
fn two_threads_that_both_need_the_callers_loop() {
    let server = Server::hello();
    let client = builder().option("loop.drive", "caller").build().unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let call = client.get(server.url("/")).send_async();
                    assert_eq!(block_on(call).unwrap().text(), "hello");
                    let mut exchange = client.get(server.url("/")).stream().unwrap();
                    assert_eq!(exchange.head().unwrap().status(), 200);
                }
            });
        }
    });
}

#[test]
fn blocking_calls_while_another_thread_drives_the_callers_loop() {
    let (server, dns) = (Server::hello(), [("dns.backend", "queue"), ("loop.drive", "caller")]);
    let client = dns.iter().fold(builder(), |made, (name, value)| made.option(name, *value));
    let client = client.build().unwrap();
    client.resolve_with(|_| Ok::<_, String>(vec!["127.0.0.1".parse().unwrap()])).unwrap();
    for number in 0..10 {
        // The resolver's thread, and from the first future on that of the client.
        let url = format!("http://name{number}.example.net:{}/", server.address.port());
        assert_eq!(client.get(&url).send().unwrap().text(), "hello");
        assert_eq!(block_on(client.get(&url).send_async()).unwrap().text(), "hello");
    }
    assert_eq!(server.accepted(), 10);
}

#[test]
fn a_call_that_is_polled_after_its_end() {
    let server = Server::hello();
    let client = client();
    for url in [server.url("/"), "ftp://nobody/".to_owned()] {
        let mut call = client.get(url).send_async();
        let first = block_on(&mut call);
        assert!(first.map_or_else(|error| error.name() == "E_BAD_URL", |got| got.status() == 200));
        assert_eq!(block_on(&mut call).unwrap_err().name(), "E_STALE");
    }
}

#[test]
fn ten_thousand_calls_at_once() {
    const ALL: usize = 10_000;
    let server = Server::hello();
    // The pool refuses at once whoever it foresees to wait beyond a limit: none is near.
    let patient = builder().option("queue.timeout", 100 * LONG).timeout(100 * LONG);
    let client = patient.option("endpoint.max_waiters", ALL as u64).build().unwrap();
    let request = client.endpoint(server.url("")).open().unwrap().get("/").unwrap();
    let calls: Vec<_> = (0..ALL).map(|_| request.send_async()).collect();
    let ended: Vec<_> = calls.into_iter().map(|call| block_on(call).unwrap().status()).collect();
    assert_eq!((ended.len(), ended.iter().all(|status| *status == 200)), (ALL, true));
    assert_eq!(support::stat(&client, "pool.requests.done"), ALL as f64);
}

#[test]
fn a_simulated_world() {
    let client = builder().option("loop.world", "simulated").build().unwrap();
    let response = client.get("https://shop.example/").send().unwrap();
    assert_eq!(response.status(), 200);
    let queue = client.queue().unwrap();
    let call = queue.client().get("https://shop.example/").send_async();
    assert_eq!(queue.run(call).unwrap().unwrap().status(), 200);
}

#[test]
fn a_future_that_waits_for_another_thread() {
    let client = client();
    let queue = client.queue().unwrap();
    let shared = Arc::new((AtomicBool::new(false), Mutex::new(None::<Waker>)));
    let (inside, outside) = (shared.clone(), shared);
    let helper = thread::spawn(move || {
        eventually("the future to wait", || outside.1.lock().unwrap().is_some());
        outside.0.store(true, Ordering::SeqCst);
        outside.1.lock().unwrap().take().unwrap().wake();
    });
    struct Until(Arc<(AtomicBool, Mutex<Option<Waker>>)>);
    impl Future for Until {
        type Output = ();
        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            let mut waker = self.0 .1.lock().unwrap();
            if self.0 .0.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            *waker = Some(context.waker().clone());
            Poll::Pending
        }
    }
    queue.run(Until(inside)).unwrap();
    helper.join().unwrap();
}

#[test]
fn a_queue_that_is_dropped_ends_its_calls() {
    let server = Server::silent();
    let client = client();
    let queue = client.queue().unwrap();
    let local = queue.client();
    let calls: Vec<_> = (0..20).map(|_| local.get(server.url("/")).send_async()).collect();
    let body = local.put(server.url("/")).body(vec![1; 1 << 20]).send_async();
    let exchange = local.get(server.url("/")).stream_async();
    drop(queue);
    for call in calls {
        assert_eq!(block_on(call).unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(block_on(body).unwrap_err().kind(), ErrorKind::Closed);
    let mut exchange = exchange.unwrap();
    assert_eq!(block_on(exchange.head()).unwrap_err().kind(), ErrorKind::Closed);
    // A client of a queue that is gone refuses; the pool's others are not disturbed.
    assert!(block_on(local.get(server.url("/")).send_async()).is_err());
    let hello = Server::hello();
    assert_eq!(block_on(client.get(hello.url("/")).send_async()).unwrap().text(), "hello");
}

#[test]
fn several_threads_take_turns_on_one_queue() {
    let server = Server::hello();
    let client = client();
    let queue = Arc::new(client.queue().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let (queue, stop) = (queue.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    queue.turn(Some(Duration::from_millis(20))).unwrap();
                }
            })
        })
        .collect();
    let local = queue.client();
    let calls: Vec<_> = (0..200).map(|_| local.get(server.url("/")).send_async()).collect();
    for call in calls {
        assert_eq!(block_on(call).unwrap().text(), "hello");
    }
    stop.store(true, Ordering::SeqCst);
    for taker in takers {
        taker.join().unwrap();
    }
}

/// Each wakes the other's futures: a wake that ends the wrong thread's wait must not be lost.
#[test]
fn several_threads_run_futures_on_one_queue() {
    const ALL: usize = 4;
    let server = Server::echo();
    let client = builder().option("endpoint.max_connections", ALL as u64).build().unwrap();
    let queue = Arc::new(client.queue().unwrap());
    let (tell, told) = mpsc::channel();
    for number in 0..=ALL {
        let (queue, url, tell) = (queue.clone(), server.tcp(), tell.clone());
        thread::spawn(move || {
            // One of them only takes turns.
            while number == ALL && queue.turn(None).is_ok() {}
            let lease = queue.run(queue.client().connect_async(url)).unwrap().unwrap();
            for _ in 0..3000 {
                let asked = queue.run(async {
                    lease.write_async(b"x").await.unwrap();
                    lease.read_async().await.unwrap().unwrap().len()
                });
                assert_eq!(asked.unwrap(), 1);
            }
            tell.send(number).unwrap();
        });
    }
    for _ in 0..ALL {
        told.recv_timeout(4 * LONG).expect("a thread hangs");
    }
}

#[test]
fn a_thread_at_work_is_not_woken_again_and_again() {
    let queue = client().queue().unwrap();
    let (turns, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let (queue, turns, done) = (&queue, &turns, &done);
        scope.spawn(move || {
            tell.send(ThisThread::new()).unwrap();
            while !done.load(Ordering::SeqCst) {
                queue.turn(None).unwrap();
                turns.fetch_add(1, Ordering::SeqCst);
            }
        });
        let other = told.recv().unwrap();
        let mut polls = 0;
        let work = PollWith(|context: &mut Context<'_>| {
            let (waker, before) = (context.waker().clone(), turns.load(Ordering::SeqCst));
            thread::spawn(move || waker.wake()).join().unwrap();
            // The wake ended the other thread's turn. That one is to sleep again, while this works.
            eventually("the other thread to sleep", || {
                let more = turns.load(Ordering::SeqCst) - before;
                assert!(more < 10, "the other thread spins: {more} turns");
                more > 0 && other.sleeps()
            });
            polls += 1;
            if polls < 3 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.run(work)));
        done.store(true, Ordering::SeqCst);
        queue.wake();
        ended.expect("it ended").unwrap();
    });
}

struct PollWith<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Poll<()> + Unpin> Future for PollWith<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        (self.0)(context)
    }
}

/// An executor of its own kind: four threads that share a line of tasks.
#[test]
fn an_executor_with_several_threads() {
    type Future1 = Pin<Box<dyn Future<Output = ()> + Send>>;
    struct Job {
        future: Mutex<Option<Future1>>,
        line: Mutex<mpsc::Sender<Arc<Job>>>,
    }
    impl Wake for Job {
        fn wake(self: Arc<Self>) {
            let line = self.line.lock().unwrap().clone();
            let _ = line.send(self);
        }
    }
    let server = Server::hello();
    let client = client();
    let done = Arc::new(AtomicUsize::new(0));
    let (line, tasks) = mpsc::channel::<Arc<Job>>();
    let tasks = Arc::new(Mutex::new(tasks));
    const ALL: usize = 400;
    for _ in 0..ALL {
        let (client, url, done) = (client.clone(), server.url("/"), done.clone());
        let future = async move {
            let mut exchange = client.get(url).stream_async().unwrap();
            assert_eq!(exchange.head().await.unwrap().status(), 200);
            let mut size = 0;
            while let Some(chunk) = exchange.chunk().await.unwrap() {
                size += chunk.len();
            }
            assert_eq!(size, 5);
            done.fetch_add(1, Ordering::SeqCst);
        };
        let future: Option<Future1> = Some(Box::pin(future));
        let job = Job { future: Mutex::new(future), line: Mutex::new(line.clone()) };
        line.send(Arc::new(job)).unwrap();
    }
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (tasks, done) = (tasks.clone(), done.clone());
            thread::spawn(move || {
                while done.load(Ordering::SeqCst) < ALL {
                    let job = tasks.lock().unwrap().recv_timeout(Duration::from_millis(20));
                    let job = match job {
                        Ok(job) => job,
                        Err(_) => continue,
                    };
                    let mut slot = job.future.lock().unwrap();
                    if let Some(future) = slot.as_mut() {
                        let waker = Waker::from(job.clone());
                        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                            *slot = None;
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), ALL);
}

#[test]
fn types_go_where_programs_take_them() {
    fn everywhere<T: Send + Sync + 'static>() {}
    fn moves<T: Send + 'static>() {}
    everywhere::<Client>();
    everywhere::<Error>();
    everywhere::<Response>();
    everywhere::<conpool::Chunk>();
    everywhere::<conpool::Connection>();
    everywhere::<conpool::Endpoint>();
    everywhere::<conpool::Queue>();
    everywhere::<conpool::Request>();
    everywhere::<conpool::BodyWriter>();
    moves::<conpool::Call<Response>>();
    moves::<conpool::AsyncExchange>();
    moves::<conpool::Exchange>();
    moves::<conpool::RequestBuilder>();
}
