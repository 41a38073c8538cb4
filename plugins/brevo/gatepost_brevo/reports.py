"""Brevo's webhooks for mails and text messages: who sends them, and their translation. Pure functions."""

import re
from collections.abc import Mapping
from functools import partial

from gatepost import wire
from gatepost.errors import BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest
from gatepost_brevo.answers import id_of, names_sender
from gatepost_brevo.messages import ID_HEADER
from gatepost_brevo.settings import Settings

_KINDS: Mapping[Status, str] = {
    Status.ACCEPTED: "request sent accepted deferred",
    Status.DELIVERED: "delivered",
    Status.FAILED: "hard_bounce soft_bounce error",
    Status.REJECTED: "blocked invalid_email invalid rejected skip skipped blacklisted bl",
    Status.OPENED: "opened unique_opened",
    Status.COMPLAINED: "spam",
    Status.UNSUBSCRIBED: "unsubscribed unsubscribe",
}
_STATUSES = {kind: status for status, kinds in _KINDS.items() for kind in kinds.split()}
# A proxy of the mail client has opened it, not the user.
_WITHOUT_STATUS = frozenset({"click", "replied", "reply", "subscribe", "proxy_open", "unique_proxy_open"})
_NUMBER = re.compile(r"\+?([0-9]{6,15})")
# A server's reply and its enhanced code, at the beginning of a reason.
_REPLY = re.compile(r"\s*([245][0-9]{2})(?![0-9])(?:[ -]+([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9]))?")


def read_report(request: WebhookRequest, settings: Settings) -> Report:
    """Verify a request and translate it; raise the errors of the hook ``parse_webhook``."""
    if settings.webhook_basic is not None:
        wire.expect_basic_auth(request, settings.webhook_basic)
    elif settings.webhook_token is not None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        wire.expect_same(given, settings.webhook_token.reveal(), "the bearer token")
    body = request.json()
    items = body if isinstance(body, list) else [body]
    if not any(isinstance(item, dict) and item.keys() & {"event", "msg_status"} for item in items):
        raise BadWebhook(
            "the body is no report on a message: give this address to transactional webhooks only"
        )
    # The id is in the URL that a text message has named for its own reports.
    return wire.collect_events(items, partial(_status_event, url_id=wire.safe_id(request.query.get("id"))))


def _status_event(item: object, *, url_id: str) -> StatusEvent | str:
    """Return the status of an event, or the name under which an event without a status is counted."""
    if not isinstance(item, dict):
        return "malformed"
    # Nothing nested means anything, and what is nested deep enough can't be written out.
    item = {name: value for name, value in item.items() if isinstance(value, str | int)}
    if "camp_id" in item:
        return "campaign"
    # Some of its names come in two spellings, as in softBounce.
    kind = re.sub("(?<=[a-z])(?=[A-Z])", "_", str(item.get("msg_status", item.get("event")))).lower()
    status = _STATUSES.get(kind)
    if kind in {"replied", "reply"} and wire.says_stop(item.get("reply")):
        status = Status.UNSUBSCRIBED
    if status is None:
        return kind if kind in _WITHOUT_STATUS else "unknown"
    words = [kind] if status in {Status.FAILED, Status.REJECTED} else []
    if kind == "error" and names_sender(item.get("reason")):
        # Brevo has taken the mail before it looks at the sender.
        status, words = Status.REJECTED, ["error", "sender"]
    elif status is Status.FAILED and (reply := _REPLY.match(str(item.get("reason")))):
        words += filter(None, reply.groups())
    number = _NUMBER.fullmatch(str(item.get("to")))
    return StatusEvent(
        status=status,
        message_id=wire.safe_id(item.get(ID_HEADER)) or url_id,
        provider_id=id_of(item.get("message-id", item.get("messageId"))),
        recipient=Secret(f"+{number[1]}") if number and status is Status.UNSUBSCRIBED else None,
        code=" ".join(words),
    )
