"""What the operations work with."""

from collections.abc import Mapping

import msgspec

from gatepost.callbacks.worker import CallbackWorker
from gatepost.config.settings import Settings
from gatepost.intake.accept import Acceptance
from gatepost.outbox import Outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.heartbeat import Heartbeat


class AdminServices(msgspec.Struct, frozen=True):
    """The parts of the running gateway that the operations read and change."""

    settings: Settings
    outbox: Outbox
    acceptance: Acceptance
    callbacks: CallbackWorker
    throttles: Mapping[str, Throttle]
    """The throttle of every sending instance, by its name."""
    instances: Mapping[str, Instance]
    heartbeat: Heartbeat


class OperationRefused(Exception):
    """The operation can't be done and has changed nothing; the text says why, for the operator."""


def require_client(settings: Settings, name: str) -> None:
    """Raise OperationRefused unless the configuration has this client."""
    if name not in settings.clients:
        raise OperationRefused(
            f"the configuration in use has no client {name}; it has {', '.join(settings.clients)}"
        )
