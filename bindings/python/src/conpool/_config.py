"""Options as keywords: Python values to the library's texts, and httpx's `timeout` and `limits`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Union

from . import _ffi
from ._errors import check, need, of_status, told
from ._ffi import STATUSES, lib

OptionValue = Union[
    None, bool, int, float, str, bytes, timedelta, "os.PathLike[str]", Sequence[Union[str, int]]
]


class Option(NamedTuple):
    """One row of the library's table of options."""

    name: str  #: "connect.timeout"
    type: str  #: "duration", "count", "size", "bool", "choice", "text", "list" or "bytes"
    scope: str  #: the narrowest place where it can be set: "pool", "endpoint" or "request"
    default: str
    most: str  #: the largest value
    since: str  #: the version of the library that brought it
    text: str  #: what it means


def _table() -> dict[str, Option]:
    rows = [Option(*(row.get(at, "") for at in Option._fields)) for row in _ffi.OPTION_ROWS]
    return {row.name.replace(".", "_"): row for row in rows}


OPTIONS: Mapping[str, Option] = _table()  #: every option of the library by its keyword
_SECRETS = ("key_pem", "key_file", "proxy")


class Unset:
    """The type of UNSET: an argument that was not given."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()
_DURATION = r"(\d+)(ms|s|min|h)"
#: They bound what `timeout=` sets: unless given, they are at least as large.
RAISED = ("total_timeout", "dial_timeout")


Limit = Union[None, float, str, timedelta, Unset]


class Timeout(NamedTuple):
    """Time limits in seconds; None means none.

    `timeout` counts for connect, read, write and pool; each can be given by itself. `total` bounds
    a request as a whole, the reading of a streamed response included; unless given, the option
    total.timeout does, which `timeout=` raises where it asks for more.
    """

    timeout: Limit = UNSET
    connect: Limit = UNSET
    read: Limit = UNSET
    write: Limit = UNSET
    pool: Limit = UNSET
    total: Limit = UNSET

    def options(self) -> dict[str, OptionValue]:
        """As options. Reading and writing share stall.timeout, the larger of both."""
        of_all, *each, total = map(_plain, self)
        connect, read, write, pool = (of_all if one is UNSET else one for one in each)
        ways = [way for way in (read, write) if way is not UNSET]
        found: dict[str, Any] = {
            "connect_timeout": connect, "tls_timeout": connect,
            "dial_timeout": None if connect is None else UNSET, "first_byte_timeout": read,
            "stall_timeout": max((_limit("stall_timeout", way) for way in ways), default=UNSET),
            "queue_timeout": pool,
            "total_timeout": None if of_all is None and total is UNSET else total,
        }  # fmt: skip
        return {key: _limit(key, value) for key, value in found.items() if value is not UNSET}


def _limit(keyword: str, value: Any) -> Any:
    """Seconds. No limit is the longest time that the option takes."""
    return _seconds(OPTIONS[keyword].most) if value is None else value


def _seconds(text: str) -> float:
    found = re.fullmatch(_DURATION, text)
    return int(found[1]) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600}[found[2]] if found else 0


class Limits(NamedTuple):
    """How many connections there may be, and how long they are kept.

    `max_connections` holds for the client as a whole and for each endpoint. Idle connections close
    by their age, `keepalive_expiry` seconds, and not by their number: `max_keepalive_connections`
    has an effect only where it is 0, which keeps none.
    """

    max_connections: int | None = None
    max_keepalive_connections: int | None = None
    keepalive_expiry: Limit = UNSET

    def options(self) -> dict[str, OptionValue]:
        """As options."""
        found: dict[str, Any] = {}
        if self.max_connections is not None:
            for key in ("pool_max_connections", "endpoint_max_connections"):
                found[key] = min(self.max_connections, int(OPTIONS[key].most))
        expiry = 0 if self.max_keepalive_connections == 0 else self.keepalive_expiry
        if expiry is not UNSET:
            found["pool_idle_timeout"] = _limit("pool_idle_timeout", expiry)
        return found


TimeoutTypes = Union[None, float, str, timedelta, Timeout]


def timeout_options(timeout: TimeoutTypes | Unset, raised: Iterable[str] = ()) -> dict[str, Any]:
    """What `timeout=` means as options; the `raised` ones are not to end it earlier."""
    found: Any = (timeout if isinstance(timeout, Timeout) else Timeout(timeout)).options()
    asked = max(found.values(), default=0)
    for key in raised:
        if key in OPTIONS and asked > _seconds(OPTIONS[key].default):
            found.setdefault(key, min(asked, _seconds(OPTIONS[key].most)))
    return found  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Seconds, None or UNSET."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and re.fullmatch(_DURATION, value):
        return _seconds(value)
    kinds = int, float, Unset, type(None)
    return need(kinds, "timeout= is seconds, '250ms', None or a conpool.Timeout", value)


def text_of(option: Option, value: Any) -> str:
    """A Python value as the library's text, which refuses what is not of the option's type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return f"{(value // timedelta(microseconds=1)) * 1000}ns"
    if isinstance(value, (int, float)):
        timed = option.type == "duration" and math.isfinite(value)
        return f"{round(value * 10**9)}ns" if timed else str(value)
    if isinstance(value, bytes):
        escaped = "".join(f"\\x{byte:02x}" for byte in value)
        return escaped if option.type == "bytes" else value.decode()
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, Iterable):
        return ",".join(str(item) for item in value)
    raise TypeError(f"{option.name.replace('.', '_')}: no option takes a {type(value).__name__}")


def make_config(options: Mapping[str, Any]) -> _ffi.Owned | None:
    """A conpool_config of the options that are not None; None when there is none."""
    given = {keyword: value for keyword, value in options.items() if value is not None}
    if not given:
        return None
    config = _ffi.Owned("config")
    check(lib.config_new(_ffi.out(config)))
    for keyword, value in given.items():
        option = OPTIONS.get(keyword.replace(".", "_")) or _unknown(keyword)
        text = text_of(option, value).encode()
        told(lib.config_set, config, option.name.encode(), text, len(text))
    return config


def _unknown(keyword: str) -> Option:
    """What nobody knows is left to the library, whose error offers the nearest name."""
    from ._integration import ELSEWHERE  # which imports this module

    if keyword in ELSEWHERE:
        raise of_status(STATUSES["E_UNKNOWN_OPTION"], f"{keyword}=: {ELSEWHERE[keyword]}")
    return Option(keyword, *[""] * 6)


def masked(options: Mapping[str, Any]) -> str:
    """Options as keywords of a constructor call, without secrets."""
    secret = [key for key in options if any(word in key.replace(".", "_") for word in _SECRETS)]
    shown = {**options, **{key: "***" for key in secret if options[key]}}
    return ", ".join(f"{key}={value!r}" for key, value in shown.items() if value is not None)
