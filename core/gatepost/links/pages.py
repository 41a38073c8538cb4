"""The pages behind a link for unsubscribing: they work without scripts, and load and tell nothing."""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from typing import NamedTuple

from gatepost.config.unsubscribe_page import PageTexts, UnsubscribePage

MAX_LANGUAGES = 20
"""Languages of a browser that are looked at."""

MAX_LANGUAGE_HEADER = 500
"""Characters of Accept-Language that are read."""

_DOCUMENT = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main dir="auto">
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""

_STYLE = """\
body{{margin:0;background:{background};color:{text};font:1.125rem/1.5 system-ui,sans-serif}}
main{{max-width:32rem;margin:15vh auto 0;padding:1.5rem;text-align:center}}
h1{{font-size:1.5rem}}
button{{font:inherit;padding:.75rem 2rem;border:2px solid {text};border-radius:.5rem;\
background:{button};color:{button_text};cursor:pointer}}
button:focus-visible{{outline:3px solid {text};outline-offset:3px}}"""

_QUALITY = re.compile(r"q=([01](?:\.[0-9]{0,3})?)", re.ASCII)


class Page(NamedTuple):
    """An HTML page with its HTTP status and its Content-Security-Policy."""

    status: int
    html: bytes
    policy: str


class ClientPages(NamedTuple):
    """The pages of one client in one language."""

    question: Page
    done: Page


def client_pages(page: UnsubscribePage) -> Mapping[str, ClientPages]:
    """Return the pages of a client by their languages; the first language is the client's own."""
    style = _style(page.background, page.button_colour)
    texts: dict[str, PageTexts] = {page.language: page, **page.languages}
    return {
        language: ClientPages(
            _page(
                200,
                language,
                one.title,
                style,
                f'<p>{escape(one.text)}</p>\n<form method="post"><button>{escape(one.button)}</button></form>',
            ),
            _page(200, language, one.title, style, f'<p role="status">{escape(one.done)}</p>'),
        )
        for language, one in texts.items()
    }


def _plain_page(status: int, title: str, text: str) -> Page:
    default = UnsubscribePage()
    style = _style(default.background, default.button_colour)
    return _page(status, "en", title, style, f"<p>{escape(text)}</p>")


def _page(status: int, language: str, title: str, style: str, content: str) -> Page:
    document = _DOCUMENT.format(language=escape(language), title=escape(title), style=style, content=content)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return Page(status, document.encode(), policy)


def _style(background: str, button: str) -> str:
    return _STYLE.format(
        background=background, text=readable_on(background), button=button, button_text=readable_on(button)
    )


def readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast with this colour: never less than 4.5, as WCAG asks."""
    return "#000000" if luminance(colour) > 0.179 else "#ffffff"


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, ``#rrggbb``, as WCAG defines it."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)


def choose_language(accepted: str, languages: Mapping[str, object]) -> str:
    """Return which of these languages a browser with this Accept-Language prefers; the first where it has none."""
    by_tag = {language.lower(): language for language in languages}
    # Not in RFC 4647: who reads any Portuguese reads pt-BR rather than English.
    for tag, language in list(by_tag.items()):
        by_tag.setdefault(tag.partition("-")[0], language)
    wanted = [_wanted(one) for one in accepted[:MAX_LANGUAGE_HEADER].lower().split(",")[:MAX_LANGUAGES]]
    for quality, wanted_tag in sorted(wanted, key=lambda one: -one[0]):
        # de-AT is served with de, as RFC 4647 §3.4 looks languages up.
        tag = wanted_tag if quality else ""
        while tag:
            if tag in by_tag:
                return by_tag[tag]
            tag = tag.rpartition("-")[0]
    return next(iter(languages))


def _wanted(element: str) -> tuple[float, str]:
    tag, _, parameters = element.partition(";")
    quality = _QUALITY.fullmatch(parameters.strip())
    return (float(quality[1]) if quality else 1.0), tag.strip()


GONE = _plain_page(
    404,
    "This link does not work any more",
    "It may be too old, or not complete. Use the link in a newer email, or the settings of your account, or ask "
    "the sender to stop sending you emails.",
)
"""The answer for an invalid token and for a message that is no longer known. It is the same, so that guessing tells nothing."""

LATER = _plain_page(503, "This does not work right now", "Please try again in a few minutes.")
