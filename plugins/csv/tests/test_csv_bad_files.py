"""A file that can't be used refuses the start: the error names file and line, and quotes no content."""

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
    "a required column twice": (b"ext_user_id,email,phone,Email\n", "line 1: columns 2 and 4 have the same name"),
    "an attribute twice": (b"ext_user_id,a,email,phone,a\n", "line 1: columns 2 and 5 have the same name"),
    "header never closed": (b'"ext_user_id,email,phone\n', "line 1: a quoted field is not closed"),
    "latin-1 header": (b"ext_user_id,email,phone,stra\xdfe\n", "line 1: not UTF-8"),
    "utf-16": ("ext_user_id,email,phone\nzelda,zelda@x.org,\n".encode("utf-16"), "line 1: a NUL character: the file is not UTF-8"),
    "latin-1 in an unusable row": (HEADER + GOOD + b"Zo\xeb\n" + GOOD, "line 3: not UTF-8"),
    "utf-16 without a BOM": ("ext_user_id,email,phone\n".encode("utf-16-le"), "line 1: a NUL character"),
    "latin-1": (HEADER + GOOD * 2 + b"u2,zelda@x.org,,Zo\xeb\n" + GOOD, "line 4: not UTF-8"),
    "half a character": (HEADER + GOOD + "u2,zelda@x.org,,Zoë".encode()[:-1], "line 3: not UTF-8"),
    "NUL": (HEADER + GOOD + b"u2,zelda\0@x.org,,Zelda\n", "line 3: a NUL character"),
    "zeros at the end": (HEADER + GOOD + bytes(5000), "line 3: a NUL character"),
    "zeros without end": (HEADER + GOOD + bytes(1 << 21), "line 3: a line of 1,048,576 characters"),
    "unclosed quote": (HEADER + GOOD + b'u2,zelda@x.org,,"Zelda\n' + GOOD * 10, "line 3: a quoted field is not"),
    "unclosed until another": (HEADER + b'u2,"zelda,,\n' + GOOD + b'u3,"zelda",,\n', "line 2: a quoted field"),
    "unclosed, behind rows of several lines": (
        HEADER + b'u2,zelda@x.org,,"Zelda\r\nis\nhere"\n\n' * 700 + b'u2,"zelda', "line 2,802: a quoted field is not",
    ),
    "large field": (HEADER + GOOD + b'u2,zelda@x.org,,"' + b"z" * 10_000_000 + b'"\n', "line 3: a line of 1,048,576"),
    "large quoted field": (HEADER + b'u2,zelda@x.org,,"' + b"zelda\n" * 99_999 + b'"\n', "line 2: a quoted field"),
    "cut in a row": (HEADER + GOOD + b"u2,zelda@x.o", "line 3: the last line is incomplete; the export may not be finished"),
    "cut in an id": (HEADER + b'u1,z,,"zelda\nzelda"\n' + b"u", "line 4: the last line is incomplete"),
}  # fmt: skip


async def refusal(source):
    with pytest.raises(ConfigError) as refused:
        async with source.lifespan():
            pytest.fail("started")
    (fault,) = refused.value.faults
    assert fault.key == "path"
    return fault.problem


@pytest.mark.parametrize("case", BAD_FILES)
async def test_a_bad_file(contacts_file, case):
    content, problem = BAD_FILES[case]
    contacts_file.write(content)
    problem_text = await refusal(contacts_file.source())
    assert problem_text.startswith(f"{contacts_file.path}: {problem}")
    assert "zelda" not in problem_text.replace(str(contacts_file.path), "").lower()


async def test_a_missing_file(contacts_file):
    assert await refusal(contacts_file.source()) == f"{contacts_file.path}: No such file or directory"


async def test_a_folder_without_a_file(contacts_file):
    contacts_file.path.mkdir()
    problem = f"{contacts_file.path}: no file is named *.csv or *.csv.gz"
    assert await refusal(contacts_file.source()) == problem


async def test_a_pipe_is_not_opened(contacts_file):
    os.mkfifo(contacts_file.path)
    assert await refusal(contacts_file.source()) == f"{contacts_file.path}: not a regular file"


async def test_a_file_without_read_permission(contacts_file, monkeypatch):
    contacts_file.write(HEADER + GOOD)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(contacts_file.path), "open", refuse)
    assert await refusal(contacts_file.source()) == f"{contacts_file.path}: Permission denied"


async def test_a_file_that_changes_while_it_is_read(contacts_file, monkeypatch):
    contacts_file.write(HEADER + GOOD)
    source = contacts_file.source()
    append = contacts_file.path.open("ab")

    def append_row():
        append.write(GOOD)
        append.flush()

    monkeypatch.setattr(source, "_pause", append_row)
    with append:
        assert (
            await refusal(source)
            == f"{contacts_file.path}: another program changed the file while it was read"
        )
