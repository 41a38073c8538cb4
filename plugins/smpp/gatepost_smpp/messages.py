"""The bodies of a bind and of the submit_sm of a message. Pure functions."""

import re
from collections.abc import Sequence

from gatepost import wire
from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost.sms_parts import GSM7_PART, encode_parts, is_gsm7
from gatepost_smpp.pdu import GSM7, MESSAGE_PAYLOAD, UCS2, UDHI, c_string, parameter
from gatepost_smpp.settings import Settings

_VERSION = 0x34
_MAX_PARTS = 255
_RECIPIENT = re.compile(r"\+([1-9][0-9]{6,14})")
_SENDER = re.compile(r"\+?(?P<short>[0-9]{1,6})|\+?(?P<number>[0-9]{7,15})|(?P<name>[ -~]{1,11})")
_NUMBER_TYPE, _NAME_TYPE = (1, 1), (5, 0)
"""TON and NPI: international in E.164, and alphanumeric."""
_MIN_VALIDITY, _MAX_VALIDITY = 60, 7 * 86_400


def bind_body(settings: Settings) -> bytes:
    """Return the body of bind_transceiver."""
    names = (settings.system_id, settings.password.reveal(), settings.system_type)
    return b"".join(map(c_string, names)) + bytes((_VERSION, 0, 0, 0))


def bodies(message: Sms, settings: Settings, reference: int) -> Sequence[bytes]:
    """Return the bodies of submit_sm that send a message, in order; only the last one asks for a receipt.

    ``reference``, 0 to 255, is what the parts of one text share. Raises Rejected for what SMPP can't carry.
    """
    recipient = _RECIPIENT.fullmatch(message.recipient.reveal())
    if recipient is None:
        raise Rejected("the number must have 7 to 15 digits, the first not 0", code="ESME_RINVDSTADR")
    sender = _SENDER.fullmatch(wire.sender_of(message, settings.default_sender, code="ESME_RINVSRCADR"))
    if sender is None:
        problem = "the sender must be up to 15 digits, or up to 11 characters of printable ASCII"
        raise Rejected(problem, code="ESME_RINVSRCADR")
    text = message.text[: _MAX_PARTS * GSM7_PART + 1]
    parts = encode_parts(text)
    count = len(parts)
    if count > _MAX_PARTS:
        raise Rejected(f"the text needs more than {_MAX_PARTS} parts", code="ESME_RINVMSGLEN")
    types = {"short": settings.short_code_type, "number": _NUMBER_TYPE, "name": _NAME_TYPE}
    kind = sender.lastgroup or ""
    source = bytes(types[kind]) + c_string(sender[kind])
    # No service_type.
    head = c_string("") + source + bytes(_NUMBER_TYPE) + c_string(recipient[1])
    times = c_string("") + c_string(_validity(message.lifetime) if settings.validity else "")
    tag, data_coding = settings.reference_tag, GSM7 if is_gsm7(text) else UCS2
    tail = parameter(tag, c_string(message.id)) if tag else b""

    def body(octets: bytes, esm_class: int = 0, receipt: int = 1, payload: bytes = b"") -> bytes:
        fixed = bytes((receipt, 0, data_coding, 0, len(octets)))
        return head + bytes((esm_class, 0, 0)) + times + fixed + octets + payload + tail

    if count == 1:
        return [body(parts[0])]
    if settings.long_texts == "message_payload":
        return [body(b"", payload=parameter(MESSAGE_PAYLOAD, b"".join(parts)))]
    return [
        body(bytes((5, 0, 3, reference, count, number)) + part, UDHI, int(number == count))
        for number, part in enumerate(parts, 1)
    ]


def _validity(lifetime: float) -> str:
    """Return the lifetime as SMPP 3.4, section 7.1.1, writes a relative time."""
    seconds = int(max(_MIN_VALIDITY, min(lifetime, _MAX_VALIDITY)))
    minutes, hours = seconds // 60, seconds // 3600
    return f"0000{hours // 24:02}{hours % 24:02}{minutes % 60:02}{seconds % 60:02}000R"
