"""Twilio's requests to the webhook: statuses of messages, and texts from users. Pure functions."""

from gatepost import wire
from gatepost.errors import BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer, WebhookRequest

STATUSES = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), Status.ACCEPTED),
    "delivered": Status.DELIVERED,
    "undelivered": Status.FAILED,
    "read": Status.OPENED,
    "canceled": Status.REJECTED,
}
OPTED_OUT = "21610"
_STOP_WORDS = {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"}
_NO_REPLY = WebhookAnswer(body=b"<Response/>", content_type="text/xml")


def read_report(request: WebhookRequest, auth_token: Secret) -> Report:
    """Verify the request and translate it; raise the errors of the hook ``parse_webhook``."""
    signed = request.url + "".join(name + value for name, value in sorted(request.form))
    signature = request.headers.get("x-twilio-signature", "")
    wire.expect_hmac(signature, auth_token, signed.encode(), digest="sha1", encoding="base64")
    fields = dict(request.form)
    if "MessageStatus" in fields:
        return wire.collect_events(_status_events(request.query.get("id"), fields), lambda event: event)
    if not fields.get("From"):
        raise BadWebhook("the request is neither a status callback nor an incoming message")
    stops = fields.get("OptOutType") == "STOP" or fields.get("Body", "").strip().upper() in _STOP_WORDS
    if not stops:
        return Report(ignored={"incoming": 1}, answer=_NO_REPLY)
    return Report(
        events=[StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(fields["From"]))], answer=_NO_REPLY
    )


def _status_events(message_id: object, fields: dict[str, str]) -> list[StatusEvent | str]:
    code = wire.safe_code(fields.get("ErrorCode"))
    return [
        StatusEvent(
            status=status,
            message_id=wire.safe_id(message_id),
            provider_id=wire.safe_id(fields.get("MessageSid")),
            code=code,
        )
        for status in _statuses(fields["MessageStatus"], code)
    ] or ["unknown"]


def _statuses(status: str, code: str) -> list[Status]:
    if status != "failed":
        return [STATUSES[status]] if status in STATUSES else []
    if code == OPTED_OUT:
        return [Status.UNSUBSCRIBED, Status.REJECTED]
    # 30xxx: the network's errors.
    return [Status.FAILED if code.startswith("30") else Status.REJECTED]
