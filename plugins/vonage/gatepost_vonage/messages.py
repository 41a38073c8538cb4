"""The request bodies of the three channels, built and validated with the SDK's models."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from vonage_messages import models  # type: ignore[import-untyped]

from gatepost import wire
from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost.sms_parts import is_gsm7
from gatepost_vonage.addresses import SENDER_FORMS, phone_number, sender_id
from gatepost_vonage.settings import Settings

# The codes with which Vonage reports the same faults.
_INVALID_PARAMETER = "1020"
_INVALID_TEMPLATE = "1022"
_INVALID_SENDER = "1420"
_INVALID_RECIPIENT = "1430"

# Meta's rule for the parameters of a template; and half a character, which the SDK's model lets pass here.
_NOT_IN_A_PARAMETER = re.compile(r"[\n\r\t\ud800-\udfff]| {5}")


def message_body(message: Sms, settings: Settings, *, webhook_url: str) -> bytes:
    """Return the body of ``POST /v1/messages``; raise Rejected if the channel can't carry the message.

    The reports (v1) go to ``webhook_url``; if that is empty, to the application's status URL.
    """
    recipient = phone_number(message.recipient.reveal())
    if recipient is None:
        problem = "Vonage does not accept the recipient's number: it needs 7 to 15 digits, the first not 0"
        raise Rejected(problem, code=_INVALID_RECIPIENT)
    # The API refuses longer texts, although the SDK's model of a text message accepts them. WhatsApp counts the template
    # with its parameter filled in: a longer parameter can fit in no template.
    is_template = settings.channel == "whatsapp"
    longest, code = (1_024, _INVALID_TEMPLATE) if is_template else (1_000, _INVALID_PARAMETER)
    if len(message.text) > longest:
        raise Rejected(f"the text is longer than the {longest:,} characters that Vonage accepts", code=code)
    common = {
        "to": recipient,
        "client_ref": message.id,
        "webhook_url": webhook_url or None,
        "webhook_version": "v1",
    }
    build = {"sms": _sms, "viber": _viber, "whatsapp": _whatsapp}[settings.channel]
    try:
        body: str = build(message, settings, common).model_dump_json(by_alias=True, exclude_none=True)
        return body.encode()
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
    # The names of fields and rules come from the model, not the message. Raised here, because an exception raised
    # above would keep the model's error, which holds the number.
    problems = ", ".join(sorted({f"{detail['loc'][0]} ({detail['type']})" for detail in details}))
    raise Rejected(f"Vonage would refuse this message: {problems}", code=_INVALID_PARAMETER)


def _sms(message: Sms, settings: Settings, common: Mapping[str, Any]) -> models.Sms:
    sender = sender_id(wire.sender_of(message, settings.default_sender, code=_INVALID_SENDER), "sms")
    if sender is None:
        problem = f"Vonage does not accept the sender: it must be {SENDER_FORMS['sms']}"
        raise Rejected(problem, code=_INVALID_SENDER)
    return models.Sms(
        from_=sender,
        text=message.text,
        ttl=_within(20, 604_800, message.lifetime),
        sms=models.SmsOptions(encoding_type="text" if is_gsm7(message.text) else "unicode"),
        **common,
    )


def _viber(message: Sms, settings: Settings, common: Mapping[str, Any]) -> models.ViberText:
    ttl = _within(30, 259_200, message.lifetime)
    return models.ViberText(
        from_=settings.default_sender,
        text=message.text,
        viber_service=models.ViberTextOptions(category=settings.category, ttl=ttl),
        **common,
    )


def _whatsapp(message: Sms, settings: Settings, common: Mapping[str, Any]) -> models.WhatsappTemplate:
    # Without the lifetime: on WhatsApp it is a property of the template.
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


def _within(shortest: int, longest: int, lifetime: float) -> int:
    """Return the seconds that Vonage tries to deliver, within the limits of the SDK's model."""
    return max(shortest, min(int(lifetime), longest))
