"""Reloads: a running gateway reads its configuration again, and takes it over as a whole or not at all."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from gatepost.config.changes import find_changes, fixed_faults
from gatepost.config.settings import Settings
from gatepost.config.toml_file import environment_names
from gatepost.errors import ConfigError, Fault, StoreError
from gatepost.gateway import STOPPING, Gateway
from gatepost.observe import logs
from gatepost.outbox import audit
from gatepost.outbox.audit import AuditEntry
from gatepost.plugin_host.instances import Instance
from gatepost.web.admin.requests import Reload, ReloadProblem
from gatepost.web.admin.services import OperationRefused

Examine: TypeAlias = Callable[
    [Path, Mapping[str, Instance], Settings], tuple[Settings | None, dict[str, Instance], list[Fault]]
]
"""Reads a configuration beside the one in use; see ``app.examine``."""

_log = logs.get(__name__)


class Reloading:
    """Reads the configuration of one gateway again."""

    def __init__(self, gateway: Gateway, examine: Examine) -> None:
        self._gateway = gateway
        self._examine = examine
        self._lock = asyncio.Lock()

    async def reload(self, actor: str, *, dry: bool) -> Reload:
        """Take the configuration over if nothing is wrong with it, or with ``dry`` only say what that would do.

        A second reload waits for the first one. Raises OperationRefused while the gateway stops.
        """
        async with self._lock:
            answer = await self._reload(dry=dry)
        if not dry:
            await self._record(answer, actor)
        return answer

    async def _reload(self, *, dry: bool) -> Reload:
        gateway, old = self._gateway, self._gateway.settings
        if gateway.is_stopping:
            raise OperationRefused(STOPPING)
        # In a thread, because it reads files and runs the constructors of plugins.
        settings, instances, faults = await asyncio.to_thread(self._examine, old.path, gateway.instances, old)
        if settings is not None:
            faults += fixed_faults(old, settings)
        if settings is None or faults:
            return _refused(faults)
        try:
            # Before the change, because the file may be replaced at any moment.
            environment = environment_names(settings.path)
            if not dry:
                await gateway.take_over(settings, instances)
        except ConfigError as error:
            return _refused(error.faults)
        return Reload(changes=find_changes(old, settings), problems=[], environment=environment)

    async def _record(self, answer: Reload, actor: str) -> None:
        """Record a reload in the audit log and in the log, by the keys alone."""
        if answer.problems:
            for one in answer.problems:
                _log.error("reload_refused", key=one.key, problem=one.problem)
            return
        keys = [one.key for one in answer.changes]
        _log.info("reloaded", keys=keys)
        entry = AuditEntry(actor=actor, operation="reload", target={"keys": keys})
        try:
            await self._gateway.outbox.change(audit.append, entry)
        except StoreError as error:
            _log.error("audit_entry_not_stored", actor=actor, reason=str(error))


def _refused(faults: Iterable[Fault]) -> Reload:
    return Reload(
        changes=[], problems=[ReloadProblem(one.key, one.problem) for one in faults], environment=[]
    )
