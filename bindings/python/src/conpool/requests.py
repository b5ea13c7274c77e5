"""An adapter for requests: a session whose connections are conpool's.

    session = requests.Session()
    session.mount("https://", conpool.requests.ConpoolAdapter())

Redirects, cookies, authentication and decoding stay requests'. `response.raw.conpool` is conpool's
own view of a response: timings, connection, facts.
"""

from __future__ import annotations

import http.client
from collections.abc import Generator, Iterator, Mapping
from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter
from requests.cookies import extract_cookies_to_jar
from requests.structures import CaseInsensitiveDict
from requests.utils import (
    DEFAULT_CA_BUNDLE_PATH,
    get_encoding_from_headers,
    select_proxy,
    urldefragauth,
)
from urllib3.exceptions import ProtocolError, ReadTimeoutError, SSLError

from . import _errors as errors
from ._client import Client
from ._config import OPTIONS, Limits
from ._integration import DEFAULTS, Clients, has_trust, refuse, sent_fields, timeouts, tls_options
from ._models import StreamedResponse

__all__ = ["ConpoolAdapter", "TimedOut"]

PIECE_BYTES = 65536


class TimedOut(requests.ConnectionError, requests.Timeout):
    """A time limit passed, and it was neither the one for connecting nor the one for reading."""


# The first that fits counts.
_MEANING: tuple[tuple[type[errors.HTTPError], type[requests.RequestException]], ...] = (
    (errors.ConnectTimeout, requests.ConnectTimeout),
    (errors.ReadTimeout, requests.ReadTimeout),
    (errors.TimeoutException, TimedOut),
    (errors.TLSError, requests.exceptions.SSLError),
    (errors.InvalidURL, requests.exceptions.InvalidURL),
    (errors.UsageError, requests.exceptions.InvalidHeader),
    (errors.HTTPError, requests.ConnectionError),
)


class _Body:
    """A response's body as the file that urllib3 reads. With `partial`, read() is read1()."""

    def __init__(self, response: StreamedResponse, url: str) -> None:
        self._response, self._url = response, url
        self._pieces: Iterator[bytes] = response.iter_bytes()
        self._rest = memoryview(b"")
        self.partial = self.closed = False

    def read1(self, size: int = -1) -> bytes:
        """What has come, at most `size` bytes; b"" at the end only."""
        if not self._rest and not self.closed and size != 0:
            try:
                self._rest = memoryview(next(self._pieces, b""))
                self.closed = not self._rest  # as http.client does, which read() of all relies on
            except errors.TimeoutException as error:
                raise ReadTimeoutError(None, self._url, str(error)) from error  # type: ignore[arg-type]
            except errors.TLSError as error:
                raise SSLError(str(error)) from error
            except errors.HTTPError as error:
                raise ProtocolError(f"Connection broken: {error}") from error
        count = len(self._rest) if size < 0 else size
        piece, self._rest = bytes(self._rest[:count]), self._rest[count:]
        return piece

    def read(self, size: int | None = None) -> bytes:
        """`size` bytes, or all; fewer at the end."""
        wanted = -1 if size is None else size
        if self.partial and wanted >= 0:
            return self.read1(wanted)
        pieces: list[bytes] = []
        while wanted != 0 and (piece := self.read1(wanted)):
            pieces.append(piece)
            wanted -= len(piece) if wanted > 0 else 0
        return b"".join(pieces)

    def close(self) -> None:
        """Gives the connection back, or closes it where the body was not read."""
        self.closed = True
        self._rest = memoryview(b"")
        self._response.close()


class _Head:
    """What requests asks of http.client's response: the header lines, for cookies."""

    def __init__(self, response: StreamedResponse, body: _Body) -> None:
        self.msg, self._body = HTTPMessage(), body
        for name, value in response.headers.raw:
            self.msg[name.decode("latin-1")] = value.decode("latin-1")

    def isclosed(self) -> bool:
        """Whether the body is done."""
        return self._body.closed

    def close(self) -> None:
        """Ends the response."""
        self._body.close()


