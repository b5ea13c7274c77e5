"""What both clients have in common: the pool, requests on their way to it, and what it tells."""

from __future__ import annotations

import atexit
import inspect
import io
import json as jsonlib
import os
import re
import stat
import warnings
import weakref
from collections import deque
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urldefrag, urlencode, urlsplit

from . import _config, _errors, _ffi
from ._config import RAISED, UNSET, Limits, OptionValue, TimeoutTypes, Unset, make_config
from ._errors import InvalidURL, StreamError, UsageError, check, made, need, opened, read_text
from ._ffi import lib
from ._models import Headers, HeaderTypes, Request
from ._version import __version__

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    Given = ParamSpec("Given")
Answer = TypeVar("Answer")  # of request(): a response, or a coroutine that answers one

PIECE_BYTES = 65536
LEVELS = ("error", "warning", "info", "debug")

_clients: weakref.WeakSet[BaseClient[Any]] = weakref.WeakSet()


class Call(NamedTuple):
    """A request that is ready to be started."""

    handle: _ffi.Owned
    request: Request
    pieces: Any  #: the body, if it comes in pieces: an iterable or an asynchronous one
    how: int = _ffi.WHOLE

    def start(self, *at: Any) -> int:
        """As _engine.Start."""
        _errors.told(lib.request_start, self.handle, None, self.how, *at, request=self.request)
        return 0


class Endpoint:
    """What a client connects to, ready for many requests or leases."""

    def __init__(self, handle: _ffi.Owned, name: str) -> None:
        self.handle, self.name = handle, name

    def __repr__(self) -> str:
        return f"<Endpoint {self.name}>"


class Events(list[dict[str, Any]]):
    """Recorded events, oldest first.

    `next` is the number to go on with, `lost` how many were overwritten before.
    """

    next: int = 0
    lost: int = 0


def verb(
    takes: Callable[Concatenate[Any, str, Given], Any], method: str
) -> Callable[Concatenate[BaseClient[Answer], Given], Answer]:
    """request() with this method and the parameters of `takes`, for help() and for editors."""

    def call(self: Any, /, *given: Any, **named: Any) -> Any:
        return self.request(method, *given, **named)

    shape = inspect.signature(takes)
    others = [one for one in shape.parameters.values() if one.name != "method"]
    vars(call)["__signature__"] = shape.replace(parameters=others, return_annotation="Response")
    call.__name__, call.__doc__ = method.lower(), f"request() with the method {method}."
    return call


