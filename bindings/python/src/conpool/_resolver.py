"""The program as resolver: names are asked of a function, on a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Callable

from . import _ffi
from ._base import BaseClient
from ._engine import take
from ._errors import check
from ._ffi import lib

#: Answers the addresses of a name, given the family 4 or 6; what it raises fails the lookup.
Lookup = Callable[[str, int], Iterable[str]]


class Resolver:
    """Resolves a client's names with a function of the program, until stop().

    The client needs the option dns_backend="queue". The function is called as lookup(name, 4) and
    lookup(name, 6), one after the other on a thread of the resolver's own.
    """

    def __init__(self, client: BaseClient[Any], lookup: Lookup) -> None:
        pool, self._lookup, self._queue = client._opened(), lookup, _ffi.Owned("queue")
        self._client = client
        check(lib.queue_new(pool, _ffi.out(self._queue)))
        check(lib.pool_set_resolver(pool, self._queue, 0), context='it needs dns_backend="queue"')
        self._thread = threading.Thread(target=self._run, name="conpool-resolver", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        event = _ffi.Event()
        while lib.queue_next(self._queue, event, 1, _ffi.FOREVER) >= 0:
            if event.kind == _ffi.EVENT_LOOKUP and event.object is not None:
                self._answer(take(event, _ffi.Owned("lookup")))
            event = _ffi.Event()

    def _answer(self, lookup: _ffi.Owned) -> None:
        name, family = lib.lookup_name(lookup).decode(), lib.lookup_family(lookup)
        try:
            text = ",".join(self._lookup(name, family)).encode()
            check(lib.lookup_answer(lookup, text, len(text)), context=text.decode())
        except Exception as error:
            text = f"{type(error).__name__}: {error}".encode("utf-8", "replace")
            lib.lookup_fail(lookup, text, len(text))
        lookup.value = None  # the answer has freed it

    def stop(self) -> None:
        """Names are resolved no more. Harmless twice."""
        if not self._client.is_closed:
            lib.pool_set_resolver(self._client._opened(), None, 0)
        lib.queue_close(self._queue)
        self._thread.join()

    def __enter__(self) -> Resolver:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
