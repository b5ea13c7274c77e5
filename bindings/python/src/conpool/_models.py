"""What is asked and what comes back: headers, requests, responses whole and streamed."""

from __future__ import annotations

import codecs
import json as jsonlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NamedTuple, Union

from . import _ffi
from ._errors import HTTPStatusError, StreamError, UsageError, need, read_text
from ._ffi import lib

# fmt: off
__all__ = [
    "AsyncStreamedResponse", "ConnectionInfo", "Headers", "Request", "Response", "StreamedResponse",
]
# fmt: on

HeaderText = Union[str, bytes]
HeaderTypes = Union[Mapping[Any, HeaderText], Iterable[tuple[HeaderText, HeaderText]]]

_VERSIONS = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}


def _encode(text: HeaderText, name: object) -> bytes:
    if isinstance(text, bytes):
        return text
    return bytes(need(str, f"the header {name!r} is text or bytes", text), "utf-8")


def _line(name: HeaderText, value: HeaderText) -> tuple[bytes, bytes]:
    return _encode(name, name), _encode(value, name)


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


class Headers(MutableMapping[str, str]):
    """Header lines in their order. Names are the same in upper and lower case, and may repeat."""

    def __init__(self, headers: HeaderTypes | None = None) -> None:
        pairs: Any = headers.raw if isinstance(headers, Headers) else headers or ()
        if isinstance(pairs, Mapping):
            pairs = pairs.items()
        self.raw: list[tuple[bytes, bytes]] = [_line(name, value) for name, value in pairs]

    def get_list(self, name: str) -> list[str]:
        """The value of every line with this name."""
        key = name.lower().encode()
        return [_decode(value) for one, value in self.raw if one.lower() == key]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every line, in order."""
        return [(_decode(name), _decode(value)) for name, value in self.raw]

    def __getitem__(self, name: str) -> str:
        """The values of all lines with this name, separated by ", "."""
        found = self.get_list(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __setitem__(self, name: str, value: HeaderText) -> None:
        """One line in place of all with this name."""
        line = _line(name, value)
        self.pop(name, None)
        self.raw.append(line)

    def __delitem__(self, name: str) -> None:
        """All lines with this name go."""
        if name not in self:
            raise KeyError(name)
        self.raw = [line for line in self.raw if line[0].lower() != name.lower().encode()]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(_decode(name).lower() for name, _ in self.raw))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        ours, theirs = (sorted((n.lower(), v) for n, v in one.raw) for one in (self, other))
        return ours == theirs

    def __repr__(self) -> str:
        return f"Headers({self.multi_items()!r})"


class Request(NamedTuple):
    """What was asked."""

    method: str
    url: str
    headers: Headers


class ConnectionInfo(NamedTuple):
    """The connection that a response came over."""

    id: int | None = None  #: counted from the pool's start
    address: str = ""  #: the peer's: "192.0.2.1:443", "[2001:db8::1]:443" or "unix:/path"
    local: str = ""  #: our own
    reused: bool = False  #: whether it was used before
    uses: int = 0  #: how often, this time included
    rtt: float = 0.0  #: its round trip in seconds
    tls_version: str | None = None
    alpn: str | None = None
    attempts: tuple[dict[str, Any], ...] = ()  #: of its dial, as the library tells them


def _lines(response: Any, kind: str) -> list[tuple[bytes, bytes]]:
    name, value = getattr(lib, f"response_{kind}_name"), getattr(lib, f"response_{kind}_value")
    count: int = getattr(lib, f"response_{kind}_count")(response)
    return [(name(response, i, None), value(response, i, None)) for i in range(count)]


class Response:
    """A response. It holds nothing of the library: it can be kept and passed on freely."""

    def __init__(self, event: _ffi.Event, request: Request) -> None:
        self.request, pointer = request, event.object
        self.status_code: int = lib.response_status(pointer)
        self.http_version = _VERSIONS.get(lib.response_version(pointer), "HTTP/?")
        self.headers = Headers(_lines(pointer, "header"))
        self._content: bytes | None = _ffi.body_bytes(pointer)
        self._finish(pointer)

    def _finish(self, pointer: Any) -> None:
        """Takes what is known only at the end."""
        self._describe = read_text(lib.response_describe, pointer)
        self.trailers = Headers(_lines(pointer, "trailer"))

    @property
    def facts(self) -> dict[str, Any]:
        """All that the library tells of the exchange, by its own names."""
        return jsonlib.loads(self._describe)  # type: ignore[no-any-return]

    @property
    def timings(self) -> dict[str, float]:
        """When each phase ended, in seconds from the call: "resolved", "connected", "secured" (only
        where a connection was dialed for it), "leased", "sent", "head", "total"."""
        ends = {key[:-3]: value for key, value in self.facts.items() if key.endswith("_ns")}
        return {key: value / 1e9 for key, value in ends.items() if key != "rtt"}

    @property
    def connection(self) -> ConnectionInfo:
        """The connection that it came over."""
        facts = self.facts
        facts.update(id=facts.get("connection"), rtt=facts.get("rtt_ns", 0) / 1e9)
        facts["attempts"] = tuple(facts.get("attempts", ()))
        return ConnectionInfo(**{key: facts[key] for key in ConnectionInfo._fields if key in facts})

    @property
    def url(self) -> str:
        """What was asked for."""
        return self.request.url

    @property
    def content(self) -> bytes:
        """The body, as it was sent: a Content-Encoding is not undone."""
        if self._content is None:
            raise StreamError("the body was not read: call read() first, or aread()")
        return self._content

    @property
    def encoding(self) -> str:
        """The charset of Content-Type, or utf-8."""
        kind = self.headers.get("content-type", "")
        found = re.search(r";\s*charset\s*=\s*\"?([^\s\";]+)", kind, re.I)
        try:
            name = codecs.lookup(found.group(1)).name if found else "utf-8"
            b"a".decode(name, "replace")  # some codecs make no text, and some refuse "replace"
            return name
        except (LookupError, ValueError):
            return "utf-8"

    @property
    def text(self) -> str:
        """The body as text; bytes that are none are replaced."""
        return self.content.decode(self.encoding, "replace")

    def json(self, **options: Any) -> Any:
        """The body as JSON; options are those of json.loads."""
        return jsonlib.loads(self.content, **options)

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code <= 299

    @property
    def is_error(self) -> bool:
        """Whether the status is 400 or more."""
        return self.status_code >= 400

    def raise_for_status(self) -> Response:
        """Itself; HTTPStatusError unless the status is 2xx."""
        if not self.is_success:
            asked = f"{self.request.method} {self.request.url}"
            raise HTTPStatusError(f"{asked} was answered with status {self.status_code}", self)
        return self

    def _pieces(self) -> Iterator[bytes]:
        yield self.content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body in pieces of a size, or as they come. A streamed one once, unless read()."""
        return through(self._pieces(), Resize(chunk_size))

    def iter_text(self) -> Iterator[str]:
        """The body as text, in pieces as they come."""
        return through(self._pieces(), Decode(self.encoding))

    def iter_lines(self) -> Iterator[str]:
        """The lines of the body, without their ends."""
        return through(self.iter_text(), Lines())

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"


