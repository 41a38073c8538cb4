"""The request body of a text message, built and validated with the SDK's model."""

from pydantic import ValidationError
from vonage_messages.models import Sms as SmsRequest  # type: ignore[import-untyped]
from vonage_messages.models import SmsOptions
from vonage_messages.models.enums import EncodingType, WebhookVersion  # type: ignore[import-untyped]

from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost.sms_parts import is_gsm7
from gatepost_vonage.addresses import SENDER_FORM, recipient_number, sender_id

# Seconds: the limits of the SDK's model.
MIN_TTL = 20
MAX_TTL = 604_800

MAX_TEXT_LENGTH = 1_000
"""Characters. The Messages API refuses longer texts, although the SDK's model accepts them."""


def sms_body(message: Sms, *, default_sender: str, webhook_url: str) -> bytes:
    """Return the body of ``POST /v1/messages``; raise Rejected if Vonage would refuse the message.

    It requests status webhooks of version v1. They go to ``webhook_url``; if that is empty, to the
    application's status URL.
    """
    recipient = recipient_number(message.recipient.reveal())
    if recipient is None:
        raise Rejected(
            "Vonage does not accept the recipient's number: it needs 7 to 15 digits, the first not 0"
        )
    if len(message.text) > MAX_TEXT_LENGTH:
        raise Rejected(f"the text is longer than the {MAX_TEXT_LENGTH:,} characters that Vonage accepts")
    encoding = EncodingType.TEXT if is_gsm7(message.text) else EncodingType.UNICODE
    try:
        request = SmsRequest(
            to=recipient,
            from_=_sender(message.sender or default_sender),
            text=message.text,
            client_ref=message.id,
            webhook_url=webhook_url or None,
            webhook_version=WebhookVersion.V1,
            ttl=max(MIN_TTL, min(int(message.lifetime), MAX_TTL)),
            sms=SmsOptions(encoding_type=encoding),
        )
    except ValidationError as error:
        problems = _problems(error)
    else:
        body: str = request.model_dump_json(by_alias=True, exclude_none=True)
        return body.encode()
    # Raised here, because an exception raised above would keep the model's error, which holds the number.
    raise Rejected(f"Vonage would refuse this message: {problems}")


def _sender(sender: str) -> str:
    if not sender:
        raise Rejected("no sender: set default_sender, or let Smartico send a from_number")
    accepted = sender_id(sender)
    if accepted is None:
        raise Rejected(f"Vonage does not accept the sender: it must be {SENDER_FORM}")
    return accepted


def _problems(error: ValidationError) -> str:
    """Return the fields and the rules that they break; both names come from the model, not the message."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return ", ".join(sorted({f"{detail['loc'][0]} ({detail['type']})" for detail in details}))
