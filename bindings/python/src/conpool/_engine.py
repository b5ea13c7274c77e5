"""Ops and their events: waited for by the calling thread, or dispatched by an asyncio loop."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Callable

from . import _ffi
from ._errors import HTTPError, StreamError, check, of_event, of_status, opened
from ._ffi import STATUSES, lib
from ._models import Request

# Signals reach Python only between two calls of the library: a wait is made of calls this long.
SLICE_NS = 50_000_000
BATCH = 256
EARLY_BYTES = 1 << 26  # of a response whose request is still being sent

#: Starts an op, given (queue or None, user_data, where its id goes); answers a status, or raises.
Start = Callable[..., int]


def wait(op: _ffi.Number, event: _ffi.Event) -> None:
    """Waits for an op without a queue, in slices."""
    while (status := lib.op_wait(op, SLICE_NS, event)) == STATUSES["E_TIMEOUT"]:
        pass
    check(status)


def run(
    pool: _ffi.Owned, start: Start, borrowed: Any = None, request: Any = None, event: Any = None
) -> _ffi.Event:
    """An op from its start to its end. Whatever interrupts this, the op has ended afterwards, and
    an event that the caller gave tells how."""
    op, event = _ffi.Number(), event or _ffi.Event()
    # Held by the pool: a second interrupt may end this frame before the op. No call is between the
    # op's end and its removal, so that the first one never leaves it behind.
    pool.keep[(key := id(event))] = (borrowed, event)
    try:
        check(start(None, 0, _ffi.out(op)))
        wait(op, event)
    except BaseException:
        if op.value:
            lib.op_cancel(op)
            while lib.op_wait(op, _ffi.FOREVER, event) == STATUSES["E_BUSY"]:
                time.sleep(0.001)  # another thread drives the loop; nothing waits for its turn
        del pool.keep[key]
        raise
    del pool.keep[key]
    if event.status != 0:
        raise of_event(event, request)
    return event  # type: ignore[no-any-return]


class Exchange:
    """A request whose events come through a queue of its own, read by one thread at a time."""

    def __init__(self, pool: _ffi.Owned, start: Start, request: Request, borrowed: Any) -> None:
        queue, self._op = _ffi.Owned("queue"), _ffi.Number()
        check(lib.queue_new(pool, _ffi.out(queue)))
        queue.keep["request"] = borrowed
        self._queue: _ffi.Owned | None = queue
        self._request, self._early, self._room = request, deque[_ffi.Event](), EARLY_BYTES
        check(start(queue, 0, _ffi.out(self._op)))

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
        """Whether the request wants more. The piece is held until its own event."""
        queue, op = opened(self._queue, "response"), _ffi.Number()
        queue.keep["piece"] = piece
        status = lib.body_write(self._op, piece, len(piece), last, queue, 1, _ffi.out(op))
        if status == STATUSES["E_STALE"]:
            return False  # the request has ended, and its last event tells how
        check(status)
        while True:
            event = self._next()
            if event.op == op.value:
                return bool(event.status == 0)
            self._early.append(event)
            if event.status == 0 and event.kind == _ffi.EVENT_CHUNK:
                # In the library it would hold the peer back, which then reads no more of the body.
                self._room -= len(_ffi.detach(event))
                if self._room < 0:
                    raise StreamError(f"over {EARLY_BYTES} bytes came before all of the body went")

    def _next(self) -> _ffi.Event:
        event = _ffi.Event()
        while (taken := lib.queue_next(opened(self._queue, "response"), event, 1, SLICE_NS)) == 0:
            pass
        check(min(taken, 0))
        return event

    def next_event(self) -> _ffi.Event:
        """The next event of the request; raises when it failed."""
        try:
            event = self._early.popleft() if self._early else self._next()
            if event.status != 0:
                raise of_event(event, self._request)
        except BaseException:
            self.close()
            raise
        return event

    def close(self) -> None:
        """Ends the request; afterwards nothing is borrowed any more."""
        queue, self._queue = self._queue, None
        self._early.clear()
        if queue is not None:
            lib.queue_close(queue)


class Inbox:
    """The events of one op, for one coroutine."""

    def __init__(self, loop: asyncio.AbstractEventLoop, borrowed: Any) -> None:
        self.events: deque[_ffi.Event] = deque()
        self.abandoned = self.over = False
        self._borrowed, self._loop = borrowed, loop
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: _ffi.Event | None) -> None:
        """Takes an event; None says that none will come any more."""
        self.over = self.over or event is None or bool(event.flags & _ffi.EVENT_FINAL)
        if event is not None and self.abandoned:
            if event.kind == _ffi.EVENT_CONNECTION and event.status == 0:
                take(event, _ffi.Lease()).reuse()  # nobody used it: it need not be closed
        elif event is not None:
            self.events.append(event)
        waiter = self._waiter
        if waiter is not None and not (waiter.done() or self._loop.is_closed()):
            waiter.set_result(None)

    async def next(self) -> _ffi.Event:
        """The next event."""
        while not self.events:
            if self.over:
                raise of_status(STATUSES["E_CLOSED"])
            self._waiter = self._loop.create_future()
            await self._waiter
        return self.events.popleft()

    def brought(self) -> bytes:
        """The bytes of reads that ended."""
        return b"".join(map(_ffi.read_bytes, self.events))

    def abandon(self) -> None:
        """Nobody waits for it any more: what comes is disposed of."""
        self.abandoned = True
        self.events.clear()


class LoopQueue:
    """The queue of one pool in one asyncio loop, whose thread is the only one to use it."""

    def __init__(self, pool: _ffi.Owned, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self._tokens = loop, itertools.count(1)
        self._buffer = _ffi.events_buffer(BATCH)
        self._queue: _ffi.Owned | None = _ffi.Owned("queue")
        check(lib.queue_new(pool, _ffi.out(self._queue)))
        self._inboxes = self._queue.keep
        self._fd = lib.queue_fd(self._queue)
        check(min(self._fd, 0))
        loop.add_reader(self._fd, self.drain)

    def drain(self) -> None:
        """Takes one batch of events, each to whom it belongs. The loop calls again for more."""
        queue = self._queue
        count = -1 if queue is None else lib.queue_next(queue, self._buffer, BATCH, 0)
        if count < 0:
            self.close()
        for event in _ffi.events_of(self._buffer, count):
            final = event.flags & _ffi.EVENT_FINAL
            find = self._inboxes.pop if final else self._inboxes.get
            inbox = find(event.user_data, None)
            if inbox is not None:
                inbox.put(event)

    def start(self, begin: Start, borrowed: Any, op: _ffi.Number) -> Inbox:
        """Starts an op; the inbox gets its events."""
        queue = opened(self._queue, "client")
        token, inbox = next(self._tokens), Inbox(self.loop, borrowed)
        self._inboxes[token] = inbox
        try:
            check(begin(queue, token, _ffi.out(op)))
        except BaseException:
            inbox.abandon()
            if not op.value:
                del self._inboxes[token]
            raise
        return inbox

    async def run(self, begin: Start, borrowed: Any = None) -> _ffi.Event:
        """An op from its start to its end. When the coroutine is cancelled, so is the op."""
        return await AsyncExchange(self, begin, None, borrowed).next_event()

    def close(self) -> None:
        """Cancels what still runs and lets the loop go."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        if not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
        lib.queue_close(queue)
        for inbox in self._inboxes.values():
            inbox.put(None)
        self._inboxes.clear()


