"""Infobip's webhooks: their check, and the translation of what they report. Pure functions."""

from collections.abc import Iterator
from typing import Any

from gatepost import wire
from gatepost.errors import BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest
from gatepost_infobip.settings import NUMBER, Settings
from gatepost_infobip.verdicts import code_of

# Of the groups accepted, pending, undeliverable, delivered, expired and rejected.
_GROUPS = dict(enumerate(map(Status, ["accepted", "accepted", "failed", "delivered", "failed", "rejected"])))
# Delivered to the operator, and not yet to the handset; blocked as fraud, which may be in the group of the expired.
_STATUSES = {2: Status.ACCEPTED, 87: Status.REJECTED}
_BLOCKLISTED = 14
_OPTED_OUT_ERRORS = frozenset({573, 603, 2052, 7003, 7030, 7033})
"""The user blocked the sender or the template, answered STOP, or is on the account's blocklist."""


def read_report(request: WebhookRequest, settings: Settings) -> Report:
    """Check the request and translate it; raise the errors of the hook ``parse_webhook``."""
    token, basic = settings.webhook_token or Secret(""), settings.webhook_basic
    if basic and (not token or "authorization" in request.headers):
        wire.expect_basic_auth(request, basic)
    else:
        wire.expect_same(request.query.get("token", ""), token.reveal(), "the token in the URL")
    if request.body.lstrip().startswith(b"<"):
        raise BadWebhook("the report is XML: set the content type application/json in Infobip's subscription")
    match request.json():
        case {"results": [*results]}:
            return wire.collect_events([one for item in results for one in _translate(item)], lambda one: one)
        case {"content": {"notificationMessagesStatus": "stop", "from": user}}:
            return wire.collect_events([_opt_out(user, "")], lambda one: one)
        case {"deliveryInfoNotification": _} | {"inboundSMSMessageNotification": _}:
            raise BadWebhook("this is a report of Infobip's older OneAPI: use a subscription in its place")
        case {"content": _} | {"change": _}:
            # Of a template, an identity or a payment: all of WhatsApp's go to one address.
            return Report(ignored={"unknown": 1})
    raise BadWebhook("the body is not a report of Infobip's")


def _translate(item: Any) -> Iterator[StatusEvent | str | None]:
    """Yield the events of a result, or the kind under which it is ignored; None where it is malformed."""
    match item:
        case {"status": {"groupId": int(group), "id": int(number)} as status}:
            yield from _delivery(_STATUSES.get(number) or _GROUPS.get(group), status, item)
        case {"seenAt": str()}:
            yield _event(Status.OPENED, item)
        case {"event": "BLOCK", "content": {"sourceType": "MO" | "URL_OPT_OUT", "destination": user}}:
            sent = ("content", "outboundMessageReference", "outboundMessageId")
            yield _opt_out(user, wire.resolve(item, sent))
        case {"event": str()}:
            yield "blocklist"
        case {"receivedAt": str()}:
            text = wire.resolve(item, ("message", "text"), item.get("text"))
            user = item.get("from") or item.get("sender")
            yield _opt_out(user, item.get("pairedMessageId")) if wire.says_stop(text) else "inbound"
        case _:
            yield "unknown" if isinstance(item, dict) and "status" not in item else None


def _delivery(meaning: Status | None, status: Any, item: Any) -> Iterator[StatusEvent | str]:
    code, error = "", wire.resolve(item, ("error", "id"))
    if meaning in {Status.FAILED, Status.REJECTED}:
        reason = item["error"] if isinstance(error, int) and error else status
        code = code_of(reason)
        if status["id"] == _BLOCKLISTED or reason["id"] in _OPTED_OUT_ERRORS:
            yield _event(Status.UNSUBSCRIBED, item, code)  # The cause before its effect.
    yield _event(meaning, item, code) if meaning else "unknown"


def _event(status: Status, item: Any, code: str = "") -> StatusEvent:
    provider_id = wire.safe_id(item.get("messageId"))
    message_id = wire.safe_id(item.get("callbackData")) or provider_id.rpartition(".")[0]
    return StatusEvent(status=status, message_id=message_id, provider_id=provider_id, code=code)


def _opt_out(user: object, sent: object) -> StatusEvent:
    """Return the opt-out of the user with this number; ``sent`` is the message that it answers, where Infobip knows it."""
    number = Secret(f"+{user}") if isinstance(user, str) and NUMBER.fullmatch(user) else None
    return StatusEvent(status=Status.UNSUBSCRIBED, provider_id=wire.safe_id(sent), recipient=number)
