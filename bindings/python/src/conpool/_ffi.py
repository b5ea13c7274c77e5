"""The C library: how it is found, its functions with their types, and who frees what."""

from __future__ import annotations

import ctypes
import json
import os
import re
import types
from collections.abc import Sequence
from ctypes import POINTER, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

SONAME = "libconpool.so.0"
NEEDED = (0, 1, 0)  # the oldest library that has all that this package calls

FOREVER = -1

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

    _fields_ = (
        *(("kind", c_uint32), ("flags", c_uint32), ("op", c_uint64), ("user_data", c_uint64)),
        *(("status", c_int32), ("reserved", c_uint32), ("time_ns", c_int64)),
        *(("object", c_void_p), ("value", c_uint64 * 2)),
    )


# A type of C by one letter. Borrowed texts come back as bytes, which copies them.
# fmt: off
TYPES: dict[str, Any] = {
    "-": None, "p": c_void_p, "t": ctypes.c_char_p, "i": c_int32, "u": c_uint32, "l": c_int64,
    "U": c_uint64, "z": c_size_t, "I": POINTER(c_int32), "H": POINTER(ctypes.c_uint16),
    "Q": POINTER(c_uint64), "O": POINTER(c_void_p), "E": POINTER(RawEvent), "Z": POINTER(c_size_t),
}
# fmt: on
# Every function of the library without its prefix: what it returns (what it takes).
_SIGNATURES = """
    version:u() version_string:t() status_name:t(i) status_text:t(i) status_class:i(i)
    describe:i(tO) text_free:-(p) config_new:i(O) config_set:i(pttzO) config_free:-(p)
    error_status:i(p) error_phase:i(p) error_proof:i(p) error_os_errno:i(p) error_h2_code:l(p)
    error_tls_verify:l(p) error_retry_after:l(p) error_line:t(p) error_report:t(p)
    error_attempt_count:z(p) error_attempt_target:t(pz) error_attempt_status:i(pz)
    error_attempt_phase:i(pz) error_attempt_os_errno:i(pz) error_attempt_started:l(pz)
    error_attempt_duration:l(pz) error_free:-(p) pool_new:i(pOO) pool_close:i(plpUQ)
    pool_free:-(p) pool_metrics:i(ptO) pool_events:i(ptO) pool_events_since:i(ptUUQQO)
    pool_event:i(pitztz) pool_explain:i(ppO) pool_set_resolver:i(ppU) endpoint_new:i(ptzpOO)
    endpoint_new_host:i(pttzHzpOO) endpoint_new_addresses:i(pttzpOO)
    endpoint_force_breaker:i(pt) endpoint_free:-(p) endpoint_acquire:i(pppUQ)
    endpoint_preconnect:i(puppUQ) op_cancel:i(U) op_wait:i(UlE) queue_new:i(pO)
    queue_next:i(pEul) queue_fd:i(p) queue_wake:-(p) queue_close:-(p) queue_free:-(p)
    event_dispose:-(E) request_new:i(pttzpOO) request_new_at:i(pttzOO) request_header:i(ptztzO)
    request_trailer:i(ptztzO) request_body:i(ppz) request_body_fd:i(pill)
    request_body_stream:i(pl) request_idempotent:i(pi) request_start:i(ppipUQO)
    request_free:-(p) body_write:i(UpzipUQ) perform:i(ppOO) response_status:i(p)
    response_version:i(p) response_header_count:z(p) response_header_name:t(pzZ)
    response_header_value:t(pzZ) response_header:t(ptzZ) response_trailer_count:z(p)
    response_trailer_name:t(pzZ) response_trailer_value:t(pzZ) response_body:p(pZ)
    response_describe:i(pO) response_free:-(p) connection_read:i(pzpUQ)
    connection_write:i(ppzpUQ) connection_shutdown_write:i(ppUQ) connection_lend:i(piIO)
    connection_release:-(pi) connection_address:t(p) connection_describe:i(pO) chunk_data:p(p)
    chunk_size:z(p) chunk_free:-(p) lookup_name:t(p) lookup_family:i(p) lookup_answer:i(ptz)
    lookup_fail:i(ptz) lookup_free:-(p)
"""
#: Every function of the library: what it returns, and what it takes.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    f"conpool_{name}": (TYPES[result], [TYPES[letter] for letter in taken])
    for name, result, taken in re.findall(r"(\w+):(.)\((\w*)\)", _SIGNATURES)
}


def _open() -> tuple[ctypes.CDLL, str]:
    """CONPOOL_LIBRARY's file, else the one inside the package, else the installed one."""
    packaged = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", SONAME)
    path = os.environ.get("CONPOOL_LIBRARY") or (packaged if os.path.exists(packaged) else SONAME)
    try:
        return ctypes.CDLL(path), path
    except OSError as error:
        hint = "install libconpool, or set CONPOOL_LIBRARY to the library's file"
        raise ImportError(f"conpool: the C library cannot be loaded: {error}; {hint}") from None


