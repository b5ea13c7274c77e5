"""The client for asyncio: a queue in each event loop; cancelling a task cancels its op."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from . import _ffi
from ._base import BaseClient, BaseConnection, Call, Endpoint, checked_piece
from ._engine import AsyncExchange, LoopQueue, take
from ._errors import of_event, within
from ._ffi import lib
from ._models import AsyncStreamedResponse, Response


class AsyncConnection(BaseConnection, AbstractAsyncContextManager["AsyncConnection"]):
    """A leased connection of any protocol.

    At the end of an `async with` block it is given back for others; after an exception it is
    closed.
    """

    async def _run(self, start: Any, borrowed: Any = None) -> _ffi.Event:
        return await self._client._queue().run(start, borrowed)  # type: ignore[no-any-return]

    async def recv(self, size: int = 0) -> bytes:
        """At least one byte, at most `size` (0: as many as came); b"" at the stream's end."""
        queue, size = self._client._queue(), within("recv(): size", size)
        while not self._kept:
            op, begin = _ffi.Number(), self._start(lib.connection_read, size)
            # The bytes of an earlier read come before those of another.
            inbox = self._left.popleft() if self._left else queue.start(begin, None, op)
            try:
                event = await inbox.next()
            except BaseException:
                (self._left.append if op.value else self._left.appendleft)(inbox)
                lib.op_cancel(op)
                raise
            self._kept += _ffi.read_bytes(event)
            if event.status != 0 and op.value:
                raise of_event(event)
            if event.flags & _ffi.EVENT_EOF:
                break
        return self._take(size)

    async def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Returns when the operating system has accepted all of it."""
        held = bytes(memoryview(data))
        await self._run(self._start(lib.connection_write, held, len(held)), held)

    async def shutdown_write(self) -> None:
        """Ends our direction. Such a connection is not pooled again."""
        await self._run(self._start(lib.connection_shutdown_write))

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        self._end(_ffi.REUSABLE if kind is None else _ffi.BROKEN)


Opened = TypeVar("Opened", bound="AbstractAsyncContextManager[Any]")


class Opening(Generic[Opened]):
    """What connect() and stream() answer: `await` it, or use it in `async with`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Opened]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, None, Opened]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> Opened:
        self._opened = await self._coroutine
        return self._opened

    async def __aexit__(self, *raised: Any) -> None:
        await self._opened.__aexit__(*raised)


class AsyncClient(
    BaseClient[Coroutine[Any, Any, Response]], AbstractAsyncContextManager["AsyncClient"]
):
    """Requests and connections, pooled, for asyncio. One client serves any number of event loops.

    `base_url` is what relative URLs go on from, `headers` are sent with every request; `timeout`
    (seconds, None, or a Timeout) and `limits` (Limits) are httpx's. Every option of the library is
    a keyword: `pool_max=8` is pool.max; conpool.OPTIONS lists them.

    Redirects, cookies and the decoding of contents are the program's own.
    """

    def __init__(self, **given: Any) -> None:
        self._queues: list[LoopQueue] = []
        self._lock = threading.Lock()
        super().__init__(**given)

    async def __aexit__(self, *_: Any) -> None:
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
            self._queues = [queue for queue in self._queues if queue not in over] + [made]
        for queue in over:
            queue.close()
        return made

    def _drop(self) -> None:
        super()._drop()
        queues, self._queues = self._queues, []
        for queue in queues:
            if queue.loop.is_closed():
                queue.close()
            else:
                queue.loop.call_soon_threadsafe(queue.close)

    async def aclose(self, drain: float = 0.0) -> None:
        """Closes the client; what runs may go on for `drain` seconds. Harmless twice."""
        pool = self._pool
        if pool is None:
            return
        queue, limit = self._queue(), round(drain * 1e9)
        self._pool = None
        try:
            await queue.run(lambda *at: lib.pool_close(pool, limit, *at))
        finally:
            self._pool = pool
            self._drop()

    async def request(self, method: str, url: str, **given: Any) -> Response:
        """Sends a request and answers the whole response.

        `params`, `headers`; one of `content` (bytes, text, an iterable of bytes, also an
        asynchronous one, a file), `data` (a form) and `json`; `timeout`; `trailers`;
        `idempotent=True` for what may be sent again whatever its method; `endpoint`, of which
        `url` is then the path; and the library's options of scope endpoint or request as keywords.
        """
        call = self._prepare(method, url, **given)
        exchange = self._exchange(call)
        try:
            return Response(await exchange.next_event(), call.request)
        finally:
            exchange.close()

    def _exchange(self, call: Call) -> AsyncExchange:
        exchange = AsyncExchange(self._queue(), call.start, call.request, call.handle.keep)
        if call.pieces is not None:
            exchange.send(_pieces(call.pieces))
        return exchange

    async def open_stream(self, method: str, url: str, **given: Any) -> AsyncStreamedResponse:
        """As stream(), for callers that close the response themselves."""
        call = self._prepare(method, url, **given)._replace(how=_ffi.STREAM)
        exchange = self._exchange(call)
        try:
            while (event := await exchange.next_event()).kind != _ffi.EVENT_HEAD:
                pass
            return AsyncStreamedResponse(event, call.request, exchange)
        except BaseException:
            exchange.close()
            raise

    def stream(self, method: str, url: str, **given: Any) -> Opening[AsyncStreamedResponse]:
        """As request(), but answers when the header has come: the body is read as it comes.
        `await` the answer, or use it in `async with`."""
        return Opening(self.open_stream(method, url, **given))

    def connect(
        self, target: str | Endpoint, port: int | Sequence[int] | None = None, *,
        tls: bool = False, addresses: str | Sequence[str] | None = None, **given: Any,
    ) -> Opening[AsyncConnection]:  # fmt: skip
        """Leases a connection for any protocol but HTTP; arguments as of endpoint(), and `timeout`.
        `await` the answer, or use it in `async with`."""

        async def acquire() -> AsyncConnection:
            start = self._acquire(target, (port, tls, addresses), **given)
            return AsyncConnection(take(await self._queue().run(start), _ffi.Lease()), self)

        return Opening(acquire())

    async def preconnect(self, target: str | Endpoint, count: int = 1, **options: Any) -> int:
        """Opens connections ahead of need, until `count` are open; answers how many are."""
        event = await self._queue().run(self._preconnect(target, count, options))
        return int(event.value[0])


async def _pieces(pieces: Any) -> AsyncIterator[bytes]:
    if hasattr(pieces, "__aiter__"):
        async for piece in pieces:
            yield checked_piece(piece)
    else:
        for piece in pieces:
            yield checked_piece(piece)
