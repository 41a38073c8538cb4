"""The parts of uvicorn that the gateway builds on; no other module imports uvicorn.

uvicorn does not document the inside of its server, so a new version may change it.
The version is therefore capped in pyproject.toml, and tests/server/test_uvicorn_api.py compares what is listed
here with the installed version: raise the cap together with that test.
"""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

from uvicorn import Config, Server
from uvicorn.server import ServerState

__all__ = [
    "ATTRIBUTES",
    "SIGNATURES",
    "Config",
    "Server",
    "ServerState",
]

SIGNATURES: Mapping[type, Mapping[str, str]] = {
    ServerState: {"__init__": "(self)"},
    Server: {
        "__init__": "(self, config)",
        "serve": "async (self, sockets=None)",
        "startup": "async (self, sockets=None)",
        "on_tick": "async (self, counter)",
        "shutdown": "async (self, sockets=None)",
        "capture_signals": "(self)",
    },
}
"""The methods that are called or overridden, by class, without annotations."""

ATTRIBUTES: Mapping[type, Mapping[str, Any]] = {
    ServerState: {"connections": set, "default_headers": list, "tasks": set, "total_requests": int},
    Server: {"config": Config, "server_state": ServerState, "servers": list, "should_exit": bool},
    Config: {"loaded_app": Callable, "timeout_graceful_shutdown": (int, NoneType)},
}
"""The attributes of instances that are read or set, by class, with their types."""
