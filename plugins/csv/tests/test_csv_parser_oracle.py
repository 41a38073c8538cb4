"""For any file the plugin finds the contacts that the standard library's reader finds."""

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatepost_csv import Settings, parser, snapshot
from gatepost_csv.bad_file import BadFile

REQUIRED_COLUMNS = ["ext_user_id", "email", "phone"]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
tricky = st.text(st.sampled_from('a ",;\n\r\t\x1c\u2028\ufeffé\x85'), max_size=6)
fields = texts | tricky | st.sampled_from(["u1", "u2", "u3"])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("csv") / "file.csv"


def blocked_reason(text):
    """Return what a field of the column `blocked` means, by the README."""
    word = text.strip().lower()
    if word in {"", "0", "false", "no"}:
        return ""
    return "blocked" if word in {"1", "true", "yes"} else text.strip()


def expected_contacts(text, delimiter):
    """Return the last row of each id, by csv.DictReader and the rules of the README; raise csv.Error."""
    found = {}
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
        if None in row or None in row.values():
            continue
        required = [row.pop(name) for name in REQUIRED_COLUMNS]
        blocked = blocked_reason(row.pop("blocked", ""))
        if required[0].strip() and not any("\n" in field or "\r" in field for field in required):
            found[required[0]] = (*(field if field.strip() else None for field in required[1:]), row, blocked)
    return found


def read(file, content, delimiter, batch):
    file.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "_BATCH_ROWS", batch)
        return snapshot.read_snapshot(Settings(path=file, delimiter=delimiter), lambda: None).contacts


def check(contacts, expected):
    assert len(contacts) == len(expected)
    for ext_user_id, (email, phone, attributes, blocked) in expected.items():
        contact = contacts.find(ext_user_id)
        assert (contact.email and contact.email.reveal()) == email
        assert (contact.phone and contact.phone.reveal()) == phone
        assert contact.attributes == attributes
        assert contact.blocked == blocked
        assert contacts.find(ext_user_id + "x") is None or ext_user_id + "x" in expected


@settings(max_examples=300, deadline=None)
@given(
    table=st.lists(st.lists(fields, min_size=5, max_size=5) | st.lists(fields, max_size=7), max_size=12),
    header=st.permutations([*REQUIRED_COLUMNS, "name", "Country"])
    | st.permutations([*REQUIRED_COLUMNS, "name", "blocked"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    bom=st.booleans(),
    batch=st.sampled_from([1, 2, 3, 512]),
)
@example(
    table=[["", word, "u1", "", ""] for word in ("0", "No", "1", "TRUE", "self-excluded")],
    header=["phone", "blocked", "ext_user_id", "name", "email"],
    line_end="\n",
    quoting=csv.QUOTE_MINIMAL,
    delimiter=",",
    bom=False,
    batch=1,
)
def test_every_written_contact_is_found(file, table, header, line_end, quoting, delimiter, bom, batch):
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(
        [header, *table]
    )
    text = written.getvalue()
    contacts = read(file, text.encode("utf-8-sig" if bom else "utf-8"), delimiter, batch)
    check(contacts, expected_contacts(text, delimiter))


@settings(max_examples=1000, deadline=None)
@given(
    body=st.text(st.sampled_from('u1,,,""\n\r \ufeffé'), max_size=60),
    batch=st.sampled_from([1, 2, 3, 512]),
)
@example(body='u1,a@x,1\nu2,"b@x,2\nu3,c@x,3\n', batch=512)
@example(body='u1,"a"b,\n', batch=1)
@example(body='u1,a"b,\n', batch=1)
@example(body="u1,,\r\ru2,,\r\n\n\ru3,,", batch=2)
def test_any_text_is_read_like_the_standard_library_or_refused(file, body, batch):
    text = f"{','.join(REQUIRED_COLUMNS)}\n{body}"
    try:
        contacts = read(file, text.encode(), ",", batch)
    except BadFile as error:
        refused = error
    else:
        check(contacts, expected_contacts(text, ","))
        return
    assert 2 <= refused.line <= len(text)
    if "incomplete" not in refused.problem:
        with pytest.raises(csv.Error):
            expected_contacts(text, ",")


@settings(max_examples=500, deadline=None)
@given(content=st.binary(max_size=80), headed=st.booleans())
def test_any_bytes_are_read_or_refused(file, content, headed):
    head = b"ext_user_id,email,phone\n" if headed else b""
    try:
        contacts = read(file, head + content, ",", 2)
    except BadFile:
        return
    check(contacts, expected_contacts((head + content).decode("utf-8-sig"), ","))
