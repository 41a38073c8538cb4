"""The operations about sending: which instances rest, and a test message."""

import asyncio

import msgspec

from gatepost.errors import Refused, StoreError
from gatepost.intake import answers
from gatepost.observe import logs
from gatepost.outbox import audit
from gatepost.outbox.audit import AuditEntry
from gatepost.throttle import BreakerState
from gatepost.web.admin.requests import RestingInstance, RestingInstancesRequest, SendRequest
from gatepost.web.admin.services import AdminServices, require_client

_log = logs.get(__name__)


async def resting_instances(
    services: AdminServices, request: RestingInstancesRequest, _actor: str
) -> list[RestingInstance]:
    """Return the instances of a channel's route whose breaker is resting or probing."""
    now = asyncio.get_running_loop().time()
    snapshots = {
        name: services.throttles[name].snapshot(now)
        for name in services.settings.routes.instances(request.channel)
    }
    return [
        RestingInstance(instance=name, seconds=one.rest_remaining, reason=one.reason)
        for name, one in snapshots.items()
        if one.state is not BreakerState.USABLE
    ]


async def send(services: AdminServices, request: SendRequest, actor: str) -> msgspec.Raw:
    """Accept a message as if Smartico had sent it."""
    require_client(services.settings, request.client)
    client = services.settings.clients[request.client]
    body = msgspec.json.encode(request.fields)
    target = {"client": request.client, "channel": request.channel.value}
    try:
        answer = await services.acceptance.accept(request.client, client, request.channel, body)
    except Refused as refusal:
        # Without the user: an operator may have typed an address there, and nothing else stores a refused request.
        await _record(services, actor, {**target, "error_code": refusal.code.value})
        return msgspec.Raw(answers.refused(refusal))
    identity = msgspec.json.decode(answer)["ext_message_id"]
    user = request.fields.get("ext_user_id", "")
    await _record(services, actor, {**target, audit.USER: user, "id": identity})
    return msgspec.Raw(answer)


async def _record(services: AdminServices, actor: str, target: dict[str, str | int]) -> None:
    """Append the audit entry of a test message.

    Without it the message is sent all the same, so the operator must get the answer: the log has the error.
    """
    try:
        await services.outbox.change(audit.append, AuditEntry(actor=actor, operation="send", target=target))
    except StoreError as error:
        _log.error("audit_entry_not_stored", actor=actor, operation="send", reason=str(error))