class Resize:
    """Pieces of a size, the last one perhaps shorter; as they are without a size."""

    def __init__(self, size: int | None) -> None:
        if size is not None and not (isinstance(size, int) and size > 0):
            raise UsageError(f"chunk_size is a number of bytes above 0, and not {size!r}")
        self._size, self._held = size, bytearray()

    def feed(self, piece: bytes | None) -> list[bytes]:
        """What a piece completes; None is the end."""
        if self._size is None:
            return [piece] if piece else []
        self._held += piece or b""
        whole = len(self._held) - (len(self._held) % self._size if piece is not None else 0)
        ready = bytes(self._held[:whole])
        del self._held[:whole]  # a copy of what is left would be made for every piece
        return [ready[i : i + self._size] for i in range(0, whole, self._size)]


class Decode:
    """Bytes to text."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def feed(self, piece: bytes | None) -> list[str]:
        """What a piece completes; None is the end."""
        try:
            text = self._decoder.decode(piece or b"", piece is None)
        except UnicodeError:
            # UTF-16 or UTF-32 without a mark of its order: by 0 it is the machine's, as in `text`.
            self._decoder.setstate((self._decoder.getstate()[0], 0))
            text = self._decoder.decode(piece or b"", piece is None)
        return [text] if text else []


class Lines:
    """Text to lines, without their ends."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def feed(self, piece: str | None) -> list[str]:
        """What a piece completes; None is the end."""
        if piece is None:
            return [text] if (text := "".join(self._open)) else []
        *lines, last = piece.split("\n")
        if lines:
            lines[0] = "".join([*self._open, lines[0]])
            self._open = []
        self._open.append(last)
        return [line[:-1] if line.endswith("\r") else line for line in lines]


