"""The message files: any content is stored, and no content adds a header or a recipient."""

import json
from email import message_from_bytes, policy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox, Secret, Sms
from gatepost_sandbox import messages

HEADERS = ["Date", "Message-ID", "From", "To", "Reply-To", "Subject"]
BODY_HEADERS = {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}

HOSTILE = (
    st.text()
    | st.text(alphabet='=?utf8qQbB_0DdA,;:<>@"\\() \r\n\t\x00é\ud800\u2028\x85', max_size=80)
    | st.text(min_size=70, max_size=300)
)


def email(recipient="anna@people.example", subject="Hello", name="", body="Hello"):
    return Email(
        id="6f1c2f0e-8f4e-4a51-9f0f-0b8d3c6a1e11",
        recipient=Secret(recipient),
        sender=Mailbox("noreply@amazing.example", name),
        reply_to=Mailbox("help@amazing.example", name),
        subject=subject,
        html=body,
        text=body,
        lifetime=60.0,
    )


def header_names(content):
    return message_from_bytes(content).keys()


def without_whitespace(text):
    return "".join(str(text).split())


def check_headers(content):
    names = header_names(content)
    assert names[:6] == HEADERS
    assert set(names[6:]) <= BODY_HEADERS
    assert len(names) == len(set(names))


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_content_adds_a_header_and_all_of_it_is_stored(subject, name, body):
    content = messages.email_file(email(subject=subject, name=name, body=body))
    check_headers(content)
    mail = message_from_bytes(content, policy=policy.SMTP)
    [sender] = mail["From"].addresses
    assert sender.addr_spec == "noreply@amazing.example"
    assert [address.addr_spec for address in mail["To"].addresses] == ["anna@people.example"]
    if not any(sign in subject + name for sign in "=\x00\ud800") and (subject + name).isprintable():
        assert without_whitespace(mail["Subject"]) == without_whitespace(subject)
        assert without_whitespace(sender.display_name) == without_whitespace(name)


@given(HOSTILE | st.from_regex(r".{0,20}@.{0,20}"))
def test_no_recipient_adds_a_header_or_another_recipient(recipient):
    try:
        content = messages.email_file(email(recipient))
    except Rejected:
        return
    check_headers(content)
    [to] = message_from_bytes(content, policy=policy.SMTPUTF8)["To"].addresses
    assert without_whitespace(to.addr_spec).strip("<>")


@pytest.mark.parametrize(
    "injection",
    [
        "=?utf-8?q?Hi=0D=0ABcc=3A_eve=40evil.example?=",
        "=?utf-8?b?SGkNCkJjYzogZXZlQGV2aWwuZXhhbXBsZQ==?=",
        "a =?utf-8?q?=0ABcc=3Aeve=40evil.example?= b",
        "=?=?utf-8?q?utf-8?q?=0ABcc:eve?=",
        "Hi\r\nBcc: eve@evil.example",
        "Hi\x85Bcc: eve@evil.example",
        "Hi\u2028Bcc: eve@evil.example",
    ],
)
def test_a_header_in_a_subject_or_a_name_stays_text(injection):
    content = messages.email_file(email(subject=injection, name=injection))
    check_headers(content)
    assert not any(line.lower().startswith(b"bcc") for line in content.splitlines())


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "anna",
        "anna@",
        "@people.example",
        "anna@people.example\r\nBcc: eve@evil.example",
        "anna@people.example, eve@evil.example",
        "anna@people.example\r\nRCPT TO:<eve@evil.example>",
        "<anna@people.example>",
        "a\ud800@people.example",
        "ü\u2028@people.example",
        "ü, eve@evil.example",
    ],
)
def test_an_invalid_recipient_is_rejected(recipient):
    with pytest.raises(Rejected) as caught:
        messages.email_file(email(recipient))
    assert "evil" not in repr(caught.value)


def test_a_non_ascii_local_part_is_stored_unchanged():
    content = messages.email_file(email("änne@people.example"))
    assert "To: änne@people.example\r\n".encode() in content


@pytest.mark.parametrize(
    ("text", "html", "kinds"),
    [
        ("a", "<p>a</p>", ["multipart/alternative", "text/plain", "text/html"]),
        ("a", "", ["text/plain"]),
        ("", "<p>a</p>", ["text/html"]),
    ],
)
def test_no_part_is_empty(text, html, kinds):
    message = Email(
        id="m",
        recipient=Secret("a@b.example"),
        sender=Mailbox("c@d.example"),
        subject="",
        html=html,
        text=text,
        lifetime=1.0,
    )
    mail = message_from_bytes(messages.email_file(message), policy=policy.SMTP)
    assert [part.get_content_type() for part in mail.walk()] == kinds


@given(HOSTILE, HOSTILE)
def test_any_text_message_is_json(text, sender):
    message = Sms(id="m", recipient=Secret("+447700900123"), sender=sender, text=text, lifetime=1.0)
    fields = json.loads(messages.sms_file(message, sender))
    assert fields["to"] == "+447700900123"
    assert fields["text"] == text.replace("\ud800", "?")


def test_further_headers_are_in_the_file():
    message = msgspec.structs.replace(email(), headers={"List-Unsubscribe": "<https://brand.example/u/1>"})

    assert (
        message_from_bytes(messages.email_file(message))["List-Unsubscribe"] == "<https://brand.example/u/1>"
    )


@pytest.mark.parametrize("headers", [{"Bcc\r\nTo": "eve@evil.example"}, {"to": "eve@evil.example"}])
def test_further_headers_add_no_recipient(headers):
    with pytest.raises(Rejected):
        messages.email_file(msgspec.structs.replace(email(), headers=headers))
