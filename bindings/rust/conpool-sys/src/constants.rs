//! The constants of `conpool.h`, under their C names.
//!
//! Values that the library returns are plain integers, never Rust enums: newer libraries may return
//! values that are not listed here.

// Status codes. Blocks of one hundred are classes; see conpool_status_class.

/// Success.
pub const CONPOOL_OK: i32 = 0;
/// Invalid argument.
pub const CONPOOL_E_INVALID: i32 = -100;
/// No option has this name.
pub const CONPOOL_E_UNKNOWN_OPTION: i32 = -101;
/// The option's value is not of its type.
pub const CONPOOL_E_OPTION_TYPE: i32 = -102;
/// The option's value is out of range.
pub const CONPOOL_E_OPTION_RANGE: i32 = -103;
/// The option cannot be set here.
pub const CONPOOL_E_OPTION_SCOPE: i32 = -104;
/// The endpoint's URL is not valid.
pub const CONPOOL_E_BAD_URL: i32 = -105;
/// The host name is not valid.
pub const CONPOOL_E_BAD_NAME: i32 = -106;
/// The port is not valid.
pub const CONPOOL_E_BAD_PORT: i32 = -107;
/// The address is not valid.
pub const CONPOOL_E_BAD_ADDRESS: i32 = -108;
/// The id names no running op.
pub const CONPOOL_E_STALE: i32 = -109;
/// Another thread is driving this pool.
pub const CONPOOL_E_BUSY: i32 = -110;
/// The object belongs to the parent process.
pub const CONPOOL_E_FORKED: i32 = -111;
/// The object's state does not allow this call.
pub const CONPOOL_E_WRONG_STATE: i32 = -112;
/// Not supported yet.
pub const CONPOOL_E_UNSUPPORTED: i32 = -113;
/// Only the thread that drives the pool may call this.
pub const CONPOOL_E_WRONG_THREAD: i32 = -114;
/// The method is not valid.
pub const CONPOOL_E_BAD_METHOD: i32 = -115;
/// The header field is not valid.
pub const CONPOOL_E_BAD_FIELD: i32 = -116;
/// The request's body is not valid.
pub const CONPOOL_E_BAD_BODY: i32 = -117;
/// Out of memory.
pub const CONPOOL_E_NOMEM: i32 = -200;
/// Internal error.
pub const CONPOOL_E_INTERNAL: i32 = -201;
/// Operating system error.
pub const CONPOOL_E_SYSTEM: i32 = -202;
/// No file descriptor is left.
pub const CONPOOL_E_FD_LIMIT: i32 = -203;
/// The name does not exist.
pub const CONPOOL_E_DNS_NOT_FOUND: i32 = -300;
/// The name has no address.
pub const CONPOOL_E_DNS_NO_DATA: i32 = -301;
/// No DNS server answered in time.
pub const CONPOOL_E_DNS_TIMEOUT: i32 = -302;
/// The DNS server failed.
pub const CONPOOL_E_DNS_SERVER_FAILURE: i32 = -303;
/// The DNS server refused the query.
pub const CONPOOL_E_DNS_REFUSED: i32 = -304;
/// The DNS answer is malformed.
pub const CONPOOL_E_DNS_BAD_ANSWER: i32 = -305;
/// No DNS server can be reached.
pub const CONPOOL_E_DNS_UNREACHABLE: i32 = -306;
/// Name resolution is switched off.
pub const CONPOOL_E_DNS_DISABLED: i32 = -307;
/// The application's resolver failed.
pub const CONPOOL_E_DNS_APPLICATION: i32 = -308;
/// The name is reserved and never resolved.
pub const CONPOOL_E_DNS_RESERVED: i32 = -309;
/// Connection refused.
pub const CONPOOL_E_CONNECT_REFUSED: i32 = -400;
/// Connect timeout.
pub const CONPOOL_E_CONNECT_TIMEOUT: i32 = -401;
/// No route to the address.
pub const CONPOOL_E_CONNECT_UNREACHABLE: i32 = -402;
/// Connection reset while connecting.
pub const CONPOOL_E_CONNECT_RESET: i32 = -403;
/// Connect failed.
pub const CONPOOL_E_CONNECT_FAILED: i32 = -404;
/// The dial took too long.
pub const CONPOOL_E_DIAL_TIMEOUT: i32 = -405;
/// The peer refused to go on to TLS.
pub const CONPOOL_E_HOP_FAILED: i32 = -406;
/// The peer closed the connection.
pub const CONPOOL_E_CONNECTION_CLOSED: i32 = -410;
/// The peer reset the connection.
pub const CONPOOL_E_CONNECTION_RESET: i32 = -411;
/// The connection failed.
pub const CONPOOL_E_CONNECTION_FAILED: i32 = -412;
/// No byte moved for too long.
pub const CONPOOL_E_STALL_TIMEOUT: i32 = -413;
/// The peer sent bytes nobody asked for.
pub const CONPOOL_E_UNSOLICITED: i32 = -414;
/// The check before reuse failed.
pub const CONPOOL_E_CHECK_FAILED: i32 = -415;
/// TLS handshake failed.
pub const CONPOOL_E_TLS_HANDSHAKE: i32 = -500;
/// The peer's certificate was refused.
pub const CONPOOL_E_TLS_CERTIFICATE: i32 = -501;
/// TLS handshake timeout.
pub const CONPOOL_E_TLS_TIMEOUT: i32 = -502;
/// The TLS settings cannot be used.
pub const CONPOOL_E_TLS_CONFIG: i32 = -503;
/// The peer agreed to none of the offered protocols.
pub const CONPOOL_E_TLS_ALPN: i32 = -504;
/// The connection ended without close-notify.
pub const CONPOOL_E_TLS_TRUNCATED: i32 = -505;
/// TLS protocol error.
pub const CONPOOL_E_TLS_PROTOCOL: i32 = -506;
/// The response is malformed.
pub const CONPOOL_E_HTTP_MALFORMED: i32 = -600;
/// The connection ended inside the response.
pub const CONPOOL_E_HTTP_TRUNCATED: i32 = -601;
/// The connection ended before a response.
pub const CONPOOL_E_HTTP_NO_RESPONSE: i32 = -602;
/// The response's header is too large.
pub const CONPOOL_E_HTTP_HEADER_LIMIT: i32 = -603;
/// The response's body is too large.
pub const CONPOOL_E_HTTP_BODY_LIMIT: i32 = -604;
/// Too many interim responses.
pub const CONPOOL_E_HTTP_INTERIM_LIMIT: i32 = -605;
/// The peer switched protocols unasked.
pub const CONPOOL_E_HTTP_UPGRADED: i32 = -606;
/// No response came in time.
pub const CONPOOL_E_HTTP_FIRST_BYTE_TIMEOUT: i32 = -607;
/// The request's body could not be read.
pub const CONPOOL_E_HTTP_BODY_SOURCE: i32 = -608;
/// The request's body is not as long as announced.
pub const CONPOOL_E_HTTP_BODY_LENGTH: i32 = -609;
/// The peer broke the rules of HTTP/2.
pub const CONPOOL_E_H2_PROTOCOL: i32 = -620;
/// The peer reset the stream.
pub const CONPOOL_E_H2_STREAM_RESET: i32 = -621;
/// The peer refused the stream.
pub const CONPOOL_E_H2_REFUSED: i32 = -622;
/// The peer is going away.
pub const CONPOOL_E_H2_GOAWAY: i32 = -623;
/// The peer floods the connection.
pub const CONPOOL_E_H2_FLOOD: i32 = -624;
/// The peer did not answer a PING in time.
pub const CONPOOL_E_H2_PING_TIMEOUT: i32 = -625;
/// The peer does not speak HTTP/2.
pub const CONPOOL_E_H2_PREFACE: i32 = -626;
/// The peer demands HTTP/1.1.
pub const CONPOOL_E_H2_HTTP_1_1_REQUIRED: i32 = -627;
/// Too many waiters.
pub const CONPOOL_E_WAITERS_LIMIT: i32 = -700;
/// No connection became free in time.
pub const CONPOOL_E_QUEUE_TIMEOUT: i32 = -701;
/// Too many ops in flight.
pub const CONPOOL_E_OPS_LIMIT: i32 = -702;
/// Too many endpoints.
pub const CONPOOL_E_ENDPOINTS_LIMIT: i32 = -703;
/// Too many bytes are held by the application.
pub const CONPOOL_E_PINNED_LIMIT: i32 = -704;
/// The circuit breaker is open.
pub const CONPOOL_E_BREAKER_OPEN: i32 = -800;
/// Every connection is in use.
pub const CONPOOL_E_POOL_EXHAUSTED: i32 = -706;
/// Cancelled.
pub const CONPOOL_E_CANCELLED: i32 = -900;
/// The deadline passed.
pub const CONPOOL_E_TIMEOUT: i32 = -901;
/// Closed.
pub const CONPOOL_E_CLOSED: i32 = -902;

