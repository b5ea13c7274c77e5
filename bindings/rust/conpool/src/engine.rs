//! One completion queue and the futures that wait for its events.
//!
//! Each op has a slot in a table, named by a token that travels as the event's `user_data`. Whoever
//! runs `turn` (the pump thread of a client, the owner of a `Queue`, a blocking exchange) moves
//! events into slots and wakes their futures after every lock is released. A slot stays until the
//! op's last event, also when its future is gone: it keeps what the op has borrowed.

use crate::{
    error::Error, raw::create, raw::nanoseconds, raw::Event, raw::Handle, raw::NO_EVENT, sys,
};
use std::{
    any::Any, collections::HashMap, collections::VecDeque, future::Future, panic::catch_unwind,
    panic::AssertUnwindSafe, pin::Pin, sync::atomic::AtomicBool, sync::atomic::Ordering, sync::Arc,
    sync::Mutex, sync::MutexGuard, sync::PoisonError, task::Context, task::Poll, task::Wake,
    task::Waker, thread, time::Duration, time::Instant,
};

/// What an op has borrowed: it lives until the op's last event.
pub(crate) type Keep = Option<Box<dyn Any + Send>>;

const BATCH: usize = 64;

/// How long a thread sleeps while another one drives the loop that both need (`loop.drive` =
/// `caller`). The library's waits answer `E_BUSY` then instead of waiting, and a queue's descriptor
/// is that of the whole loop: readable also for what the other thread is about to do.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

/// Events of later kinds come from newer libraries: they are disposed, unless an op ends by one.
const NEWEST_KIND: u32 = sys::CONPOOL_EVENT_PRECONNECT;

/// Locks, whatever another thread's panic left behind: no lock of this crate is held over code
/// that leaves its data half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what the program made, a waker, a drop or its resolver: its panic must not end the thread
/// that all others wait for, nor keep them from their events. What it panicked with is forgotten:
/// it may panic once more where it is dropped.
pub(crate) fn contained<T>(body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).map_err(std::mem::forget).ok()
}

/// What is left of a time limit that begins now.
pub(crate) fn countdown(limit: Option<Duration>) -> impl Fn() -> Option<Duration> {
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    move || end.map(|end| end.saturating_duration_since(Instant::now()))
}

/// What a turn gave; nothing where another thread drives the loop (`loop.drive = caller`), whom it
/// lets have a moment.
pub(crate) fn unless_busy<T>(turn: Result<T, Error>) -> Result<Option<T>, Error> {
    match turn {
        Err(error) if error.code() == sys::CONPOOL_E_BUSY => {
            thread::sleep(MOMENT);
            Ok(None)
        }
        turn => turn.map(Some),
    }
}

/// Starts a thread that nobody waits for.
pub(crate) fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map(drop).map_err(|error| {
        let words = format!("the thread {name} does not start: {error}");
        Error::worded(sys::CONPOOL_E_SYSTEM, words).with_source(error)
    })
}

/// A pool and what goes with it. Ops keep it alive; with its last owner the pool is freed.
pub(crate) struct Pool {
    pub(crate) handle: Handle<sys::conpool_pool>,
    /// Queues that close before the pool is freed: the client's own, the resolver's.
    pub(crate) closing: Mutex<Vec<Arc<Engine>>>,
    process: u32,
}

impl Pool {
    pub(crate) fn new(handle: Handle<sys::conpool_pool>) -> Self {
        Pool { handle, closing: Mutex::new(Vec::new()), process: std::process::id() }
    }

    /// Refuses in a forked child, before any lock that another thread may have held at the fork.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_inherited() {
            return Err(Error::of_status(sys::CONPOOL_E_FORKED));
        }
        Ok(())
    }

    fn is_inherited(&self) -> bool {
        self.process != std::process::id()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.is_inherited() {
            return;
        }
        let engines = std::mem::take(&mut *lock(&self.closing));
        engines.iter().for_each(|engine| engine.close());
    }
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    ended: bool,
    abandoned: bool,
    waker: Option<Waker>,
    keep: Keep,
}

struct Slot(Mutex<State>);

#[derive(Default)]
struct Table {
    slots: HashMap<u64, Arc<Slot>>,
    last: u64,
}

pub(crate) struct Engine {
    // Freed before the table: what ops have borrowed outlives the queue.
    queue: Handle<sys::conpool_queue>,
    table: Mutex<Table>,
    pumped: AtomicBool,
    /// The threads that drive futures on this queue now.
    running: Mutex<Vec<Arc<Flag>>>,
}

