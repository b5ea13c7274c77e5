"""What is asked and what comes back: headers, requests, responses whole and streamed."""

from __future__ import annotations

import codecs
import json as jsonlib
import re
from typing import (
    Any, AsyncIterator, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union,
)

from . import _ffi
from ._errors import HTTPStatusError, StreamError, check
from ._ffi import lib

HeaderText = Union[str, bytes]
HeaderTypes = Union["Headers", Mapping[HeaderText, HeaderText], Mapping[str, str], Iterable[Tuple[HeaderText, HeaderText]]]

_VERSIONS = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}


def _encode(text: HeaderText) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


class Headers(Mapping[str, str]):
    """Header lines in their order; names are the same in upper and lower case, and may come more than once."""

    def __init__(self, headers: Optional[HeaderTypes] = None) -> None:
        if headers is None:
            self.raw: List[Tuple[bytes, bytes]] = []
        elif isinstance(headers, Headers):
            self.raw = list(headers.raw)
        else:
            pairs: Iterable[Any] = headers.items() if isinstance(headers, Mapping) else headers
            self.raw = [(_encode(name), _encode(value)) for name, value in pairs]

    def get_list(self, name: str) -> List[str]:
        """The value of every line with this name."""
        key = name.lower().encode()
        return [_decode(value) for one, value in self.raw if one.lower() == key]

    def multi_items(self) -> List[Tuple[str, str]]:
        """Every line, in order."""
        return [(_decode(name), _decode(value)) for name, value in self.raw]

    def __getitem__(self, name: str) -> str:
        """The values of all lines with this name, separated by ", "."""
        found = self.get_list(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_list(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(_decode(name).lower() for name, _ in self.raw))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return sorted((n.lower(), v) for n, v in self.raw) == sorted((n.lower(), v) for n, v in other.raw)

    def __repr__(self) -> str:
        return f"Headers({self.multi_items()!r})"


class Request(NamedTuple):
    """What was asked."""

    method: str
    url: str
    headers: Headers


class ConnectionInfo:
    """The connection that a response came over."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts  #: all that the library tells
        self.id: Optional[int] = facts.get("connection", facts.get("id"))  #: counted from the pool's start
        self.address: str = facts.get("address", "")  #: the peer's: "192.0.2.1:443"
        self.local: str = facts.get("local", "")
        self.reused: bool = facts.get("reused", False)  #: whether it was used before
        self.uses: int = facts.get("uses", 0)
        self.attempts: List[Dict[str, Any]] = facts.get("attempts", [])  #: of the dial, where the library tells them
        self.sends: int = facts.get("sends", 0)  #: how often the request was sent
        self.resends: List[str] = facts.get("resends", [])  #: why it was sent again
        tls: Mapping[str, Any] = facts.get("tls", {})
        self.tls_version: Optional[str] = facts.get("tls_version", tls.get("version"))
        self.alpn: Optional[str] = facts.get("alpn", tls.get("alpn"))

    @property
    def family(self) -> str:
        """ "v4", "v6" or "unix"."""
        return "unix" if self.address.startswith("unix:") else "v6" if self.address.startswith("[") else "v4"

    def __repr__(self) -> str:
        return f"<ConnectionInfo {self.id} {self.address} reused={self.reused}>"


def _lines(response: Any, kind: str) -> List[Tuple[bytes, bytes]]:
    name, value = getattr(lib, f"conpool_response_{kind}_name"), getattr(lib, f"conpool_response_{kind}_value")
    count: int = getattr(lib, f"conpool_response_{kind}_count")(response)
    return [(name(response, i, None), value(response, i, None)) for i in range(count)]


class Response:
    """A response. It holds nothing of the library: it can be kept and passed on freely."""

    def __init__(self, pointer: Any, request: Request) -> None:
        self.request = request
        self.status_code: int = lib.conpool_response_status(pointer)
        self.http_version = _VERSIONS.get(lib.conpool_response_version(pointer), "HTTP/?")
        self.headers = Headers(_lines(pointer, "header"))
        self._content: Optional[bytes] = _ffi.body_bytes(pointer)
        self._finish(pointer)

    def _finish(self, pointer: Any) -> None:
        """Takes what is known only at the end."""
        text = _ffi.Text()
        check(lib.conpool_response_describe(pointer, _ffi.out(text)))
        self._describe = str(text)
        self.trailers = Headers(_lines(pointer, "trailer"))

    @property
    def facts(self) -> Dict[str, Any]:
        """All that the library tells of the exchange, by its own names."""
        return jsonlib.loads(self._describe)  # type: ignore[no-any-return]

    @property
    def timings(self) -> Dict[str, float]:
        """When each phase ended, in seconds from the call: "resolved", "connected", "secured" (only where a
        connection was dialed for it), "leased", "sent", "head", "total"."""
        ends = [(name, value) for name, value in self.facts.items() if name.endswith("_ns") and name != "rtt_ns"]
        return {name[: -len("_ns")]: value / 1e9 for name, value in ends}

    @property
    def elapsed(self) -> float:
        """Seconds from the call to the end."""
        return self.timings.get("total", 0.0)

    @property
    def connection(self) -> ConnectionInfo:
        """The connection that it came over."""
        return ConnectionInfo(self.facts)

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
        found = re.search(r"charset\s*=\s*\"?([^\s\";]+)", self.headers.get("content-type", ""), re.I)
        try:
            return codecs.lookup(found.group(1)).name if found else "utf-8"
        except LookupError:
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

    def iter_bytes(self, chunk_size: Optional[int] = None) -> Iterator[bytes]:
        """The body in pieces of a size, or as they came."""
        return resized(iter([self.content]), chunk_size)

    def iter_text(self) -> Iterator[str]:
        """The body as text, in pieces as they came."""
        decode = codecs.getincrementaldecoder(self.encoding)("replace").decode
        for piece in self.iter_bytes():
            yield decode(piece)
        yield decode(b"", True)

    def iter_lines(self) -> Iterator[str]:
        """The lines of the body, without their ends."""
        lines = LineSplitter()
        for piece in self.iter_text():
            yield from lines.feed(piece)
        yield from lines.rest()

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"


class LineSplitter:
    """Text in pieces to lines."""

    def __init__(self) -> None:
        self._open: List[str] = []

    def feed(self, piece: str) -> List[str]:
        """The lines that a piece completes."""
        if "\n" not in piece:
            self._open.append(piece)
            return []
        lines = ("".join(self._open) + piece).split("\n")
        self._open = [lines.pop()]
        return [line[:-1] if line.endswith("\r") else line for line in lines]

    def rest(self) -> List[str]:
        """The last line, if it has no end."""
        last = "".join(self._open)
        return [last] if last else []


def resized(pieces: Iterator[bytes], size: Optional[int]) -> Iterator[bytes]:
    """Pieces of a size, the last one perhaps shorter; as they are without a size."""
    held = bytearray()
    for piece in pieces:
        if size is None:
            if piece:
                yield piece
            continue
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


class StreamedResponse(Response):
    """A response whose body is read from the connection as it is asked for."""

    def __init__(self, head: _ffi.Event, request: Request, source: Any) -> None:
        super().__init__(head.object, request)
        self._content, self._source, self._started = None, source, False
        self.is_closed = False

    def _take(self, event: _ffi.Event) -> Optional[bytes]:
        """The bytes of a chunk; None for the end. Other kinds are empty."""
        if event.flags & _ffi.EVENT_FINAL:
            if event.status != 0:
                raise self._source.failure(event)
            self._finish(event.object)
            return None
        return _ffi.chunk_bytes(event.object) if event.kind == _ffi.EVENT_CHUNK else b""

    def _start(self) -> None:
        if self._started or self.is_closed:
            raise StreamError("the body was read already" if self._started else "the response is closed")
        self._started = True

    def iter_bytes(self, chunk_size: Optional[int] = None) -> Iterator[bytes]:
        """The body in pieces of a size, or as they come. Once; afterwards only what read() kept."""
        if self._content is not None:
            return resized(iter([self._content]), chunk_size)
        self._start()
        return resized(self._pieces(), chunk_size)

    def _pieces(self) -> Iterator[bytes]:
        try:
            while True:
                piece = self._take(self._source.next_event())
                if piece is None:
                    return
                yield piece
        finally:
            self.close()

    def read(self) -> bytes:
        """The whole body, which `content`, `text` and `json()` have from then on."""
        if self._content is None:
            self._content = b"".join(self.iter_bytes())
        return self._content

    def close(self) -> None:
        """Ends the exchange; what was not read is dropped."""
        self.is_closed = True
        self._source.close()


class AsyncStreamedResponse(StreamedResponse):
    """A response whose body is read from the connection as it is asked for, with `await`."""

    async def aiter_bytes(self, chunk_size: Optional[int] = None) -> AsyncIterator[bytes]:
        """The body in pieces of a size, or as they come. Once; afterwards only what aread() kept."""
        if self._content is not None:
            for piece in resized(iter([self._content]), chunk_size):
                yield piece
            return
        self._start()
        held = bytearray()
        try:
            while True:
                taken = self._take(await self._source.next_event())
                if taken is None:
                    break
                if chunk_size is None:
                    if taken:
                        yield taken
                    continue
                held += taken
                while len(held) >= chunk_size:
                    yield bytes(held[:chunk_size])
                    del held[:chunk_size]
            if held:
                yield bytes(held)
        finally:
            self.close()

    async def aiter_text(self) -> AsyncIterator[str]:
        """The body as text, in pieces as they come."""
        decode = codecs.getincrementaldecoder(self.encoding)("replace").decode
        async for piece in self.aiter_bytes():
            yield decode(piece)
        yield decode(b"", True)

    async def aiter_lines(self) -> AsyncIterator[str]:
        """The lines of the body, without their ends."""
        lines = LineSplitter()
        async for piece in self.aiter_text():
            for line in lines.feed(piece):
                yield line
        for line in lines.rest():
            yield line

    async def aread(self) -> bytes:
        """The whole body, which `content`, `text` and `json()` have from then on."""
        if self._content is None:
            self._content = b"".join([piece async for piece in self.aiter_bytes()])
        return self._content

    async def aclose(self) -> None:
        """Ends the exchange; what was not read is dropped."""
        self.close()

    def _pieces(self) -> Iterator[bytes]:
        raise StreamError("this response is read with await: aiter_bytes(), aread()")

