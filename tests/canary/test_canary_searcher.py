"""The search of the canary tests finds values in every spelling and in every kind of file."""

import base64
import json
import quopri
import sqlite3
import textwrap
from unicodedata import normalize
from urllib.parse import quote

import pytest

from canary import searcher
from gatepost.prove import search

VALUES = searcher.of_person(
    "jabberwock.vorpal+tag@snicker-snack.example", "+447700900461", "Thessaly Quäsimont"
)
TEXT = "to jabberwock.vorpal+tag@snicker-snack.example (+447700900461), Thessaly Quäsimont!"

SPELLINGS = {
    "plain": TEXT,
    "upper case": TEXT.upper(),
    "quoted": repr(TEXT),
    "JSON": json.dumps(TEXT),
    "URL-encoded": quote(TEXT, safe=""),
    "URL-encoded, lower case": quote(TEXT, safe="").lower(),
    "wholly URL-encoded": "".join(f"%{byte:02X}" for byte in TEXT.encode()),
    "quoted-printable": quopri.encodestring(TEXT.encode()).decode(),
    "hexadecimal": TEXT.encode().hex(),
    "hexadecimal in half a byte": "a" + TEXT.encode().hex(),
    "spaced": " ".join(TEXT),
    "in lines": "\n".join(TEXT),
    "dotted": ".".join(TEXT),
    "backwards": TEXT[::-1],
    "bytes": repr(TEXT.encode()),
    "HTML": TEXT.replace("@", "&#64;").replace("ä", "&auml;"),
    "HTML, wholly": "".join(f"&#x{ord(one):x};" for one in TEXT),
    "escaped": "".join(f"\\u{ord(one):04x}" for one in TEXT),
    "escaped twice": json.dumps("".join(f"\\u{ord(one):04x}" for one in TEXT)),
    "UTF-16": TEXT.encode("utf-16-le").decode("latin-1"),
    "UTF-16, bytes": repr(TEXT.encode("utf-16-be")),
    "UTF-16, hexadecimal": TEXT.encode("utf-16-le").hex(),
    "UTF-16, hexadecimal, big end first": TEXT.encode("utf-16-be").hex().upper(),
    "wide": "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in TEXT),
    "accents apart": normalize("NFD", TEXT),
    "at and dot": TEXT.replace("@", " at ").replace(".", " dot "),
    "at, dot, plus and dash": (
        TEXT.replace("@", "[at]").replace(".", "[dot]").replace("-", "[dash]").replace("+", "[plus]")
    ),
    **{f"base32, {n} before": base64.b32encode(b"x" * n + TEXT.encode()).decode() for n in range(5)},
    "base32 in small letters, in lines": "\n".join(
        textwrap.wrap(base64.b32encode(TEXT.encode()).decode().lower(), 40)
    ),
    "base32 behind something": "abc" + base64.b32encode(TEXT.encode()).decode(),
    **{f"base64, {n} before": base64.b64encode(b"x" * n + TEXT.encode()).decode() for n in range(3)},
    "base64 in lines": base64.encodebytes(b"x" * 50 + TEXT.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(TEXT.encode()).decode().rstrip("="),
    "base64 behind something": "/api/" + base64.b64encode(TEXT.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_part_is_found_in_every_spelling(spelling):
    hits = "\n".join(searcher.found(b"\x00\xff before " + SPELLINGS[spelling].encode() + b" after", VALUES))

    assert [name for name in VALUES if name not in hits] == []


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("jabberwock vorpal, tag", "local part"),
        ("SNICKER-SNACK.EXAMPLE", "domain"),
        ("0044 7700 900 461", "number"),
        ("07700/900461", "national number"),
        ("thessaly quäsimont", "name"),
    ],
)
def test_each_part_is_found_alone(part, name):
    assert any(hit.startswith(name) for hit in searcher.found(f"xx {part} xx".encode(), VALUES))


def test_a_value_across_the_edge_of_a_piece_is_found():
    for before in (search.PIECE_SIZE - 10, 2 * search.PIECE_SIZE - 20):
        assert searcher.found(b"." * before + TEXT.encode(), VALUES)


def test_nothing_is_found_in_other_texts():
    log = (
        b'{"event": "listening", "url": "http://127.0.0.1:8080", "timestamp": "2026-11-23T07:54:02.1Z"}\n'
        * 50
    )

    assert searcher.found(log, VALUES) == []
    assert searcher.found(bytes(range(256)) * 1000, VALUES) == []


def test_files_of_every_kind_and_their_names_are_searched(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "gatepost.log").write_text(f"line\n{TEXT}\n")
    (tmp_path / "vorpal for jabberwock.vorpal+tag").write_text("")
    with sqlite3.connect(tmp_path / "gatepost.db") as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE messages (reason)")
        database.commit()
        database.execute("INSERT INTO messages VALUES (?)", [TEXT.encode()])
        database.commit()
        hits = "\n".join(searcher.in_folder(tmp_path, VALUES, but=("contacts",)))
    database.close()

    for place in (
        "a/gatepost.log: local part plain",
        "vorpal for jabberwock",
        "gatepost.db-wal: number plain",
    ):
        assert place in hits
    assert searcher.in_folder(tmp_path, VALUES, but=("a", "vorpal", "gatepost.db")) == []