def through(pieces: Iterable[Any], stage: Any) -> Iterator[Any]:
    """Pieces as a stage makes them."""
    for piece in pieces:
        yield from stage.feed(piece)
    yield from stage.feed(None)


async def athrough(pieces: AsyncIterator[Any], stage: Any) -> AsyncIterator[Any]:
    """Pieces as a stage makes them."""
    async for piece in pieces:
        for made in stage.feed(piece):
            yield made
    for made in stage.feed(None):
        yield made


class StreamedResponse(Response, AbstractContextManager["StreamedResponse"]):
    """A response whose body is read from the connection as it is asked for."""

    def __init__(self, head: _ffi.Event, request: Request, exchange: Any) -> None:
        super().__init__(head, request)
        self._content, self._exchange, self._started = None, exchange, False
        self.is_closed = False

    def _take(self, event: _ffi.Event) -> bytes | None:
        """The bytes of a chunk; None for the end. Other kinds are empty."""
        if event.flags & _ffi.EVENT_FINAL:
            self._finish(event.object)
            return None
        if event.kind != _ffi.EVENT_CHUNK:
            return b""
        return _ffi.chunk_bytes(event.object) if event.copy is None else event.copy

    def _start(self) -> None:
        if self._started or self.is_closed:
            how = "was read already" if self._started else "cannot be read: the response is closed"
            raise StreamError(f"the body {how}")
        self._started = True

    def _pieces(self) -> Iterator[bytes]:
        if self._content is not None:
            yield self._content
            return
        self._start()
        try:
            while (piece := self._take(self._exchange.next_event())) is not None:
                yield piece
        finally:
            self.close()

    def read(self) -> bytes:
        """The whole body, which `content`, `text` and `json()` have from then on."""
        self._content = b"".join(self.iter_bytes())
        return self._content

    def close(self) -> None:
        """Ends the exchange; what was not read is dropped. Harmless twice."""
        self.is_closed = True
        self._exchange.close()

    def __exit__(self, *raised: Any) -> None:
        self.close()


class AsyncStreamedResponse(StreamedResponse, AbstractAsyncContextManager["AsyncStreamedResponse"]):
    """A response whose body is read from the connection as it is asked for, with `await`."""

    def _pieces(self) -> Iterator[bytes]:
        raise StreamError("this response is read with await: aiter_bytes(), aread()")

    async def _apieces(self) -> AsyncIterator[bytes]:
        if self._content is not None:
            yield self._content
            return
        self._start()
        try:
            while (piece := self._take(await self._exchange.next_event())) is not None:
                yield piece
        finally:
            self.close()

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body in pieces of a size, or as they come. Once, unless aread() kept it."""
        return athrough(self._apieces(), Resize(chunk_size))

    def aiter_text(self) -> AsyncIterator[str]:
        """The body as text, in pieces as they come."""
        return athrough(self._apieces(), Decode(self.encoding))

    def aiter_lines(self) -> AsyncIterator[str]:
        """The lines of the body, without their ends."""
        return athrough(self.aiter_text(), Lines())

    async def aread(self) -> bytes:
        """The whole body, which `content`, `text` and `json()` have from then on."""
        self._content = b"".join([piece async for piece in self.aiter_bytes()])
        return self._content

    async def aclose(self) -> None:
        """Ends the exchange; what was not read is dropped. Harmless twice."""
        self.close()

    async def __aexit__(self, *raised: Any) -> None:
        self.close()
