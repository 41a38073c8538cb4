"""The codes of SendGrid's errors: the HTTP status and the name of the field. Pure functions."""

import re

from gatepost_sendgrid.messages import ID_ARGUMENT

# The path of a field of our request, at most six of its names and of indices. Everything else in an error may quote
# an address.
_NAME = (
    "personalizations|to|from|reply_to|email|name|subject|headers|content|type|value|custom_args|categories|"
    f"tracking_settings|click_tracking|open_tracking|enable|enable_text|mail_settings|sandbox_mode|{ID_ARGUMENT}"
)
_FIELD_PATH = re.compile(rf"(?:{_NAME}|[0-9]{{1,3}})(?:\.(?:{_NAME}|[0-9]{{1,3}})){{0,5}}")


def error_code(status: int, answer: object) -> str:
    """Return the HTTP status and the first field with an error: ``400 personalizations.0.to.0.email``.

    SendGrid has no error codes, and its messages quote addresses.
    """
    match answer:
        case {"errors": [{"field": str(path)}, *_]} if _FIELD_PATH.fullmatch(path):
            return f"{status} {path}"
    return str(status)
