"""The codes of SendGrid's errors: the HTTP status and the name of the field. Pure functions."""

from gatepost_sendgrid.messages import ID_ARGUMENT

# The names in the path of a field of our request. An error's path passes only if it consists of these and of
# indices; everything else in an error may quote an address.
_FIELD_NAMES = frozenset(
    {
        *(
            "personalizations",
            "to",
            "from",
            "reply_to",
            "email",
            "name",
            "subject",
            "content",
            "type",
            "value",
        ),
        *("custom_args", ID_ARGUMENT, "categories", "tracking_settings", "click_tracking", "open_tracking"),
        *("enable", "enable_text", "mail_settings", "sandbox_mode"),
    }
)
_MAX_PATH_LENGTH = 6


def error_code(status: int, answer: object) -> str:
    """Return the HTTP status and the first field with an error: ``400 personalizations.0.to.0.email``.

    SendGrid has no error codes, and its messages quote addresses.
    """
    match answer:
        case {"errors": [{"field": str(path)}, *_]} if _is_field_path(path):
            return f"{status} {path}"
    return str(status)


def _is_field_path(path: str) -> bool:
    names = path.split(".")
    return len(names) <= _MAX_PATH_LENGTH and all(
        name in _FIELD_NAMES or (name.isascii() and name.isdigit() and len(name) <= 3) for name in names
    )
