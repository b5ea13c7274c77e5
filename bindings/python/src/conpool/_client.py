"""The client for threads: every call waits until it is done, and Ctrl-C ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from . import _ffi
from ._base import BaseClient, BaseConnection, Call, Endpoint, checked_piece
from ._engine import Exchange, run, take, wait
from ._errors import UsageError, within
from ._ffi import lib
from ._models import Response, StreamedResponse


class Connection(BaseConnection, AbstractContextManager["Connection"]):
    """A leased connection of any protocol.

    At the end of a `with` block it is given back for others; after an exception it is closed.
    """

    def _run(self, start: Any, borrowed: Any = None, event: Any = None) -> _ffi.Event:
        return run(self._client._opened(), start, borrowed, event=event)

    def recv(self, size: int = 0) -> bytes:
        """At least one byte, at most `size` (0: as many as came); b"" at the stream's end."""
        size = within("recv(): size", size)
        if not self._kept:
            event = _ffi.Event()
            try:
                self._run(self._start(lib.connection_read, size), None, event)
            finally:
                self._kept += _ffi.read_bytes(event)
        return self._take(size)

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Returns when the operating system has accepted all of it."""
        held = bytes(memoryview(data))
        self._run(self._start(lib.connection_write, held, len(held)), held)

    def shutdown_write(self) -> None:
        """Ends our direction. Such a connection is not pooled again."""
        self._run(self._start(lib.connection_shutdown_write))

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._end(_ffi.REUSABLE if kind is None else _ffi.BROKEN)


class Client(BaseClient[Response], AbstractContextManager["Client"]):
    """Requests and connections, pooled. One client serves any number of threads.

    `base_url` is what relative URLs go on from, `headers` are sent with every request; `timeout`
    (seconds, None, or a Timeout) and `limits` (Limits) are httpx's. Every option of the library is
    a keyword: `pool_max=8` is pool.max; conpool.OPTIONS lists them.

    Redirects, cookies and the decoding of contents are the program's own.
    """

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self, drain: float = 0.0) -> None:
        """Closes the client; what runs may go on for `drain` seconds. Harmless twice."""
        pool, self._pool = self._pool, None
        op, event = _ffi.Number(), _ffi.Event()
        if pool is not None:
            try:
                if lib.pool_close(pool, round(drain * 1e9), None, 0, _ffi.out(op)) == 0:
                    wait(op, event)
            finally:
                lib.pool_close(pool, 0, None, 0, None)

    def request(self, method: str, url: str, **given: Any) -> Response:
        """Sends a request and answers the whole response.

        `params`, `headers`; one of `content` (bytes, text, an iterable of bytes, a file), `data`
        (a form) and `json`; `timeout`; `trailers`; `idempotent=True` for what may be sent again
        whatever its method; `endpoint`, of which `url` is then the path; and the library's options
        of scope endpoint or request as keywords.
        """
        call = self._prepare(method, url, **given)
        if call.pieces is None:
            event = run(self._opened(), call.start, call.handle.keep, call.request)
            return Response(event, call.request)
        exchange = self._exchange(call)
        try:
            return Response(exchange.next_event(), call.request)
        finally:
            exchange.close()

    def _exchange(self, call: Call) -> Exchange:
        if call.pieces is not None and not hasattr(call.pieces, "__iter__"):
            raise UsageError("an asynchronous iterable needs an AsyncClient")
        exchange = Exchange(self._opened(), call.start, call.request, call.handle.keep)
        if call.pieces is not None:
            exchange.send(checked_piece(piece) for piece in call.pieces)
        return exchange

    def open_stream(self, method: str, url: str, **given: Any) -> StreamedResponse:
        """As stream(), for callers that close the response themselves."""
        call = self._prepare(method, url, **given)._replace(how=_ffi.STREAM)
        exchange = self._exchange(call)
        try:
            while (event := exchange.next_event()).kind != _ffi.EVENT_HEAD:
                pass
            return StreamedResponse(event, call.request, exchange)
        except BaseException:
            exchange.close()
            raise

    @contextmanager
    def stream(self, method: str, url: str, **given: Any) -> Iterator[StreamedResponse]:
        """As request(), but answers when the header has come: the body is read as it comes."""
        with self.open_stream(method, url, **given) as response:
            yield response

    def connect(
        self, target: str | Endpoint, port: int | Sequence[int] | None = None, *,
        tls: bool = False, addresses: str | Sequence[str] | None = None, **given: Any,
    ) -> Connection:  # fmt: skip
        """Leases a connection for any protocol but HTTP; arguments as of endpoint()."""
        start = self._acquire(target, (port, tls, addresses), **given)
        return Connection(take(run(self._opened(), start), _ffi.Lease()), self)

    def preconnect(self, target: str | Endpoint, count: int = 1, **options: Any) -> int:
        """Opens connections ahead of need, until `count` are open; answers how many are."""
        event = run(self._opened(), self._preconnect(target, count, options))
        return int(event.value[0])
