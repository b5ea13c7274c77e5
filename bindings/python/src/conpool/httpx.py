"""Transports for httpx: an httpx.Client or httpx.AsyncClient whose connections are conpool's.

    client = httpx.Client(transport=conpool.httpx.ConpoolTransport(verify="ca.pem"))

Redirects, cookies, authentication and decoding stay httpx's. Each response has
`extensions["conpool"]`, conpool's own view of it: timings, connection, facts.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic

import certifi
import httpx

from . import _errors as errors
from ._aclient import AsyncClient
from ._client import Client
from ._config import Limits
from ._integration import (
    DEFAULTS,
    Clients,
    ClientType,
    has_trust,
    host_port,
    refuse,
    sent_fields,
    timeouts,
    tls_options,
)
from ._models import AsyncStreamedResponse, StreamedResponse

__all__ = ["AsyncConpoolTransport", "ConpoolTransport"]

# The first that fits counts.
_MEANING: tuple[tuple[type[errors.HTTPError], type[httpx.RequestError]], ...] = (
    (errors.ConnectTimeout, httpx.ConnectTimeout),
    (errors.ReadTimeout, httpx.ReadTimeout),
    (errors.WriteTimeout, httpx.WriteTimeout),
    (errors.PoolTimeout, httpx.PoolTimeout),
    (errors.TimeoutException, httpx.TimeoutException),
    (errors.LimitError, httpx.PoolTimeout),
    (errors.CircuitOpenError, httpx.ConnectError),
    (errors.ConnectError, httpx.ConnectError),
    (errors.ReadError, httpx.ReadError),
    (errors.WriteError, httpx.WriteError),
    (errors.CloseError, httpx.CloseError),
    (errors.RemoteProtocolError, httpx.RemoteProtocolError),
    (errors.LocalProtocolError, httpx.LocalProtocolError),
    (errors.UsageError, httpx.LocalProtocolError),
    (errors.HTTPError, httpx.NetworkError),
)


@contextmanager
def _mapped(request: httpx.Request) -> Iterator[None]:
    """conpool's exceptions as httpx's, each with the original as its cause."""
    try:
        yield
    except errors.HTTPError as error:
        meant = next(theirs for ours, theirs in _MEANING if isinstance(error, ours))
        raise meant(str(error), request=request) from error


_LIMITS = httpx.Limits(max_connections=100)


class NetworkStream:
    """`extensions["network_stream"]`: facts of the connection, whose bytes are the library's."""

    def __init__(self, response: StreamedResponse) -> None:
        self._response = response

    def get_extra_info(self, info: str) -> Any:
        """ "client_addr" and "server_addr"; None for what is not known."""
        connection = self._response.connection
        known = {"client_addr": connection.local, "server_addr": connection.address}
        return host_port(known[info]) if known.get(info) else None


class _Body(httpx.SyncByteStream):
    """A response's body."""

    def __init__(self, response: StreamedResponse, request: httpx.Request) -> None:
        self._response, self._request = response, request

    def __iter__(self) -> Iterator[bytes]:
        with _mapped(self._request):
            yield from self._response.iter_bytes()

    def close(self) -> None:
        self._response.close()


class _AsyncBody(httpx.AsyncByteStream):
    """A response's body, read with await."""

    def __init__(self, response: AsyncStreamedResponse, request: httpx.Request) -> None:
        self._response, self._request = response, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mapped(self._request):
            async for piece in self._response.aiter_bytes():
                yield piece

    async def aclose(self) -> None:
        self._response.close()


_OF_THE_CLIENT = "belongs to the httpx client, and not to its transport"
_ELSEWHERE = dict.fromkeys(
    ("auth", "base_url", "cookies", "event_hooks", "follow_redirects", "headers", "max_redirects",
     "mounts", "params", "proxies", "timeout", "transport"),
    _OF_THE_CLIENT,
)  # fmt: skip


