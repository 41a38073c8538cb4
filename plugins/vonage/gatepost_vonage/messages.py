"""The request bodies of the three channels, built and validated with the SDK's models."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from vonage_messages import models  # type: ignore[import-untyped]
from vonage_messages.models.enums import WebhookVersion  # type: ignore[import-untyped]

from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost.sms_parts import is_gsm7
from gatepost_vonage.addresses import SENDER_FORMS, phone_number, sender_id
from gatepost_vonage.settings import Settings

# Seconds: the limits of the SDK's models.
SMS_TTL = (20, 604_800)
VIBER_TTL = (30, 259_200)

MAX_TEXT_LENGTH = 1_000
"""Characters of a text message or a Viber message. The API refuses longer texts, although the SDK's model of a text
message accepts them."""

MAX_PARAMETER_LENGTH = 1_024
"""Characters of a WhatsApp template with its parameter filled in: a longer parameter can fit in no template."""

# The codes with which Vonage reports the same faults.
_INVALID_PARAMETER = "1020"
_INVALID_TEMPLATE = "1022"
_INVALID_SENDER = "1420"
_INVALID_RECIPIENT = "1430"

# Meta's rule for the parameters of a template; and half a character, which the SDK's model lets pass here.
_NOT_IN_A_PARAMETER = re.compile(r"[\n\r\t\ud800-\udfff]| {5}")


def message_body(message: Sms, settings: Settings, *, webhook_url: str) -> bytes:
    """Return the body of ``POST /v1/messages``; raise Rejected if the channel can't carry the message.

    It requests status webhooks of version v1. They go to ``webhook_url``; if that is empty, to the
    application's status URL.
    """
    recipient = phone_number(message.recipient.reveal())
    if recipient is None:
        raise Rejected(
            "Vonage does not accept the recipient's number: it needs 7 to 15 digits, the first not 0",
            code=_INVALID_RECIPIENT,
        )
    common = {
        "to": recipient,
        "client_ref": message.id,
        "webhook_url": webhook_url or None,
        "webhook_version": WebhookVersion.V1,
    }
    build = {"sms": _sms, "viber": _viber, "whatsapp": _whatsapp}[settings.channel]
    try:
        request = build(message, settings, common)
    except ValidationError as error:
        problems = _problems(error)
    else:
        body: str = request.model_dump_json(by_alias=True, exclude_none=True)
        return body.encode()
    # Raised here, because an exception raised above would keep the model's error, which holds the number.
    raise Rejected(f"Vonage would refuse this message: {problems}", code=_INVALID_PARAMETER)


def _sms(message: Sms, settings: Settings, common: Mapping[str, Any]) -> models.Sms:
    _expect_length(message.text, MAX_TEXT_LENGTH, code=_INVALID_PARAMETER)
    return models.Sms(
        from_=_sms_sender(message.sender or settings.default_sender),
        text=message.text,
        ttl=_within(SMS_TTL, message.lifetime),
        sms=models.SmsOptions(encoding_type="text" if is_gsm7(message.text) else "unicode"),
        **common,
    )


def _viber(message: Sms, settings: Settings, common: Mapping[str, Any]) -> models.ViberText:
    _expect_length(message.text, MAX_TEXT_LENGTH, code=_INVALID_PARAMETER)
    return models.ViberText(
        from_=settings.default_sender,
        text=message.text,
        viber_service=models.ViberTextOptions(
            category=settings.category, ttl=_within(VIBER_TTL, message.lifetime)
        ),
        **common,
    )


def _whatsapp(message: Sms, settings: Settings, common: Mapping[str, Any]) -> models.WhatsappTemplate:
    """Return the template with the text as its one parameter.

    The request has no lifetime: on WhatsApp it is a property of the template.
    """
    _expect_length(message.text, MAX_PARAMETER_LENGTH, code=_INVALID_TEMPLATE)
    if _NOT_IN_A_PARAMETER.search(message.text):
        raise Rejected(
            "WhatsApp does not accept the text as a template's parameter: it must be valid Unicode with no line "
            "break, no tab and no more than 4 spaces in a row",
            code=_INVALID_TEMPLATE,
        )
    assert settings.template is not None, "checked when the gateway started"
    return models.WhatsappTemplate(
        from_=sender_id(settings.default_sender, "whatsapp"),
        template=models.WhatsappTemplateResource(name=settings.template.name, parameters=[message.text]),
        whatsapp=models.WhatsappTemplateSettings(policy="deterministic", locale=settings.template.language),
        **common,
    )


def _expect_length(text: str, limit: int, *, code: str) -> None:
    if len(text) > limit:
        raise Rejected(f"the text is longer than the {limit:,} characters that Vonage accepts", code=code)


def _within(limits: tuple[int, int], lifetime: float) -> int:
    shortest, longest = limits
    return max(shortest, min(int(lifetime), longest))


def _sms_sender(sender: str) -> str:
    accepted = sender_id(sender, "sms")
    if accepted is None:
        problem = f"Vonage does not accept the sender: it must be {SENDER_FORMS['sms']}"
        if not sender:
            problem = "no sender: set default_sender, or let Smartico send a from_number"
        raise Rejected(problem, code=_INVALID_SENDER)
    return accepted


def _problems(error: ValidationError) -> str:
    """Return the fields and the rules that they break; both names come from the model, not the message."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return ", ".join(sorted({f"{detail['loc'][0]} ({detail['type']})" for detail in details}))