// Classes of status codes.

/// Success.
pub const CONPOOL_CLASS_NONE: i32 = 0;
/// The call was wrong.
pub const CONPOOL_CLASS_USAGE: i32 = 1;
/// Memory, descriptors, the operating system.
pub const CONPOOL_CLASS_SYSTEM: i32 = 2;
/// The name could not be resolved.
pub const CONPOOL_CLASS_DNS: i32 = 3;
/// Before or after the connection was established.
pub const CONPOOL_CLASS_CONNECT: i32 = 4;
/// TLS was refused or broke.
pub const CONPOOL_CLASS_TLS: i32 = 5;
/// The peer or its answer broke the protocol.
pub const CONPOOL_CLASS_HTTP: i32 = 6;
/// One of the pool's own limits.
pub const CONPOOL_CLASS_LIMIT: i32 = 7;
/// The circuit breaker refused.
pub const CONPOOL_CLASS_BREAKER: i32 = 8;
/// Cancelled, timed out, closed.
pub const CONPOOL_CLASS_ENDED: i32 = 9;
/// A block of codes that the library does not know.
pub const CONPOOL_CLASS_UNKNOWN: i32 = 10;

// Kinds of events, and what `object` and `value` are. On failure (status < 0) object is a conpool_error or NULL.

/// No event.
pub const CONPOOL_EVENT_NONE: u32 = 0;
/// An acquire ended. object: conpool_connection. `value[0]`: 1 when it was used before.
pub const CONPOOL_EVENT_CONNECTION: u32 = 1;
/// A read ended. object: conpool_chunk, or NULL at the end of the stream. `value[0]`: bytes.
pub const CONPOOL_EVENT_READ: u32 = 2;
/// A write or shutdown_write ended. `value[0]`: bytes written, on failure too.
pub const CONPOOL_EVENT_WRITE: u32 = 3;
/// A name is to be resolved. object: conpool_lookup.
pub const CONPOOL_EVENT_LOOKUP: u32 = 4;
/// A conpool_pool_close ended. `value[0]`: leases that had to be broken.
pub const CONPOOL_EVENT_CLOSED: u32 = 5;
/// A request ended. object: conpool_response. `value[0]`: how often the request was sent;
/// `value[1]`: `CONPOOL_PROOF_*`, on failure too.
pub const CONPOOL_EVENT_RESPONSE: u32 = 6;
/// The response's header came. object: conpool_response.
pub const CONPOOL_EVENT_HEAD: u32 = 7;
/// A part of its body came. object: conpool_chunk. `value[0]`: bytes of the body before it.
pub const CONPOOL_EVENT_CHUNK: u32 = 8;
/// Trailers came. object: conpool_response.
pub const CONPOOL_EVENT_TRAILERS: u32 = 9;
/// An interim (1xx) response came. object: conpool_response.
pub const CONPOOL_EVENT_INTERIM: u32 = 10;
/// A conpool_endpoint_preconnect ended. `value[0]`: open connections.
pub const CONPOOL_EVENT_PRECONNECT: u32 = 11;

