"""The users that a source is given before it is checked: put them into yours as they stand here."""

from collections.abc import Mapping

from gatepost.model import Contact, Secret


def _contact(email: str | None, phone: str | None) -> Contact:
    return Contact(email=Secret(email) if email else None, phone=Secret(phone) if phone else None)


_PLAIN: Mapping[str, Contact] = {
    "conformance-1": _contact("canary.one@people.example", "+447700900011"),
    "conformance-2": _contact("canary.two@people.example", "+447700900012"),
    "0017": _contact("canary.zero@people.example", "+447700900017"),
    "17": _contact("canary.seventeen@people.example", "+447700900071"),
    "Case-3": _contact("canary.upper@people.example", "+447700900013"),
}

_LACKING: Mapping[str, Contact] = {
    "only-email": _contact("canary.mail@people.example", None),
    "only-phone": _contact(None, "+447700900014"),
    "neither": _contact(None, None),
}

# What people type into forms, and what attackers do.
_STRANGE: Mapping[str, Contact] = {
    "odd-spaces": _contact("spaced out@people.example", "0044 (0)7700 900-015"),
    "odd-formula": _contact('=HYPERLINK("http://evil.example","x")', "+1+1"),
    "odd-quotes": _contact('"o\'brien, anna"@people.example', "'; DROP TABLE users; --"),
    "odd-header": _contact("anna@people.example;Bcc:eve@evil.example", "٠٧٧٠٠٩٠٠٠١٦"),
    "odd-letters": _contact("grüße@bücher.example", "７７００"),
    "odd-none": _contact("none", "null"),
    "odd-long": _contact(f"{'x' * 3000}@people.example", "9" * 300),
    "odd|pipe": _contact("a|b@people.example", "0000000"),
    "odd,comma": _contact("a,b@people.example", "00447700900018"),
    "ödd-😀": _contact("😀@people.example", "+"),
}

PEOPLE: Mapping[str, Contact] = {**_PLAIN, **_LACKING, **_STRANGE}
"""All of them, by ext_user_id."""

PLAIN = tuple(_PLAIN)
STRANGE = tuple(_STRANGE)
