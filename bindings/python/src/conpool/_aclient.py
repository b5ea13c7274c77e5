"""The client for asyncio: one queue in each event loop that uses it; cancelling a task cancels its op."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, AsyncIterator, Generator, List, Optional, Sequence, Type, Union

from . import _ffi
from ._base import BaseClient, BaseConnection, Call, Endpoint, checked_piece
from ._config import UNSET, OptionValue, TimeoutTypes, Unset, make_config, timeout_options
from ._engine import AsyncExchange, LoopQueue, take_connection
from ._ffi import lib
from ._models import AsyncStreamedResponse, Response


class AsyncConnection(BaseConnection):
    """A leased connection of any protocol. At the end of an `async with` block it is given back for others; after
    an exception it is closed."""

    def __init__(self, handle: _ffi.Connection, client: AsyncClient) -> None:
        super().__init__(handle)
        self._client = client

    async def recv(self, size: int = 0) -> bytes:
        """At least one byte and at most `size` (0: as many as came); b"" at the end of the stream."""
        event = await self._client._queue().run(
            lambda queue, token, out: lib.conpool_connection_read(self._opened(), size, queue, token, out),
        )
        return b"" if event.object is None else _ffi.chunk_bytes(event.object)

    async def sendall(self, data: Union[bytes, bytearray, memoryview]) -> None:
        """Returns when the operating system has accepted all of it."""
        held = bytes(data)
        await self._client._queue().run(
            lambda queue, token, out: lib.conpool_connection_write(self._opened(), held, len(held), queue, token, out),
            held,
        )

    async def shutdown_write(self) -> None:
        """Ends our direction. Such a connection is not pooled again."""
        await self._client._queue().run(
            lambda queue, token, out: lib.conpool_connection_shutdown_write(self._opened(), queue, token, out),
        )

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.release() if kind is None else self.close()


class Connecting:
    """What connect() answers: `await` it, or use it in `async with`."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine
        self._connection: Optional[AsyncConnection] = None

    def __await__(self) -> Generator[Any, None, AsyncConnection]:
        return self._coroutine.__await__()  # type: ignore[no-any-return]

    async def __aenter__(self) -> AsyncConnection:
        self._connection = await self._coroutine
        return self._connection

    async def __aexit__(self, *raised: Any) -> None:
        if self._connection is not None:
            await self._connection.__aexit__(*raised)


