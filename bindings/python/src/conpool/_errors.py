"""Exceptions: one tree, named as httpx names its own, each with what the library's error tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import _ffi
from ._ffi import lib

if TYPE_CHECKING:
    from ._models import Request, Response

# fmt: off
__all__ = [
    "Attempt", "CancelledError", "CircuitOpenError", "CloseError", "ClosedError", "ConnectError",
    "ConnectTimeout", "ConnectionLost", "DNSError", "DNSTimeout", "HTTPError", "HTTPStatusError",
    "InvalidURL", "LimitError", "LocalProtocolError", "NetworkError", "PoolTimeout",
    "ProtocolError", "ReadError", "ReadTimeout", "RemoteProtocolError", "ResourceError",
    "StreamError", "TLSError", "TLSTimeout", "TimeoutException", "TransportError", "UsageError",
    "WriteError", "WriteTimeout",
]
# fmt: on

Handle = TypeVar("Handle")
PHASES = ("none", "queue", "dns", "connect", "hop", "tls", "session", "send", "receive")
PROOFS = ("never_sent", "not_processed", "maybe_processed")


class Attempt(NamedTuple):
    """One DNS query or connection attempt of a dial that failed."""

    target: str  #: "tcp:192.0.2.1:443", or "AAAA name @server:53"
    status: str  #: its result's name; "OK" when it succeeded
    phase: str  #: where it ended: "dns", "connect", "hop" or "tls"
    os_errno: int  #: errno, or 0
    started: float  #: seconds from the dial's start
    duration: float  #: seconds


class HTTPError(Exception):
    """The base of everything that this package raises on failure."""

    status: int = 0  #: the library's status code, or 0
    name: str = ""  #: its name, such as "E_CONNECT_REFUSED"
    phase: str = "none"  #: where it failed: "queue", "dns", "connect", "tls", "send", "receive", …
    proof: str = "never_sent"  #: what became of the bytes: or "not_processed", "maybe_processed"
    os_errno: int = 0  #: errno of the cause, or 0
    h2_code: int | None = None  #: HTTP/2's error code of the cause
    tls_verify: int = 0  #: OpenSSL's X509_V_ERR_* of the cause, or 0
    retry_after: float | None = None  #: seconds to the next trial of an open circuit breaker
    attempts: tuple[Attempt, ...] = ()  #: every attempt that was made, in the order of their start
    report: str = ""  #: several lines: the cause, its contexts, each attempt
    request: Request | None = None  #: what was asked, if it was a request

    @property
    def safe_to_retry(self) -> bool:
        """Whether the peer certainly did nothing: sending it again has no second effect."""
        return self.proof != PROOFS[_ffi.PROOF_MAYBE_PROCESSED]


class HTTPStatusError(HTTPError):
    """raise_for_status() met a response with an error status."""

    def __init__(self, message: str, response: Response) -> None:
        super().__init__(message)
        self.request, self.response = response.request, response
        self.proof = PROOFS[_ffi.PROOF_MAYBE_PROCESSED]

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.response), vars(self)


class StreamError(HTTPError, RuntimeError):
    """A streamed response was used in a way that its state does not allow."""


class UsageError(HTTPError, ValueError):
    """The call itself is wrong: an argument, an option, or the moment."""


class InvalidURL(UsageError):
    """The URL, its host or its port is not valid."""


class TransportError(HTTPError):
    """A request or a connection failed."""


class ResourceError(TransportError):
    """Memory, file descriptors, or the operating system."""


class LimitError(TransportError):
    """One of the pool's own limits was reached; less load or a higher limit helps."""


class CircuitOpenError(TransportError):
    """The endpoint's circuit breaker is open; `retry_after` tells for how long."""


class ClosedError(TransportError, RuntimeError):
    """The client or the connection is closed."""


class CancelledError(TransportError):
    """The op was cancelled by somebody else."""


class TimeoutException(TransportError, TimeoutError):
    """A time limit passed."""


class ConnectTimeout(TimeoutException):
    """No connection was made in time."""


class ReadTimeout(TimeoutException):
    """The peer sent nothing in time."""


class WriteTimeout(TimeoutException):
    """The peer took nothing in time."""


class PoolTimeout(TimeoutException):
    """No connection of the pool became free in time."""


class NetworkError(TransportError, ConnectionError):
    """The network, or the peer's end of the connection."""


