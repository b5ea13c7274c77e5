"""The client-side connection layer: HTTP requests and connections of any protocol, pooled."""

from . import _errors, _models
from ._aclient import AsyncClient, AsyncConnection
from ._base import Endpoint, Events, Lent
from ._client import Client, Connection
from ._config import OPTIONS, UNSET, Limits, Option, Timeout
from ._errors import *  # noqa: F403
from ._ffi import STATUSES, describe
from ._logging import EventHandler, EventLogger
from ._models import *  # noqa: F403
from ._resolver import Resolver
from ._version import __version__

# fmt: off
__all__ = [
    "OPTIONS", "STATUSES", "UNSET", "AsyncClient", "AsyncConnection", "Client", "Connection",
    "Endpoint", "EventHandler", "EventLogger", "Events", "Lent", "Limits", "Option", "Resolver",
    "Timeout", "__version__", "describe",
]
# fmt: on
__all__ += _errors.__all__
__all__ += _models.__all__
