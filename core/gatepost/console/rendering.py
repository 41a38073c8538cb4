"""The templates of the pages, and how values look in them."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response
from litestar.exceptions import ClientException
from litestar.response import Template

from gatepost import __version__
from gatepost.console.access import ConsoleRequest, SignedIn
from gatepost.upkeep.durations import duration
from gatepost.web.admin.words import moment_text, size_text

PAGES = (
    ("/", "Overview"),
    ("/messages", "Messages"),
    ("/plugins", "Plugins"),
    ("/callbacks", "Callbacks"),
    ("/stats", "Statistics"),
    ("/audit", "Audit"),
)
"""Path and name of each page that the navigation shows."""


def environment() -> Environment:
    """Return Jinja's environment: everything is escaped, and an unknown name is an error."""
    result = Environment(
        loader=PackageLoader("gatepost.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    result.filters |= {"moment": moment, "duration": duration, "number": number, "size": size_text}
    result.globals |= {"version": __version__, "pages": PAGES}
    return result


def moment(seconds: float | None) -> str:
    """Return a time (seconds since the epoch) as ``2026-11-27 10:30:00Z``; empty for None."""
    return "" if seconds is None else moment_text(seconds)


def number(value: int) -> str:
    """Return a number with a thin space between groups of three digits."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def text_field(fields: Mapping[str, Any], name: str) -> str:
    """Return a field of a form or of a query; empty where it is missing. Raises ClientException for no plain text."""
    text = str(fields.get(name, ""))
    if not text.isprintable():
        # PostgreSQL takes no NUL, and no page has a field of several lines.
        raise ClientException(f"The field {name} holds a character that can't be shown. Nothing was done.")
    return text


def page(request: ConsoleRequest, name: str, *, status: int = 200, **context: Any) -> Response[Any]:
    """Return a page: a template with the user and with this context."""
    signed_in = request.scope.get("user")
    return Template(
        template_name=name,
        context={
            "signed_in": signed_in if isinstance(signed_in, SignedIn) else None,
            "path": request.url.path,
            **context,
        },
        status_code=status,
    )
