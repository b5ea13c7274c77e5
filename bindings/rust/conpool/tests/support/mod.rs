//! Scripted servers and other things that several tests need.
#![allow(dead_code)]

use conpool::{Client, ClientBuilder, Error};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::io::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything that ends takes, under the sanitizers and beside other work.
pub const LONG: Duration = Duration::from_secs(30);

/// A server whose connections are each served by a function on a thread of its own.
pub struct Server {
    pub address: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (stop, count, list) = (stopping.clone(), accepted.clone(), open.clone());
        let acceptor = thread::spawn(move || {
            let serve = Arc::new(serve);
            let mut workers = Vec::new();
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let copy = stream.try_clone().unwrap();
                let fd = copy.as_raw_fd();
                list.lock().unwrap().push(copy);
                let (serve, list) = (serve.clone(), list.clone());
                workers.push(thread::spawn(move || {
                    serve(stream);
                    // With the last copy it closes, by a reset where that was asked for.
                    list.lock().unwrap().retain(|copy: &TcpStream| copy.as_raw_fd() != fd);
                }));
            }
            for worker in workers {
                let _ = worker.join();
            }
        });
        Server { address, accepted, stopping, open, acceptor: Some(acceptor) }
    }

    /// Reads one request per answer, and sends the answers as they are, in all connections.
    pub fn answering(answer: &[u8], after: After) -> Self {
        let answer = answer.to_vec();
        Server::start(move |mut stream| {
            while read_request(&mut stream).is_some() {
                if stream.write_all(&answer).is_err() || after.happens(&stream) {
                    return;
                }
            }
        })
    }

    /// HTTP/1.1 with "hello" for every request.
    pub fn hello() -> Self {
        Server::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", After::Stay)
    }

    /// Accepts, and never says a word.
    pub fn silent() -> Self {
        Server::start(|mut stream| {
            let mut buffer = [0; 4096];
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        })
    }

    /// Sends everything back.
    pub fn echo() -> Self {
        Server::start(|mut stream| {
            let mut buffer = [0; 65536];
            while let Ok(size @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..size]).is_err() {
                    return;
                }
            }
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn tcp(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap().len()
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for stream in self.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// An address that refuses: nobody listens there, and a connection has its port, so that nobody
/// will.
pub struct ClosedPort(TcpStream, TcpListener);

impl ClosedPort {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        ClosedPort(TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address())
    }
}

/// What a server does once its answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Stay,
    Close,
    Reset,
}

impl After {
    /// Whether the connection is over.
    pub fn happens(self, stream: &TcpStream) -> bool {
        if self == After::Reset {
            reset_on_close(stream);
        }
        self != After::Stay
    }
}

#[repr(C)]
struct Linger {
    on: i32,
    seconds: i32,
}

extern "C" {
    fn setsockopt(fd: i32, level: i32, name: i32, value: *const Linger, size: u32) -> i32;
}

/// Makes the close of the last copy send a reset. (Linux: SOL_SOCKET, SO_LINGER.)
fn reset_on_close(stream: &TcpStream) {
    let linger = Linger { on: 1, seconds: 0 };
    // SAFETY: the descriptor is open, and the size is that of the struct.
    assert_eq!(unsafe { setsockopt(stream.as_raw_fd(), 1, 13, &linger, 8) }, 0);
}

/// Reads a request's head and its body by content-length; `None` at the end of the stream.
pub fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let size =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    if let Some(size) = size {
        let mut body = vec![0; size];
        stream.read_exact(&mut body).ok()?;
        request.extend(body);
    } else if head.contains("transfer-encoding: chunked") {
        // Up to the last chunk and the trailers behind it.
        let last = |request: &[u8]| request.windows(5).any(|part| part == b"\r\n0\r\n");
        while !(request.ends_with(b"\r\n\r\n") && last(&request)) {
            match stream.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                _ => return None,
            }
        }
    }
    Some(request)
}

/// A client for scripted servers: nothing is repeated behind the test's back for long.
pub fn builder() -> ClientBuilder {
    Client::builder().option("retry.stale", 0).timeout(LONG)
}

pub fn client() -> Client {
    builder().build().unwrap()
}

/// How many descriptors this process has open.
pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits for a condition, by looking again and again.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The thread that made it, as others see it. (Linux: /proc.)
pub struct ThisThread(PathBuf);

impl ThisThread {
    pub fn new() -> Self {
        ThisThread(Path::new("/proc").join(std::fs::read_link("/proc/thread-self").unwrap()))
    }

    pub fn sleeps(&self) -> bool {
        std::fs::read_to_string(self.0.join("stat")).unwrap().contains(") S ")
    }
}

pub fn stat(client: &Client, name: &str) -> f64 {
    let stats = client.stats().unwrap();
    stats.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// An error's name, phase and proof: what must be the same in every form of a call.
pub fn verdict(error: &Error) -> String {
    format!("{} {:?} {:?} {:?}", error.name(), error.kind(), error.phase(), error.proof())
}

/// A small generator of numbers, the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A number that a run can be told by the environment.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
