"""The check of a submit_sm as SMPP 3.4, section 4.4.1, describes it, and what it says."""

import re
from collections.abc import Sequence

import msgspec

from gatepost.testing.received import ReceivedMessage
from gatepost_smpp.testing.octets import Fields, WrongLength

MESSAGE_PAYLOAD = 0x0424
DEFAULT_ALPHABET, UCS2 = 0, 8
_UDHI = 0x40
_LONGEST_TEXT = 254
_RELATIVE = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)000R")
_SECONDS = (365 * 86_400, 30 * 86_400, 86_400, 3_600, 60, 1)

# 3GPP TS 23.038, as rows of sixteen; "\x1b" leads to the second table.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅå",
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ",
    " !\"#¤%&'()*+,-./",
    "0123456789:;<=>?",
    "¡ABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÄÖÑÜ§",
    "¿abcdefghijklmno",
    "pqrstuvwxyzäöñüà",
)
_SECOND = {10: "\f", 20: "^", 40: "{", 41: "}", 47: "\\", 60: "[", 61: "~", 62: "]", 64: "|", 101: "€"}


class Refused(Exception):
    """The message centre answers with this command_status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"0x{status:08X}")
        self.status = status


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One submit_sm."""

    source: str
    source_type: tuple[int, int]
    destination: str
    destination_type: tuple[int, int]
    validity: float | None
    wants_receipt: bool
    data_coding: int
    octets: bytes
    """The text without its header."""
    part: tuple[int, int, int] | None = None
    """Reference, number of parts and number of this one, where it is a part."""
    is_payload: bool = False
    reference: str = ""
    """Our id of the message, in the parameter for it."""
    number: int = 0
    """The message centre's own count."""

    @property
    def text(self) -> str:
        """The text of this part."""
        return decode(self.octets, self.data_coding)


def decode(octets: bytes, data_coding: int) -> str:
    """Return a text; the default alphabet has an octet for each code."""
    if data_coding == UCS2:
        return octets.decode("utf-16-be", "surrogatepass")
    found: list[str] = []
    codes = iter(octets)
    for code in codes:
        if code > 127:
            raise Refused(0x45)
        character = _BASIC[code // 16][code % 16]
        found.append(_SECOND[next(codes)] if character == "\x1b" else character)
    return "".join(found)


def read_submission(body: bytes, reference_tag: int, number: int) -> Submission:
    """Return what a submit_sm says; raise Refused with the status of its first fault."""
    try:
        return _read(Fields(body), reference_tag, number)
    except WrongLength:
        raise Refused(0x02) from None
    except (KeyError, StopIteration):
        raise Refused(0x45) from None


def _read(fields: Fields, reference_tag: int, number: int) -> Submission:
    _expect(fields.text(6) == "", 0x15)
    source_type = fields.number(), fields.number()
    source = fields.text(21)
    destination_type = fields.number(), fields.number()
    destination = fields.text(21)
    esm_class, protocol, priority = fields.number(), fields.number(), fields.number()
    schedule, validity = fields.text(17), fields.text(17)
    receipt, replace = fields.number(), fields.number()
    data_coding, default_message = fields.number(), fields.number()
    octets = fields.octets(fields.number())
    options = fields.options()
    _expect(destination_type == (1, 1), 0x50)
    _expect(re.fullmatch(r"[1-9]\d{6,14}", destination) is not None, 0x0B)
    _check_source(source_type, source)
    _expect(esm_class in {0, _UDHI}, 0x43)
    _check_unused(protocol, priority, schedule, replace, default_message)
    _expect(receipt in {0, 1}, 0x07)
    _expect(set(options) <= {MESSAGE_PAYLOAD, reference_tag}, 0xC1)
    is_payload = MESSAGE_PAYLOAD in options
    _expect(not octets if is_payload else len(octets) <= _LONGEST_TEXT, 0x01)
    octets = options.get(MESSAGE_PAYLOAD, octets)
    part, octets = _split_header(octets) if esm_class & _UDHI else (None, octets)
    _check_text(octets, data_coding, is_part=part is not None, is_payload=is_payload)
    reference = options.get(reference_tag, b"\0")
    _expect(reference.endswith(b"\0") and len(reference) <= 65, 0xC4)
    return Submission(
        source=source,
        source_type=source_type,
        destination=destination,
        destination_type=destination_type,
        validity=_seconds(validity),
        wants_receipt=bool(receipt),
        data_coding=data_coding,
        octets=octets,
        part=part,
        is_payload=is_payload,
        reference=reference[:-1].decode("ascii"),
        number=number,
    )


def _check_unused(protocol: int, priority: int, schedule: str, replace: int, default_message: int) -> None:
    """Refuse what this message centre does not offer."""
    _expect(protocol == priority == 0, 0x06)
    _expect(schedule == "", 0x61)
    _expect(replace == 0, 0x54)
    _expect(default_message == 0, 0x63)


def _check_source(source_type: tuple[int, int], source: str) -> None:
    """Refuse a sender that its TON does not allow."""
    forms = {(1, 1): r"[1-9]\d{6,14}", (3, 0): r"\d{3,6}", (5, 0): r"[A-Za-z][A-Za-z0-9 &._-]{0,10}"}
    _expect(source_type in forms, 0x48)
    _expect(re.fullmatch(forms[source_type], source) is not None, 0x0A)


def _split_header(octets: bytes) -> tuple[tuple[int, int, int], bytes]:
    """Return reference, count and number of a part, and its text."""
    header = octets[:6]
    _expect(header[:3] == b"\5\0\3" and 1 <= header[5] <= header[4], 0x43)
    return (header[3], header[4], header[5]), octets[6:]


def _check_text(octets: bytes, data_coding: int, *, is_part: bool, is_payload: bool) -> None:
    """Refuse a text that can't be read, or does not fit into the message of a handset."""
    _expect(data_coding in {DEFAULT_ALPHABET, UCS2}, 0x45)
    single, part = {DEFAULT_ALPHABET: (160, 153), UCS2: (140, 134)}[data_coding]
    longest = part * 255 if is_payload else part if is_part else single
    _expect(len(octets) <= longest, 0x01)
    _expect(data_coding == DEFAULT_ALPHABET or len(octets) % 2 == 0, 0x01)
    decode(octets, data_coding)


def _seconds(validity: str) -> float | None:
    if not validity:
        return None
    found = _RELATIVE.fullmatch(validity)
    if found is None:
        raise Refused(0x62)
    return float(sum(int(value) * unit for value, unit in zip(found.groups(), _SECONDS, strict=True)))


def messages_of(submissions: Sequence[Submission]) -> list[ReceivedMessage]:
    """Return the messages whose parts are all there, in order."""
    messages: list[ReceivedMessage] = []
    parts: dict[tuple[str, int], list[Submission]] = {}
    for one in submissions:
        known = [one]
        if one.part:
            known = parts.setdefault((one.destination, one.part[0]), [])
            known.append(one)
            if len(known) < one.part[1]:
                continue
            del parts[one.destination, one.part[0]]
        messages.append(_message(known))
    return messages


def _message(parts: Sequence[Submission]) -> ReceivedMessage:
    last = parts[-1]
    octets = b"".join(one.octets for one in sorted(parts, key=lambda one: one.part or ()))
    return ReceivedMessage(
        id=last.reference,
        recipients=[f"+{last.destination}"],
        sender=f"+{last.source}" if last.source_type == (1, 1) else last.source,
        text=decode(octets, last.data_coding),
        lifetime=last.validity,
        raw=repr(parts),
    )


def _expect(condition: bool, status: int) -> None:
    if not condition:
        raise Refused(status)