class AsyncClient(BaseClient):
    """Requests and connections, pooled, for asyncio. One client serves any number of event loops.

    Every option of the library is a keyword: `pool_max=8` is pool.max, see conpool.OPTIONS. Redirects, cookies and
    content decoding belong to the program.
    """

    def __init__(self, **given: Any) -> None:
        self._queues: List[LoopQueue] = []
        self._lock = threading.Lock()
        super().__init__(**given)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.aclose()

    def _queue(self) -> LoopQueue:
        """The running loop's queue. Those of loops that were closed go."""
        loop = asyncio.get_running_loop()
        for queue in self._queues:
            if queue.loop is loop:
                return queue
        made = LoopQueue(self._opened(), loop)
        with self._lock:
            over = [queue for queue in self._queues if queue.loop.is_closed()]
            self._queues = [queue for queue in self._queues if not queue.loop.is_closed()] + [made]
        for queue in over:
            queue.close()
        return made

    def _drop(self) -> None:
        with self._lock:
            queues, self._queues = self._queues, []
        for queue in queues:
            if queue.loop.is_closed():
                queue.close()
            else:
                queue.loop.call_soon_threadsafe(queue.close)
        super()._drop()

    async def aclose(self, drain: float = 0.0) -> None:
        """Closes the client; what runs may go on for `drain` seconds. Harmless twice."""
        pool = self._pool
        if pool is None:
            return
        queue = self._queue()
        self._pool = None
        try:
            await queue.run(
                lambda at, token, out: lib.conpool_pool_close(pool, round(drain * 1e9), at, token, out)
            )
        finally:
            self._pool = pool
            self._drop()

    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout: Union[TimeoutTypes, Unset] = UNSET,
        endpoint: Optional[Endpoint] = None,
        **given: Any,
    ) -> Response:
        """Sends a request and answers the whole response.

        `params`, `headers`, `content` (bytes, text, an iterable of bytes, plain or asynchronous, a file), `data` (a
        form), `json`, `trailers`, `idempotent` (it may be sent again whatever its method), `endpoint` (`url` is
        then its path), and options of scope endpoint or request as keywords.
        """
        call = self._prepare(method, url, timeout=timeout, endpoint=endpoint, **given)
        if call.pieces is None:
            event = await self._queue().run(call.begin(_ffi.WHOLE), call.handle.body, call.request)
            return Response(event.object, call.request)
        exchange = self._exchange(call, _ffi.WHOLE)
        try:
            event = await exchange.next_event()
            if event.status != 0:
                raise exchange.failure(event)
            return Response(event.object, call.request)
        finally:
            exchange.close()

    def _exchange(self, call: Call, how: int) -> AsyncExchange:
        exchange = AsyncExchange(self._queue(), call.begin(how), call.request, call.handle.body)
        if call.pieces is not None:
            exchange.send(_pieces(call.pieces))
        return exchange

    async def open_stream(self, method: str, url: str, **given: Any) -> AsyncStreamedResponse:
        """As stream(), without the context manager: the caller closes the response."""
        call = self._prepare(method, url, **given)
        exchange = self._exchange(call, _ffi.STREAM)
        try:
            while True:
                event = await exchange.next_event()
                if event.status != 0:
                    raise exchange.failure(event)
                if event.kind == _ffi.EVENT_HEAD:
                    return AsyncStreamedResponse(event, call.request, exchange)
        except BaseException:
            exchange.close()
            raise

    @asynccontextmanager
    async def stream(self, method: str, url: str, **given: Any) -> AsyncIterator[AsyncStreamedResponse]:
        """Sends a request and answers the response when its header has come; arguments as of request()."""
        response = await self.open_stream(method, url, **given)
        try:
            yield response
        finally:
            response.close()

    async def get(self, url: str, **given: Any) -> Response:
        """request("GET", …)"""
        return await self.request("GET", url, **given)

    async def head(self, url: str, **given: Any) -> Response:
        """request("HEAD", …)"""
        return await self.request("HEAD", url, **given)

    async def options(self, url: str, **given: Any) -> Response:
        """request("OPTIONS", …)"""
        return await self.request("OPTIONS", url, **given)

    async def post(self, url: str, **given: Any) -> Response:
        """request("POST", …)"""
        return await self.request("POST", url, **given)

    async def put(self, url: str, **given: Any) -> Response:
        """request("PUT", …)"""
        return await self.request("PUT", url, **given)

    async def patch(self, url: str, **given: Any) -> Response:
        """request("PATCH", …)"""
        return await self.request("PATCH", url, **given)

    async def delete(self, url: str, **given: Any) -> Response:
        """request("DELETE", …)"""
        return await self.request("DELETE", url, **given)

    def connect(
        self,
        target: Union[str, Endpoint],
        port: Union[None, int, Sequence[int]] = None,
        *,
        tls: bool = False,
        addresses: Union[None, str, Sequence[str]] = None,
        timeout: Union[TimeoutTypes, Unset] = UNSET,
        **options: OptionValue,
    ) -> Connecting:
        """Leases a connection for any protocol but HTTP: by host and port, by URL ("tcp://…", "tls://…",
        "unix:/path"), by addresses, or of an endpoint. `await` the answer, or use it in `async with`."""
        given = {**timeout_options(timeout), **options}

        async def acquire() -> AsyncConnection:
            of_op = make_config(given) if isinstance(target, Endpoint) else None
            at = self.endpoint(target, port, tls=tls, addresses=addresses, **given)
            event = await self._queue().run(
                lambda queue, token, out: lib.conpool_endpoint_acquire(at.handle, of_op, queue, token, out),
            )
            return AsyncConnection(take_connection(event), self)

        return Connecting(acquire())

    async def preconnect(self, target: Union[str, Endpoint], count: int = 1, **options: OptionValue) -> int:
        """Opens connections before they are needed, until `count` are open; answers how many are."""
        at = self.endpoint(target, **options)
        event = await self._queue().run(
            lambda queue, token, out: lib.conpool_endpoint_preconnect(at.handle, count, None, queue, token, out),
        )
        return int(event.value[0])


async def _pieces(pieces: Any) -> AsyncIterator[bytes]:
    if hasattr(pieces, "__aiter__"):
        async for piece in pieces:
            yield checked_piece(piece)
    else:
        for piece in pieces:
            yield checked_piece(piece)
