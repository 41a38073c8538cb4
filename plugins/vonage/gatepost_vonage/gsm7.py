"""The alphabet of a plain text message: the default table of GSM 03.38 and its extension."""

# In the order of the table's code points, sixteen per line; 0x1B is the escape to the extension.
_DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"

_ALPHABET = frozenset(_DEFAULT + _EXTENSION)


def is_gsm7(text: str) -> bool:
    """Tell whether the alphabet has every character; another one would arrive as a different character."""
    return _ALPHABET.issuperset(text)
