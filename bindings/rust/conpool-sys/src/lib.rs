//! Declarations of libconpool's C ABI, written by hand after `conpool.h`.
//!
//! Everything has its C name, so that the header's documentation applies word by word; the comments
//! here are its first sentences. Most programs want the safe crate `conpool` on top of this one.
//!
//! Threads, in the header's words: "any thread" means concurrently, without locks of the program's
//! own; "one at a time" means any thread, but not two at once on the same object. No function may be
//! called on an object that was freed.
#![no_std]
#![allow(non_camel_case_types)]
#![deny(missing_docs)]

mod constants;

pub use constants::*;
pub use core::ffi::c_void;
use core::marker::{PhantomData, PhantomPinned};
use core::mem;

/// C's `char`. (`core::ffi::c_char` came after the oldest Rust that this crate supports.)
#[cfg(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "riscv32",
    target_arch = "riscv64",
    target_arch = "s390x"
))]
pub type c_char = u8;
/// C's `char`. (`core::ffi::c_char` came after the oldest Rust that this crate supports.)
#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "riscv32",
    target_arch = "riscv64",
    target_arch = "s390x"
)))]
pub type c_char = i8;

/// 0 or a `CONPOOL_E_*` code.
pub type conpool_status = i32;
/// Names one op for ever; 0 is never valid.
pub type conpool_op = u64;

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _size: [u8; 0],
            _marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}

opaque! {
    /// Option values, by name.
    conpool_config;
    /// The loop and everything on it.
    conpool_pool;
    /// What is connected to.
    conpool_endpoint;
    /// Where events arrive.
    conpool_queue;
    /// One lease of one connection.
    conpool_connection;
    /// What is asked of an HTTP server.
    conpool_request;
    /// What it answered; immutable.
    conpool_response;
    /// Bytes received; immutable.
    conpool_chunk;
    /// What failed, and all that was tried; immutable.
    conpool_error;
    /// A name that the program is asked to resolve.
    conpool_lookup;
}

/// One thing that happened to an op. Its 64 bytes are frozen for ever.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct conpool_event {
    /// `CONPOOL_EVENT_*`; dispose events of unknown kind.
    pub kind: u32,
    /// `CONPOOL_EVENT_FINAL`, …
    pub flags: u32,
    /// The op it belongs to.
    pub op: conpool_op,
    /// As given when the op was started; never interpreted.
    pub user_data: u64,
    /// 0, or why the op failed.
    pub status: conpool_status,
    /// The library's own: leave it as it is.
    pub reserved: u32,
    /// CLOCK_MONOTONIC when it happened.
    pub time_ns: i64,
    /// By kind; belongs to the receiver until `conpool_event_dispose`.
    pub object: *mut c_void,
    /// By kind.
    pub value: [u64; 2],
}

const _: () = assert!(mem::size_of::<conpool_event>() == 64);
const _: () = assert!(mem::align_of::<conpool_event>() == 8);

