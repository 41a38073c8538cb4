"""The encoding of a text: the standard library decodes it, and no line of it can be taken for something else."""

import base64
import quopri

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gatepost.errors import Rejected
from gatepost_smtp.transfer_encoding import encode_text

without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
pieces = st.sampled_from(
    [
        "\r",
        "\n",
        "\r\n",
        ".",
        "..",
        "=",
        " ",
        "\t",
        "From ",
        "From: ",
        "a" * 70,
        "x" * 4,
        "=3D",
        "é",
        "€",
        "🐴",
        "\x00",
    ]
)
texts = st.one_of(st.text(), st.lists(pieces, max_size=40).map("".join))


def canonical(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode()


@without_deadline
@given(texts)
@example("." * 200)
@example("0" * 74 + " ")
@example("From " * 60)
@example("From " + "y" * 70)
@example("." + "=" * 40)
@example("\n".join("." + "x" * size + "==" for size in range(64, 72)))
def test_any_text_is_decoded_to_itself_from_safe_lines(text):
    try:
        name, content = encode_text(text)
    except Rejected:
        assert "\x00" in text
        return
    decoded = base64.b64decode(content) if name == "base64" else quopri.decodestring(content)
    assert decoded == canonical(text) + (b"" if name == "base64" else b"\r\n")
    assert content.isascii()
    assert content.endswith(b"\r\n")
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.startswith((b".", b"From ")) for line in lines)
    assert not any(line.endswith((b" ", b"\t")) for line in lines)
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert b"=_" not in content


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Hello, world", "quoted-printable"),
        ("Schöne Grüße aus dem Norden von allen Freunden. " * 20, "quoted-printable"),
        ("Здравствуйте, " * 20, "base64"),
        ("你好" * 20, "base64"),
        ("", "quoted-printable"),
    ],
)
def test_the_shorter_encoding_is_taken(text, name):
    assert encode_text(text).name == name
