"""The users that a contact source must hold while it is checked."""

from collections.abc import Mapping

from gatepost.model import Contact, Secret


def _contact(email: str | None, phone: str | None, blocked: str = "") -> Contact:
    return Contact(
        email=Secret(email) if email else None, phone=Secret(phone) if phone else None, blocked=blocked
    )


_USUAL: Mapping[str, Contact] = {
    "conformance-1": _contact("canary.one@people.example", "+447700900011"),
    "conformance-2": _contact("canary.two@people.example", "+447700900012"),
    "0017": _contact("canary.zero@people.example", "+447700900017"),
    "17": _contact("canary.seventeen@people.example", "+447700900071"),
    "Case-3": _contact("canary.upper@people.example", "+447700900013"),
}

_INCOMPLETE: Mapping[str, Contact] = {
    "only-email": _contact("canary.mail@people.example", None),
    "only-phone": _contact(None, "+447700900014"),
    "neither": _contact(None, None),
}

# What people and attackers type into forms.
_ODD: Mapping[str, Contact] = {
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

SAMPLE_CONTACTS: Mapping[str, Contact] = {**_USUAL, **_INCOMPLETE, **_ODD}
"""All who may be contacted, by ext_user_id."""
BLOCKED_CONTACTS: Mapping[str, Contact] = {
    "blocked-1": _contact("canary.excluded@people.example", "+447700900019", "self-excluded"),
    "blocked-2": _contact(None, None, "closed account"),
}
"""The users who must not be contacted, for a source that knows some, by ext_user_id."""

USUAL = tuple(_USUAL)
"""The ext_user_ids with a usual address and number."""
ODD = tuple(_ODD)
"""The ext_user_ids whose address and number a form should have refused."""
