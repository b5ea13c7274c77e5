"""The client-side connection layer: HTTP requests and connections of any protocol, pooled."""

from . import _errors
from ._aclient import AsyncClient, AsyncConnection
from ._base import Endpoint, Events, Lent
from ._client import Client, Connection
from ._config import OPTIONS, UNSET, Limits, Option, Timeout
from ._errors import *  # noqa: F403
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

# fmt: off
__all__ = [
    "OPTIONS", "STATUSES", "UNSET", "AsyncClient", "AsyncConnection", "AsyncStreamedResponse",
    "Client", "Connection", "ConnectionInfo", "Endpoint", "Events", "Headers", "Lent", "Limits",
    "Option", "Request", "Response", "StreamedResponse", "Timeout", "__version__", "describe",
]
# fmt: on
__all__ += _errors.__all__
