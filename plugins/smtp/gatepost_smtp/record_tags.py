"""The tags of a DKIM or DMARC record."""


def tags_of(record: str) -> dict[str, str]:
    """Return the values by tag, without blanks."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}