impl Engine {
    pub(crate) fn new(pool: &Pool) -> Result<Arc<Self>, Error> {
        // SAFETY: the pool lives.
        let queue = create(|out, _| unsafe { sys::conpool_queue_new(pool.handle.get(), out) })?;
        let (table, running) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Engine { queue, table, pumped: AtomicBool::new(false), running }))
    }

    pub(crate) fn queue(&self) -> *mut sys::conpool_queue {
        self.queue.get()
    }

    /// Starts an op: `call` gets the queue, the token and where the op's id goes.
    pub(crate) fn start(
        &self,
        pool: &Arc<Pool>,
        keep: Keep,
        call: impl FnOnce(*mut sys::conpool_queue, u64, *mut u64) -> Result<(), Error>,
    ) -> Result<Op, Error> {
        pool.check()?;
        let slot = Arc::new(Slot(Mutex::new(State { keep, ..State::default() })));
        let token = {
            let mut table = lock(&self.table);
            table.last += 1;
            let token = table.last;
            table.slots.insert(token, Arc::clone(&slot));
            token
        };
        let mut id = 0;
        if let Err(error) = call(self.queue.get(), token, &mut id) {
            lock(&self.table).slots.remove(&token);
            return Err(error);
        }
        Ok(Op { pool: Arc::clone(pool), slot, id, ended: false })
    }

    /// Starts the thread that takes this queue's events, once.
    pub(crate) fn pump(self: &Arc<Self>) -> Result<(), Error> {
        if self.pumped.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let engine = Arc::clone(self);
        let pump = move || while unless_busy(engine.turn(sys::CONPOOL_FOREVER)).is_ok() {};
        let started = start_thread("conpool-pump", pump);
        self.pumped.store(started.is_ok(), Ordering::Release);
        started
    }

    /// Takes the events that are there, waiting for the first, and wakes who waits for them.
    pub(crate) fn turn(&self, timeout_ns: i64) -> Result<usize, Error> {
        let mut batch = [NO_EVENT; BATCH];
        // SAFETY: the batch has room for BATCH events, and the queue lives.
        let count = unsafe {
            let (events, capacity) = (batch.as_mut_ptr(), BATCH as u32);
            sys::conpool_queue_next(self.queue.get(), events, capacity, timeout_ns)
        };
        let count = usize::try_from(count).map_err(|_| Error::of_status(count))?;
        // SAFETY: the library filled them in, and each is taken once.
        let events = batch[..count].iter().map(|raw| unsafe { Event::new(*raw) });
        let wakers: Vec<Waker> = events.filter_map(|event| self.deliver(event)).collect();
        for waker in wakers {
            contained(|| waker.wake());
        }
        // A wake ends the wait of one thread. Where that was meant for another one it is handed on.
        let own = thread::current().id();
        let meant = |flag: &Arc<Flag>| flag.thread.id() != own && flag.waits_in_vain();
        if lock(&self.running).iter().any(meant) {
            // SAFETY: the queue lives.
            unsafe { sys::conpool_queue_wake(self.queue.get()) };
            thread::yield_now();
        }
        Ok(count)
    }

    fn deliver(&self, event: Event) -> Option<Waker> {
        if !event.is_final() && event.kind() > NEWEST_KIND {
            return None;
        }
        let slot = {
            let mut table = lock(&self.table);
            if event.is_final() {
                table.slots.remove(&event.token())
            } else {
                table.slots.get(&event.token()).cloned()
            }
        }?;
        let mut state = lock(&slot.0);
        // What the program made is dropped outside the lock.
        let kept = if event.is_final() { state.keep.take() } else { None };
        state.ended |= event.is_final();
        let mut event = Some(event);
        if !state.abandoned {
            state.events.extend(event.take());
        }
        let waker = state.waker.take();
        drop(state);
        contained(|| drop((event, kept)));
        waker
    }

    /// Closes the queue; what still waits for its events ends with `E_CLOSED`.
    pub(crate) fn close(&self) {
        // SAFETY: the queue lives; "any thread, also twice".
        unsafe { sys::conpool_queue_close(self.queue.get()) };
        let slots: Vec<_> = lock(&self.table).slots.drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            let (kept, waker) = {
                let mut state = lock(&slot.0);
                state.ended = true;
                (state.keep.take(), state.waker.take())
            };
            contained(|| drop(kept));
            contained(|| waker.into_iter().for_each(Waker::wake));
        }
    }

    /// Polls a future and takes events on this thread until it is ready, or the limit has passed.
    pub(crate) fn run<T>(
        self: &Arc<Self>,
        limit: Option<Duration>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Error> {
        let flag = Flag::new(Some(Arc::clone(self)));
        let _running = Running::new(self, &flag);
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        let left = countdown(limit);
        loop {
            if flag.woken.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(value) = poll(&mut context) {
                    return Ok(value);
                }
            } else if left() == Some(Duration::ZERO) {
                return Err(Error::of_status(sys::CONPOOL_E_TIMEOUT)
                    .with_proof(sys::CONPOOL_PROOF_MAYBE_PROCESSED));
            }
            // Before it looks for a wake: who takes one for this thread then sees that it waits.
            flag.waiting.store(true, Ordering::SeqCst);
            let ready = flag.woken.load(Ordering::SeqCst);
            unless_busy(self.turn(if ready { 0 } else { nanoseconds(left()) }))?;
            flag.waiting.store(false, Ordering::SeqCst);
        }
    }
}

/// A thread's entry among those that drive futures on a queue.
struct Running<'a>(&'a Engine, &'a Arc<Flag>);

