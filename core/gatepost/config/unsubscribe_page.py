"""The settings of the page that a link for unsubscribing leads to."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

Colour = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")]


class PageTexts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The texts of the page in one language."""

    title: Annotated[str, Meta(min_length=1, description="the heading of the page")]
    text: Annotated[str, Meta(min_length=1, description="what is asked above the button")]
    button: Annotated[str, Meta(min_length=1, description="the text of the button")]
    done: Annotated[str, Meta(min_length=1, description="what the page says after the button was pressed")]


class UnsubscribePage(PageTexts, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page of one client. Texts on its colours are black or white, whichever is easier to read."""

    language: Annotated[str, Meta(description="the language of the texts here, such as en or pt-BR")] = "en"
    title: Annotated[str, Meta(min_length=1, description="the heading of the page")] = "Unsubscribe"
    text: Annotated[str, Meta(min_length=1, description="what is asked above the button")] = (
        "Do you want to stop receiving these emails?"
    )
    button: Annotated[str, Meta(min_length=1, description="the text of the button")] = "Unsubscribe"
    done: Annotated[
        str, Meta(min_length=1, description="what the page says after the button was pressed")
    ] = "You are unsubscribed. You will not receive these emails any more."
    background: Annotated[Colour, Meta(description="the colour of the page, as #rrggbb")] = "#ffffff"
    button_colour: Annotated[Colour, Meta(description="the colour of the button, as #rrggbb")] = "#1d4ed8"
    languages: Annotated[
        Mapping[str, PageTexts],
        Meta(description="the texts in other languages, by language; the browser's first one is shown"),
    ] = {}
