"""Ops and their events: waited for by the calling thread, or dispatched by an asyncio loop."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, Optional

from . import _ffi
from ._errors import HTTPError, check, of_event, of_status
from ._ffi import lib
from ._models import Request

# Signals reach Python code only between two calls of the library: a wait is made of calls this long.
SLICE_NS = 50_000_000
BATCH = 256

#: Starts an op: (queue or None, user_data, where the id goes) -> status, or raises.
Start = Callable[[Optional[_ffi.Queue], int, Any], int]


def wait(op: _ffi.Op, event: _ffi.Event) -> None:
    """Waits for an op without a queue, in slices."""
    e_timeout = STATUSES["E_TIMEOUT"]
    while True:
        status = lib.conpool_op_wait(op, SLICE_NS, event)
        if status == 0:
            return
        if status != e_timeout:
            raise of_status(status)


def run(pool: _ffi.Pool, start: Start, borrowed: Any = None, request: Optional[Request] = None) -> _ffi.Event:
    """An op from its start to its end. Whatever interrupts it, it has ended when this returns or raises."""
    op, event = _ffi.Op(), _ffi.Event()
    key = id(event)
    # Held by the pool, not by this frame: a second interrupt may end the frame before the op.
    pool.keep[key] = (borrowed, event)
    try:
        check(start(None, 0, _ffi.out(op)))
        wait(op, event)
    except BaseException:
        if op.value:
            lib.conpool_op_cancel(op)
            if lib.conpool_op_wait(op, _ffi.FOREVER, event) == STATUSES["E_BUSY"]:
                raise  # another thread drives the loop, and ends the op
        del pool.keep[key]
        raise
    del pool.keep[key]
    if event.status != 0:
        raise of_event(event, request)
    return event


class Exchange:
    """A request whose events come through a queue of its own, read by one thread at a time."""

    REQUEST, PIECE = 0, 1

    def __init__(self, pool: _ffi.Pool, start: Start, request: Request, body: Any) -> None:
        self._queue: Optional[_ffi.Queue] = _ffi.Queue()
        check(lib.conpool_queue_new(pool, _ffi.out(self._queue)))
        self._queue.keep[self.REQUEST] = body
        self._request, self._early, self._over = request, deque(), False  # type: Request, Deque[_ffi.Event], bool
        self._op = _ffi.Op()
        check(start(self._queue, self.REQUEST, _ffi.out(self._op)))

    def send(self, pieces: Iterator[bytes]) -> None:
        """Writes the body until its end, or the request's."""
        try:
            for piece in pieces:
                if not self._write(piece, last=False):
                    return
            self._write(b"", last=True)
        except BaseException:
            self.close()
            raise

    def _write(self, piece: bytes, last: bool) -> bool:
        """Whether the request wants more. A piece is held until its event."""
        queue, op = self._opened(), _ffi.Op()
        queue.keep[self.PIECE] = piece
        status = lib.conpool_body_write(self._op, piece, len(piece), last, queue, self.PIECE, _ffi.out(op))
        if status == STATUSES["E_STALE"]:
            return False  # the request has ended, and its last event tells how
        check(status)
        while True:
            event = self._next()
            if event.user_data == self.PIECE:
                return bool(event.status == 0)
            self._early.append(event)

    def _opened(self) -> _ffi.Queue:
        if self._queue is None:
            raise of_status(STATUSES["E_CLOSED"], "the response was closed")
        return self._queue

    def _next(self) -> _ffi.Event:
        event = _ffi.Event()
        while True:
            taken = lib.conpool_queue_next(self._opened(), event, 1, SLICE_NS)
            if taken == 1:
                return event
            if taken < 0:
                raise of_status(taken)

    def next_event(self) -> _ffi.Event:
        """The next event of the request."""
        try:
            event = self._early.popleft() if self._early else self._next()
        except BaseException:
            self.close()
            raise
        if event.flags & _ffi.EVENT_FINAL:
            self._over = True
        return event

    def failure(self, event: _ffi.Event) -> HTTPError:
        """The exception of an event that says that the request failed."""
        return of_event(event, self._request)

    def close(self) -> None:
        """Ends the request; afterwards nothing is borrowed any more."""
        queue, self._queue = self._queue, None
        self._early.clear()
        if queue is not None:
            lib.conpool_queue_close(queue)


class Inbox:
    """The events of one op, for one coroutine."""

    def __init__(self, loop: asyncio.AbstractEventLoop, borrowed: Any) -> None:
        self.events: Deque[_ffi.Event] = deque()
        self.borrowed = borrowed
        self.abandoned = False
        self.over = False
        self._loop = loop
        self._waiter: Optional[asyncio.Future[None]] = None

    def put(self, event: Optional[_ffi.Event]) -> None:
        """Takes an event; None says that none will come any more."""
        if event is None or event.flags & _ffi.EVENT_FINAL:
            self.over = True
        if self.abandoned:
            if event is not None and event.kind == _ffi.EVENT_CONNECTION and event.status == 0:
                release(event)  # nobody used it: it need not be closed
            return
        if event is not None:
            self.events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> _ffi.Event:
        """The next event."""
        while not self.events:
            if self.over:
                raise of_status(STATUSES["E_CLOSED"])
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.events.popleft()

    def abandon(self) -> None:
        """Nobody waits for it any more: what comes is disposed of."""
        self.abandoned = True
        self.events.clear()


