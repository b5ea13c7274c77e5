"""What the integrations with httpx and requests share: trust, header fields, and the clients."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from ._aclient import AsyncClient
from ._client import Client
from ._config import OPTIONS, Timeout

ClientType = TypeVar("ClientType", Client, AsyncClient)
Fields = list[tuple[bytes, bytes]]

#: Neither httpx nor requests limits a request as a whole, or how many wait, or how long sent bytes
#: stay unacknowledged; neither has a breaker.
DEFAULTS: Mapping[str, Any] = {
    "total_timeout": 0,
    "tcp_user_timeout": 0,
    "endpoint_max_waiters": int(OPTIONS["endpoint_max_waiters"].most),
    "breaker_mode": "off",
}
_KEEP = "is the program's own, or httpx's over conpool.httpx.ConpoolTransport"
_REDIRECTS = ("follow_redirects", "allow_redirects", "max_redirects")
#: Keywords of httpx and requests that are no options of conpool, and what there is instead.
ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(_REDIRECTS, f"to follow redirects {_KEEP}"),
    "auth": f"authentication {_KEEP}",
    "cookies": f"to keep cookies {_KEEP}",
    "files": f"to make a multipart body {_KEEP}",
    "event_hooks": "events() and conpool.EventLogger tell what happens",
    "verify": "tls_ca_file= names a file of trusted certificates; tls_insecure=True trusts any",
    "cert": "tls_cert_file= and tls_key_file= name the client's certificate and key",
    "http1": 'http_version="h2" leaves HTTP/1.1 out',
    "http2": 'HTTP/2 is used where the server speaks it; http_version="http1" leaves it out',
    "retries": "connect_retries= says how often a connection is tried again",
    "stream": "stream() answers a response whose body is read as it comes",
    **dict.fromkeys(("proxies", "mounts"), "proxies are not supported yet"),
    "trust_env": "no proxy and no .netrc is taken from the environment in any case",
    "transport": "conpool.httpx.ConpoolTransport is a transport for httpx.Client",
    "uds": 'requests go over no Unix socket yet; connect("unix:/path") leases a connection of one',
    "local_address": "no address can be chosen here: the system takes the one of the route",
    "socket_options": "tcp_keepalive= and tcp_user_timeout= are what can be set of a socket",
}
_NO_LIMIT = Timeout(None).options()
_LEAST_S = 0.001  # below it, 0 would mean no limit
_OF_CONNECTION = (b"connection", b"keep-alive", b"proxy-connection")


def tls_options(verify: object, cert: object, bundle: str | None) -> dict[str, Any]:
    """What `verify=` and `cert=` mean.

    `bundle` has the certificates that verify=True trusts; None leaves them to the other options.
    """
    found: dict[str, Any] = {}
    if not verify:
        found["tls_insecure"] = True
    elif verify is True:
        if bundle is not None:
            found["tls_ca_file"] = _file(bundle, "the file of trusted certificates")
    elif isinstance(verify, (str, os.PathLike)):
        found["tls_ca_file"] = _file(os.fspath(verify), "verify")
    else:
        raise TypeError(
            "verify= is True, False or a file of trusted certificates, and no "
            f"{type(verify).__name__}; the options tls_ca_pem, tls_cert_pem and tls_key_pem take "
            "texts"
        )
    if cert:
        pair = (cert, cert) if isinstance(cert, (str, os.PathLike)) else cert
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                "cert= is a file with certificate and key, or a pair of files; no key is encrypted"
            )
        files = [_file(os.fspath(one), "cert") for one in pair]
        found["tls_cert_file"], found["tls_key_file"] = files
    return found


def refuse(given: Iterable[str], elsewhere: Mapping[str, str]) -> None:
    """TypeError for a keyword that belongs elsewhere, which says where."""
    for keyword in given:
        if keyword in elsewhere:
            raise TypeError(f"{keyword}= {elsewhere[keyword]}")


def _file(path: str, what: str) -> str:
    if os.path.isfile(path):
        return path
    kind = "is a folder, and a file is needed" if os.path.isdir(path) else "does not exist"
    raise OSError(f"{what}: {path} {kind}")


def sent_fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[Fields, dict[str, Any]]:
    """Header fields as the library takes them, and options in place of those of the connection."""
    kept: Fields = []
    options: dict[str, Any] = {}
    for name, value in fields:
        low, words = name.lower(), [word.strip() for word in value.lower().split(b",")]
        if low == b"connection" and b"close" in words:
            options["pool_max_uses"] = 1
        # How a body of unknown length is framed is the library's business.
        framing = low == b"transfer-encoding" and words == [b"chunked"]
        if low not in _OF_CONNECTION and not framing:
            kept.append((name, value))
    return kept, options


class Clients(Generic[ClientType]):
    """Clients of one kind, one for each set of options, made when needed; after fork(), anew."""

    def __init__(self, kind: type[ClientType], common: Mapping[str, Any]) -> None:
        self._kind: type[ClientType] = kind
        self._common = dict(common)
        self._made: dict[tuple[tuple[str, Any], ...], ClientType] = {}
        self._lock, self._pid = threading.Lock(), os.getpid()

    def get(self, own: Mapping[str, Any]) -> ClientType:
        """The client with these options beside the common ones."""
        if self._pid != os.getpid():  # whoever held the lock is not here
            self._made, self._lock, self._pid = {}, threading.Lock(), os.getpid()
        key = tuple(sorted(own.items()))
        with self._lock:
            if key not in self._made:
                made = self._kind(**{**self._common, **own})
                made.headers.raw.clear()  # the program's own are sent, and nothing else
                self._made[key] = made
            return self._made[key]

    def take(self) -> list[ClientType]:
        """All of them, which then belong to the caller: get() makes others."""
        with self._lock:
            made, self._made = list(self._made.values()), {}
        return made


def timeouts(**seconds: float | None) -> dict[str, Any]:
    """connect, read, write and pool, as far as they are given, as options within their ranges."""
    found: dict[str, Any] = dict(Timeout(**seconds).options())
    connect = seconds.get("connect")
    if connect is not None:
        found["dial_timeout"] = 2 * connect  # TCP and TLS have this long each
    least = {"queue_timeout": 0.0}
    return {
        key: max(min(value, _NO_LIMIT[key]), least.get(key, _LEAST_S))
        for key, value in found.items()
    }


def has_trust(options: Mapping[str, Any]) -> bool:
    """Whether options of the library say what is trusted."""
    return any(options.get(key) for key in ("tls_ca_file", "tls_ca_pem", "tls_insecure"))


def host_port(address: str) -> str | tuple[str, int]:
    """ "[::1]:80" as ("::1", 80); a path as it is."""
    host, colon, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if colon and port.isdigit() else address
