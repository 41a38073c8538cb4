"""A request to send, built and validated with the SDK's own model."""

from pydantic import ValidationError
from vonage_messages.models import Sms as SmsRequest  # type: ignore[import-untyped]
from vonage_messages.models import SmsOptions
from vonage_messages.models.enums import EncodingType, WebhookVersion  # type: ignore[import-untyped]

from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost_vonage.addressing import SENDER_FORM, recipient_number, sender_id
from gatepost_vonage.gsm7 import is_gsm7

# The bounds of the SDK's model, in seconds.
SHORTEST_TTL = 20
LONGEST_TTL = 604_800

LONGEST_TEXT = 1_000
"""Characters; the Messages API refuses more, whatever the SDK's model takes."""


def compose(message: Sms, *, default_sender: str, webhook_url: str) -> bytes:
    """The body of ``POST /v1/messages`` for this message.

    Statuses are asked for in the form v1, at ``webhook_url`` where that is not empty and otherwise where
    the application says. Raises Rejected where Vonage would refuse the message.
    """
    recipient = recipient_number(message.recipient.reveal())
    if recipient is None:
        raise Rejected("the recipient's number is not one for Vonage: 7 to 15 digits, the first not 0")
    if len(message.text) > LONGEST_TEXT:
        raise Rejected(f"the text is longer than the {LONGEST_TEXT:,} characters that Vonage takes")
    encoding = EncodingType.TEXT if is_gsm7(message.text) else EncodingType.UNICODE
    try:
        request = SmsRequest(
            to=recipient,
            from_=_sender(message.sender or default_sender),
            text=message.text,
            client_ref=message.id,
            webhook_url=webhook_url or None,
            webhook_version=WebhookVersion.V1,
            ttl=max(SHORTEST_TTL, min(int(message.lifetime), LONGEST_TTL)),
            sms=SmsOptions(encoding_type=encoding),
        )
    except ValidationError as error:
        faults = _faults(error)
    else:
        body: str = request.model_dump_json(by_alias=True, exclude_none=True)
        return body.encode()
    # Out here, because an exception raised above would keep the other one, number and all.
    raise Rejected(f"Vonage would refuse this message: {faults}")


def _sender(wanted: str) -> str:
    if not wanted:
        raise Rejected("there is no sender: set default_sender, or let Smartico send a from_number")
    sender = sender_id(wanted)
    if sender is None:
        raise Rejected(f"the sender is not one for Vonage: it must be {SENDER_FORM}")
    return sender


def _faults(error: ValidationError) -> str:
    """Which field broke which rule; neither name comes from the message."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return ", ".join(sorted({f"{detail['loc'][0]} ({detail['type']})" for detail in details}))
