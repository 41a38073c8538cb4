"""The open connections of a server, and how long each one may keep the gateway waiting."""

import math
import time
from typing import Protocol, cast

from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.server.uvicorn_api import ServerState

READ_GRACE = 5.0
"""Seconds after the begin of a shutdown for which new requests on open connections are still read."""

_log = logs.get(__name__)


class LimitedConnection(Protocol):
    """What ConnectionLimits needs of a connection."""

    @property
    def is_new(self) -> bool: ...

    def abort(self) -> None: ...

    def close_after_newest_answer(self) -> None: ...


class ConnectionLimits(ServerState):
    """All connections of one server, with the deadlines of those that wait for their client or are idle."""

    def __init__(self, max_connections: int) -> None:
        super().__init__()
        self.max_connections = max_connections
        self.draining = False
        """Whether the server is shutting down."""
        self.read_until = math.inf
        """The event loop's time after which no further request is read."""
        # Each connection with its deadline. Within one dict all have the same timeout, so the oldest is the first.
        self.waiting: dict[LimitedConnection, float] = {}
        self.idle: dict[LimitedConnection, float] = {}
        self._log_throttle = LogThrottle(time.monotonic)

    def make_room(self, newcomer: LimitedConnection) -> None:
        """Abort a connection when a new one exceeds the limit: the oldest waiting or the oldest idle one.

        The larger of the two groups loses one; when both are empty, the newcomer is aborted.
        """
        if len(self.connections) <= self.max_connections:
            return
        larger_group = max(self.waiting, self.idle, key=len)
        oldest = next(iter(larger_group), newcomer)
        if self._log_throttle.due("too_many_connections"):
            _log.warning("too_many_connections", limit=self.max_connections)
        oldest.abort()

    def abort_expired(self, now: float) -> None:
        """Abort the connections whose deadline has passed; uvicorn's main loop calls this every 0.1 s."""
        for group in (self.waiting, self.idle):
            while group:
                connection, deadline = next(iter(group.items()))
                if deadline > now:
                    break
                connection.abort()

    def drain(self, now: float) -> None:
        """Begin the shutdown: each connection closes after the newest answer that it still has to give."""
        self.draining = True
        self.read_until = now + READ_GRACE
        for connection in self.connections:
            cast("LimitedConnection", connection).close_after_newest_answer()

    def has_newcomers(self) -> bool:
        """Return whether a client has connected and not sent its first request yet."""
        return any(one.is_new for one in self.waiting)

    def log_invalid_request(self, peer: str, status: int, reason: str) -> None:
        """Log that a peer does not speak HTTP, at most once a minute for each peer."""
        if self._log_throttle.due(peer):
            _log.warning("invalid_http_request", peer=peer, status=status, reason=reason)
