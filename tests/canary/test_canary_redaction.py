"""Private values are removed from a text in every spelling, and everything else stays readable."""

import asyncio
import base64
import html
import json
import quopri
from unicodedata import normalize
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary import searcher
from canary.gateway import EMAIL, NAMES, PEOPLE, PHONE
from gatepost.model import Contact, Secret
from gatepost.observe import redaction

CONTACT = Contact(
    email=Secret(EMAIL), phone=Secret(PHONE), attributes={"first": NAMES[0], "last": NAMES[1], "tier": "gold"}
)
VALUES = {EMAIL, PHONE, PHONE[1:], PHONE[3:], *NAMES, EMAIL.partition("@")[0], EMAIL.partition("@")[2]}
TEXT = f"to {EMAIL} ({PHONE}), {' '.join(NAMES)}!"

SPELLINGS = {
    "plain": str,
    "upper case": str.upper,
    "quoted": repr,
    "JSON": json.dumps,
    "URL-encoded": lambda text: quote(text, safe=""),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "spaced": " ".join,
    "in lines": "\n".join,
    "backwards": lambda text: text[::-1],
    "bytes": lambda text: repr(text.encode()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(b"x" + text.encode()).decode().rstrip("="),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base32, behind something": lambda text: base64.b32encode(b"xx7" + text.encode()).decode().rstrip("="),
    "HTML": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(one):X};" for one in text),
    "HTML, where it must": lambda text: (
        html.escape(text).replace("@", "&commat;").replace(".", "&period;").replace("ä", "&auml;")
    ),
    "escaped": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "escaped here and there": lambda text: "".join(
        f"\\u{ord(one):04X}" if place % 3 else one for place, one in enumerate(text)
    ),
    "escaped twice": lambda text: json.dumps(json.dumps("".join(f"\\x{one:02x}" for one in text.encode()))),
    "wholly URL-encoded": lambda text: "".join(f"%{one:02X}" for one in text.encode()),
    "UTF-16": lambda text: text.encode("utf-16-le").decode("latin-1"),
    "UTF-16, bytes": lambda text: repr(text.encode("utf-16")),
    "UTF-16, bytes, big end first": lambda text: repr(text.encode("utf-16-be")),
    "UTF-16, hexadecimal": lambda text: text.encode("utf-16-le").hex(),
    "UTF-16, hexadecimal, big end first": lambda text: text.encode("utf-16-be").hex().upper(),
    "wide": lambda text: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
    "accents apart": lambda text: normalize("NFD", text),
    "at and dot": lambda text: text.replace("@", " at ").replace(".", " dot "),
    "AT, DOT and PLUS": lambda text: (
        text.replace("@", " [AT] ").replace(".", " (DOT) ").replace("+", "-plus-")
    ),
    "base64 in lines": lambda text: base64.encodebytes(b"xx" * 26 + text.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_private_values_are_removed_in_every_spelling(spelling):
    spelled = SPELLINGS[spelling](TEXT)
    assert searcher.found(spelled.encode(), PEOPLE)
    with redaction.redaction_scope(CONTACT):
        scrubbed = redaction.redact(f"550 5.1.1 {spelled} is gone")
    assert searcher.found(scrubbed.encode(), PEOPLE) == []
    assert scrubbed.startswith("550 5.1.1 ")
    assert scrubbed.endswith(" is gone")


@given(
    value=st.sampled_from(sorted(VALUES)),
    spelling=st.sampled_from(sorted(SPELLINGS)),
    before=st.text(st.characters(codec="utf-8"), max_size=20),
    after=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_private_values_are_removed_between_other_texts(value, spelling, before, after):
    # The value is encoded by itself. The test above encodes it as a part of a longer text.
    with redaction.redaction_scope(CONTACT):
        scrubbed = redaction.redact(f"{before} {SPELLINGS[spelling](value)} {after}")
    hits = searcher.found(scrubbed.encode("utf-8", "replace"), PEOPLE)
    # The random text around the value may hold a part of it by chance.
    assert hits == [] or searcher.found(f"{before} {after}".encode("utf-8", "replace"), PEOPLE)


async def test_a_scope_applies_to_tasks_started_in_it_and_while_it_is_active_to_all_others():
    end_scope = asyncio.Event()

    async def redact_later() -> str:
        await end_scope.wait()
        return redaction.redact(f"sent to {NAMES[1]}")

    outer = asyncio.create_task(redact_later())
    with redaction.redaction_scope(CONTACT):
        inner = asyncio.create_task(redact_later())
        await asyncio.sleep(0)
        during = redaction.redact(f"sent to {NAMES[1]}")
    # So many further scopes that this one is no longer among the recent ones.
    for number in range(redaction.MAX_RECENT + 1):
        with redaction.redaction_scope(Secret(f"user-{number}@else.example")):
            pass
    end_scope.set()
    assert [during, await inner] == ["sent to [redacted]"] * 2
    assert await outer == f"sent to {NAMES[1]}"


@pytest.mark.parametrize(
    "text",
    [
        "550 5.7.26 the mail was refused",
        "message 0192d3a4-5b6c-7d8e-9f00-112233445566 is on its way",
        "took 12.5 s, 1234 bytes, port 50123",
        "golden rules for marigolds",
        "",
    ],
)
def test_other_texts_stay_unchanged(text):
    with redaction.redaction_scope(CONTACT):
        assert redaction.redact(text) == text


STRANGER = searcher.of_person("jubjub.bird@tumtum-tree.example", "+447700900852")


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 <jubjub.bird@tumtum-tree.example>: no such user",
        "to=jubjub.bird@tumtum-tree.example, from=x",
        "GET /?to=jubjub.bird%40tumtum-tree.example",
        "called +44 7700 900852 in vain",
        "called 447700900852 in vain",
        "called %2B447700900852, and (0) 7700 900 852",
    ],
)
def test_unknown_addresses_and_numbers_are_removed_by_their_pattern(text):
    scrubbed = redaction.redact(text)
    assert searcher.found(text.encode(), STRANGER) != []
    assert searcher.found(scrubbed.encode(), STRANGER) == []
    assert "[redacted]" in scrubbed


def test_a_short_value_is_removed_only_as_a_whole_word():
    with redaction.redaction_scope(CONTACT):
        assert redaction.redact("gold, marigold, GOLD!") == "[redacted], marigold, [redacted]!"


def test_redaction_takes_time_linear_in_the_length_of_a_text():
    # Without a time limit: quadratic time would take hours.
    for piece in (
        "a",
        "a ",
        "1",
        "1 ",
        "@",
        "%40",
        "a@",
        ". ",
        "=",
        "\\",
        "&",
        "&#",
        "\\x4",
        "A7",
        "AA ",
        "00",
        "０",
    ):
        redaction.redact_patterns(piece * 400_000)
        with redaction.redaction_scope(CONTACT):
            redaction.redact(piece * 20_000)
