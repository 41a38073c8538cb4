"""What a deliver_sm reports: a receipt about a message, or a text of a user. Pure functions."""

import re
from collections.abc import Mapping

from gatepost import wire
from gatepost.model import Report, Secret, Status, StatusEvent
from gatepost_smpp import pdu
from gatepost_smpp.pdu import Delivery
from gatepost_smpp.settings import Settings

# The values of message_state (section 5.2.28), from 1 on, as ``stat`` names them (appendix B), and what each means.
STATUSES: Mapping[str, Status | None] = {
    "ENROUTE": Status.ACCEPTED,
    "DELIVRD": Status.DELIVERED,
    **dict.fromkeys(("EXPIRED", "DELETED", "UNDELIV"), Status.FAILED),
    "ACCEPTD": Status.ACCEPTED,
    "UNKNOWN": None,
    "REJECTD": Status.REJECTED,
}
_STATES = dict(enumerate(STATUSES, 1))
_MALFORMED = Report(ignored={"malformed": 1})
_KIND, _TEXT, _RECEIPTS = 0x3C, 0x00, frozenset({0x04, 0x20})
"""The bits of esm_class that tell a text of a user from a receipt and other acknowledgements."""
_FIELD = re.compile(r"\b(id|stat|err): *([!-~]+)", re.IGNORECASE)
# What the user was sent stands at the end of a receipt, and may look like the rest.
_QUOTE = re.compile(r"\btext:.*", re.IGNORECASE | re.DOTALL)
_HEX = re.compile(r"[0-9A-Fa-f]{1,64}")
_NUMBER = re.compile(r"\+?([1-9][0-9]{6,14})")
_NATIONAL = 2


def canonical_id(raw: bytes, settings: Settings, *, answered: bool = False) -> str:
    """Return a provider's id so that the one in an answer equals the one in a receipt; empty for what can't be one.

    Neither leading zeros count nor the case of a hexadecimal number; a number is made decimal.
    """
    text = wire.safe_id(_text(raw))
    if not _HEX.fullmatch(text):
        return text
    if settings.receipt_ids == ("decimal" if answered else "hex"):
        text = str(int(text, 16))
    return text.lower().lstrip("0") or "0"


def read_report(body: bytes, settings: Settings, own_ids: Mapping[str, str]) -> Report:
    """Return what a deliver_sm means; ``own_ids`` are our ids of some messages, by the provider's."""
    try:
        delivery = pdu.read_delivery(body)
    except (ValueError, IndexError):
        return _MALFORMED
    text = delivery.text.decode("utf-16-be" if delivery.data_coding == pdu.UCS2 else "latin-1", "replace")
    kind, parameters = delivery.esm_class & _KIND, delivery.parameters
    if kind == _TEXT and pdu.RECEIPTED_MESSAGE_ID not in parameters:
        return _user_report(delivery, text, settings)
    if kind not in {_TEXT, *_RECEIPTS}:
        return Report(ignored={"acknowledgement": 1})
    fields = {name.lower(): value for name, value in reversed(_FIELD.findall(_QUOTE.sub("", text)))}
    raw_id = parameters.get(pdu.RECEIPTED_MESSAGE_ID) or fields.get("id", "").encode()
    provider_id = canonical_id(raw_id, settings)
    message_id = wire.safe_id(_text(parameters.get(settings.reference_tag or 0, b"")))
    state = int.from_bytes(parameters.get(pdu.MESSAGE_STATE, b""))
    stat = _STATES.get(state) or fields.get("stat", "").upper()
    if not (provider_id or message_id) or stat not in STATUSES:
        return _MALFORMED
    if (status := STATUSES[stat]) is None:
        return Report(ignored={"unknown": 1})
    network_error = int.from_bytes(parameters.get(pdu.NETWORK_ERROR_CODE, b"")[1:3])
    error = wire.safe_code(network_error or fields.get("err", ""))
    code = f"{stat} {error}" if error.strip("0") else stat
    event = StatusEvent(
        status=status,
        message_id=message_id or own_ids.get(provider_id, ""),
        provider_id=provider_id,
        code=code if status in {Status.FAILED, Status.REJECTED} else "",
    )
    return Report(events=[event])


def _user_report(delivery: Delivery, text: str, settings: Settings) -> Report:
    word = text.strip(" .!\"'\r\n\t").casefold()
    if word not in map(str.casefold, settings.stop_words):
        return Report(ignored={"inbound": 1})
    number = _NUMBER.fullmatch(delivery.source)
    if number is None or delivery.source_ton == _NATIONAL:
        return _MALFORMED
    return Report(events=[StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(f"+{number[1]}"))])


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("ascii", "replace")