class BaseClient(Generic[Answer]):
    """What both clients have in common."""

    def __init__(
        self, *, base_url: str = "", headers: HeaderTypes | None = None,
        timeout: TimeoutTypes | Unset = UNSET, limits: Limits | None = None,
        **options: OptionValue,
    ) -> None:  # fmt: skip
        self._pool: _ffi.Owned | None = None
        self.base_url = need(str, "base_url= is text", base_url or "")
        self.headers = headers
        self._pid = os.getpid()
        first = need(Limits, "limits= is a conpool.Limits", limits or Limits()).options()
        raised = [key for key in RAISED if key not in options]
        self._times = partial(_config.timeout_options, raised=raised)
        times = self._times(timeout, raised=[*raised, "tcp_user_timeout"])
        self._options = {**first, **times, **options}
        self._pool = made("pool", lib.pool_new, make_config(self._options))
        _clients.add(self)

    def __repr__(self) -> str:
        given = _config.masked({"base_url": self.base_url or None, **self._options})
        return f"{type(self).__name__}({given})"

    def __del__(self) -> None:
        if getattr(self, "_pool", None) is not None and self._pid == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, source=self)
            self._drop()

    @property
    def headers(self) -> Headers:
        """They are sent with every request; what is given in their place may be any mapping."""
        return self._headers

    @headers.setter
    def headers(self, given: HeaderTypes | None) -> None:
        self._headers = Headers(given)
        self._headers.setdefault("user-agent", f"python-conpool/{__version__}")

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._pool is None

    def _opened(self) -> _ffi.Owned:
        return opened(self._pool, "client")

    def _drop(self) -> None:
        """Ends everything at once."""
        pool, self._pool = self._pool, None
        if pool is not None:
            lib.pool_close(pool, 0, None, 0, None)

    # --- requests

    def _prepare(
        self, method: str, /, url: str, *, params: Any = None, headers: HeaderTypes | None = None,
        content: Any = None, data: Any = None, json: Any = None,
        trailers: HeaderTypes | None = None, idempotent: bool | None = None,
        endpoint: Endpoint | None = None, timeout: TimeoutTypes | Unset = UNSET,
        **options: OptionValue,
    ) -> Call:  # fmt: skip
        """A request from what the caller gave."""
        if sum(one is not None for one in (content, data, json)) > 1:
            raise UsageError("give one of content, data and json")
        url = make_url("" if endpoint else self.base_url, url, params)
        sent = Headers(headers)
        pairs = isinstance(data, list) and all(isinstance(one, tuple) for one in data)
        given = {name.lower() for name, _ in sent.raw}
        sent.raw[:0] = [line for line in self.headers.raw if line[0].lower() not in given]
        if json is not None:
            content = jsonlib.dumps(json, separators=(",", ":"), allow_nan=False)
            sent.setdefault("content-type", "application/json")
        elif pairs or isinstance(data, Mapping):
            content = form(data)
            sent.setdefault("content-type", "application/x-www-form-urlencoded")
        elif data is not None:
            content = data
        request = Request(need(str, "a method is text", method).upper(), url, sent)
        handle = self._new_request(request, endpoint, {**self._times(timeout), **options})
        for add, lines in (lib.request_header, sent), (lib.request_trailer, Headers(trailers)):
            for name, value in lines.raw:
                _errors.told(add, handle, name, len(name), value, len(value))
        if idempotent is not None:
            check(lib.request_idempotent(handle, int(idempotent)))
        return Call(handle, request, set_body(handle, content, sent))

    get = verb(_prepare, "GET")
    head = verb(_prepare, "HEAD")
    options = verb(_prepare, "OPTIONS")
    post = verb(_prepare, "POST")
    put = verb(_prepare, "PUT")
    patch = verb(_prepare, "PATCH")
    delete = verb(_prepare, "DELETE")

    def _new_request(self, request: Request, at: Endpoint | None, options: Any) -> _ffi.Owned:
        pool, config, url = self._opened(), make_config(options), request.url.encode()
        asked = request.method.encode(), url, len(url)
        if at is None:
            return made("request", lib.request_new, pool, *asked, config, request=request)
        if config is not None:
            raise UsageError("options and timeout belong to the endpoint: give them to endpoint()")
        return made("request", lib.request_new_at, at.handle, *asked, request=request)

    # --- endpoints

    def endpoint(
        self, target: str | Endpoint, port: int | Sequence[int] | None = None, *,
        tls: bool = False, addresses: str | Sequence[str] | None = None, **options: OptionValue,
    ) -> Endpoint:  # fmt: skip
        """An endpoint: by URL ("https://host", "tcp://host:port", "tls://host:port", "unix:/path"),
        by host and port (or ports, which are raced), or by addresses, with the host as the name to
        verify: `endpoint("https://host", addresses=["192.0.2.1:443"])`."""
        ways = (port is not None) + (addresses is not None)
        ready = isinstance(target, Endpoint)
        whole = ready or "://" in str(target) or str(target).startswith("unix:")
        if ways + ready > 1 or (whole and (tls or port is not None)) or (tls and not ways):
            given = f"port={port!r}, tls={tls!r} and addresses={addresses!r}"
            raise UsageError(f"{target!r} does not go with {given}: say each thing once")
        if isinstance(target, Endpoint):
            return target
        pool, scheme = self._opened(), b"tls" if tls else b"tcp"
        name = (make_url("", target) if "://" in str(target) else ascii_host(target)).encode()
        if addresses is not None:
            listed = ",".join([addresses] if isinstance(addresses, str) else addresses).encode()
            scheme, name = name.split(b"://", 1) if b"://" in name else (scheme, name)
            config = make_config({"tls_server_name": name.decode() or None, **options})
            call: Any = lib.endpoint_new_addresses, pool, scheme, listed, len(listed), config
        elif port is not None:
            numbers = [port] if isinstance(port, int) else list(port)
            if any(not 0 <= number <= 65535 for number in numbers):
                raise InvalidURL(f"port {port!r} is not between 1 and 65535")
            host = scheme, name, len(name), _ffi.ports(numbers), len(numbers)
            call = lib.endpoint_new_host, pool, *host, make_config(options)
        else:
            call = lib.endpoint_new, pool, name, len(name), make_config(options)
        return Endpoint(made("endpoint", *call), target if port is None else f"{target}:{port}")

    def _acquire(self, target: Any, where: Any, timeout: Any = UNSET, **given: Any) -> Any:
        """What acquires a connection; as _engine.Start."""
        limits = self._times(timeout)
        (port, tls, addresses), own = where, {**limits, **given}
        endpoint = self.endpoint(target, port, tls=tls, addresses=addresses, **own)
        config = make_config({**limits, **(given if endpoint is target else {})})
        return lambda *at: lib.endpoint_acquire(endpoint.handle, config, *at)

    def _preconnect(self, to: str | Endpoint, count: int, options: Any) -> Any:
        """What opens connections ahead of need; as _engine.Start."""
        at, many = self.endpoint(to, **options).handle, _errors.within("count", count, 2**32 - 1)
        return lambda *given: lib.endpoint_preconnect(at, many, None, *given)

    def force_breaker(self, target: str | Endpoint, state: str) -> None:
        """Forces an endpoint's circuit breaker "open" or "closed"; "auto" lets it decide again."""
        status = lib.endpoint_force_breaker(self.endpoint(target).handle, state.encode())
        check(status, context=f"state {state!r}")

    # --- what the pool tells

    def stats(self) -> dict[str, Any]:
        """Counters, gauges and latencies of pool, endpoints, addresses and connections."""
        return jsonlib.loads(self.metrics("json"))  # type: ignore[no-any-return]

    def metrics(self, format: str = "openmetrics") -> str:
        """The same as text: "openmetrics", "text" or "json"."""
        return read_text(lib.pool_metrics, self._opened(), format.encode())

    def explain(self, target: str | Endpoint) -> str:
        """What the pool knows and would do for a URL or an endpoint, in words."""
        if isinstance(target, str) and target.startswith("http"):
            target = "/".join(target.split("/", 3)[:3])
        return read_text(lib.pool_explain, self._opened(), self.endpoint(target).handle)

    def events(self, since: int = 0, limit: int = 0) -> Events:
        """The recorded events from a number on (0: the oldest kept), at most so many (0: all)."""
        after, lost = _ffi.Number(), _ffi.Number()
        outs = _ffi.out(after), _ffi.out(lost)
        text = read_text(lib.pool_events_since, self._opened(), b"jsonl", since, limit, *outs)
        found = Events(jsonlib.loads(line) for line in text.split("\n") if line)
        found.next, found.lost = after.value, lost.value
        return found

    def event_log(self, format: str = "text") -> str:
        """The recorded events as text: "text", "jsonl", or "trace" for Chrome's trace viewer."""
        return read_text(lib.pool_events, self._opened(), format.encode())

    def event(self, name: str, text: str = "", level: str | int = "info") -> None:
        """Records an event of the program's own among the pool's, as "app.NAME".

        `name`: 1 to 32 letters, digits, ".", "_" and "-"; of `text` about 64 bytes are kept;
        `level`: "error", "warning", "info" or "debug", or a level of module logging.
        """
        if isinstance(level, int):
            level = LEVELS[min(max(4 - level // 10, 0), 3)]
        if level not in LEVELS:
            raise UsageError(f"level {level!r} is none of {', '.join(LEVELS)}")
        named, said = name.encode(), text.encode("utf-8", "replace")
        pool = self._opened()
        status = lib.pool_event(pool, LEVELS.index(level), named, len(named), said, len(said))
        check(status, context=f"event {name!r}")


def ascii_host(host: str) -> str:
    """A host name as A-labels; the path of a socket as it is."""
    if need(str, "a host or URL is text", host).isascii() or host.startswith("unix:"):
        return host
    if set(host.lower()) & set("ßς\u200c\u200d"):  # Python's codec knows the rules of 2003 only
        two = "is one host by IDNA 2003 and another by IDNA 2008: write its A-labels, xn--…"
        raise InvalidURL(f"the host name {host!r} {two}")
    try:
        return host.encode("idna").decode()
    except UnicodeError as error:
        raise InvalidURL(f"the host name {host!r} has no ASCII form: {error}") from None


def form(fields: Any) -> str:
    """Fields as a URL or a form has them; None, True and False as httpx writes them."""
    words = {id(None): "", id(True): "true", id(False): "false"}
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    flat = [(k, one) for k, v in pairs for one in (v if isinstance(v, (list, tuple)) else [v])]
    return urlencode([(key, words.get(id(one), one)) for key, one in flat])


def make_url(base: str, url: str, params: Any = None) -> str:
    """An absolute URL in ASCII, without a fragment."""
    need(str, "a URL is text", url)
    if re.search(r"[\r\n\t]", f"{base}{url}{params}"):
        raise InvalidURL(f"the URL {url!r} has a line end or a tab inside")
    if base and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url):
        url = f"{base.rstrip('/')}/{url.lstrip('/')}" if url else base
    url = urldefrag(url).url if "#" in url else url
    if params:
        text = params if isinstance(params, str) else form(params)
        url += ("&" if "?" in url else "?") + text
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    parts = urlsplit(url)
    host, colon, port = parts.netloc.partition(":")
    netloc = parts.netloc if parts.netloc.isascii() else ascii_host(host) + colon + port
    safe = "/:@!$&'()*+,;=~%-._?[]"
    path, query = quote(parts.path, safe), quote(parts.query, safe)
    return parts._replace(netloc=netloc, path=path, query=query).geturl()


def set_body(handle: _ffi.Owned, content: Any, headers: Headers) -> Any:
    """Gives a request its body; answers the pieces if it comes in pieces."""
    if content is None:
        return None
    size = -1
    if isinstance(content, io.BytesIO):
        content = content.read()  # with a length, and it can be sent again
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, (bytes, bytearray, memoryview)):
        handle.keep["body"] = body = bytes(content)
        return check(lib.request_body(handle, body, len(body)))
    if hasattr(content, "read") and not hasattr(content, "__aiter__"):
        if isinstance(content, io.TextIOBase):
            raise UsageError("a body is bytes: open the file in binary mode")
        raw = getattr(content, "raw", content)
        if isinstance(raw, io.FileIO) and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            status = lib.request_body_fd(handle, raw.fileno(), content.tell(), -1)
            return check(status, context=f"from {content!r}")
        size, content = what_is_left(content), iter(partial(content.read, PIECE_BYTES), b"")
    else:
        kinds = () if isinstance(content, Mapping) else (Iterable, AsyncIterable)
        need(kinds, "a body is bytes, text, a file or an iterable of bytes", content)
    check(lib.request_body_stream(handle, int(headers.get("content-length", size))))
    return content


def what_is_left(file: Any) -> int:
    """How many bytes of a file are left; -1 where it does not tell, as devices do by 0."""
    try:
        at = file.tell()
        file.seek(0, os.SEEK_END)
        end = file.tell()
        file.seek(at)
    except (AttributeError, OSError):
        return -1
    return max(int(end - at), 0) or -1


def checked_piece(piece: Any) -> bytes:
    """A piece of a body as bytes that do not change while they are borrowed."""
    return bytes(need((bytes, bytearray, memoryview), "a piece of a body is bytes", piece))


class Lent(NamedTuple):
    """A connection's descriptor, and the bytes that belong before anything it gives."""

    fd: int
    received: bytes


class BaseConnection:
    """A lease: between connect() and release() its bytes are the caller's alone."""

    _lent: Lent | None = None
    _kept = b""  # what a read brought that nobody waited for to its end

    def __init__(self, handle: _ffi.Lease, client: Any) -> None:
        self._client = client
        self._pid = os.getpid()
        self._left: deque[Any] = deque()  # inboxes of reads that were cancelled
        #: The peer's: "192.0.2.1:443", "[2001:db8::1]:443" or "unix:/path"
        self.address: str = lib.connection_address(handle).decode()
        # The last: __del__ of one whose making was interrupted finds nothing to do.
        self._handle: _ffi.Lease | None = handle

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}{' closed' if self._handle is None else ''}>"

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None and self._pid == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, source=self)
        self._end(_ffi.BROKEN)

    def _opened(self) -> _ffi.Lease:
        return opened(self._handle, "connection")

    def _start(self, function: Any, *given: Any) -> Callable[..., int]:
        """What starts an op on it; as _engine.Start. Who waits for the op holds no lease by it:
        its last reference is to go when close() is called."""
        self._opened()
        return lambda *at: function(self._opened(), *given, *at)

    @property
    def facts(self) -> dict[str, Any]:
        """All that the library tells of it: reused, uses, dial and attempts, TLS, certificate."""
        return jsonlib.loads(read_text(lib.connection_describe, self._opened()))  # type: ignore

    def lend(self, blocking: bool = True) -> Lent:
        """The connection's descriptor, for code that reads and writes itself; not of TLS
        connections. It is closed when the lease ends."""
        if self._lent is not None:
            raise StreamError("the connection is lent already")
        if not all(inbox.over for inbox in self._left):
            raise StreamError("a recv() that was cancelled is ending: let the loop run first")
        while self._left:
            self._kept += self._left.popleft().brought()
        status, fd, received = _ffi.lend(self._opened(), blocking)
        check(status, context="lending a connection's descriptor")
        self._lent, self._kept = Lent(fd, self._kept + received), b""
        return self._lent

    def fileno(self) -> int:
        """The descriptor, lent as a blocking one at the first call."""
        return (self._lent or self.lend()).fd

    @property
    def received(self) -> bytes:
        """What was received before the descriptor was lent."""
        return self._lent.received if self._lent is not None else b""

    def _end(self, how: int) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        self._lent = None
        reused = handle if how == _ffi.REUSABLE and not self._kept else None
        if reused is not None and all(inbox.over and not inbox.brought() for inbox in self._left):
            reused.reuse()

    def _take(self, size: int) -> bytes:
        """What was kept, at most `size` bytes of it (0: all)."""
        self._opened()
        cut = size or len(self._kept)
        taken, self._kept = self._kept[:cut], self._kept[cut:]
        return taken

    def release(self) -> None:
        """Gives the connection back for others: nothing of this lease is under way."""
        self._end(_ffi.REUSABLE)

    def close(self) -> None:
        """Closes the connection. Harmless twice, and after release()."""
        self._end(_ffi.BROKEN)


@atexit.register
def _close_all() -> None:
    """Ends what is still open before the interpreter goes: bodies are borrowed from its memory."""
    for client in list(_clients):
        if client._pid == os.getpid():  # a child's inherited ones are the parent's
            client._drop()