class ConnectError(NetworkError):
    """No connection could be made."""


class ReadError(NetworkError):
    """The connection failed while it was read."""


class WriteError(NetworkError):
    """The connection failed while it was written."""


class CloseError(NetworkError):
    """The connection failed while it was closed."""


class DNSError(ConnectError):
    """The name could not be resolved."""


class DNSTimeout(DNSError, ConnectTimeout):
    """No DNS server answered in time."""


class TLSError(ConnectError):
    """TLS was refused or broke."""


class TLSTimeout(TLSError, ConnectTimeout):
    """The TLS handshake did not end in time."""


class ProtocolError(TransportError):
    """The rules of the protocol were broken."""


class LocalProtocolError(ProtocolError):
    """By the caller: the request's body is not what was announced, or could not be read."""


class RemoteProtocolError(ProtocolError):
    """By the peer: its response is malformed, truncated, too large or missing."""


class ConnectionLost(RemoteProtocolError, ReadError):
    """The connection was reset, or failed otherwise, before the whole response had come."""


# Codes are judged by their class, so that those of newer libraries find their place, too. Some
# are told apart inside it.
# fmt: off
BY_NAME: dict[str, type[HTTPError]] = {
    **dict.fromkeys(("E_BAD_URL", "E_BAD_NAME", "E_BAD_PORT", "E_BAD_ADDRESS"), InvalidURL),
    **dict.fromkeys(("E_CONNECT_TIMEOUT", "E_DIAL_TIMEOUT"), ConnectTimeout),
    **dict.fromkeys(("E_HTTP_FIRST_BYTE_TIMEOUT", "E_H2_PING_TIMEOUT"), ReadTimeout),
    **dict.fromkeys(("E_HTTP_BODY_SOURCE", "E_HTTP_BODY_LENGTH"), LocalProtocolError),
    "E_DNS_TIMEOUT": DNSTimeout, "E_TLS_TIMEOUT": TLSTimeout, "E_QUEUE_TIMEOUT": PoolTimeout,
    "E_CLOSED": ClosedError, "E_CANCELLED": CancelledError,
}
BY_CLASS = {
    _ffi.CLASS_USAGE: UsageError, _ffi.CLASS_SYSTEM: ResourceError, _ffi.CLASS_DNS: DNSError,
    _ffi.CLASS_CONNECT: NetworkError, _ffi.CLASS_TLS: TLSError,
    _ffi.CLASS_HTTP: RemoteProtocolError, _ffi.CLASS_LIMIT: LimitError,
    _ffi.CLASS_BREAKER: CircuitOpenError,
}
_TIMEOUTS = {
    _ffi.PHASE_QUEUE: PoolTimeout, _ffi.PHASE_SEND: WriteTimeout, _ffi.PHASE_RECEIVE: ReadTimeout,
}
# fmt: on
# Where a text of the library names an option, and not where a host has such a name.
_OPTION_NAMES = "|".join(re.escape(row["name"]) for row in _ffi.OPTION_ROWS)
_OPTION = re.compile(rf"(?<![\w./@-])(?:{_OPTION_NAMES})(?!\.?\w|[/-])")
_ENDS = {_ffi.PHASE_SEND: WriteError, _ffi.PHASE_RECEIVE: ReadError}
_DIAL = range(_ffi.PHASE_QUEUE, _ffi.PHASE_TLS + 1)


def status_name(status: int) -> str:
    """The name of a status code; "UNKNOWN" for one that the library does not know."""
    return lib.status_name(status).decode()  # type: ignore[no-any-return]


def class_of(status: int, phase: int, os_errno: int = 0) -> type[HTTPError]:
    """The exception for a status code that was met in a phase, for a reason of the system's."""
    name = status_name(status)
    if name in BY_NAME:
        return BY_NAME[name]
    if name.endswith("_TIMEOUT"):
        return _TIMEOUTS.get(phase, ConnectTimeout if phase in _DIAL else TimeoutException)
    kind = BY_CLASS.get(lib.status_class(status), TransportError)
    if kind is RemoteProtocolError and os_errno != 0:
        return ConnectionLost
    if kind is NetworkError:
        return _ENDS.get(phase, ConnectError if phase in _DIAL else NetworkError)
    return kind