class Raw(urllib3.HTTPResponse):
    """`response.raw`: urllib3's response, on a body of conpool's."""

    def __init__(self, response: StreamedResponse, request: requests.PreparedRequest) -> None:
        body = _Body(response, request.url or "")
        head = _Head(response, body)
        super().__init__(
            body=body,  # type: ignore[arg-type]
            headers=head.msg.items(),  # type: ignore[arg-type]
            status=response.status_code,
            version={"HTTP/1.0": 10, "HTTP/1.1": 11, "HTTP/2": 20}.get(response.http_version, 0),
            reason=http.client.responses.get(response.status_code, ""),
            preload_content=False,
            decode_content=False,
            original_response=head,  # type: ignore[arg-type]
            request_method=request.method,
        )
        self.conpool = response  #: conpool's own view of it
        self._body_file = body

    def stream(
        self, amt: int | None = PIECE_BYTES, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        """The body in pieces of at most `amt` bytes.

        One without a length is given on as it comes, as one in chunks is by urllib3.
        """
        if self.length_remaining is not None:
            yield from super().stream(amt, decode_content=decode_content)
        elif hasattr(urllib3.HTTPResponse, "read1"):
            while piece := self.read1(amt or PIECE_BYTES, decode_content=decode_content):
                yield piece
        else:  # before urllib3 2.1
            self._body_file.partial = True
            yield from super().stream(amt or PIECE_BYTES, decode_content=decode_content)


def _body_of(request: requests.PreparedRequest) -> Any:
    """The body; text as requests counted its bytes in Content-Length."""
    body: Any = request.body
    if not isinstance(body, str):
        return body or None
    encoded = body.encode()
    if str(len(encoded)) != request.headers.get("Content-Length", str(len(encoded))):
        encoded = body.encode("latin-1")
    return encoded or None


def _timeout(given: Any) -> dict[str, Any]:
    """requests' timeout as keywords of open_stream(), checked as urllib3 checks it."""
    if isinstance(given, tuple):
        if len(given) != 2:
            raise ValueError(
                f"Invalid timeout {given}. Pass a (connect, read) timeout tuple, or a single float."
            )
        given = urllib3.Timeout(connect=given[0], read=given[1])
    elif not isinstance(given, urllib3.Timeout):
        given = urllib3.Timeout(connect=given, read=given)
    given = given.clone()
    given.start_connect()  # without it, one with `total` does not tell what is left for reading
    connect, read = given.connect_timeout, given.read_timeout
    # urllib3 has an object of its own for "whatever the system's limit is".
    known = [one if isinstance(one, (int, float)) else None for one in (connect, read)]
    return timeouts(connect=known[0], read=known[1])


def _url(request: requests.PreparedRequest) -> str:
    """The URL without what is not sent: name and password, and the fragment."""
    parts = urlsplit(request.url or "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{request.path_url}"


_AT_THE_SESSION = "belongs to the session, or to the call: session.{0} = …, session.get(url, {0}=…)"
_ELSEWHERE = {
    **{one: _AT_THE_SESSION.format(one) for one in ("verify", "cert", "proxies", "headers")},
    "timeout": "belongs to the call: session.get(url, timeout=…)",
    "base_url": "is no keyword of requests",
    "max_retries": "is retry_attempts= here, for requests, and connect_retries= for connecting",
    "pool_maxsize": "is endpoint_max_connections= here, and pool_max_connections= for all hosts",
    "pool_connections": "has no counterpart: any number of hosts share the adapter's pool",
    "pool_block": 'is pool_exhausted= here: "wait" (as it is unless set) or "fail"',
}


class ConpoolAdapter(BaseAdapter):
    """For session.mount(); one adapter serves any number of threads.

    Every option of the library is a keyword. HTTP/2 is used where the server speaks it. What
    requests.adapters.HTTPAdapter takes are options here: endpoint_max_connections in place of
    pool_maxsize, retry_attempts and connect_retries in place of max_retries.
    """

    def __init__(self, limits: Limits | None = None, **options: Any) -> None:
        super().__init__()
        most: Mapping[str, Any] = {
            "queue_timeout": OPTIONS["queue_timeout"].most,
            "endpoint_max_connections": int(OPTIONS["pool_max_connections"].default),
        }
        refuse(options, _ELSEWHERE)
        limits = errors.need(Limits, "limits= is a conpool.Limits", limits or Limits())
        self._given = {**limits.options(), **options}
        self._clients = Clients(Client, {**DEFAULTS, **most, **self._given})
        self._bundle = None if has_trust(options) else DEFAULT_CA_BUNDLE_PATH
        self._own = tls_options(True, None, self._bundle)
        self._clients.get(self._own)  # what is wrong with the options is said at once

    def __reduce__(self) -> Any:
        return _again, (type(self), self._given)

    @property
    def client(self) -> Client:
        """The client behind requests with verify=True and no cert, for its stats() and explain().

        Others have clients of their own, with which no connection is shared.
        """
        return self._clients.get(self._own)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Sends a request; called by requests."""
        url = _url(request)
        proxy = select_proxy(url, dict(proxies or {}))
        if proxy:
            raise requests.exceptions.ProxyError(
                f"conpool goes through no proxy, and {urldefragauth(proxy)} is set for {url}: "
                "unset it (session.trust_env = False keeps the environment's away), or mount "
                "requests.adapters.HTTPAdapter for this host",
                request=request,
            )
        own = tls_options(verify, cert, self._bundle) if url.startswith("https:") else self._own
        headers, options = sent_fields(
            (_latin(name), _latin(value)) for name, value in request.headers.items()
        )
        options.update(_timeout(timeout))
        try:
            response = self._clients.get(own).open_stream(
                request.method or "GET", url, headers=headers, content=_body_of(request), **options
            )
        except errors.HTTPError as error:
            if isinstance(error, errors.UsageError) and not error.name:
                raise  # a ValueError: what the program gave is of a wrong type, as a body of text
            meant = next(theirs for ours, theirs in _MEANING if isinstance(error, ours))
            raise meant(error, request=request) from error
        return self._response(request, Raw(response, request))

    def _response(self, request: requests.PreparedRequest, raw: Raw) -> requests.Response:
        response = requests.Response()
        response.status_code, response.reason, response.raw = raw.status, raw.reason or "", raw
        response.headers = CaseInsensitiveDict(raw.headers)
        response.encoding = get_encoding_from_headers(response.headers)
        response.url = request.url or ""
        untyped: Any = extract_cookies_to_jar  # in the stubs, and not in requests' own types
        untyped(response.cookies, request, raw)
        response.request = request
        vars(response)["connection"] = self  # digest authentication sends its second request by it
        return response

    def close(self) -> None:
        """Closes the connections. The adapter can be used again."""
        for client in self._clients.take():
            client.close()


def _again(kind: type[ConpoolAdapter], given: Mapping[str, Any]) -> ConpoolAdapter:
    return kind(**given)


def _latin(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("latin-1")
