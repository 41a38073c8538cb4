"""For any file the plugin finds the contacts that the standard library's reader finds."""

import csv
import gzip
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatepost.errors import Unavailable
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


def read(file, content, delimiter, batch, columns=None):
    file.write_bytes(content)
    return read_all(Settings(path=file, delimiter=delimiter, columns=columns or {}), batch)


def read_all(settings, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "_BATCH_ROWS", batch)
        return snapshot.read_snapshot(settings, lambda: None).contacts


def check(contacts, expected):
    assert len(contacts) == len(expected)
    check_found(contacts, expected)
    for ext_user_id in expected:
        assert contacts.find(ext_user_id + "x") is None or ext_user_id + "x" in expected


def check_found(contacts, expected):
    for ext_user_id, (email, phone, attributes, blocked) in expected.items():
        contact = contacts.find(ext_user_id)
        assert (contact.email and contact.email.reveal()) == email
        assert (contact.phone and contact.phone.reveal()) == phone
        assert contact.attributes == attributes
        assert contact.blocked == blocked


@settings(max_examples=300, deadline=None)
@given(
    table=st.lists(st.lists(fields, min_size=5, max_size=5) | st.lists(fields, max_size=7), max_size=12),
    header=st.permutations([*REQUIRED_COLUMNS, "name", "Country"])
    | st.permutations([*REQUIRED_COLUMNS, "name", "blocked"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    bom=st.booleans(),
    compressed=st.booleans(),
    renamed=st.lists(st.sampled_from([*REQUIRED_COLUMNS, "blocked", "name"]), unique=True),
    batch=st.sampled_from([1, 2, 3, 512]),
)
@example(
    table=[["", word, "u1", "", ""] for word in ("0", "No", "1", "TRUE", "self-excluded")],
    header=["phone", "blocked", "ext_user_id", "name", "email"],
    line_end="\n",
    quoting=csv.QUOTE_MINIMAL,
    delimiter=",",
    bom=False,
    compressed=False,
    renamed=[],
    batch=1,
)
def test_every_written_contact_is_found(
    file, table, header, line_end, quoting, delimiter, bom, compressed, renamed, batch
):
    """Compressed or not, and with other names of columns in the file, the same contacts are found."""
    columns = {name: f"their {name}" for name in renamed if name in header}
    text, in_file = (
        written([names, *table], delimiter=delimiter, lineterminator=line_end, quoting=quoting)
        for names in (header, [columns.get(name, name) for name in header])
    )
    content = in_file.encode("utf-8-sig" if bom else "utf-8")
    contacts = read(file, gzip.compress(content) if compressed else content, delimiter, batch, columns)
    check(contacts, expected_contacts(text, delimiter))


def written(rows, **form):
    """Return rows as csv.writer writes them."""
    text = io.StringIO(newline="")
    csv.writer(text, **form).writerows(rows)
    return text.getvalue()


few = st.sampled_from(["u1", "u2", "1", "a@x", ""])


@settings(max_examples=300, deadline=None)
@given(
    tables=st.lists(st.lists(st.lists(few, min_size=4, max_size=4), max_size=5), min_size=1, max_size=4),
    headers=st.lists(st.permutations([*REQUIRED_COLUMNS, "name"]), min_size=4, max_size=4)
    | st.lists(st.permutations([*REQUIRED_COLUMNS, "blocked"]), min_size=4, max_size=4),
    batch=st.sampled_from([1, 512]),
)
@example(
    tables=[[["u1", "a", "", ""]], [["u1", "b", "", ""], ["u1", "a", "", ""]]],
    headers=[[*REQUIRED_COLUMNS, "name"]] * 4,
    batch=512,
)
@example(
    tables=[[["u1", "a", "", ""]], [["u1", "b", "", ""]], [["u1", "b", "", ""]]],
    headers=[[*REQUIRED_COLUMNS, "name"]] * 4,
    batch=512,
)
def test_several_files_are_their_union_without_contradictions(tmp_path_factory, tables, headers, batch):
    folder = tmp_path_factory.mktemp("files")
    expected = {}
    for number, (header, table) in enumerate(zip(headers, tables, strict=False)):
        text = written([header, *table])
        (folder / f"{number}.csv").write_text(text, newline="")
        for user, contact in expected_contacts(text, ",").items():
            expected.setdefault(user, []).append(contact)
    contacts = read_all(Settings(path=folder), batch)
    unanimous = {user: found[0] for user, found in expected.items() if all(one == found[0] for one in found)}
    assert len(contacts) == len(expected)
    for user in expected.keys() - unanimous.keys():
        if reasons := {reason for *_, reason in expected[user] if reason}:
            assert contacts.find(user).blocked in reasons
        else:
            with pytest.raises(Unavailable):
                contacts.find(user)
    check_found(contacts, unanimous)


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
@given(content=st.binary(max_size=80), place=st.integers(0, 100), cut=st.booleans())
def test_a_damaged_gzip_file_is_refused_or_the_same(file, content, place, cut):
    """Also by bytes in its header that change nothing, such as its time."""
    text = b"ext_user_id,email,phone\nu1,a@x.org,\nu2,b@x.org,\n"
    whole = gzip.compress(text)
    damaged = whole[:place] if cut else whole[:place] + content + whole[place + len(content) :]
    try:
        contacts = read(file, damaged, ",", 2)
    except BadFile:
        return
    check(contacts, expected_contacts(text.decode(), ","))


@settings(max_examples=500, deadline=None)
@given(content=st.binary(max_size=80), headed=st.booleans())
def test_any_bytes_are_read_or_refused(file, content, headed):
    head = b"ext_user_id,email,phone\n" if headed else b""
    try:
        contacts = read(file, head + content, ",", 2)
    except BadFile:
        return
    check(contacts, expected_contacts((head + content).decode("utf-8-sig"), ","))
