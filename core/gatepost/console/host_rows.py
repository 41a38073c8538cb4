"""The hosts of callbacks as the pages show them: what the store and the gateway know of each."""

from typing import NamedTuple

from gatepost.outbox.overview import CallbackOverview
from gatepost.upkeep.status import GatewayStatus, TargetStatus


class HostRow(NamedTuple):
    """A host that one client wants called."""

    client: str
    target: str
    """``host:port`` of the callback URL."""
    waiting: int
    dead: int
    rest: TargetStatus | None
    """Why it is not called at present."""


def host_rows(callbacks: CallbackOverview, gateway: GatewayStatus) -> list[HostRow]:
    """Return the hosts with callbacks that have not ended well, and those that rest, by client and name."""
    counted = {(one.client, one.target): one for one in callbacks.targets}
    resting = {(one.client, one.target): one for one in gateway.resting_targets}
    return [
        HostRow(
            client=client,
            target=target,
            waiting=counted[client, target].waiting if (client, target) in counted else 0,
            dead=counted[client, target].dead if (client, target) in counted else 0,
            rest=resting.get((client, target)),
        )
        for client, target in sorted(counted.keys() | resting.keys())
    ]