class LoopQueue:
    """The queue of one pool in one asyncio loop, whose thread is the only one to use it."""

    def __init__(self, pool: _ffi.Pool, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._tokens = itertools.count(1)
        self._buffer = _ffi.events_buffer(BATCH)
        self._queue: Optional[_ffi.Queue] = _ffi.Queue()
        check(lib.conpool_queue_new(pool, _ffi.out(self._queue)))
        self._inboxes: Dict[int, Inbox] = self._queue.keep
        self._fd = lib.conpool_queue_fd(self._queue)
        if self._fd < 0:
            raise of_status(self._fd)
        loop.add_reader(self._fd, self.drain)

    def drain(self) -> None:
        """Takes one batch of events, each to whom it belongs. The loop calls again while there are more."""
        queue = self._queue
        if queue is None:
            return
        count = lib.conpool_queue_next(queue, self._buffer, BATCH, 0)
        if count < 0:
            self.close()
            return
        for event in _ffi.events_of(self._buffer, count):
            final = event.flags & _ffi.EVENT_FINAL
            inbox = self._inboxes.pop(event.user_data, None) if final else self._inboxes.get(event.user_data)
            if inbox is not None:
                inbox.put(event)

    def start(self, begin: Start, borrowed: Any, op: _ffi.Op) -> Inbox:
        """Starts an op; the inbox gets its events."""
        if self._queue is None:
            raise of_status(STATUSES["E_CLOSED"])
        token, inbox = next(self._tokens), Inbox(self.loop, borrowed)
        self._inboxes[token] = inbox
        try:
            check(begin(self._queue, token, _ffi.out(op)))
        except BaseException:
            inbox.abandon()
            if not op.value:
                del self._inboxes[token]
            raise
        return inbox

    async def run(self, begin: Start, borrowed: Any = None, request: Optional[Request] = None) -> _ffi.Event:
        """An op from its start to its end. When the coroutine is cancelled, so is the op."""
        op = _ffi.Op()
        inbox = self.start(begin, borrowed, op)
        try:
            event = await inbox.next()
        except BaseException:
            inbox.abandon()
            lib.conpool_op_cancel(op)
            raise
        if event.status != 0:
            raise of_event(event, request)
        return event

    def close(self) -> None:
        """Cancels what still runs and lets the loop go."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        if not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
        lib.conpool_queue_close(queue)
        for inbox in list(self._inboxes.values()):
            inbox.put(None)
        self._inboxes.clear()


class AsyncExchange:
    """A request that is delivered in parts, in one asyncio loop."""

    def __init__(self, queue: LoopQueue, begin: Start, request: Request, body: Any) -> None:
        self._queue, self._request = queue, request
        self.op = _ffi.Op()
        self._inbox = queue.start(begin, body, self.op)
        self._sender: Optional[asyncio.Task[None]] = None

    def send(self, pieces: Any) -> None:
        """Writes the body beside the response."""
        self._sender = self._queue.loop.create_task(self._send(pieces))

    async def _send(self, pieces: Any) -> None:
        try:
            async for piece in pieces:
                if not await self._write(piece, last=False):
                    return
            await self._write(b"", last=True)
        except BaseException:
            lib.conpool_op_cancel(self.op)
            raise

    async def _write(self, piece: bytes, last: bool) -> bool:
        """Whether the request wants more."""

        def begin(queue: Optional[_ffi.Queue], token: int, out: Any) -> int:
            status: int = lib.conpool_body_write(self.op, piece, len(piece), last, queue, token, out)
            return status

        try:
            await self._queue.run(begin, piece)
        except HTTPError as error:
            # Of the piece itself; all else is told by the request's last event.
            if error.name == "E_HTTP_BODY_LENGTH" and not self._inbox.over:
                raise
            return False
        return True

    async def next_event(self) -> _ffi.Event:
        """The next event of the request."""
        try:
            event = await self._inbox.next()
        except BaseException:
            self.close()
            raise
        sender = self._sender
        if event.flags & _ffi.EVENT_FINAL and event.status != 0 and sender is not None and sender.done():
            # What the program's own body raised is what it wants to know.
            if not sender.cancelled() and sender.exception() is not None:
                raise sender.exception()  # type: ignore[misc]
        return event

    def failure(self, event: _ffi.Event) -> HTTPError:
        """The exception of an event that says that the request failed."""
        return of_event(event, self._request)

    def close(self) -> None:
        """Ends the request."""
        self._inbox.abandon()
        if not self._inbox.over:
            lib.conpool_op_cancel(self.op)
        if self._sender is not None and not self._sender.done():
            self._sender.cancel()


def release(event: _ffi.Event) -> None:
    """Gives an acquired connection back unused."""
    connection = take_connection(event)
    connection.how = _ffi.REUSABLE


def take_connection(event: _ffi.Event) -> _ffi.Connection:
    """The connection of an event, which it then has no more."""
    connection, pointer = _ffi.Connection(), event.object
    event.object = None  # first: an interrupt in between may leak it, but never free it twice
    connection.value = pointer
    return connection


STATUSES: Dict[str, int] = {row["name"]: row["value"] for row in _ffi.describe("statuses")}
