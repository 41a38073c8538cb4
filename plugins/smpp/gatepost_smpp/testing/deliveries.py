"""The bodies of what a message centre delivers."""

from gatepost_smpp.testing import octets


def delivery(
    source: str,
    text: bytes,
    *,
    source_type: tuple[int, int] = (1, 1),
    esm_class: int = 0,
    data_coding: int = 0,
    options: bytes = b"",
) -> bytes:
    """Return the body of a deliver_sm."""
    addresses = bytes(source_type) + octets.text(source) + bytes((1, 1)) + octets.text("447700900000")
    times = octets.text("") * 2
    fixed = bytes((0, 0, data_coding, 0, len(text)))
    return b"".join((octets.text(""), addresses, bytes((esm_class, 0, 0)), times, fixed, text, options))


def text_of(number: str, text: str) -> bytes:
    """Return the body of a deliver_sm with the text of a user."""
    return delivery(number, text.encode("ascii"))
