"""Messages of one campaign have one key, by which the breaker tells a refused content from a broken provider."""

from types import SimpleNamespace

import msgspec
import pytest

from gatepost.delivery.attempt import content_key
from gatepost.model import Email, Mailbox, Secret, Sms

MAIL = Email(
    id="1" * 36,
    recipient=Secret("ana@example.com"),
    sender=Mailbox("brand@example.com"),
    subject="Hello Ana",
    html="<p>Ana</p>",
    text="Ana",
    lifetime=60.0,
)
TEXT = Sms(id="1" * 36, recipient=Secret("+447700900123"), sender="Brand", text="Hello Ana", lifetime=60.0)


def key(message, template="Hello {{contact.first_name}}", client="brand"):
    return content_key(SimpleNamespace(client=client), message, template)


@pytest.mark.parametrize(
    ("message", "changes"), [(MAIL, {"subject": "Hello Bo"}), (TEXT, {"text": "Hello Bo"})]
)
def test_values_of_merge_fields_make_no_other_content(message, changes):
    assert key(message) == key(msgspec.structs.replace(message, **changes))


@pytest.mark.parametrize("message", [MAIL, TEXT])
def test_another_template_sender_or_client_is_another_content(message):
    other = msgspec.structs.replace(message, sender=Mailbox("x@example.com") if message is MAIL else "X")
    assert len({key(message), key(message, "Bye"), key(other), key(message, client="other")}) == 4