class AsyncExchange:
    """An op of one asyncio loop; of a request, body and response may come in parts."""

    def __init__(self, queue: LoopQueue, begin: Start, request: Any, borrowed: Any) -> None:
        self._queue, self._request, self._op = queue, request, _ffi.Number()
        self._inbox = queue.start(begin, borrowed, self._op)
        self._sender: asyncio.Task[None] | None = None

    def send(self, pieces: AsyncIterator[bytes]) -> None:
        """Writes the body, beside the response."""
        self._sender = self._queue.loop.create_task(self._send(pieces))
        # What it raises is told by next_event(), if anybody asks.
        self._sender.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _send(self, pieces: AsyncIterator[bytes]) -> None:
        try:
            async for piece in pieces:
                if not await self._write(piece, last=False):
                    return
            await self._write(b"", last=True)
        except BaseException:
            lib.op_cancel(self._op)
            raise

    async def _write(self, piece: bytes, last: bool) -> bool:
        """Whether the request wants more. The inbox holds the piece until its event."""
        op, size = _ffi.Number(), len(piece)
        try:
            inbox = self._queue.start(
                lambda *at: lib.body_write(self._op, piece, size, last, *at), piece, op
            )
        except HTTPError as error:
            if error.name == "E_STALE":
                return False  # the request has ended, and its last event tells how
            raise
        return bool((await inbox.next()).status == 0)

    async def next_event(self) -> _ffi.Event:
        """The next event of the request; raises when it failed."""
        try:
            event = await self._inbox.next()
            if event.status != 0:
                if self._sender is not None and self._sender.done():
                    self._sender.result()  # raises what the program's own body raised
                raise of_event(event, self._request)
        except BaseException:
            self.close()
            raise
        return event

    def close(self) -> None:
        """Ends the request."""
        self._inbox.abandon()
        if not self._inbox.over:
            lib.op_cancel(self._op)
        if self._sender is not None and not self._queue.loop.is_closed():
            self._sender.cancel()  # in a loop that was closed it has ended, or never goes on

    def __del__(self) -> None:
        if hasattr(self, "_inbox"):
            self.close()


def take(event: _ffi.Event, owner: Any) -> Any:
    """Moves an event's object to an owner."""
    pointer, event.object = event.object, None
    owner.value = pointer  # an interrupt before this may leak it, but never frees it twice
    return owner
