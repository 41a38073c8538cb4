"""The operations by their names, and how a request becomes a call of one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from gatepost.web.admin import reloading, requests, retries, sending, status, users
from gatepost.web.admin.own_metrics import own_metrics
from gatepost.web.admin.services import AdminServices, OperationRefused
from gatepost.web.admin.store_operations import STORE_OPERATIONS, StoreOperation


class Operation(NamedTuple):
    """One operation: its request, and the function that is called with it and with the actor."""

    request_type: type[requests.Request]
    run: Callable[[AdminServices, Any, str], Awaitable[object]]
    """Returns what is encoded as JSON. May raise OperationRefused and StoreError."""


def _in_gateway(operation: StoreOperation) -> Operation:
    async def run(services: AdminServices, request: requests.Request, actor: str) -> object:
        return await operation.run(services.settings, services.outbox, request, actor)

    return Operation(operation.request_type, run)


OPERATIONS: Mapping[str, Operation] = {
    **{name: _in_gateway(operation) for name, operation in STORE_OPERATIONS.items()},
    "tell": Operation(requests.RetryRequest, retries.tell_now),
    "resting-instances": Operation(requests.RestingInstancesRequest, sending.resting_instances),
    "contact": Operation(requests.ContactRequest, users.contact),
    "send": Operation(requests.SendRequest, sending.send),
    "own-metrics": Operation(requests.MetricsRequest, own_metrics),
    "reload": Operation(requests.ReloadRequest, reloading.reload),
    "status": Operation(requests.StatusRequest, status.status),
}
"""Every operation. One that changes something records it in the audit log, in the commit of the change."""


class AdminApi:
    """Runs operations in one gateway."""

    def __init__(self, services: AdminServices, operations: Mapping[str, Operation] = OPERATIONS) -> None:
        self._services = services
        self._operations = operations

    async def run(self, name: str, body: bytes, actor: str) -> bytes | None:
        """Run an operation and return its answer as JSON; None when there is no such operation.

        ``body`` is the request as JSON, ``actor`` the user who asks for it. Raises OperationRefused and StoreError.
        """
        operation = self._operations.get(name)
        if operation is None:
            return None
        try:
            request = msgspec.json.decode(body, type=operation.request_type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise OperationRefused(f"the request is invalid: {error}") from None
        return msgspec.json.encode(await operation.run(self._services, request, actor))
