"""Infobip's webhooks: their check, and the translation of what they report. Pure functions."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from gatepost import wire
from gatepost.errors import BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest
from gatepost_infobip.settings import NUMBER
from gatepost_infobip.verdicts import Verdict

_GROUPS = {
    0: Status.ACCEPTED,
    1: Status.ACCEPTED,
    2: Status.FAILED,
    3: Status.DELIVERED,
    4: Status.FAILED,
    5: Status.REJECTED,
}
# Delivered to the operator, and not yet to the handset; and refused as fraud, which may be in the group of the expired.
_STATUSES = {2: Status.ACCEPTED, 87: Status.REJECTED}

_BLOCKLISTED = 14
_OPTED_OUT_ERRORS = frozenset({573, 603, 2052, 7003, 7030, 7033})
"""The user has blocked the sender or the template, has answered STOP, or is on the account's blocklist."""
_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
_OPT_OUTS = frozenset({"MO", "URL_OPT_OUT"})
"""How a user came onto the blocklist by something that she did herself."""


class Keys(NamedTuple):
    """What proves that a webhook is Infobip's; one of the two at least."""

    token: Secret | None
    basic: wire.Login | None


class _Result(msgspec.Struct, rename="camel"):
    """One of ``results``: a delivery report, a seen report, what a user wrote, or an event of the blocklist."""

    status: Verdict | None = None
    error: Verdict | None = None
    seen_at: object = None
    event: object = None
    received_at: object = None
    message_id: object = ""
    callback_data: object = ""
    paired_message_id: object = ""
    sender: object = ""
    origin: object = msgspec.field(name="from", default="")
    text: object = ""
    keyword: object = ""
    message: dict[str, object] = {}
    content: dict[str, object] = {}


def read_report(request: WebhookRequest, keys: Keys) -> Report:
    """Check the request and translate it; raise the errors of the hook ``parse_webhook``."""
    if keys.basic is None or (keys.token is not None and "authorization" not in request.headers):
        token = keys.token.reveal() if keys.token else ""
        wire.expect_same(request.query.get("token", ""), token, "the token in the query")
    else:
        wire.expect_basic_auth(request, keys.basic)
    if request.body.lstrip()[:1] == b"<":
        raise BadWebhook("the report is XML: set the content type application/json in Infobip's subscription")
    match request.json():
        case {"results": [*results]}:
            found = [one for item in results for one in _translate(item)]
            return wire.collect_events(found, lambda one: one)
        case {"content": {"notificationMessagesStatus": "stop", "from": user}}:
            return wire.collect_events([_opt_out(user, "")], lambda one: one)
        case {"deliveryInfoNotification": _} | {"inboundSMSMessageNotification": _}:
            raise BadWebhook(
                "this is a report of Infobip's OneAPI: remove this address there, and use a subscription"
            )
        case {"content": _} | {"change": _}:
            # Of a template, an identity or a payment: WhatsApp reports everything to one address.
            return Report(ignored={"unknown": 1})
    raise BadWebhook("the body is not a report of Infobip's")


def _translate(item: object) -> Iterator[StatusEvent | str | None]:
    """Yield the events of a result, or the kind under which it is ignored; None where it is malformed."""
    try:
        result = msgspec.convert(item, _Result)
    except msgspec.ValidationError:
        yield None
        return
    provider_id = wire.safe_id(result.message_id)
    ids = {
        "message_id": wire.safe_id(result.callback_data) or provider_id.rpartition(".")[0],
        "provider_id": provider_id,
    }
    if result.status is not None:
        yield from _delivery(result.status, result.error or Verdict(), ids)
    elif result.seen_at is not None:
        yield StatusEvent(status=Status.OPENED, **ids)
    elif result.event is not None:
        yield _blocked(result.event, result.content)
    elif result.received_at is not None:
        yield _written(result)
    else:
        yield "unknown"


def _delivery(status: Verdict, error: Verdict, ids: dict[str, str]) -> Iterator[StatusEvent | str]:
    meaning = _STATUSES.get(status.id) or _GROUPS.get(status.group_id)
    if meaning is None:
        yield "unknown"
        return
    refused = meaning in {Status.FAILED, Status.REJECTED}
    code = (error.code if error.id else status.code) if refused else ""
    if refused and (status.id == _BLOCKLISTED or error.id in _OPTED_OUT_ERRORS):
        # The cause before its effect.
        yield StatusEvent(status=Status.UNSUBSCRIBED, code=code, **ids)
    yield StatusEvent(status=meaning, code=code, **ids)


def _written(result: _Result) -> StatusEvent | str:
    """Return the opt-out that a user wrote; any other text is ignored."""
    text = result.text or result.message.get("text")
    words = {word.strip(" .!\r\n\t").upper() for word in (text, result.keyword) if isinstance(word, str)}
    if not words & _STOP_WORDS:
        return "inbound"
    return _opt_out(result.origin or result.sender, result.paired_message_id)


def _blocked(event: object, content: dict[str, Any]) -> StatusEvent | str:
    if event != "BLOCK" or content.get("sourceType") not in _OPT_OUTS:
        return "blocklist"
    reference = content.get("outboundMessageReference")
    sent = reference.get("outboundMessageId") if isinstance(reference, dict) else ""
    return _opt_out(content.get("destination"), sent)


def _opt_out(user: object, sent: object) -> StatusEvent | str:
    """Return the opt-out of the user with this number; ``sent`` is the message that it answers, where Infobip knows it."""
    provider_id = wire.safe_id(sent)
    number = Secret(f"+{user}") if isinstance(user, str) and NUMBER.fullmatch(user) else None
    return StatusEvent(
        status=Status.UNSUBSCRIBED,
        message_id=provider_id.rpartition(".")[0],
        provider_id=provider_id,
        recipient=number,
    )
