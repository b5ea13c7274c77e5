"""The C library: how it is found, its functions with their types, and who frees what."""

from __future__ import annotations

import ctypes
import json
import os
import types
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any, Dict, List, Optional, Sequence, Tuple

SONAME = "libconpool.so.0"
MAJOR = 0
NEEDED = (0, 1, 0)  # the oldest library that has all that this package calls

FOREVER = -1
NUL_TERMINATED = c_size_t(-1).value

CLASS_NONE, CLASS_USAGE, CLASS_SYSTEM, CLASS_DNS, CLASS_CONNECT, CLASS_TLS = range(6)
CLASS_HTTP, CLASS_LIMIT, CLASS_BREAKER, CLASS_ENDED, CLASS_UNKNOWN = range(6, 11)
EVENT_NONE, EVENT_CONNECTION, EVENT_READ, EVENT_WRITE, EVENT_LOOKUP, EVENT_CLOSED = range(6)
EVENT_RESPONSE, EVENT_HEAD, EVENT_CHUNK, EVENT_TRAILERS, EVENT_INTERIM = range(6, 11)
EVENT_PRECONNECT = 11
EVENT_FINAL, EVENT_EOF = 1, 2
PROOF_NEVER_SENT, PROOF_NOT_PROCESSED, PROOF_MAYBE_PROCESSED = range(3)
PHASE_NONE, PHASE_QUEUE, PHASE_DNS, PHASE_CONNECT, PHASE_HOP, PHASE_TLS = range(6)
PHASE_SESSION, PHASE_SEND, PHASE_RECEIVE = range(6, 9)
LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG = range(4)
WHOLE, STREAM = 0, 1
BROKEN, REUSABLE = 0, 1


class RawEvent(ctypes.Structure):
    """conpool_event, to the byte."""

    _fields_ = [
        ("kind", c_uint32),
        ("flags", c_uint32),
        ("op", c_uint64),
        ("user_data", c_uint64),
        ("status", c_int32),
        ("reserved", c_uint32),
        ("time_ns", c_int64),
        ("object", c_void_p),
        ("value", c_uint64 * 2),
    ]


EVENT_SIZE = ctypes.sizeof(RawEvent)

# Pointers by what they point at. Borrowed texts come back as bytes, which copies them.
_P, _OUT, _TEXT, _SIZE = c_void_p, POINTER(c_void_p), c_char_p, c_size_t
_EVENTS, _OP, _PORTS, _SIZES = POINTER(RawEvent), POINTER(c_uint64), POINTER(c_uint16), POINTER(c_size_t)
_INT, _STATUS = c_int32, c_int32

