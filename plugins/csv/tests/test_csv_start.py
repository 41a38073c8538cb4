"""A file that can't be used refuses the start, by name and line and never by content."""

import os

import pytest

from gatepost.errors import ConfigError

HEADER = b"ext_user_id,email,phone,name\n"
GOOD = b"u1,zelda@x.org,,Zelda\n"

BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "only a BOM": (b"\xef\xbb\xbf", "the file is empty"),
    "no header": (GOOD * 3, "line 1: the header has no column ext_user_id, email, phone"),
    "blank first line": (b"\n" + HEADER + GOOD, "line 1: the header has no column"),
    "no phone": (b"ext_user_id,email\nu1,zelda@x.org\n", "line 1: the header has no column phone;"),
    "other delimiter": (HEADER.replace(b",", b";"), "line 1: the header has no column ext_user_id, email, phone"),
    "twice a needed column": (b"ext_user_id,email,phone,Email\n", "line 1: columns 2 and 4 have the same name"),
    "twice an attribute": (b"ext_user_id,a,email,phone,a\n", "line 1: columns 2 and 5 have the same name"),
    "header never closed": (b'"ext_user_id,email,phone\n', "line 1: a quoted field is never closed"),
    "latin-1 header": (b"ext_user_id,email,phone,stra\xdfe\n", "line 1: not UTF-8"),
    "utf-16": ("ext_user_id,email,phone\nzelda,zelda@x.org,\n".encode("utf-16"), "line 1: a NUL character: half-written, or not UTF-8"),
    "latin-1 in an unusable row": (HEADER + GOOD + b"Zo\xeb\n" + GOOD, "line 3: not UTF-8"),
    "utf-16 without a BOM": ("ext_user_id,email,phone\n".encode("utf-16-le"), "line 1: a NUL character"),
    "latin-1": (HEADER + GOOD * 2 + b"u2,zelda@x.org,,Zo\xeb\n" + GOOD, "line 4: not UTF-8"),
    "half a character": (HEADER + GOOD + "u2,zelda@x.org,,Zoë".encode()[:-1], "line 3: not UTF-8"),
    "NUL": (HEADER + GOOD + b"u2,zelda\0@x.org,,Zelda\n", "line 3: a NUL character"),
    "zeros at the end": (HEADER + GOOD + bytes(5000), "line 3: a NUL character"),
    "zeros without end": (HEADER + GOOD + bytes(1 << 21), "line 3: a line of 1,048,576 characters"),
    "unclosed quote": (HEADER + GOOD + b'u2,zelda@x.org,,"Zelda\n' + GOOD * 10, "line 3: a quoted field is never"),
    "unclosed until another": (HEADER + b'u2,"zelda,,\n' + GOOD + b'u3,"zelda",,\n', "line 2: a quoted field"),
    "unclosed, behind rows of several lines": (
        HEADER + b'u2,zelda@x.org,,"Zelda\r\nis\nhere"\n\n' * 700 + b'u2,"zelda', "line 2,802: a quoted field is never",
    ),
    "large field": (HEADER + GOOD + b'u2,zelda@x.org,,"' + b"z" * 10_000_000 + b'"\n', "line 3: a line of 1,048,576"),
    "large quoted field": (HEADER + b'u2,zelda@x.org,,"' + b"zelda\n" * 99_999 + b'"\n', "line 2: a quoted field"),
    "cut in a row": (HEADER + GOOD + b"u2,zelda@x.o", "line 3: the last line is cut short: half-written?"),
    "cut in an id": (HEADER + b'u1,z,,"zelda\nzelda"\n' + b"u", "line 4: the last line is cut short"),
}  # fmt: skip


async def refusal(source):
    with pytest.raises(ConfigError) as refused:
        async with source.lifespan():
            pytest.fail("started")
    (fault,) = refused.value.faults
    assert fault.key == "path"
    return fault.problem


@pytest.mark.parametrize("case", BAD_FILES)
async def test_bad_files(players, case):
    content, problem = BAD_FILES[case]
    players.write(content)
    said = await refusal(players.source())
    assert said.startswith(f"{players.path}: {problem}")
    assert "zelda" not in said.replace(str(players.path), "").lower()


async def test_no_file(players):
    assert await refusal(players.source()) == f"{players.path}: No such file or directory"


async def test_a_folder(players):
    players.path.mkdir()
    assert await refusal(players.source()) == f"{players.path}: not a regular file"


async def test_a_pipe_is_not_waited_for(players):
    os.mkfifo(players.path)
    assert await refusal(players.source()) == f"{players.path}: not a regular file"


async def test_a_file_that_may_not_be_read(players, monkeypatch):
    players.write(HEADER + GOOD)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(players.path), "open", refuse)
    assert await refusal(players.source()) == f"{players.path}: Permission denied"


async def test_a_file_that_is_written_to_meanwhile(players, monkeypatch):
    players.write(HEADER + GOOD)
    source = players.source()
    append = players.path.open("ab")

    def write_on():
        append.write(GOOD)
        append.flush()

    monkeypatch.setattr(source, "_breathe", write_on)
    with append:
        assert await refusal(source) == f"{players.path}: somebody is writing to the file"
