"""The client for threads: every call waits until it is done, and Ctrl-C ends it."""

from __future__ import annotations

from contextlib import contextmanager
from types import TracebackType
from typing import Any, Iterator, Optional, Sequence, Type, Union

from . import _ffi
from ._base import BaseClient, BaseConnection, Call, Endpoint, checked_piece
from ._config import UNSET, OptionValue, TimeoutTypes, Unset, make_config, timeout_options
from ._engine import Exchange, run, take_connection, wait
from ._errors import UsageError
from ._ffi import lib
from ._models import Response, StreamedResponse


class Connection(BaseConnection):
    """A leased connection of any protocol. At the end of a `with` block it is given back for others; after an
    exception it is closed."""

    def __init__(self, handle: _ffi.Connection, client: Client) -> None:
        super().__init__(handle)
        self._client = client

    def recv(self, size: int = 0) -> bytes:
        """At least one byte and at most `size` (0: as many as came); b"" at the end of the stream."""
        event = run(
            self._client._opened(),
            lambda queue, token, out: lib.conpool_connection_read(self._opened(), size, queue, token, out),
        )
        return b"" if event.object is None else _ffi.chunk_bytes(event.object)

    def sendall(self, data: Union[bytes, bytearray, memoryview]) -> None:
        """Returns when the operating system has accepted all of it."""
        held = bytes(data)
        run(
            self._client._opened(),
            lambda queue, token, out: lib.conpool_connection_write(self._opened(), held, len(held), queue, token, out),
            held,
        )

    def shutdown_write(self) -> None:
        """Ends our direction. Such a connection is not pooled again."""
        run(
            self._client._opened(),
            lambda queue, token, out: lib.conpool_connection_shutdown_write(self._opened(), queue, token, out),
        )

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.release() if kind is None else self.close()


class Client(BaseClient):
    """Requests and connections, pooled. One client serves any number of threads.

    Every option of the library is a keyword: `pool_max=8` is pool.max, see conpool.OPTIONS. Redirects, cookies and
    content decoding belong to the program.
    """

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self, drain: float = 0.0) -> None:
        """Closes the client; what runs may go on for `drain` seconds. Harmless twice."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        op, event = _ffi.Op(), _ffi.Event()
        try:
            if lib.conpool_pool_close(pool, round(drain * 1e9), None, 0, _ffi.out(op)) == 0:
                wait(op, event)
        finally:
            lib.conpool_pool_close(pool, 0, None, 0, None)

    def request(
        self,
        method: str,
        url: str,
        *,
        timeout: Union[TimeoutTypes, Unset] = UNSET,
        endpoint: Optional[Endpoint] = None,
        **given: Any,
    ) -> Response:
        """Sends a request and answers the whole response.

        `params`, `headers`, `content` (bytes, text, an iterable of bytes, a file), `data` (a form), `json`,
        `trailers`, `idempotent` (it may be sent again whatever its method), `endpoint` (`url` is then its path),
        and options of scope endpoint or request as keywords.
        """
        call = self._prepare(method, url, timeout=timeout, endpoint=endpoint, **given)
        if call.pieces is None:
            event = run(self._opened(), call.begin(_ffi.WHOLE), call.handle.body, call.request)
            return Response(event.object, call.request)
        exchange = self._exchange(call, _ffi.WHOLE)
        try:
            event = exchange.next_event()
            if event.status != 0:
                raise exchange.failure(event)
            return Response(event.object, call.request)
        finally:
            exchange.close()

    def _exchange(self, call: Call, how: int) -> Exchange:
        if call.pieces is not None and not hasattr(call.pieces, "__iter__"):
            raise UsageError("a Client cannot send an asynchronous iterable: AsyncClient can")
        exchange = Exchange(self._opened(), call.begin(how), call.request, call.handle.body)
        if call.pieces is not None:
            exchange.send(checked_piece(piece) for piece in call.pieces)
        return exchange

    def open_stream(self, method: str, url: str, **given: Any) -> StreamedResponse:
        """As stream(), without the context manager: the caller closes the response."""
        call = self._prepare(method, url, **given)
        exchange = self._exchange(call, _ffi.STREAM)
        try:
            while True:
                event = exchange.next_event()
                if event.status != 0:
                    raise exchange.failure(event)
                if event.kind == _ffi.EVENT_HEAD:
                    return StreamedResponse(event, call.request, exchange)
        except BaseException:
            exchange.close()
            raise

    @contextmanager
    def stream(self, method: str, url: str, **given: Any) -> Iterator[StreamedResponse]:
        """Sends a request and answers the response when its header has come; arguments as of request()."""
        response = self.open_stream(method, url, **given)
        try:
            yield response
        finally:
            response.close()

    def get(self, url: str, **given: Any) -> Response:
        """request("GET", …)"""
        return self.request("GET", url, **given)

    def head(self, url: str, **given: Any) -> Response:
        """request("HEAD", …)"""
        return self.request("HEAD", url, **given)

    def options(self, url: str, **given: Any) -> Response:
        """request("OPTIONS", …)"""
        return self.request("OPTIONS", url, **given)

    def post(self, url: str, **given: Any) -> Response:
        """request("POST", …)"""
        return self.request("POST", url, **given)

    def put(self, url: str, **given: Any) -> Response:
        """request("PUT", …)"""
        return self.request("PUT", url, **given)

    def patch(self, url: str, **given: Any) -> Response:
        """request("PATCH", …)"""
        return self.request("PATCH", url, **given)

    def delete(self, url: str, **given: Any) -> Response:
        """request("DELETE", …)"""
        return self.request("DELETE", url, **given)

    def connect(
        self,
        target: Union[str, Endpoint],
        port: Union[None, int, Sequence[int]] = None,
        *,
        tls: bool = False,
        addresses: Union[None, str, Sequence[str]] = None,
        timeout: Union[TimeoutTypes, Unset] = UNSET,
        **options: OptionValue,
    ) -> Connection:
        """Leases a connection for any protocol but HTTP: by host and port, by URL ("tcp://…", "tls://…",
        "unix:/path"), by addresses, or of an endpoint."""
        given = {**timeout_options(timeout), **options}
        of_op = make_config(given) if isinstance(target, Endpoint) else None
        at = self.endpoint(target, port, tls=tls, addresses=addresses, **given)
        event = run(
            self._opened(),
            lambda queue, token, out: lib.conpool_endpoint_acquire(at.handle, of_op, queue, token, out),
        )
        return Connection(take_connection(event), self)

    def preconnect(self, target: Union[str, Endpoint], count: int = 1, **options: OptionValue) -> int:
        """Opens connections before they are needed, until `count` are open; answers how many are."""
        at = self.endpoint(target, **options)
        event = run(
            self._opened(),
            lambda queue, token, out: lib.conpool_endpoint_preconnect(at.handle, count, None, queue, token, out),
        )
        return int(event.value[0])