# Every function of the library: what it returns, and its parameters.
FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "conpool_version": (c_uint32, []),
    "conpool_version_string": (_TEXT, []),
    "conpool_status_name": (_TEXT, [_STATUS]),
    "conpool_status_text": (_TEXT, [_STATUS]),
    "conpool_status_class": (_INT, [_STATUS]),
    "conpool_describe": (_STATUS, [_TEXT, _OUT]),
    "conpool_text_free": (None, [_P]),
    "conpool_config_new": (_STATUS, [_OUT]),
    "conpool_config_set": (_STATUS, [_P, _TEXT, _TEXT, _SIZE, _OUT]),
    "conpool_config_free": (None, [_P]),
    "conpool_error_status": (_STATUS, [_P]),
    "conpool_error_phase": (_INT, [_P]),
    "conpool_error_proof": (_INT, [_P]),
    "conpool_error_os_errno": (_INT, [_P]),
    "conpool_error_h2_code": (c_int64, [_P]),
    "conpool_error_tls_verify": (c_int64, [_P]),
    "conpool_error_retry_after": (c_int64, [_P]),
    "conpool_error_line": (_TEXT, [_P]),
    "conpool_error_report": (_TEXT, [_P]),
    "conpool_error_attempt_count": (_SIZE, [_P]),
    "conpool_error_attempt_target": (_TEXT, [_P, _SIZE]),
    "conpool_error_attempt_status": (_STATUS, [_P, _SIZE]),
    "conpool_error_attempt_phase": (_INT, [_P, _SIZE]),
    "conpool_error_attempt_os_errno": (_INT, [_P, _SIZE]),
    "conpool_error_attempt_started": (c_int64, [_P, _SIZE]),
    "conpool_error_attempt_duration": (c_int64, [_P, _SIZE]),
    "conpool_error_free": (None, [_P]),
    "conpool_pool_new": (_STATUS, [_P, _OUT, _OUT]),
    "conpool_pool_close": (_STATUS, [_P, c_int64, _P, c_uint64, _OP]),
    "conpool_pool_free": (None, [_P]),
    "conpool_pool_metrics": (_STATUS, [_P, _TEXT, _OUT]),
    "conpool_pool_events": (_STATUS, [_P, _TEXT, _OUT]),
    "conpool_pool_events_since": (_STATUS, [_P, _TEXT, c_uint64, c_uint64, _OP, _OP, _OUT]),
    "conpool_pool_event": (_STATUS, [_P, _INT, _TEXT, _SIZE, _TEXT, _SIZE]),
    "conpool_pool_explain": (_STATUS, [_P, _P, _OUT]),
    "conpool_pool_set_resolver": (_STATUS, [_P, _P, c_uint64]),
    "conpool_endpoint_new": (_STATUS, [_P, _TEXT, _SIZE, _P, _OUT, _OUT]),
    "conpool_endpoint_new_host": (_STATUS, [_P, _TEXT, _TEXT, _SIZE, _PORTS, _SIZE, _P, _OUT, _OUT]),
    "conpool_endpoint_new_addresses": (_STATUS, [_P, _TEXT, _TEXT, _SIZE, _P, _OUT, _OUT]),
    "conpool_endpoint_force_breaker": (_STATUS, [_P, _TEXT]),
    "conpool_endpoint_free": (None, [_P]),
    "conpool_endpoint_acquire": (_STATUS, [_P, _P, _P, c_uint64, _OP]),
    "conpool_endpoint_preconnect": (_STATUS, [_P, c_uint32, _P, _P, c_uint64, _OP]),
    "conpool_op_cancel": (_STATUS, [c_uint64]),
    "conpool_op_wait": (_STATUS, [c_uint64, c_int64, _EVENTS]),
    "conpool_queue_new": (_STATUS, [_P, _OUT]),
    "conpool_queue_next": (_INT, [_P, _EVENTS, c_uint32, c_int64]),
    "conpool_queue_fd": (_INT, [_P]),
    "conpool_queue_wake": (None, [_P]),
    "conpool_queue_close": (None, [_P]),
    "conpool_queue_free": (None, [_P]),
    "conpool_event_dispose": (None, [_EVENTS]),
    "conpool_request_new": (_STATUS, [_P, _TEXT, _TEXT, _SIZE, _P, _OUT, _OUT]),
    "conpool_request_new_at": (_STATUS, [_P, _TEXT, _TEXT, _SIZE, _OUT, _OUT]),
    "conpool_request_header": (_STATUS, [_P, _TEXT, _SIZE, _TEXT, _SIZE, _OUT]),
    "conpool_request_trailer": (_STATUS, [_P, _TEXT, _SIZE, _TEXT, _SIZE, _OUT]),
    "conpool_request_body": (_STATUS, [_P, _P, _SIZE]),
    "conpool_request_body_fd": (_STATUS, [_P, _INT, c_int64, c_int64]),
    "conpool_request_body_stream": (_STATUS, [_P, c_int64]),
    "conpool_request_idempotent": (_STATUS, [_P, _INT]),
    "conpool_request_start": (_STATUS, [_P, _P, _INT, _P, c_uint64, _OP, _OUT]),
    "conpool_body_write": (_STATUS, [c_uint64, _P, _SIZE, _INT, _P, c_uint64, _OP]),
    "conpool_perform": (_STATUS, [_P, _P, _OUT, _OUT]),
    "conpool_request_free": (None, [_P]),
    "conpool_response_status": (_INT, [_P]),
    "conpool_response_version": (_INT, [_P]),
    "conpool_response_header_count": (_SIZE, [_P]),
    "conpool_response_header_name": (_TEXT, [_P, _SIZE, _SIZES]),
    "conpool_response_header_value": (_TEXT, [_P, _SIZE, _SIZES]),
    "conpool_response_header": (_TEXT, [_P, _TEXT, _SIZE, _SIZES]),
    "conpool_response_trailer_count": (_SIZE, [_P]),
    "conpool_response_trailer_name": (_TEXT, [_P, _SIZE, _SIZES]),
    "conpool_response_trailer_value": (_TEXT, [_P, _SIZE, _SIZES]),
    "conpool_response_body": (_P, [_P, _SIZES]),
    "conpool_response_describe": (_STATUS, [_P, _OUT]),
    "conpool_response_free": (None, [_P]),
    "conpool_connection_read": (_STATUS, [_P, _SIZE, _P, c_uint64, _OP]),
    "conpool_connection_write": (_STATUS, [_P, _P, _SIZE, _P, c_uint64, _OP]),
    "conpool_connection_shutdown_write": (_STATUS, [_P, _P, c_uint64, _OP]),
    "conpool_connection_lend": (_STATUS, [_P, _INT, POINTER(c_int32), _OUT]),
    "conpool_connection_release": (None, [_P, _INT]),
    "conpool_connection_address": (_TEXT, [_P]),
    "conpool_connection_describe": (_STATUS, [_P, _OUT]),
    "conpool_chunk_data": (_P, [_P]),
    "conpool_chunk_size": (_SIZE, [_P]),
    "conpool_chunk_free": (None, [_P]),
    "conpool_lookup_name": (_TEXT, [_P]),
    "conpool_lookup_family": (_INT, [_P]),
    "conpool_lookup_answer": (_STATUS, [_P, _TEXT, _SIZE]),
    "conpool_lookup_fail": (_STATUS, [_P, _TEXT, _SIZE]),
    "conpool_lookup_free": (None, [_P]),
}


