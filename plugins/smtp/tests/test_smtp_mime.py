"""The standard library parses every built mail back to the message."""

import email
import email.policy
import re
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.utils import parseaddr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox, Secret
from gatepost_smtp.mime import build_mail

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"

# Without a deadline, because the machine may be busy.
without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEPARATORS = "\u2028\u2029"

plain = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=SEPARATORS), max_size=300)
tricky = st.lists(
    st.sampled_from(
        [
            "=?utf-8?q?a?=",
            "=?utf-8?b?YQ==?=",
            "=?utf-8?q?",
            "=?utf-8?b?",
            "?=",
            "=41",
            "=?",
            " ",
            "a",
            "ß",
            "🐴",
            ",",
            '"',
            "\\",
            "<x@y>",
        ]
    )
).map("".join)
wordy = st.lists(st.text("abcXYZ019.,:;!?()<>@", min_size=1, max_size=90), max_size=30).map(" ".join)
headers = st.one_of(plain, tricky, wordy)
bodies = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00")),
    st.lists(st.sampled_from(["\r", "\n", "\r\n", ".", "..", "=", "--", f"--=_{ID}", "a", "€"])).map("".join),
)
FIRST = ["Date", "From", "To"]
LAST = ["Message-ID", "MIME-Version", "Content-Type"]


def an_email(**changes):
    values = {
        "id": ID,
        "recipient": Secret("ann@post.example"),
        "sender": Mailbox("news@amazing.example"),
        "subject": "hello",
        "html": "<p>hello</p>",
        "text": "hello",
        "lifetime": 3600.0,
    }
    return Email(**(values | changes))


def canonical(text):
    return re.sub(r"\r\n|\r|\n", "\r\n", text)


def parse(content):
    return email.message_from_bytes(content, policy=email.policy.default)


def shown_name(content, field):
    # The modern policy of Python 3.11 puts a space between two encoded words of a name; RFC 2047 §6.2 and
    # the older classes take out what is there.
    raw = email.message_from_bytes(content, policy=email.policy.compat32)[field].replace("\r\n", "")
    name, _ = parseaddr(raw)
    return str(make_header(decode_header(name))) if "=?" in name else name


def raw_content(part):
    return part.get_payload(decode=True).decode()


def content_or_none(message):
    try:
        return build_mail(message).content
    except Rejected:
        return None


@without_deadline
@given(subject=headers, name=headers, reply_name=headers, text=bodies, html=bodies)
def test_every_mail_is_parsed_back_to_the_message(subject, name, reply_name, text, html):
    message = an_email(
        subject=subject,
        sender=Mailbox("news@amazing.example", name),
        reply_to=Mailbox("help@amazing.example", reply_name),
        text=text,
        html=html,
    )
    content = content_or_none(message)
    if content is None:
        hidden = any("=?" in each for each in (subject, name, reply_name))
        assert hidden or not (text.strip() or html.strip())
        return
    mail = parse(content)

    assert mail.defects == []
    subjects = ["Subject"] if subject else []
    several = bool(text.strip() and html.strip())
    transfer = [] if several else ["Content-Transfer-Encoding"]
    assert mail.keys() == [*FIRST, "Reply-To", *subjects, *LAST, *transfer]
    assert (mail["Subject"] or "") == subject
    for field, spec, shown in (
        ("From", "news@amazing.example", name),
        ("Reply-To", "help@amazing.example", reply_name),
    ):
        [address] = mail[field].addresses
        assert address.addr_spec == spec
        assert shown_name(content, field) == shown
    assert mail["To"].addresses == (Address(addr_spec="ann@post.example"),)
    parts = list(mail.iter_parts()) if several else [mail]
    kinds = [("text/plain", text), ("text/html", html)]
    expected = [(kind, canonical(body)) for kind, body in kinds if body.strip()]
    if not several and mail["Content-Transfer-Encoding"] == "quoted-printable":
        # The end of the mail's last line is part of its only text.
        expected = [(kind, f"{body}\r\n") for kind, body in expected]
    assert [(part.get_content_type(), raw_content(part)) for part in parts] == expected


