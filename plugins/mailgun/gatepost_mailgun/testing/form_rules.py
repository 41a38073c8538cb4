"""What ``POST /v3/{domain}/messages`` accepts: its parameters, and the texts of its refusals."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import getaddresses
from urllib.parse import parse_qsl

Form = Sequence[tuple[str, str]]

MAX_MESSAGE = 25 * 1024 * 1024
"""Bytes of the largest message."""
MAX_OPTIONS = 16 * 1024
"""Bytes of all parameters that begin with o:, h:, v: or t:."""

_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~]+(\.[!#-'*+\-/-9=?A-Z^-~]+)*@[\w-]+(\.[\w-]+)+", re.ASCII)
_WINDOW = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?", re.ASCII)
_BOUNDARY = re.compile(r'multipart/form-data; *boundary="?([\w\'()+,./:=?-]{1,70})"?', re.ASCII)
_PART_NAME = re.compile(
    r'^content-disposition: form-data; name="([^"]*)"$', re.ASCII | re.IGNORECASE | re.MULTILINE
)


def _read_multipart(body: bytes, content_type: str) -> Form:
    boundary = _BOUNDARY.fullmatch(content_type)
    delimiter = f"\r\n--{boundary[1]}" if boundary else "\r\n"
    first, *parts, last = f"\r\n{body.decode()}".split(delimiter)
    if boundary is None or first or last != "--\r\n":
        raise ValueError("the body is not between its boundaries")
    form = []
    for part in parts:
        head, blank, text = part.partition("\r\n\r\n")
        name = _PART_NAME.search(head.replace("\r\n", "\n"))
        if not name or not blank:
            raise ValueError("a part has no name")
        form.append((name[1], text))
    return form


def _read_urlencoded(body: bytes, _content_type: str) -> Form:
    text = body.decode("ascii")
    return parse_qsl(
        text, keep_blank_values=True, strict_parsing=bool(body), encoding="utf-8", errors="strict"
    )


READERS: Mapping[str, Callable[[bytes, str], Form]] = {
    "multipart/form-data": _read_multipart,
    "application/x-www-form-urlencoded": _read_urlencoded,
}
"""What reads a form of each content type; raises ValueError."""


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value in values


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value, re.ASCII) is not None


def seconds(window: str) -> int:
    """Return the seconds of ``1h30m``; 0 for what is none."""
    found = _WINDOW.fullmatch(window)
    hours, minutes = found.groups() if found else (None, None)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60


_YES = ("yes", "no", "true", "false")
OPTIONS: Mapping[str, Callable[[str], bool]] = {
    "o:tag": _matches(r"[\x20-\x7e]{1,128}"),
    "o:dkim": _one_of(*_YES),
    "o:secondary-dkim": _matches(r".+/.+"),
    "o:secondary-dkim-public": _matches(r".+/.+"),
    "o:deliverytime": _matches(r"\w{3}, \d{1,2} \w{3} \d{4} [\d:]{8} .+"),
    "o:deliver-within": lambda value: 300 <= seconds(value) <= 86_400,
    "o:deliverytime-optimize-period": _matches(r"\d+h"),
    "o:time-zone-localize": _matches(r"\d\d:\d\d([ap]m)?"),
    "o:testmode": _one_of("yes"),
    "o:tracking": _one_of(*_YES, "htmlonly"),
    "o:tracking-clicks": _one_of(*_YES, "htmlonly"),
    "o:tracking-opens": _one_of(*_YES),
    "o:require-tls": _one_of(*_YES),
    "o:skip-verification": _one_of(*_YES),
    "o:sending-ip": _matches(r"[\d.]+"),
    "o:sending-ip-pool": _matches(r"\S+"),
    "o:tracking-pixel-location-top": _one_of(*_YES, "htmlonly"),
}
"""The options of a message, and which values each has."""
FIELDS = frozenset({"from", "to", "cc", "bcc", "subject", "text", "html", "amp-html"})
"""The parts of a message. Attachments and templates need another content type or an account that has them."""


def addresses(field: str) -> Sequence[tuple[str, str]]:
    """Return the names and addresses of a field, which commas outside of quotes separate."""
    return getaddresses([field]) if field else []


def value(form: Form, name: str) -> str:
    """Return the first value of a parameter; empty where it has none."""
    return next((text for own, text in form if own == name), "")


def missing(form: Form) -> Iterator[str]:
    """Yield the refusals of a form that lacks something."""
    for name in ("from", "to"):
        if not value(form, name):
            yield f"{name} parameter is missing"
    if not any(value(form, name) for name in ("text", "html", "amp-html")):
        yield "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"


def faults(form: Form) -> Iterator[str]:
    """Yield the refusals of a form, in Mailgun's words; an unknown parameter is refused, as it may be a mistake."""
    yield from missing(form)
    names = [name for name, _ in form]
    for name in ("from", "to", "cc", "bcc"):
        found = [address for own, field in form if own == name for _, address in addresses(field)]
        if any(not _ADDRESS.fullmatch(address) for address in found):
            yield f"{name} parameter is not a valid address. please check documentation"
    if names.count("from") > 1 or len(addresses(value(form, "from"))) > 1:
        yield "from parameter is not a valid address. please check documentation"
    if names.count("to") + names.count("cc") + names.count("bcc") > 1000:
        yield "Too many recipients, max is 1000"
    if names.count("o:tag") > 10:
        yield "A message can have at most 10 tags"
    if sum(len(name) + len(text.encode()) for name, text in form if name[1:2] == ":") > MAX_OPTIONS:
        yield "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total"
    if sum(len(text.encode()) for name, text in form if name in FIELDS) > MAX_MESSAGE:
        yield "the message is larger than 25 MB"
    for name, text in form:
        yield from _parameter_faults(name, text)


def _parameter_faults(name: str, text: str) -> Iterator[str]:
    kind, _, rest = name.partition(":")
    if name in FIELDS or (kind == "v" and re.fullmatch(r"[\w.-]+", rest, re.ASCII)):
        return
    if kind == "h" and rest:
        if not re.fullmatch(r"[!-9;-~]+", rest):
            yield f"Header name must be pure ASCII: {rest}"
    elif name not in OPTIONS:
        yield f"unknown parameter: {name}"
    elif not OPTIONS[name](text):
        yield f"{text} is not a valid value of {name}"
