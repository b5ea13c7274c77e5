"""Options as keywords: Python values to the library's texts, and httpx's `timeout` and `limits`."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Union

from . import _ffi
from ._errors import check
from ._ffi import lib

OptionValue = Union[None, bool, int, float, str, bytes, timedelta, "os.PathLike[str]", Sequence[Union[str, int]]]


class Option(NamedTuple):
    """One row of the library's table of options."""

    name: str  #: "connect.timeout"
    type: str  #: "duration", "count", "size", "bool", "choice", "text", "list" or "bytes"
    scope: str  #: the narrowest place where it can be set: "pool", "endpoint" or "request"
    default: str
    most: str  #: the largest value
    since: str  #: the version of the library that brought it
    text: str  #: what it means


def _table() -> Dict[str, Option]:
    rows = [Option(*(row.get(field, "") for field in Option._fields)) for row in _ffi.describe("options")]
    return {row.name.replace(".", "_"): row for row in rows}


OPTIONS: Mapping[str, Option] = _table()  #: every option of the library by its keyword
_BY_NAME = {option.name: option for option in OPTIONS.values()}
_SECRETS = ("key_pem", "key_file", "proxy")


class Unset:
    """The type of UNSET: an argument that was not given."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


class Timeout:
    """Time limits in seconds; None means none.

    The first number counts for connect, read, write and pool; each can be given by itself. `total` bounds a
    request as a whole, the reading of a streamed response included; unless given, option total.timeout does.
    """

    def __init__(
        self,
        timeout: Union[None, float, Unset] = UNSET,
        *,
        connect: Union[None, float, Unset] = UNSET,
        read: Union[None, float, Unset] = UNSET,
        write: Union[None, float, Unset] = UNSET,
        pool: Union[None, float, Unset] = UNSET,
        total: Union[None, float, Unset] = UNSET,
    ) -> None:
        given = (connect, read, write, pool)
        self.connect, self.read, self.write, self.pool = (timeout if one is UNSET else one for one in given)
        self.total = None if timeout is None and total is UNSET else total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timeout) and vars(self) == vars(other)

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in vars(self).items() if value is not UNSET]
        return f"Timeout({', '.join(parts)})"

    def options(self) -> Dict[str, OptionValue]:
        """As options. Reading and writing share one limit, the larger of both."""
        found: Dict[str, Any] = {}
        if self.connect is not UNSET:
            found.update(connect_timeout=self.connect, tls_timeout=self.connect)
            if self.connect is None:
                found["dial_timeout"] = None
        if self.read is not UNSET:
            found["first_byte_timeout"] = self.read
        ways = [way for way in (self.read, self.write) if way is not UNSET]
        if ways:
            found["stall_timeout"] = None if None in ways else max(ways)  # type: ignore[type-var]
        if self.pool is not UNSET:
            found["queue_timeout"] = self.pool
        if self.total is not UNSET:
            found["total_timeout"] = self.total
        return {keyword: _limit(keyword, value) for keyword, value in found.items()}


def _limit(keyword: str, value: Any) -> OptionValue:
    """No limit is 0 where the option has that, else the longest that it takes."""
    if value is not None:
        return value  # type: ignore[no-any-return]
    zero_is_none = OPTIONS[keyword].text.rpartition(";")[2].strip() in ("0 = none", "0 = no limit", "0 = for ever")
    return "0" if zero_is_none else OPTIONS[keyword].most


class Limits:
    """How many connections there may be, and how long they are kept.

    `max_connections` holds for the client as a whole and for each endpoint. Of `max_keepalive_connections` only 0
    has an effect: connections are then not kept. Idle ones close by their age, `keepalive_expiry` seconds.
    """

    def __init__(
        self,
        *,
        max_connections: Optional[int] = None,
        max_keepalive_connections: Optional[int] = None,
        keepalive_expiry: Union[None, float, Unset] = UNSET,
    ) -> None:
        self.max_connections = max_connections
        self.max_keepalive_connections = max_keepalive_connections
        self.keepalive_expiry = keepalive_expiry

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and vars(self) == vars(other)

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in vars(self).items() if value is not UNSET]
        return f"Limits({', '.join(parts)})"

    def options(self) -> Dict[str, OptionValue]:
        """As options."""
        found: Dict[str, Any] = {}
        if self.max_connections is not None:
            most = int(OPTIONS["endpoint_max_connections"].most)
            found["pool_max_connections"] = self.max_connections
            found["endpoint_max_connections"] = min(self.max_connections, most)
        if self.keepalive_expiry is not UNSET:
            none = OPTIONS["pool_idle_timeout"].most
            found["pool_idle_timeout"] = none if self.keepalive_expiry is None else self.keepalive_expiry
        if self.max_keepalive_connections == 0:
            found["pool_idle_timeout"] = 0
        return found


TimeoutTypes = Union[None, float, Timeout]


def timeout_options(timeout: Union[TimeoutTypes, Unset]) -> Dict[str, OptionValue]:
    """What `timeout=` means as options."""
    if isinstance(timeout, Unset):
        return {}
    return (timeout if isinstance(timeout, Timeout) else Timeout(timeout)).options()


def text_of(option: Option, value: Any) -> str:
    """A Python value as the library's text. What is not of the option's type is left for the library to refuse."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return f"{(value // timedelta(microseconds=1)) * 1000}ns"
    if isinstance(value, (int, float)):
        return f"{round(value * 10**9)}ns" if option.type == "duration" and math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        if option.type == "bytes":
            return "".join(f"\\x{byte:02x}" for byte in value)
        return value.decode()
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, Iterable):
        return ",".join(str(item) for item in value)
    raise TypeError(f"{option.name}: a {type(value).__name__} is no value of an option")


def make_config(options: Mapping[str, Any]) -> Optional[_ffi.Config]:
    """A conpool_config of the options that are not None; None when there is none."""
    given = {keyword: value for keyword, value in options.items() if value is not None}
    if not given:
        return None
    config = _ffi.Config()
    check(lib.conpool_config_new(_ffi.out(config)))
    for keyword, value in given.items():
        option = OPTIONS.get(keyword) or _BY_NAME.get(keyword)
        error = _ffi.Error()
        if option is None:
            # Refused by the library, whose error offers the nearest name.
            option = Option(keyword, *[""] * 6)
        text = text_of(option, value).encode()
        check(lib.conpool_config_set(config, option.name.encode(), text, len(text), _ffi.out(error)), error)
    return config


def masked(options: Mapping[str, Any]) -> str:
    """Options as keywords of a constructor call, without secrets."""
    parts = []
    for keyword, value in options.items():
        secret = any(word in keyword.replace(".", "_") for word in _SECRETS)
        parts.append(f"{keyword}={'***' if secret and value else repr(value)}")
    return ", ".join(parts)