@without_deadline
@given(subject=headers, name=headers, text=bodies)
def test_every_line_is_short_enough_and_ends_in_crlf(subject, name, text):
    content = content_or_none(
        an_email(subject=subject, sender=Mailbox("news@amazing.example", name), text=text)
    )
    if content is None:
        return
    assert content.isascii()
    assert content.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", content)
    assert max(map(len, content.split(b"\r\n"))) <= 78


@without_deadline
@given(st.text(), st.text(), st.text())
def test_any_content_is_built_or_rejected(subject, name, text):
    content_or_none(an_email(subject=subject, sender=Mailbox("news@amazing.example", name), text=text))


CONTROLS = ["\r\n", "\r", "\n", "\x00", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1b", "\x7f", "\ud800"]
HIDDEN = [
    "=?utf-8?q?Hi=0D=0ABcc=3A_x=40y?=",
    "=?utf-8?Q?Hi=0ABcc?=",
    "=?utf-8?b?SGkNCkJjYzogeEB5?=",
    "=?utf-8?B?SGkNCkJjYzogeEB5?= more",
    "=?UTF-8*en?q?a=0D=0Ab?=",
    "=?utf-7?q?+AA0ACg-Bcc?=",
    "=?utf-16?b?AA0ACg==?=",
    "=?latin-1?q?a=85b?=",
    "=?utf-8?q?=E2=80=A8?=",
    "=?nonsense?q?a=0Ab?=",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3D0Ab=3F=3D?=",
    "x =?us-ascii?q?=00?= y",
]


@pytest.mark.parametrize("bad", CONTROLS + HIDDEN)
@pytest.mark.parametrize("field", ["subject", "sender", "reply_to"])
def test_a_control_character_in_a_header_is_rejected_even_in_encoded_words(field, bad):
    value = f"before{bad}after" if field == "subject" else Mailbox("news@amazing.example", f"a{bad}b")

    with pytest.raises(Rejected) as caught:
        build_mail(an_email(**{field: value}))

    assert bad not in str(caught.value)


@pytest.mark.parametrize("bad", ["\x00", "\ud800", "a\udfffb"])
@pytest.mark.parametrize("field", ["text", "html"])
def test_nul_and_lone_surrogates_in_a_body_are_rejected(field, bad):
    with pytest.raises(Rejected):
        build_mail(an_email(**{field: f"hello {bad}"}))


BAD_ADDRESSES = [
    "",
    "ann",
    "@post.example",
    "ann@",
    "ann@post.example\r\nRCPT TO:<eve@evil.example>",
    "ann@post.example\r\nBcc: eve@evil.example",
    "ann@post.example, eve@evil.example",
    "ann@post.example eve@evil.example",
    "ann@post.example> SIZE=1",
    "<ann@post.example>",
    "Ann <ann@post.example>",
    '"ann eve"@post.example',
    '"a>b"@post.example',
    "ann@evil@post.example",
    "ann(comment)@post.example",
    "ann@post.example(comment)",
    "ann@post.example.",
    "ann..b@post.example",
    ".ann@post.example",
    "ann@[127.0.0.1]",
    "ann@pöst.example",
    "ann@-post.example",
    "ann\x00@post.example",
    "ann\u2028@post.example",
    "ann\u00a0@post.example",
    "ann\ud800@post.example",
    "@relay.example:ann@post.example",
    "ann%post.example",
    "a" * 250 + "@post.example",
]


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=ascii)
@pytest.mark.parametrize("field", ["recipient", "sender", "reply_to"])
def test_an_address_that_is_not_one_plain_address_is_rejected(field, address):
    value = Secret(address) if field == "recipient" else Mailbox(address)

    with pytest.raises(Rejected) as caught:
        build_mail(an_email(**{field: value}))

    assert not address or address not in str(caught.value)