def _open() -> Tuple[ctypes.CDLL, str]:
    """CONPOOL_LIBRARY's file, else the one inside the package, else the installed one."""
    packaged = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", SONAME)
    path = os.environ.get("CONPOOL_LIBRARY") or (packaged if os.path.exists(packaged) else SONAME)
    try:
        return ctypes.CDLL(path), path
    except OSError as error:
        hint = "install libconpool, or set CONPOOL_LIBRARY to the library's file"
        raise ImportError(f"conpool: the C library cannot be loaded: {error}; {hint}") from None


def load() -> Any:
    """The library's functions as attributes; ImportError with a sentence when it is not the right one."""
    opened, path = _open()
    if not hasattr(opened, "conpool_version"):
        raise ImportError(f"conpool: {path} is not the conpool library: it has no conpool_version")
    opened.conpool_version.restype = c_uint32
    number = opened.conpool_version()
    version = (number >> 16, number >> 8 & 255, number & 255)
    texts = [".".join(map(str, part)) for part in (version, NEEDED)]
    if version[0] != MAJOR:
        raise ImportError(f"conpool: {path} is version {texts[0]}; this package needs a version {MAJOR}")
    if version < NEEDED:
        raise ImportError(f"conpool: {path} is version {texts[0]}; this package needs {texts[1]} or newer")
    functions = types.SimpleNamespace()
    for name, (restype, argtypes) in FUNCTIONS.items():
        function = getattr(opened, name, None)
        if function is None:
            raise ImportError(f"conpool: {path} (version {texts[0]}) has no function {name}")
        function.restype, function.argtypes = restype, argtypes
        setattr(functions, name, function)
    return functions


lib: Any = load()


