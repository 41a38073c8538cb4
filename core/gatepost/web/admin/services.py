"""What the operations work with."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from gatepost.callbacks.worker import CallbackWorker
from gatepost.config.settings import Settings
from gatepost.contacts.lookup import Contacts
from gatepost.intake.accept import Acceptance
from gatepost.outbox import Outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.heartbeat import Heartbeat
from gatepost.web.admin.requests import Reload


class Reloader(Protocol):
    """The part of a running gateway that reads its configuration again."""

    async def __call__(self, actor: str, *, dry: bool) -> Reload:
        """Take the configuration over, or with ``dry`` only say what that would do. Raises OperationRefused."""
        ...


class AdminServices(msgspec.Struct):
    """The parts of the running gateway that the operations read and change. A reload replaces some of them."""

    settings: Settings
    outbox: Outbox
    acceptance: Acceptance
    contacts: Contacts
    callbacks: CallbackWorker
    throttles: Mapping[str, Throttle]
    """The throttle of every sending instance, by its name."""
    instances: Mapping[str, Instance]
    heartbeat: Heartbeat
    metrics: Callable[[], Awaitable[bytes]]
    """Returns the metrics of this gateway in Prometheus's text format."""
    reload: Reloader | None = None


class OperationRefused(Exception):
    """The operation can't be done and has changed nothing; the text says why, for the operator."""


def require_client(settings: Settings, name: str) -> None:
    """Raise OperationRefused unless the configuration has this client."""
    if name not in settings.clients:
        raise OperationRefused(
            f"the configuration in use has no client {name}; it has {', '.join(settings.clients)}"
        )