def test_a_long_url_in_a_subject_is_unchanged():
    url = "https://amazing.example/" + "x" * 120

    assert parse(build_mail(an_email(subject=f"see {url} now")).content)["Subject"] == f"see {url} now"


def test_a_short_ascii_subject_is_not_encoded():
    subject = "A sale! 100% off, until Monday; see https://amazing.example/sale?a=b " * 3

    content = build_mail(an_email(subject=subject.strip())).content

    assert b"=?" not in content
    assert parse(content)["Subject"] == subject.strip()


def test_a_mail_without_content_is_rejected():
    with pytest.raises(Rejected):
        build_mail(an_email(text="", html=" \n"))


def test_the_client_is_named_for_the_statistics_of_gmail():
    assert parse(build_mail(an_email(client="brand")).content)["Feedback-ID"] == ":brand::gatepost"
    assert "Feedback-ID" not in parse(build_mail(an_email()).content)
    own = an_email(client="brand", headers={"feedback-id": "a:b:c:own"})
    assert parse(build_mail(own).content).get_all("Feedback-ID") == ["a:b:c:own"]


def test_a_mail_with_an_unsubscribe_link_asks_for_no_automatic_answers():
    bulk = an_email(headers={"List-Unsubscribe": UNSUBSCRIBE})

    assert parse(build_mail(bulk).content)["Auto-Submitted"] == "auto-generated"
    # A help desk ignores such mails, and a mail to one has no unsubscribe link.
    assert "Auto-Submitted" not in parse(build_mail(an_email()).content)
    own = an_email(headers={"List-Unsubscribe": UNSUBSCRIBE, "Auto-Submitted": "no"})
    assert parse(build_mail(own).content).get_all("Auto-Submitted") == ["no"]


UNSUBSCRIBE = "<https://brand.example/u/" + "x" * 200 + ">"


def test_further_headers_are_written_whole():
    mail = build_mail(an_email(headers={"List-Unsubscribe": UNSUBSCRIBE, "X-Brand2": "a b " * 40 + "c"}))

    parsed = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert parsed["List-Unsubscribe"].strip() == UNSUBSCRIBE
    assert parsed["X-Brand2"] == "a b " * 40 + "c"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Bcc", "eve@evil.example"),
        ("SUBJECT", "another"),
        ("Return-Path", "<>"),
        ("X-A", "b\r\nBcc: eve@evil.example"),
        ("X-A", "=?utf-8?q?=0ABcc:eve@evil.example?="),
        ("X A", "b"),
        ("X-A: b\r\nBcc", "eve@evil.example"),
        ("X-A", "x" * 1_000),
        ("X-A", "\ud800"),
    ],
)
def test_further_headers_that_would_change_the_mail_are_rejected(name, value):
    with pytest.raises(Rejected):
        build_mail(an_email(headers={name: value}))


def test_names_that_hide_a_header_from_a_count_of_lines_are_rejected():
    with pytest.raises(Rejected):
        build_mail(an_email(headers={" X-A": "continues", "X-B: b\r\nBcc": "eve@evil.example"}))


@pytest.mark.parametrize(("length", "accepted"), [(900, True), (1200, False)])
def test_a_line_is_never_longer_than_servers_take(length, accepted):
    message = an_email(headers={"List-Unsubscribe": f"<https://amazing.example/{'x' * length}>"})
    if not accepted:
        with pytest.raises(Rejected, match="can't be written safely"):
            build_mail(message)
        return
    assert length < max(map(len, build_mail(message).content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("address", ["news@mail.amazing.example", "News@Amazing.Example"])
def test_the_message_id_is_of_the_domain_of_the_sender(address):
    mail = email.message_from_bytes(build_mail(an_email(sender=Mailbox(address))).content)
    assert mail["Message-ID"] == f"<{ID}@{address.partition('@')[2]}>"