impl<'a> Running<'a> {
    fn new(engine: &'a Engine, flag: &'a Arc<Flag>) -> Self {
        lock(&engine.running).push(Arc::clone(flag));
        Running(engine, flag)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.running).retain(|flag| !Arc::ptr_eq(flag, self.1));
    }
}

/// An op whose events come to a slot. Dropping it cancels the op.
pub(crate) struct Op {
    pool: Arc<Pool>,
    slot: Arc<Slot>,
    id: sys::conpool_op,
    ended: bool,
}

impl Op {
    pub(crate) fn id(&self) -> sys::conpool_op {
        self.id
    }

    /// The op's next event, of whatever kind and status. After the last one: `E_STALE`.
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        self.pool.check()?;
        if self.ended {
            return Poll::Ready(Err(Error::of_status(sys::CONPOOL_E_STALE)));
        }
        let mut state = lock(&self.slot.0);
        if let Some(event) = state.events.pop_front() {
            self.ended = event.is_final();
            return Poll::Ready(Ok(event));
        }
        if state.ended {
            self.ended = true;
            let error = Error::of_status(sys::CONPOOL_E_CLOSED);
            return Poll::Ready(Err(error.with_proof(sys::CONPOOL_PROOF_MAYBE_PROCESSED)));
        }
        let before = state.waker.replace(context.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// The op's last event, with what it failed with.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            let event = ready!(self.poll_event(context))?;
            if event.is_final() {
                return Poll::Ready(event.ok());
            }
        }
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if self.ended || self.pool.is_inherited() {
            return;
        }
        let (unwanted, waker, running) = {
            let mut state = lock(&self.slot.0);
            state.abandoned = true;
            (std::mem::take(&mut state.events), state.waker.take(), !state.ended)
        };
        drop(unwanted);
        drop(waker);
        if running {
            // SAFETY: any id is allowed.
            unsafe { sys::conpool_op_cancel(self.id) };
        }
    }
}

/// A call that was started and will end with a `T`.
///
/// The call runs from the moment it was made, whether it is polled or not, and any executor may
/// poll it.
///
/// # Cancellation
///
/// Dropping it cancels the call. Nothing is left behind, and no other call is disturbed; over
/// HTTP/1.1 it costs the connection.
#[must_use = "dropping a call cancels it"]
pub struct Call<T>(Stage<T>);

enum Stage<T> {
    Running(Op, Finish<T>),
    Ended(Option<Result<T, Error>>),
}

// Nothing points into it.
impl<T> Unpin for Call<T> {}

type Finish<T> = Box<dyn FnMut(Result<Event, Error>) -> Result<T, Error> + Send>;

impl<T> Call<T> {
    pub(crate) fn new(
        op: Result<Op, Error>,
        finish: impl FnMut(Result<Event, Error>) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        match op {
            Ok(op) => Call(Stage::Running(op, Box::new(finish))),
            Err(error) => Call::ended(Err(error)),
        }
    }

    /// A call that is over before it needs an op.
    pub(crate) fn ended(result: Result<T, Error>) -> Self {
        Call(Stage::Ended(Some(result)))
    }
}

impl<T> Future for Call<T> {
    type Output = Result<T, Error>;

    /// Polled again after it was ready, it is ready with `E_STALE`.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Stage::Running(op, finish) => op.poll_end(context).map(finish),
            Stage::Ended(result) => {
                let again = || Err(Error::of_status(sys::CONPOOL_E_STALE));
                Poll::Ready(result.take().unwrap_or_else(again))
            }
        }
    }
}

/// A future of a poll function. (`std::future::poll_fn` came after the oldest Rust supported.)
pub(crate) struct PollWith<F>(pub(crate) F);

impl<T, F: FnMut(&mut Context<'_>) -> Poll<T> + Unpin> Future for PollWith<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        (self.0)(context)
    }
}

/// Wakes a thread that polls a future itself: from its sleep, or from its queue.
struct Flag {
    woken: AtomicBool,
    waiting: AtomicBool,
    thread: thread::Thread,
    engine: Option<Arc<Engine>>,
}

impl Flag {
    fn new(engine: Option<Arc<Engine>>) -> Arc<Self> {
        let (woken, waiting) = (true.into(), false.into());
        Arc::new(Flag { woken, waiting, thread: thread::current(), engine })
    }

    fn waits_in_vain(&self) -> bool {
        self.woken.load(Ordering::SeqCst) && self.waiting.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if thread::current().id() == self.thread.id() {
            return;
        }
        match &self.engine {
            // SAFETY: the queue lives; "any thread".
            Some(engine) => unsafe { sys::conpool_queue_wake(engine.queue()) },
            None => self.thread.unpark(),
        }
    }
}

/// Waits for a future on this thread, for programs without an executor.
///
/// ```no_run
/// # fn main() -> Result<(), conpool::Error> {
/// let client = conpool::Client::new()?;
/// let response = conpool::block_on(client.get("https://example.org/").send_async())?;
/// # Ok(()) }
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    let flag = Flag::new(None);
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    loop {
        if flag.woken.swap(false, Ordering::SeqCst) {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
        } else {
            thread::park();
        }
    }
}
