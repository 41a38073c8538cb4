"""What a contact source's own value of ``blocked`` means: the same in every source."""

BLOCKED = "blocked"
"""The reason of a user who must not be contacted, where the source knows no other."""

_NOT_BLOCKED = frozenset({"", "0", "false", "no"})
"""The words for a user who may be contacted, in lower case."""

_NO_REASONS = frozenset({*_NOT_BLOCKED, "1", "true", "yes"})


def blocked_reason(text: str) -> str:
    """Return the reason for ``Contact.blocked``; empty for a user who may be contacted: nothing, 0, false or no.

    For 1, true and yes it is BLOCKED. Any other text is the reason itself.
    """
    return "" if text.strip().lower() in _NOT_BLOCKED else reason_of(text)


def reason_of(text: str) -> str:
    """Return the reason in a text that blocks in any case: BLOCKED for one that says no more than yes or no."""
    reason = text.strip()
    return BLOCKED if reason.lower() in _NO_REASONS else reason
