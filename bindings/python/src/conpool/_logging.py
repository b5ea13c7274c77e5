"""Bridges between module logging and a pool's events, both ways."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from typing import Any

from ._base import BaseClient
from ._errors import HTTPError

OWN = "app."  # what the readouts put before the program's own events
_LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


class EventHandler(logging.Handler):
    """Records log records among the pool's events, named as their logger.

    Of a message about 64 bytes are kept; records below the option events.level are left out.
    """

    def __init__(self, client: BaseClient[Any], level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._client = client

    def emit(self, record: logging.LogRecord) -> None:
        """Records one; nothing is raised to the program that logs."""
        try:
            if getattr(record, "conpool_event", None) is None and not self._client.is_closed:
                name = re.sub(r"[^A-Za-z0-9._-]", "_", record.name)[-32:] or "root"
                self._client.event(name, record.getMessage(), record.levelno)
        except Exception:
            self.handleError(record)


class EventLogger:
    """Logs the pool's events to a logger, in a thread of its own, until stop().

    The program's own events are left out, so that an EventHandler beside it makes no circle. Each
    record has the event as the attribute `conpool_event`.
    """

    def __init__(
        self,
        client: BaseClient[Any],
        logger: logging.Logger | str = "conpool",
        interval: float = 0.2,
    ) -> None:
        self._client = client
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._next, self._interval, self._stopped = 0, interval, threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="conpool-events", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self.flush()
            except HTTPError:
                if self._client.is_closed:
                    return

    def flush(self) -> None:
        """Logs what was recorded since the last time."""
        with self._lock:
            events = self._client.events(self._next)
            self._next = events.next
        if events.lost:
            self._logger.warning("%d events were overwritten before they were logged", events.lost)
        for event in events:
            if not event["event"].startswith(OWN):
                try:
                    self._log(event)
                except Exception:  # of a filter or a handler: the others are still to be logged
                    if logging.raiseExceptions:
                        traceback.print_exc()

    def _log(self, event: dict[str, Any]) -> None:
        level = _LEVELS.get(event.get("level", ""), logging.INFO)
        hidden = ("sequence", "time_ns", "level", "event")
        told = [f"{key}={value}" for key, value in event.items() if key not in hidden]
        self._logger.log(
            level, "%s", " ".join([event["event"], *told]), extra={"conpool_event": event}
        )

    def stop(self) -> None:
        """Logs what is left and ends the thread. Harmless twice."""
        self._stopped.set()
        self._thread.join()
        if not self._client.is_closed:
            self.flush()

    def __enter__(self) -> EventLogger:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
