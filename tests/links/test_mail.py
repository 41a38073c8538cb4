"""What mails get before they are sent: the headers of RFC 8058, and the pixel where browsers find it."""

import base64
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from justhtml import JustHTML

from gatepost.config.client import Client
from gatepost.config.routes import Routes
from gatepost.config.settings import Contacts, Delivery, Logs, Server, Settings, Store
from gatepost.html_tokens import find_end_tag, tokens
from gatepost.links import mail
from gatepost.links.mail import MailLinks, without_unsubscribe
from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import Email, Mailbox, Secret

KEY = Secret(base64.b64encode(bytes(32)).decode())
ID = "01a21e85-161e-7bf5-8c4d-ba517c85bdae"
PIXEL = re.compile(r'<img src="https://gate\.example/o/[\w-]{43}\.gif" width="1" height="1" alt="">')

CLIENTS = {
    "both": Client(authorization=(), unsubscribe=True, open_pixel=True),
    "none": Client(authorization=()),
    "own": Client(authorization=(), unsubscribe=True, public_url="https://brand.example/links/"),
}


@pytest.fixture
def links(tmp_path):
    return MailLinks(
        Settings(
            path=tmp_path,
            server=Server(public_url="https://gate.example", token_keys=(KEY,)),
            store=Store(),
            clients=CLIENTS,
            contacts=Contacts(),
            delivery=Delivery(),
            routes=Routes(),
            logs=Logs(),
            plugins={},
        )
    )


def email(client="both", html="<p>Hello</p>", **fields):
    return Email(
        id=ID,
        recipient=Secret("anna@players.example"),
        sender=Mailbox("n@brand.example"),
        subject="",
        html=html,
        text="Hello",
        lifetime=60.0,
        client=client,
        **fields,
    )


def test_a_mail_has_the_headers_of_rfc_8058(links):
    """As in section 8.1 of the RFC: an opaque identifier in the path of an HTTPS URI, and the fixed second header."""
    headers = links.add(email()).headers

    assert list(headers) == ["List-Unsubscribe", "List-Unsubscribe-Post"]
    token = re.fullmatch(r"<https://gate\.example/u/([\w-]{43})>", headers["List-Unsubscribe"])[1]
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert LinkTokens([KEY]).message_id(LinkKind.UNSUBSCRIBE, token) == ID


def test_a_brand_may_have_a_host_of_its_own(links):
    assert links.add(email("own")).headers["List-Unsubscribe"].startswith("<https://brand.example/links/u/")


def test_other_headers_stay_and_a_provider_with_its_own_mechanism_gets_none_of_ours(links):
    added = links.add(email(headers={"Feedback-ID": "1:brand"}))

    assert without_unsubscribe(added) == msgspec.structs.replace(added, headers={"Feedback-ID": "1:brand"})


def test_a_client_that_wants_no_links_has_none(links):
    assert links.add(email("none")) == email("none")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<html><body><p>Hi</p>", "</body></html>"),
        ("<BODY>Hi", "</BODY\r\n></HTML>"),
        ("<!-- </body> --><body><a title='</body>'>x</a><script>'</body>'</script>", "</body>"),
        ("<body><title></body></title><textarea></body></textarea>", "</body><p>more</p></body>"),
        ("<p>Hello", ""),
        ("<p>Hello</p></html>", ""),
        ("<p>Hello <b", ""),
    ],
)
def test_the_pixel_is_at_the_end_of_the_body_and_nothing_else_changes(links, before, after):
    found = links.add(email(html=before + after)).html

    assert found.startswith(before)
    assert found.endswith(after)
    assert PIXEL.fullmatch(found[len(before) : len(found) - len(after)])


@pytest.mark.parametrize("html", ["", "  \n"])
def test_a_mail_without_html_has_no_pixel(links, html):
    assert links.add(email(html=html)).html == html


def test_in_a_very_long_mail_the_end_of_the_body_is_not_looked_for(links, monkeypatch):
    monkeypatch.setattr(mail, "MAX_SEARCHED", 20)

    assert PIXEL.search(links.add(email(html="<p>123456</p></body>")).html).start() == 13
    assert PIXEL.search(links.add(email(html="<p>1234567</p></body>")).html).start() == 21


pieces = st.sampled_from(
    [
        "</body>",
        "</BODY >",
        "</body\n/>",
        "</bodyx>",
        "</body",
        "<body>",
        "<p a='</body>'>",
        '<p a="',
        "<!--",
        "-->",
        "--!>",
        "<!-->",
        "<!--->",
        "<!x",
        "<?",
        "</",
        "</ x>",
        "<script>",
        "</script>",
        "</SCRIPT >",
        "<style a>",
        "</style",
        "<plaintext>",
        "<title/>",
        "</title>",
        "<",
        ">",
        "'",
        '"',
        "=",
        " ",
        "\r",
        "\r\n",
        "a",
        "&lt;",
        "<p/a=b>",
    ]
)


@given(st.lists(pieces, max_size=30).map("".join))
def test_the_end_tag_is_the_one_that_the_tokens_have(html):
    at, expected = 0, len(html)
    for end, name, _source in tokens(html.replace("\r", "\n")):
        if name == "/body":
            expected = at
            break
        at = end

    assert find_end_tag(html, "body") == expected


@given(st.lists(pieces, max_size=30).map("".join))
def test_where_an_end_tag_is_found_a_parser_finds_the_pixel(html):
    at = find_end_tag(html, "body")
    pixel = '<img id="pixel" src="x">'
    if at < len(html):
        parsed = JustHTML(html[:at] + pixel + html[at:], sanitize=False)
        assert len(parsed.query("#pixel")) == 1
