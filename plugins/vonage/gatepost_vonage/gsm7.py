"""The alphabet of a plain text message: GSM 03.38, the default table and its extension."""

# In the order of the table's code points, sixteen to a line; 0x1B is the escape to the extension.
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
    """Whether every character is in the alphabet; one that is not would arrive as something else."""
    return _ALPHABET.issuperset(text)
