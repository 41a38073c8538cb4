"""The page for unsubscribing: HTML without a mistake, readable, in the user's language, and nothing of anybody else."""

import base64
import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from justhtml import JustHTML

from gatepost.config.unsubscribe_page import PageTexts, UnsubscribePage
from gatepost.links import pages
from gatepost.links.pages import choose_language, client_pages, luminance, readable_on

GERMAN = PageTexts(title="Abmelden", text="Keine Mails mehr?", button="Ja", done="Abgemeldet.")
HOSTILE = '</title></style><script>alert("1")</script>&amp;{style}'
PAGES = {
    **client_pages(UnsubscribePage(languages={"de": GERMAN})),
    "hostile": client_pages(UnsubscribePage(title=HOSTILE, text=HOSTILE, button=HOSTILE, done=HOSTILE))["en"],
}
ALL = [pages.GONE, pages.LATER, *(page for both in PAGES.values() for page in both)]

colours = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


def parsed(page):
    """Return a page as a parser reads it that finds every mistake."""
    return JustHTML(page.html.decode(), strict=True, sanitize=False)


@pytest.mark.parametrize("page", ALL)
def test_each_page_is_html_without_a_mistake_and_loads_nothing(page):
    document = parsed(page)

    assert document.query("html")[0].attrs["lang"]
    assert document.query("title")[0].to_text()
    assert len(document.query("h1")) == 1
    assert not document.query("script, link, img, iframe, a, input")
    assert {name for element in document.query("*") for name in element.attrs} <= {
        "charset",
        "content",
        "dir",
        "lang",
        "method",
        "name",
        "role",
    }
    assert "url(" not in page.html.decode()


@pytest.mark.parametrize("page", ALL)
def test_the_policy_of_each_page_allows_its_own_style_and_nothing_else(page):
    (style,) = re.findall(rb"<style>(.*?)</style>", page.html, re.DOTALL)

    digest = base64.b64encode(sha256(style).digest()).decode()
    assert page.policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


def test_the_question_has_one_button_that_posts_to_the_same_address():
    (form,) = parsed(PAGES["de"].question).query("form")
    (button,) = parsed(PAGES["de"].question).query("button")

    assert form.attrs == {"method": "post"}
    assert button.to_text() == "Ja"
    assert not parsed(PAGES["de"].done).query("form, button")


def test_texts_are_texts():
    for page in PAGES["hostile"]:
        assert HOSTILE in [one.to_text() for one in parsed(page).query("h1")]


@given(colours, colours)
def test_every_text_has_the_contrast_that_wcag_asks_for(background, button):
    style = client_pages(UnsubscribePage(background=background, button_colour=button))["en"].question.html
    pairs = re.findall(rb"background:(#\w{6});color:(#\w{6})", style)

    assert len(pairs) == 2
    for on, text in pairs:
        light, dark = sorted((luminance(on.decode()), luminance(text.decode())), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_luminance_is_that_of_wcag():
    assert (luminance("#000000"), luminance("#ffffff")) == (0.0, pytest.approx(1.0))
    assert luminance("#777777") == pytest.approx(0.1845, abs=1e-4)
    assert (readable_on("#777777"), readable_on("#ffff00")) == ("#000000", "#000000")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("DE-at", "de"),
        ("fr, en;q=0.5, de;q=0.7", "de"),
        ("de;q=0, en", "en"),
        ("de;q=0", "en"),
        ("pt-BR", "pt-BR"),
        ("pt", "pt-BR"),
        ("pt-PT,de;q=0.9", "pt-BR"),
        ("p,br", "en"),
        ("fr;q=1,*", "en"),
        ("de;q=x", "de"),
        (";;;,,,=", "en"),
        ("a," * 30 + "de", "en"),
        ("x" * 500 + ",de", "en"),
    ],
)
def test_the_language_is_the_first_of_the_browser_that_the_client_has(accepted, language):
    assert choose_language(accepted, {"en": 1, "de": 2, "pt-BR": 3}) == language


def test_who_reads_another_english_gets_english():
    """Before the languages that the user reads less well: browsers send en-US and en, whatever the texts are named."""
    assert choose_language("en-US,en;q=0.9,de;q=0.8", {"en-GB": 1, "de": 2}) == "en-GB"


@given(st.text())
def test_any_accept_language_chooses_one(accepted):
    assert choose_language(accepted, PAGES) in PAGES