def load() -> tuple[Any, Any]:
    """The library, and its functions as attributes; ImportError when it is not one that will do."""
    opened, path = _open()
    if not hasattr(opened, "conpool_version"):
        raise ImportError(f"conpool: {path} is not the library conpool: it has no conpool_version")
    number = opened.conpool_version()
    version = (number >> 16, number >> 8 & 255, number & 255)
    found, needed = (".".join(map(str, one)) for one in (version, NEEDED))
    if version[0] != NEEDED[0] or version < NEEDED:
        newer = f"{needed} or newer, below {NEEDED[0] + 1}.0.0"
        raise ImportError(f"conpool: {path} is version {found}; this package needs {newer}")
    functions = types.SimpleNamespace()
    for name, (restype, argtypes) in FUNCTIONS.items():
        function = getattr(opened, name, None)
        if function is None:
            raise ImportError(f"conpool: {path} (version {found}) has no function {name}")
        function.restype, function.argtypes = restype, argtypes
        setattr(functions, name[len("conpool_") :], function)
    return opened, functions


_library, lib = load()


def _destructor(function: Any) -> Any:
    """A __del__ that is C from end to end.

    An interrupt that comes at the first instruction of one in Python is lost, and with it what
    was to be freed.
    """
    make = ctypes.pythonapi.PyInstanceMethod_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object]
    return make(function)


def _releasing(how: int) -> Any:
    parameters = (1, "connection"), (1, "how", how)
    prototype = ctypes.CFUNCTYPE(None, c_void_p, c_int32)
    return _destructor(prototype(("conpool_connection_release", _library), parameters))


class Event(RawEvent):
    """An event that this package has taken. Its object goes with it."""

    copy: bytes | None = None  #: of its chunk, which was freed
    __del__ = _destructor(lib.event_dispose)


class Owned(c_void_p):
    """A pointer to an object of a kind, filled in by the library and freed with its last reference.

    A call in another thread holds a reference while it lasts, so that nothing is freed under it;
    and an interrupt between two steps neither leaks anything nor frees it twice.
    """

    def __new__(cls, kind: str) -> Owned:
        """One of the kind's own class, which has its destructor."""
        return super().__new__(_KINDS[kind])

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.keep: dict[Any, Any] = {}  # what its ops borrow: it goes after the object itself

    def __str__(self) -> str:
        return "" if self.value is None else ctypes.string_at(self.value).decode("utf-8", "replace")


_OWNED = ("pool", "queue", "config", "endpoint", "request", "error", "chunk", "text", "lookup")
_KINDS = {
    kind: type(kind, (Owned,), {"__del__": _destructor(getattr(lib, kind + "_free"))})
    for kind in _OWNED
}


class _Descriptor(c_int32):
    __del__ = _destructor(ctypes.CDLL(None).close)


class Lease(c_void_p):
    """A conpool_connection, which is closed with its last reference unless reuse() was said."""

    lent: Any = None
    __del__ = _releasing(BROKEN)

    def reuse(self) -> None:
        """Gives the connection back for others in place of closing it."""
        self.__class__ = _ReusableLease


class _ReusableLease(Lease):
    __del__ = _releasing(REUSABLE)


class Number(c_uint64):
    """Room for a number; the id of an op, or 0 while none was started."""


out = ctypes.byref  # a pointer to an object, for a function to fill in


def ports(numbers: Sequence[int]) -> Any:
    """An array of ports."""
    return (ctypes.c_uint16 * len(numbers))(*numbers)


def events_buffer(count: int) -> Any:
    """Room for a batch of events."""
    return (RawEvent * count)()


def events_of(buffer: Any, count: int) -> list[Event]:
    """The first events of a batch, each the owner of its object from now on."""
    return [Event.from_buffer_copy(buffer, i * ctypes.sizeof(RawEvent)) for i in range(count)]


# Bytes at an address, copied. ctypes.string_at takes an int: it ends at 2 GiB.
copied = ctypes.pythonapi.PyBytes_FromStringAndSize
copied.restype, copied.argtypes = ctypes.py_object, [c_void_p, ctypes.c_ssize_t]


def chunk_bytes(chunk: Any) -> bytes:
    """A copy of a chunk's bytes."""
    return copied(lib.chunk_data(chunk), lib.chunk_size(chunk))  # type: ignore[no-any-return]


def detach(event: Event) -> bytes:
    """Copies an event's chunk into the event and frees it."""
    chunk, event.copy = Owned("chunk"), chunk_bytes(event.object)
    chunk.value, event.object = event.object, None
    return event.copy


def read_bytes(event: RawEvent) -> bytes:
    """A copy of what a read brought; b"" where it failed, and at the stream's end."""
    return b"" if event.status != 0 or event.object is None else chunk_bytes(event.object)


def body_bytes(response: Any) -> bytes:
    """A copy of the body of a response that was delivered whole."""
    size = c_size_t()
    data = lib.response_body(response, out(size))
    return copied(data, size.value) if size.value else b""


def lend(lease: Lease, blocking: bool) -> tuple[int, int, bytes]:
    """(status, descriptor, bytes that were received already). It is closed after the lease."""
    lease.lent, chunk = _Descriptor(-1), Owned("chunk")
    status = lib.connection_lend(lease, int(blocking), out(lease.lent), out(chunk))
    return status, lease.lent.value, chunk_bytes(chunk) if chunk.value is not None else b""


def describe(what: str) -> Any:
    """One of the library's own tables: "options", "statuses", "events" or "build"."""
    text = Owned("text")
    if lib.describe(what.encode(), out(text)) != 0:
        raise ValueError(f"conpool: the library has no table {what!r}")
    return json.loads(str(text))


#: Every status code of the library by its name.
STATUSES: dict[str, int] = {row["name"]: row["value"] for row in describe("statuses")}
OPTION_ROWS: list[dict[str, str]] = describe("options")
