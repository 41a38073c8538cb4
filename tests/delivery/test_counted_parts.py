"""The parts of a text message that the gateway counts itself, where its provider does not say them."""

import pytest

from gatepost.delivery.attempt import try_record
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Email, Mailbox, Receipt, Secret, Sms

EMAIL = Email(
    id="1" * 36,
    recipient=Secret("ana@example.com"),
    sender=Mailbox("brand@example.com"),
    subject="Hello",
    html="<p>Hello</p>",
    text="Hello " * 100,
    lifetime=60.0,
)


def sms(text):
    return Sms(id="1" * 36, recipient=Secret("+447700900123"), sender=None, text=text, lifetime=60.0)


def parts_of(message, answer):
    one = try_record("eu", message, answer, 0.1, "", 0.0, "")
    return one.parts, one.counted_parts


@pytest.mark.parametrize(("text", "counted"), [("Hello", 1), ("x" * 161, 2), ("Приве́т" * 11, 2)])
def test_a_text_message_is_counted_where_its_provider_says_no_parts(text, counted):
    assert parts_of(sms(text), Receipt()) == (0, counted)


def test_what_the_provider_says_is_not_counted_again():
    assert parts_of(sms("Hello"), Receipt(parts=3)) == (3, 0)


@pytest.mark.parametrize("answer", [Rejected("no"), Unavailable("down"), Uncertain("lost")])
def test_what_no_provider_took_has_no_parts(answer):
    assert parts_of(sms("Hello"), answer) == (0, 0)


def test_a_mail_has_no_parts():
    assert parts_of(EMAIL, Receipt()) == (0, 0)


@pytest.mark.parametrize(("text", "character"), [("Hello €", ""), ("Hello “Anna” ✓", "“"), ("Привет", "П")])
def test_the_first_character_outside_the_gsm_alphabet_is_kept(text, character):
    one = try_record("eu", sms("other ✓"), Receipt(parts=1), 0.1, "", 0.0, text)
    assert one.not_gsm7 == character