def _make(status: int, phase: int, line: str, os_errno: int = 0) -> HTTPError:
    name = status_name(status)
    if name == "E_FORKED":
        line += "; make a new client after fork()"
    line += f" (status {status})" if name == "UNKNOWN" else ""
    made = class_of(status, phase, os_errno)(line)
    made.status, made.name, made.phase = status, name, _name_of(PHASES, phase)
    made.os_errno, made.report = os_errno, str(made)
    return made


def _name_of(names: tuple[str, ...], index: int) -> str:
    return names[index] if 0 <= index < len(names) else "unknown"


def _attempt(error: Any, i: int) -> Attempt:
    return Attempt(
        (lib.error_attempt_target(error, i) or b"").decode("utf-8", "replace"),
        status_name(lib.error_attempt_status(error, i)),
        _name_of(PHASES, lib.error_attempt_phase(error, i)),
        lib.error_attempt_os_errno(error, i),
        lib.error_attempt_started(error, i) / 1e9,
        lib.error_attempt_duration(error, i) / 1e9,
    )


def told(function: Any, *given: Any, request: Request | None = None) -> None:
    """Calls a function of the library whose last parameter takes an error."""
    error = _ffi.Owned("error")
    check(function(*given, _ffi.out(error)), error, request)


def made(kind: str, *call: Any, request: Request | None = None) -> _ffi.Owned:
    """The object that a function of the library makes."""
    handle = _ffi.Owned(kind)
    told(*call, _ffi.out(handle), request=request)
    return handle


def need(kinds: Any, what: str, given: Any) -> Any:
    """What was given, if it is of a type that does."""
    if not isinstance(given, kinds):
        name = f"{type(given).__module__}.{type(given).__qualname__}"
        raise UsageError(f"{what}, and no {name.removeprefix('builtins.')}")
    return given


def within(what: str, given: int, most: int = 2**63 - 1) -> int:
    """A number that C takes as it is: others would become any number at all."""
    if not 0 <= given <= most:
        raise UsageError(f"{what} is between 0 and {most}, and not {given}")
    return given


def _words(text: bytes) -> str:
    """A text of the library, with its options as the keywords that they are here."""
    return _OPTION.sub(lambda found: found[0].replace(".", "_"), text.decode("utf-8", "replace"))


def of_status(status: int, context: str = "") -> HTTPError:
    """The exception for a status code alone."""
    text = lib.status_text(status).decode()
    return _make(status, _ffi.PHASE_NONE, f"{text}, {context}" if context else text)


def opened(handle: Handle | None, what: str) -> Handle:
    """What a handle refers to, unless it was given up."""
    if handle is None:
        raise of_status(_ffi.STATUSES["E_CLOSED"], f"the {what} was closed")
    return handle


def of_error(error: Any, request: Request | None = None) -> HTTPError:
    """The exception for a conpool_error, which stays whose it is."""
    line, os_errno = _words(lib.error_line(error)), lib.error_os_errno(error)
    made = _make(lib.error_status(error), lib.error_phase(error), line, os_errno)
    made.proof = _name_of(PROOFS, lib.error_proof(error))
    made.tls_verify = lib.error_tls_verify(error)
    h2_code, retry_after = lib.error_h2_code(error), lib.error_retry_after(error)
    made.h2_code = h2_code if h2_code >= 0 else None
    made.retry_after = retry_after / 1e9 if retry_after >= 0 else None
    made.attempts = tuple(_attempt(error, i) for i in range(lib.error_attempt_count(error)))
    made.report = _words(lib.error_report(error))
    made.request = request
    return made


def of_event(event: _ffi.Event, request: Request | None = None) -> HTTPError:
    """The exception for the event of an op that failed."""
    if event.object is not None:
        return of_error(event.object, request)
    made = of_status(event.status)
    made.request = request
    if event.kind == _ffi.EVENT_RESPONSE:
        made.proof = _name_of(PROOFS, event.value[1])
    return made


def check(status: int, error: Any = None, request: Request | None = None, context: str = "") -> Any:
    """Raises unless the status is 0."""
    if status != 0:
        told = error is not None and error.value is not None
        raise of_error(error, request) if told else of_status(status, context)


def read_text(function: Any, *given: Any) -> str:
    """The text that a function of the library answers."""
    text = _ffi.Owned("text")
    asked = " ".join(repr(one.decode()) for one in given if isinstance(one, bytes))
    check(function(*given, _ffi.out(text)), context=asked)
    return str(text)
