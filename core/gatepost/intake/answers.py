"""The two answers to a request for a message."""

import msgspec

from gatepost.errors import Refused


def accepted(ext_message_id: str) -> bytes:
    """Return the answer for an accepted message; ids are [0-9a-f-] and need no quoting."""
    return b'{"error_code":0,"ext_message_id":"' + ext_message_id.encode() + b'"}'


def refused(error: Refused) -> bytes:
    """Return the answer for a refused request."""
    return msgspec.json.encode({"error_code": int(error.code), "error_message": error.message})