def _client_options(
    verify: object,
    cert: object,
    http1: bool,
    http2: bool,
    limits: Any,
    retries: int,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Keywords of httpx's own transports as options, and those that were given by name."""
    refuse(given, _ELSEWHERE)
    if not (http1 or http2):
        raise ValueError("http1=False and http2=False leave no protocol")
    found: dict[str, Any] = {**DEFAULTS, "connect_retries": retries}
    # httpx trusts certifi's certificates unless OpenSSL's environment variables name others.
    named = has_trust(given) or "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ
    found.update(tls_options(verify, cert, None if named else certifi.where()))
    if not http1 or not http2:
        found["http_version"] = "http1" if http1 else "h2"
    limits = errors.need(httpx.Limits, "limits= is an httpx.Limits", limits or _LIMITS)
    most, idle = limits.max_connections or sys.maxsize, limits.max_keepalive_connections
    found.update(Limits(most, idle, limits.keepalive_expiry).options())
    return {**found, **given}


def _call(request: httpx.Request) -> dict[str, Any]:
    """A request as keywords of open_stream()."""
    if "target" in request.extensions:
        # Sent without it, the request would be one for another resource.
        raise errors.UsageError("the extension target is not supported: what the URL says is sent")
    headers, options = sent_fields(request.headers.raw)
    content: Any = request.stream
    if isinstance(content, httpx.ByteStream):
        # In one piece it may be sent again, as nothing that comes in pieces can.
        content = b"".join(content) or None
    seconds = dict(request.extensions.get("timeout", {}))
    if content is None:
        # Reading and writing share an option: without a body it is the limit for reading.
        seconds.pop("write", None)
    if "sni_hostname" in request.extensions:
        options["tls_server_name"] = request.extensions["sni_hostname"]
    options.update(timeouts(**seconds), **request.extensions.get("conpool", {}))
    call = {"method": request.method, "url": _url(request), "headers": headers, "content": content}
    return {**call, **options}


def _url(request: httpx.Request) -> str:
    """The URL without what is not sent: name and password, and the fragment."""
    url = request.url
    if url.scheme not in ("http", "https"):
        wrong = (
            f"has an unsupported protocol '{url.scheme}://'" if url.scheme else "has no protocol"
        )
        raise httpx.UnsupportedProtocol(f"Request URL {wrong}.", request=request)
    host, port = url.raw_host.decode("ascii"), "" if url.port is None else f":{url.port}"
    named = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{named}{port}{url.raw_path.decode('ascii')}"


def _response(response: StreamedResponse, body: Any) -> httpx.Response:
    extensions = {
        "http_version": response.http_version.encode("ascii"),
        "network_stream": NetworkStream(response),
        "conpool": response,
    }
    return httpx.Response(
        response.status_code, headers=response.headers.raw, stream=body, extensions=extensions
    )


class _Transport(Generic[ClientType]):
    """What both transports have in common."""

    _kind: type[ClientType]

    def __init__(
        self,
        verify: object = True,
        cert: object = None,
        http1: bool = True,
        http2: bool = True,
        limits: httpx.Limits | None = None,
        retries: int = 0,
        **options: Any,
    ) -> None:
        own = _client_options(verify, cert, http1, http2, limits, retries, options)
        self._clients: Clients[ClientType] = Clients(self._kind, own)
        self._clients.get({})  # what is wrong with the options is said at once

    @property
    def client(self) -> ClientType:
        """The client whose connections are used; for its stats(), events() and explain()."""
        return self._clients.get({})


class ConpoolTransport(_Transport[Client], httpx.BaseTransport):
    """For httpx.Client(transport=…).

    verify, cert, http1, http2, limits and retries are those of httpx.HTTPTransport, where they
    belong when a client is given a transport; every option of the library is a keyword, too.
    HTTP/2 is used where the server speaks it. A request's `extensions={"conpool": {…}}` has options
    for it alone, and `idempotent`.
    """

    _kind = Client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; called by httpx."""
        with _mapped(request):
            response = self.client.open_stream(**_call(request))
        return _response(response, _Body(response, request))

    def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.take():
            client.close()


class AsyncConpoolTransport(_Transport[AsyncClient], httpx.AsyncBaseTransport):
    """For httpx.AsyncClient(transport=…), on asyncio; as ConpoolTransport."""

    _kind = AsyncClient

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; called by httpx."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "AsyncConpoolTransport runs on asyncio, and no loop of asyncio runs here"
            ) from None
        with _mapped(request):
            response = await self.client.open_stream(**_call(request))
        return _response(response, _AsyncBody(response, request))

    async def aclose(self) -> None:
        """Closes the connections."""
        for client in self._clients.take():
            await client.aclose()
