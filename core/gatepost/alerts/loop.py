"""The loop that tells the people on call what ``gatepost status`` would show them.

The one gateway that holds the lease ``alerts`` tells of the problems in the store, and of those that the gateways see
themselves, such as a plugin that rests: each reports them by the store, so that one outage of a provider is one message,
with the hosts that see it. While the store can't be reached, each gateway tells of what it sees itself.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from sqlalchemy import Connection

from gatepost.alerts import reports
from gatepost.alerts.changes import Changes, Key
from gatepost.alerts.digest import Item
from gatepost.alerts.receivers import receivers
from gatepost.alerts.sending import Sending
from gatepost.config.settings import Settings
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox import Outbox, alert_states
from gatepost.outbox.alert_states import OF_HOST, SHARED, AlertState, HostReport
from gatepost.outbox.named_leases import LeaseRequest
from gatepost.outbox.overview import Overview, overview
from gatepost.outbox.reader import Reader
from gatepost.upkeep.configured_limits import configured_limits
from gatepost.upkeep.problems import Known, Problem, find_problems
from gatepost.upkeep.status import GatewayStatus

LOOK_INTERVAL = 15.0
"""Seconds between two looks at the problems."""

DIGEST_WAIT = 30.0
"""Seconds for which a change waits for others, to be told in the same message."""

MIN_INTERVAL = 300.0
"""Seconds between two messages, whatever happens."""

LEASE = 120.0
"""Seconds of a lease: longer than a look and a receiver that hangs."""

_log = logs.get(__name__)


class _Scope:
    """The problems that one gateway alone tells about."""

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.host = host
        self.changes = Changes()
        self.is_held = False
        self.is_saved = True


class Alerts:
    """The alerts of one gateway."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        status: Callable[[], Awaitable[GatewayStatus]],
        *,
        host: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``status`` returns what this gateway knows of itself. ``clock`` returns seconds since the epoch."""
        host = host or socket.gethostname()
        self._settings = settings
        self._outbox = outbox
        self._status = status
        self._clock = clock
        self._shared = _Scope(SHARED, "")
        self._local = _Scope(OF_HOST + host, host)
        self._scopes = (self._shared, self._local)
        self._sendings = [Sending(one) for one in receivers(settings.alerts)]
        self._due_since: float | None = None
        self._announced_by_all: Collection[Key] = ()
        """What people had been told by any gateway when the store was last read."""

    def take_over(self, settings: Settings) -> None:
        """Use another configuration from now on."""
        if settings.alerts != self._settings.alerts:
            self._sendings = [Sending(one) for one in receivers(settings.alerts)]
        self._settings = settings

    async def run(self) -> None:
        """Look and tell until cancelled, if there is a receiver. No failure ends it: that would end the gateway."""
        reader = Reader(self._settings.store.url, self._settings.path.parent)
        try:
            while True:
                await asyncio.sleep(LOOK_INTERVAL)
                if not self._sendings:
                    continue
                try:
                    await self.look(reader)
                except Exception as error:  # noqa: BLE001  a bug must not end the gateway
                    _log.exception("alerts_failed", exc_info=error)
        finally:
            await reader.close()

    async def look(self, reader: Reader) -> None:
        """Look at the problems once, and tell what is due."""
        gateway = await self._status()
        is_reached = await self._hold()
        seen = {(one.kind, one.subject): one for one in find_problems(Known(self._settings, gateway, None))}
        # What this gateway has told alone it also ends alone.
        alone = {key: one for key, one in seen.items() if key in self._local.changes.announced}
        reported = (
            await self._report([one for key, one in seen.items() if key not in alone]) if is_reached else None
        )
        if reported is None:
            alone = {key: one for key, one in seen.items() if key not in self._announced_by_all}
        self._local.changes.update(alone.values(), self._clock())
        if self._shared.is_held and reported is not None and (store := await self._read(reader)) is not None:
            found = find_problems(Known(self._settings, gateway, store))
            shared = [one for one in found if (one.kind, one.subject) not in seen]
            self._shared.changes.update([*reported, *shared], self._clock())
        await self._tell()
        await self._save()

    async def _hold(self) -> bool:
        """Take or renew the leases, and continue from what was told where another gateway held them before.

        Return whether the store was reached.
        """
        is_reached = True
        for scope in self._scopes:
            try:
                state = await self._outbox.change(alert_states.hold, LeaseRequest(scope.name, LEASE))
            except StoreError:
                # What this gateway alone knows can be told without the store, and may be that the store is away.
                scope.is_held = scope.is_held and scope is self._local
                is_reached = False
                continue
            if state is not None and not scope.is_held and scope.is_saved:
                scope.changes.load(state, self._clock())
            scope.is_held = state is not None
        return is_reached

    async def _report(self, problems: Sequence[Problem]) -> list[Problem] | None:
        """Report what this gateway sees; return what all gateways see, or None while the store can't be reached."""
        # Another gateway of the same host would only replace the report of the one that has the lease.
        order = HostReport(self._local.name, reports.encode(problems)) if self._local.is_held else None
        try:
            found = await self._outbox.change(alert_states.report, order)
        except StoreError:
            return None
        shared = Changes()
        shared.load(found.state, self._clock())
        self._announced_by_all = shared.announced
        return reports.merge({scope.removeprefix(OF_HOST): text for scope, text in found.problems.items()})

    async def _read(self, reader: Reader) -> Overview | None:
        def query(connection: Connection) -> Overview:
            return overview(connection, reader.clock(connection), configured_limits(self._settings))

        try:
            return await reader.read(query)
        except StoreError:
            return None

    async def _tell(self) -> None:
        now = self._clock()
        due = {scope: scope.changes.due(now) for scope in self._scopes if scope.is_held}
        if not any(due.values()) and not any(one.owed for one in self._sendings):
            self._due_since = None
            return
        if self._due_since is None:
            self._due_since = now
        sent_at = max(scope.changes.sent_at for scope in self._scopes)
        if now < max(self._due_since + DIGEST_WAIT, sent_at + MIN_INTERVAL):
            return
        self._due_since = None
        items = [Item(scope.host, change) for scope, changes in due.items() for change in changes]
        was_taken = await self._send(items)
        for scope in self._scopes:
            scope.changes.sent_at = now
            scope.is_saved = False
            if was_taken:
                scope.changes.mark_announced(due.get(scope, ()))

    async def _send(self, items: Sequence[Item]) -> bool:
        """Send to all receivers; return whether one of them has taken it. The others get it with their next message."""
        answers = await asyncio.gather(*(one.send(items) for one in self._sendings))
        if not any(answers):
            return False
        for one, was_taken in zip(self._sendings, answers, strict=True):
            if not was_taken:
                one.owe(items)
        return True

    async def _save(self) -> None:
        for scope in self._scopes:
            if not scope.is_held or scope.is_saved:
                continue
            try:
                await self._outbox.change(alert_states.save, AlertState(scope.name, scope.changes.state()))
            except StoreError as error:
                _log.warning("alerts_not_stored", reason=str(error))
            else:
                scope.is_saved = True
