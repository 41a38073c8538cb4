"""The parts of uvicorn that the gateway builds on; no other module imports uvicorn.

uvicorn documents neither its protocol class nor the inside of its server, so a new version may change them.
The version is therefore capped in pyproject.toml, and tests/server/test_uvicorn_api.py compares what is listed
here with the installed version: raise the cap together with that test.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from types import NoneType

import httptools
from uvicorn import Config, Server
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = [
    "ATTRIBUTES",
    "SIGNATURES",
    "Config",
    "FlowControl",
    "HttpToolsProtocol",
    "RequestResponseCycle",
    "Server",
    "ServerState",
]

SIGNATURES: Mapping[type, Mapping[str, str]] = {
    HttpToolsProtocol: {
        "__init__": "(self, config, server_state, app_state, _loop=None)",
        "connection_made": "(self, transport)",
        "connection_lost": "(self, exc)",
        "eof_received": "(self)",
        "data_received": "(self, data)",
        "pause_writing": "(self)",
        "resume_writing": "(self)",
        "on_message_begin": "(self)",
        "on_header": "(self, name, value)",
        "on_headers_complete": "(self)",
        "on_body": "(self, body)",
        "on_message_complete": "(self)",
        "on_response_complete": "(self)",
        "_start_asgi_task": "(self, cycle, app)",
    },
    FlowControl: {
        "__init__": "(self, transport)",
        "pause_reading": "(self)",
        "resume_reading": "(self)",
    },
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

ATTRIBUTES: Mapping[type, Mapping[str, type | tuple[type, ...]]] = {
    HttpToolsProtocol: {
        "client": tuple,
        "cycle": RequestResponseCycle,
        "flow": FlowControl,
        "headers": list,
        "loop": asyncio.AbstractEventLoop,
        "parser": httptools.HttpRequestParser,
        "pipeline": deque,
        "scheme": str,
        "server_state": ServerState,
        "transport": asyncio.Transport,
        "url": bytes,
    },
    FlowControl: {"write_paused": bool},
    RequestResponseCycle: {
        "body": bytearray,
        "disconnected": bool,
        "keep_alive": bool,
        "message_event": asyncio.Event,
        "response_complete": bool,
        "response_started": bool,
    },
    ServerState: {"connections": set, "total_requests": int},
    Server: {"config": Config, "server_state": ServerState, "servers": list, "should_exit": bool},
    Config: {"timeout_graceful_shutdown": (int, NoneType)},
}
"""The attributes of instances that are read or set, by class, with their types."""