extern "C" {
    /// The version of the library that runs, as 0x00MMmmpp. Any thread.
    pub fn conpool_version() -> u32;
    /// "0.1.0". Static. Any thread.
    pub fn conpool_version_string() -> *const c_char;
    /// "E_CONNECT_REFUSED"; "UNKNOWN" for a code this library does not know. Static. Any thread.
    pub fn conpool_status_name(status: conpool_status) -> *const c_char;
    /// "connection refused": one line, lower case, no full stop. Static. Any thread.
    pub fn conpool_status_text(status: conpool_status) -> *const c_char;
    /// CONPOOL_CLASS_*; right also for codes of newer libraries. Any thread.
    pub fn conpool_status_class(status: conpool_status) -> i32;
    /// The library's own tables as JSON text, for programs that build on them (bindings,
    /// documentation, completion).
    pub fn conpool_describe(what: *const c_char, out: *mut *mut c_char) -> conpool_status;
    /// Frees a text that the library gave to the caller. Any thread.
    pub fn conpool_text_free(text: *mut c_char);
    /// An empty config. Any thread.
    pub fn conpool_config_new(out: *mut *mut conpool_config) -> conpool_status;
    /// Sets one option; setting it again replaces the value.
    pub fn conpool_config_set(
        config: *mut conpool_config,
        name: *const c_char,
        value: *const c_char,
        size: usize,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// One at a time; pools and endpoints made with it keep their own copy.
    pub fn conpool_config_free(config: *mut conpool_config);
    /// CONPOOL_E_* of the cause.
    pub fn conpool_error_status(error: *const conpool_error) -> conpool_status;
    /// CONPOOL_PHASE_*: where the op was when it failed.
    pub fn conpool_error_phase(error: *const conpool_error) -> i32;
    /// CONPOOL_PROOF_*.
    pub fn conpool_error_proof(error: *const conpool_error) -> i32;
    /// errno of the cause, or 0.
    pub fn conpool_error_os_errno(error: *const conpool_error) -> i32;
    /// HTTP/2's error code of the cause (RFC 9113 section 7), or -1 where there is none.
    pub fn conpool_error_h2_code(error: *const conpool_error) -> i64;
    /// OpenSSL's X509_V_ERR_* code of the cause, or 0.
    pub fn conpool_error_tls_verify(error: *const conpool_error) -> i64;
    /// Of CONPOOL_E_BREAKER_OPEN: nanoseconds from the failure to the next trial. -1 where there is
    /// none, and for a breaker that is forced open.
    pub fn conpool_error_retry_after(error: *const conpool_error) -> i64;
    /// One line: "connection refused (ECONNREFUSED), connecting to tcp:127.0.0.1:8088, connecting
    /// to localhost:8088".
    pub fn conpool_error_line(error: *const conpool_error) -> *const c_char;
    /// Several lines: the cause, the contexts from inside out, each attempt with address, result
    /// and duration.
    pub fn conpool_error_report(error: *const conpool_error) -> *const c_char;
    /// How many attempts the error lists: DNS queries and connection attempts, in the order of
    /// their start.
    pub fn conpool_error_attempt_count(error: *const conpool_error) -> usize;
    /// "tcp:127.0.0.1:8088" or "AAAA localhost @192.0.2.53:53"; NULL when index is out of range.
    pub fn conpool_error_attempt_target(error: *const conpool_error, index: usize)
        -> *const c_char;
    /// Its result: 0 for an attempt that succeeded.
    pub fn conpool_error_attempt_status(
        error: *const conpool_error,
        index: usize,
    ) -> conpool_status;
    /// CONPOOL_PHASE_DNS, CONPOOL_PHASE_CONNECT, CONPOOL_PHASE_HOP or CONPOOL_PHASE_TLS: where it
    /// ended.
    pub fn conpool_error_attempt_phase(error: *const conpool_error, index: usize) -> i32;
    /// Its errno, or 0.
    pub fn conpool_error_attempt_os_errno(error: *const conpool_error, index: usize) -> i32;
    /// Nanoseconds from the dial's start to the attempt's start.
    pub fn conpool_error_attempt_started(error: *const conpool_error, index: usize) -> i64;
    /// Nanoseconds from the attempt's start to its end.
    pub fn conpool_error_attempt_duration(error: *const conpool_error, index: usize) -> i64;
    /// Any thread, once.
    pub fn conpool_error_free(error: *mut conpool_error);
    /// Creates a pool.
    pub fn conpool_pool_new(
        config: *const conpool_config,
        out: *mut *mut conpool_pool,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Closes a pool gracefully. New acquires and requests are refused with CONPOOL_E_CLOSED from
    /// now on; waiting ones end with it; idle connections close; leased ones may be used, and
    /// running requests go on, until they end or drain_timeout_ns has passed, then they are closed
    /// and their ops end with CONPOOL_E_CLOSED. The op ends with CONPOOL_EVENT_CLOSED when no
    /// connection is left.
    pub fn conpool_pool_close(
        pool: *mut conpool_pool,
        drain_timeout_ns: i64,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
    ) -> conpool_status;
    /// Frees a pool: what is still open closes at once, every op ends with CONPOOL_E_CLOSED (its
    /// event can still be taken from its queue), blocked conpool_op_wait calls return. Any thread
    /// of the program, once. Waits for the loop's current turn, never for consumers, lookups or
    /// peers.
    pub fn conpool_pool_free(pool: *mut conpool_pool);
    /// Counters, gauges and latencies of the pool, its endpoints, addresses and connections.
    pub fn conpool_pool_metrics(
        pool: *mut conpool_pool,
        format: *const c_char,
        out: *mut *mut c_char,
    ) -> conpool_status;
    /// The recorded events, oldest first.
    pub fn conpool_pool_events(
        pool: *mut conpool_pool,
        format: *const c_char,
        out: *mut *mut c_char,
    ) -> conpool_status;
    /// A part of the recorded events, for programs that follow them.
    pub fn conpool_pool_events_since(
        pool: *mut conpool_pool,
        format: *const c_char,
        since: u64,
        limit: u64,
        next: *mut u64,
        lost: *mut u64,
        out: *mut *mut c_char,
    ) -> conpool_status;
    /// Records an event of the program's own among the pool's, with the time of the call.
    pub fn conpool_pool_event(
        pool: *mut conpool_pool,
        level: i32,
        name: *const c_char,
        name_size: usize,
        text: *const c_char,
        text_size: usize,
    ) -> conpool_status;
    /// What the pool knows and would do for an endpoint, in words: options that are not the
    /// defaults, addresses with their health, order and cached answers, connections and waiters.
    pub fn conpool_pool_explain(
        pool: *mut conpool_pool,
        endpoint: *const conpool_endpoint,
        out: *mut *mut c_char,
    ) -> conpool_status;
    /// Makes the program the pool's resolver (needs dns.backend = queue): lookups arrive in `queue`
    /// as CONPOOL_EVENT_LOOKUP, one per name and family. NULL ends it. An unanswered lookup ends by
    /// its time limit. Returns CONPOOL_E_WRONG_STATE for another dns.backend. Any thread; waits for
    /// the loop's current turn.
    pub fn conpool_pool_set_resolver(
        pool: *mut conpool_pool,
        queue: *mut conpool_queue,
        user_data: u64,
    ) -> conpool_status;
    /// Names an endpoint by text.
    pub fn conpool_endpoint_new(
        pool: *mut conpool_pool,
        url: *const c_char,
        size: usize,
        config: *const conpool_config,
        out: *mut *mut conpool_endpoint,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Names an endpoint by host name (or literal) and ports.
    pub fn conpool_endpoint_new_host(
        pool: *mut conpool_pool,
        scheme: *const c_char,
        host: *const c_char,
        host_size: usize,
        ports: *const u16,
        port_count: usize,
        config: *const conpool_config,
        out: *mut *mut conpool_endpoint,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Names an endpoint by its addresses: no name is resolved. The list is part of the endpoint's
    /// key. With scheme "tls", "http" or "https" the option tls.server_name is needed: the name to
    /// verify, and the host that requests name.
    pub fn conpool_endpoint_new_addresses(
        pool: *mut conpool_pool,
        scheme: *const c_char,
        addresses: *const c_char,
        size: usize,
        config: *const conpool_config,
        out: *mut *mut conpool_endpoint,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Forces the endpoint's circuit breaker, for all endpoints of the same key in the pool.
    pub fn conpool_endpoint_force_breaker(
        endpoint: *mut conpool_endpoint,
        state: *const c_char,
    ) -> conpool_status;
    /// Its connections stay pooled and close by their own limits. One at a time.
    pub fn conpool_endpoint_free(endpoint: *mut conpool_endpoint);
    /// Starts to acquire a connection: an idle one that is still good, else the next that is
    /// released or dialed. Waiters are served in the order of their calls.
    pub fn conpool_endpoint_acquire(
        endpoint: *mut conpool_endpoint,
        config: *const conpool_config,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
    ) -> conpool_status;
    /// Starts to open connections before they are needed: until `count` are open, or as many as the
    /// endpoint's limits allow (of HTTP/2 one is enough for many requests: an endpoint known to
    /// speak it opens no more than that). They stay pooled like any other.
    pub fn conpool_endpoint_preconnect(
        endpoint: *mut conpool_endpoint,
        count: u32,
        config: *const conpool_config,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
    ) -> conpool_status;
    /// Asks an op to end soon. FINAL still comes: with CONPOOL_E_CANCELLED, or with the result that
    /// was faster. Cancelling a write that was half done breaks its connection. Idempotent.
    pub fn conpool_op_cancel(op: conpool_op) -> conpool_status;
    /// Waits for an op that was started without a queue, and takes its event.
    pub fn conpool_op_wait(
        op: conpool_op,
        timeout_ns: i64,
        out: *mut conpool_event,
    ) -> conpool_status;
    /// A queue for this pool's ops; another's are refused with CONPOOL_E_INVALID. Any thread.
    pub fn conpool_queue_new(
        pool: *mut conpool_pool,
        out: *mut *mut conpool_queue,
    ) -> conpool_status;
    /// Takes up to `capacity` events.
    pub fn conpool_queue_next(
        queue: *mut conpool_queue,
        events: *mut conpool_event,
        capacity: u32,
        timeout_ns: i64,
    ) -> i32;
    /// A descriptor that is readable exactly while conpool_queue_next has something to give (with
    /// loop.drive = caller: or something to do). For poll, epoll and their like; never read, write
    /// or close it. Made at the first call.
    pub fn conpool_queue_fd(queue: *mut conpool_queue) -> i32;
    /// Makes one conpool_queue_next return early: the one that waits now, or the next. Any thread.
    pub fn conpool_queue_wake(queue: *mut conpool_queue);
    /// Cancels the queue's ops, disposes of their events, wakes its consumers (CONPOOL_E_CLOSED).
    /// No FINAL comes for its ops any more; when the call returns, what they borrowed is the
    /// caller's again. Any thread, also twice; waits for the loop's current turn.
    pub fn conpool_queue_close(queue: *mut conpool_queue);
    /// Closes the queue and frees it. One at a time.
    pub fn conpool_queue_free(queue: *mut conpool_queue);
    /// Frees what the event carries (a connection is released as broken) and clears event->object.
    /// Harmless twice. Any thread. To keep the object, set event->object to NULL first.
    pub fn conpool_event_dispose(event: *mut conpool_event);
    /// A request by URL.
    pub fn conpool_request_new(
        pool: *mut conpool_pool,
        method: *const c_char,
        url: *const c_char,
        size: usize,
        config: *const conpool_config,
        out: *mut *mut conpool_request,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// A request to an endpoint of scheme "http" or "https": the fast way for many requests.
    pub fn conpool_request_new_at(
        endpoint: *mut conpool_endpoint,
        method: *const c_char,
        target: *const c_char,
        size: usize,
        out: *mut *mut conpool_request,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Adds a header field; fields of one name keep their order. The name is a token, the value has
    /// no control characters but HTAB; white space around it is dropped.
    pub fn conpool_request_header(
        request: *mut conpool_request,
        name: *const c_char,
        name_size: usize,
        value: *const c_char,
        value_size: usize,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Adds a trailer field, sent after the body: over HTTP/1.1 in the chunked coding. As
    /// conpool_request_header; fields about framing, routing or the connection are refused. One at
    /// a time.
    pub fn conpool_request_trailer(
        request: *mut conpool_request,
        name: *const c_char,
        name_size: usize,
        value: *const c_char,
        value_size: usize,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// The whole body. Its bytes are borrowed by each start until that op's FINAL event (or until
    /// conpool_queue_close of its queue has returned): neither change nor free them before.
    pub fn conpool_request_body(
        request: *mut conpool_request,
        data: *const c_void,
        size: usize,
    ) -> conpool_status;
    /// The body from a file: `size` bytes from `offset` on, or all that follow with size -1. The
    /// descriptor is duplicated; it must be of a regular file, which is read on a thread of its
    /// own.
    pub fn conpool_request_body_fd(
        request: *mut conpool_request,
        fd: i32,
        offset: i64,
        size: i64,
    ) -> conpool_status;
    /// The body in pieces, written with conpool_body_write once the request is started.
    pub fn conpool_request_body_stream(request: *mut conpool_request, size: i64) -> conpool_status;
    /// Declares (1) or not (0) that the request may be sent again, whatever its method, because
    /// sending it twice has the effect of once. Returns CONPOOL_E_WRONG_STATE after the first
    /// start. One at a time.
    pub fn conpool_request_idempotent(
        request: *mut conpool_request,
        idempotent: i32,
    ) -> conpool_status;
    /// Starts the request.
    pub fn conpool_request_start(
        request: *mut conpool_request,
        config: *const conpool_config,
        how: i32,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Writes a piece of the body of a running request. The bytes are borrowed until the write's
    /// FINAL event, which comes when the connection has taken them: that is the back-pressure.
    /// Pieces go out in the order of the calls.
    pub fn conpool_body_write(
        op: conpool_op,
        data: *const c_void,
        size: usize,
        last: i32,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
    ) -> conpool_status;
    /// Starts the request and waits for its whole response.
    pub fn conpool_perform(
        request: *mut conpool_request,
        config: *const conpool_config,
        out: *mut *mut conpool_response,
        error: *mut *mut conpool_error,
    ) -> conpool_status;
    /// Running ops are not disturbed. One at a time.
    pub fn conpool_request_free(request: *mut conpool_request);
    /// 200, 404, … Any thread.
    pub fn conpool_response_status(response: *const conpool_response) -> i32;
    /// 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2. Any thread.
    pub fn conpool_response_version(response: *const conpool_response) -> i32;
    /// How many header lines there are. Any thread.
    pub fn conpool_response_header_count(response: *const conpool_response) -> usize;
    /// The name of a line, in the order of arrival; NULL when index is out of range. `size` may be
    /// NULL. Any thread.
    pub fn conpool_response_header_name(
        response: *const conpool_response,
        index: usize,
        size: *mut usize,
    ) -> *const c_char;
    /// The value of a line, likewise. Any thread.
    pub fn conpool_response_header_value(
        response: *const conpool_response,
        index: usize,
        size: *mut usize,
    ) -> *const c_char;
    /// The value of the nth line (from 0) with this name, upper and lower case alike; NULL when
    /// there is none. Any thread.
    pub fn conpool_response_header(
        response: *const conpool_response,
        name: *const c_char,
        nth: usize,
        size: *mut usize,
    ) -> *const c_char;
    /// How many trailer lines there are. Any thread.
    pub fn conpool_response_trailer_count(response: *const conpool_response) -> usize;
    /// The name of a trailer line, as conpool_response_header_name. Any thread.
    pub fn conpool_response_trailer_name(
        response: *const conpool_response,
        index: usize,
        size: *mut usize,
    ) -> *const c_char;
    /// The value of a trailer line, likewise. Any thread.
    pub fn conpool_response_trailer_value(
        response: *const conpool_response,
        index: usize,
        size: *mut usize,
    ) -> *const c_char;
    /// The body of a response that was delivered whole, in one piece. NULL and 0 when it is empty
    /// or was delivered in chunks. Any thread.
    pub fn conpool_response_body(response: *const conpool_response, size: *mut usize) -> *const u8;
    /// Facts as JSON text: how often the request was sent and why again, whether its connection was
    /// used before, connection id and address, protocol, when each phase ended (nanoseconds from
    /// the start; names, connect and TLS only where a connection was dialed for it), bytes of the
    /// bodies. Free it with conpool_text_free. Any thread; does not block.
    pub fn conpool_response_describe(
        response: *const conpool_response,
        out: *mut *mut c_char,
    ) -> conpool_status;
    /// Any thread, once.
    pub fn conpool_response_free(response: *mut conpool_response);
    /// Starts to read: ends as soon as there is at least one byte.
    pub fn conpool_connection_read(
        connection: *mut conpool_connection,
        size_max: usize,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
    ) -> conpool_status;
    /// Starts to write. The bytes are borrowed until the op's FINAL event (or until
    /// conpool_queue_close of its queue has returned): neither change nor free them before. FINAL
    /// comes when the operating system has accepted all of them. Any thread; does not block.
    pub fn conpool_connection_write(
        connection: *mut conpool_connection,
        data: *const c_void,
        size: usize,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
    ) -> conpool_status;
    /// Starts to end our direction, after all writes started before. A connection ended so is not
    /// pooled again. Any thread; does not block.
    pub fn conpool_connection_shutdown_write(
        connection: *mut conpool_connection,
        queue: *mut conpool_queue,
        user_data: u64,
        out_op: *mut conpool_op,
    ) -> conpool_status;
    /// Lends the connection's descriptor, for code that wants to read and write itself. Not for TLS
    /// connections.
    pub fn conpool_connection_lend(
        connection: *mut conpool_connection,
        blocking: i32,
        out_fd: *mut i32,
        out_read: *mut *mut conpool_chunk,
    ) -> conpool_status;
    /// Ends the lease and frees the handle. Ops still running on it end with CONPOOL_E_CANCELLED,
    /// and the connection closes. Any thread, once; does not block, cannot fail.
    pub fn conpool_connection_release(connection: *mut conpool_connection, how: i32);
    /// The address that won: `192.0.2.1:443`, `[2001:db8::1]:443`, `unix:/path`. Borrowed. Any
    /// thread.
    pub fn conpool_connection_address(connection: *const conpool_connection) -> *const c_char;
    /// Facts as JSON text: id, endpoint, address, local address, reused, uses, age, how long each
    /// phase of the dial took, the attempts of the race, TLS version, cipher, ALPN, whether the
    /// session was resumed, the peer's certificate. Free it with conpool_text_free. Any thread;
    /// does not block.
    pub fn conpool_connection_describe(
        connection: *const conpool_connection,
        out: *mut *mut c_char,
    ) -> conpool_status;
    /// The bytes, valid until conpool_chunk_free. Any thread.
    pub fn conpool_chunk_data(chunk: *const conpool_chunk) -> *const u8;
    /// How many bytes there are. Any thread.
    pub fn conpool_chunk_size(chunk: *const conpool_chunk) -> usize;
    /// Any thread, once. Bytes held in chunks count against pool.max_pinned.
    pub fn conpool_chunk_free(chunk: *mut conpool_chunk);
    /// The name to resolve, without a trailing dot. Borrowed.
    pub fn conpool_lookup_name(lookup: *const conpool_lookup) -> *const c_char;
    /// 4 or 6: the family of addresses that is asked for.
    pub fn conpool_lookup_family(lookup: *const conpool_lookup) -> i32;
    /// Answers a lookup and frees it.
    pub fn conpool_lookup_answer(
        lookup: *mut conpool_lookup,
        addresses: *const c_char,
        size: usize,
    ) -> conpool_status;
    /// Fails a lookup with a message for the error's ledger, and frees it. Any thread; does not
    /// block.
    pub fn conpool_lookup_fail(
        lookup: *mut conpool_lookup,
        message: *const c_char,
        size: usize,
    ) -> conpool_status;
    /// Frees a lookup that is not answered: it ends by its time limit.
    pub fn conpool_lookup_free(lookup: *mut conpool_lookup);
}