class Event(RawEvent):
    """An event that this package has taken. Its object goes with it, unless take() moved it."""

    def __del__(self, _dispose: Any = lib.conpool_event_dispose) -> None:
        if self.object is not None:
            _dispose(self)


class Owned(c_void_p):
    """A pointer that a function of the library fills in, and that is freed with its last reference.

    A call in another thread holds a reference for as long as it lasts, so that nothing is freed under it;
    and whatever interrupts the interpreter between two steps, nothing is leaked or freed twice.
    """

    _free: Any

    def __del__(self) -> None:
        if self.value is not None:
            self._free(self)


class Pool(Owned):
    """A conpool_pool. `keep` holds what its ops borrow; it goes after the pool."""

    _free = lib.conpool_pool_free

    def __init__(self) -> None:
        super().__init__()
        self.keep: Dict[int, Any] = {}


class Queue(Owned):
    """A conpool_queue. `keep` holds what its ops borrow; it goes after the queue."""

    _free = lib.conpool_queue_free

    def __init__(self) -> None:
        super().__init__()
        self.keep: Dict[int, Any] = {}


class Config(Owned):
    """A conpool_config."""

    _free = lib.conpool_config_free


class Endpoint(Owned):
    """A conpool_endpoint."""

    _free = lib.conpool_endpoint_free


class Request(Owned):
    """A conpool_request. `body` is what its ops borrow."""

    _free = lib.conpool_request_free
    body: Optional[bytes] = None


class Error(Owned):
    """A conpool_error."""

    _free = lib.conpool_error_free


class Chunk(Owned):
    """A conpool_chunk."""

    _free = lib.conpool_chunk_free


class Connection(Owned):
    """A conpool_connection. `how` tells how its lease ends."""

    how = BROKEN

    def __del__(self, _release: Any = lib.conpool_connection_release) -> None:
        if self.value is not None:
            _release(self, self.how)


class Text(Owned):
    """A text that the library gave to the caller."""

    _free = lib.conpool_text_free

    def __str__(self) -> str:
        return "" if self.value is None else ctypes.string_at(self.value).decode("utf-8", "replace")


class Op(c_uint64):
    """The id of an op; 0 until one is started."""


def out(value: Any) -> Any:
    """A pointer to a ctypes object, for a function to fill in."""
    return ctypes.byref(value)


def number() -> c_uint64:
    """Room for a number of 64 bits."""
    return c_uint64()


def ports(numbers: Sequence[int]) -> Any:
    """An array of ports."""
    return (c_uint16 * len(numbers))(*numbers)


def events_buffer(count: int) -> Any:
    """Room for a batch of events."""
    return (RawEvent * count)()


def events_of(buffer: Any, count: int) -> List[Event]:
    """The first events of a batch, each the owner of its object from now on."""
    return [Event.from_buffer_copy(buffer, i * EVENT_SIZE) for i in range(count)]


def chunk_bytes(chunk: Any) -> bytes:
    """A copy of a chunk's bytes."""
    return ctypes.string_at(lib.conpool_chunk_data(chunk), lib.conpool_chunk_size(chunk))


def body_bytes(response: Any) -> bytes:
    """A copy of the body of a response that was delivered whole."""
    size = c_size_t()
    data = lib.conpool_response_body(response, ctypes.byref(size))
    return ctypes.string_at(data, size.value) if size.value else b""


def lend(connection: Connection, blocking: bool) -> Tuple[int, int, bytes]:
    """(status, descriptor, bytes that were received already)."""
    fd, chunk = c_int32(-1), Chunk()
    status = lib.conpool_connection_lend(connection, int(blocking), ctypes.byref(fd), ctypes.byref(chunk))
    return status, fd.value, chunk_bytes(chunk) if chunk.value is not None else b""


def describe(what: str) -> Any:
    """One of the library's own tables: "options", "statuses", "events" or "build"."""
    text = Text()
    if lib.conpool_describe(what.encode(), ctypes.byref(text)) != 0:
        raise ValueError(f"conpool: the library has no table {what!r}")
    return json.loads(str(text))