// Flags of events.

/// The op's last event.
pub const CONPOOL_EVENT_FINAL: u32 = 1;
/// READ: the peer ended its direction.
pub const CONPOOL_EVENT_EOF: u32 = 2;

// What became of the caller's bytes when an op failed.

/// No byte was handed to the operating system.
pub const CONPOOL_PROOF_NEVER_SENT: i32 = 0;
/// Sent, and the peer said that it did not process them.
pub const CONPOOL_PROOF_NOT_PROCESSED: i32 = 1;
/// Sent; nobody can tell.
pub const CONPOOL_PROOF_MAYBE_PROCESSED: i32 = 2;

// Phases, in the order of an op's life.

/// Before anything began.
pub const CONPOOL_PHASE_NONE: i32 = 0;
/// Waiting for a connection.
pub const CONPOOL_PHASE_QUEUE: i32 = 1;
/// Resolving the name.
pub const CONPOOL_PHASE_DNS: i32 = 2;
/// Connecting.
pub const CONPOOL_PHASE_CONNECT: i32 = 3;
/// The hop before TLS.
pub const CONPOOL_PHASE_HOP: i32 = 4;
/// The TLS handshake.
pub const CONPOOL_PHASE_TLS: i32 = 5;
/// The session's start.
pub const CONPOOL_PHASE_SESSION: i32 = 6;
/// Sending.
pub const CONPOOL_PHASE_SEND: i32 = 7;
/// Receiving.
pub const CONPOOL_PHASE_RECEIVE: i32 = 8;

// Levels of events, the most urgent first: the choices of events.level.

/// What must not happen.
pub const CONPOOL_LEVEL_ERROR: i32 = 0;
/// What a user should look at.
pub const CONPOOL_LEVEL_WARNING: i32 = 1;
/// What changes the pool.
pub const CONPOOL_LEVEL_INFO: i32 = 2;
/// Every step.
pub const CONPOOL_LEVEL_DEBUG: i32 = 3;

// How the response of a started request is delivered.

/// One event, FINAL, with the whole response, at most response.max_body.
pub const CONPOOL_WHOLE: i32 = 0;
/// INTERIM…, HEAD, CHUNK…, TRAILERS, then FINAL, each with what is known of the response by then. A
/// chunk that is not freed holds the server back; while 64 of them are not, small parts are
/// gathered until 64 KiB, one of them is freed, or the response ends.
pub const CONPOOL_STREAM: i32 = 1;

// How a lease ends.

/// Close the connection.
pub const CONPOOL_BROKEN: i32 = 0;
/// Nothing of this lease is under way: pool it again.
pub const CONPOOL_REUSABLE: i32 = 1;

// Times, sizes and the version of the header that these declarations follow.

/// A time-out that never comes.
pub const CONPOOL_FOREVER: i64 = -1;
/// In place of a text's size: the text ends with its NUL.
pub const CONPOOL_NUL_TERMINATED: usize = usize::MAX;
/// The header's major version.
pub const CONPOOL_VERSION_MAJOR: u32 = 0;
/// The header's minor version.
pub const CONPOOL_VERSION_MINOR: u32 = 1;
/// The header's patch version.
pub const CONPOOL_VERSION_PATCH: u32 = 0;
