"""The metrics of one of several gateways that a parent has started."""

import os

import msgspec

from gatepost.web.admin.requests import MetricsRequest
from gatepost.web.admin.services import AdminServices, OperationRefused

PROCESS = "GATEPOST_PROCESS"
"""The environment variable with the number of this gateway among those of one parent."""


def own_number() -> str:
    """Return the number of this gateway; empty where it has no siblings."""
    return os.environ.get(PROCESS, "")


class Exposition(msgspec.Struct, frozen=True):
    """The metrics of one gateway."""

    process: str
    text: str


async def own_metrics(services: AdminServices, request: MetricsRequest, _actor: str) -> Exposition:
    """Return the metrics of this gateway to one that has the same parent."""
    if not own_number() or request.parent != os.getppid():
        raise OperationRefused("this gateway has another parent")
    return Exposition(own_number(), (await services.metrics()).decode())
