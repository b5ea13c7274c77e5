"""conpool: the client-side connection layer. HTTP requests and connections of any protocol, pooled."""

from ._aclient import AsyncClient, AsyncConnection
from ._base import Endpoint, Events, Lent
from ._client import Client, Connection
from ._config import OPTIONS, UNSET, Limits, Option, Timeout
from ._errors import (
    Attempt,
    CancelledError,
    CircuitOpenError,
    ClosedError,
    CloseError,
    ConnectError,
    ConnectTimeout,
    DNSError,
    DNSTimeout,
    HTTPError,
    HTTPStatusError,
    InvalidURL,
    LimitError,
    LocalProtocolError,
    NetworkError,
    PoolTimeout,
    ProtocolError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    ResourceError,
    StreamError,
    TimeoutException,
    TLSError,
    TLSTimeout,
    TransportError,
    UsageError,
    WriteError,
    WriteTimeout,
)
from ._ffi import STATUSES, describe
from ._models import (
    AsyncStreamedResponse,
    ConnectionInfo,
    Headers,
    Request,
    Response,
    StreamedResponse,
)
from ._version import __version__

__all__ = [name for name in dir() if not name.startswith("_")] + ["__version__"]
