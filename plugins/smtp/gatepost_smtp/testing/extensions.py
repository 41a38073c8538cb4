"""What a strict server refuses because it did not offer the extension for it."""

from collections.abc import Sequence

_EXTENSIONS = {
    "SIZE": "SIZE",
    "BODY": "8BITMIME",
    "SMTPUTF8": "SMTPUTF8",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
}
"""The extensions of the parameters of MAIL and RCPT."""


def refusal_of_command(line: bytes, mail: bytes, extensions: Sequence[str]) -> str:
    """Return the answer to a MAIL or RCPT that uses what is not offered, after this MAIL; empty: it does not."""
    offered = {extension.split()[0] for extension in extensions}
    for parameter in line.rpartition(b">")[2].split():
        if _EXTENSIONS.get(parameter.partition(b"=")[0].decode("ascii", "replace").upper()) not in offered:
            return "555 5.5.4 unsupported parameter"
    return "" if line.isascii() or b" SMTPUTF8" in mail else "553 5.6.7 SMTPUTF8 is missing in MAIL"


def refusal_of_content(content: bytes, mail: bytes) -> str:
    """Return the answer to a content that needs what its MAIL did not announce; empty: it does not."""
    headers, _, body = content.partition(b"\r\n\r\n")
    if not headers.isascii() and b" SMTPUTF8" not in mail:
        return "554 5.6.9 headers with UTF-8 need SMTPUTF8"
    if not body.isascii() and b" BODY=8BITMIME" not in mail:
        return "554 5.6.3 eight bits need BODY=8BITMIME"
    return "554 5.6.0 a line is too long" if max(map(len, content.split(b"\r\n"))) > 998 else ""
