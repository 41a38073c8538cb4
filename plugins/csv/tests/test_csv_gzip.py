"""A file that is compressed with gzip, and what else it may be."""

import gzip
import zlib

import pytest

from gatepost.errors import ConfigError
from gatepost_csv import content

HEADER = "ext_user_id,email,phone\n"
TEXT = HEADER + "".join(f"u{n},old{n}@x.org,\n" for n in range(1000))
NEW = TEXT.replace("old", "new")
GZIP = gzip.compress(TEXT.encode())


def bomb(size):
    """Return a file that is this many bytes after decompression, of rows of one user."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    row = b"u1,a@x.org,\n" * 10_000
    parts = [compressor.compress(HEADER.encode())]
    parts += [compressor.compress(row) for _ in range(size // len(row) + 1)]
    return b"".join([*parts, compressor.flush()])


BAD = {
    "cut": (GZIP[:-300], "the gzip data end too early; the export may not be finished"),
    "cut in its trailer": (GZIP[:-1], "the gzip data end too early"),
    "cut in its header": (GZIP[:5], "the gzip data end too early"),
    "a wrong checksum": (GZIP[:-8] + b"1234" + GZIP[-4:], "the gzip data are damaged"),
    "damaged": (GZIP[:200] + bytes(200) + GZIP[400:], "the gzip data are damaged"),
    "with something behind": (GZIP + b"u1,a@x.org,\n", "the gzip data are damaged"),
    "of an incomplete file": (gzip.compress(TEXT[:-9].encode()), "line 1,001: the last line is incomplete"),
    "of a binary file": (gzip.compress(GZIP), "line 1: "),
    "empty inside": (gzip.compress(b""), "the file is empty"),
}


@pytest.mark.parametrize("name", ["players.csv", "players.csv.gz"])
@pytest.mark.parametrize("parts", [[TEXT], [TEXT[:500], TEXT[500:]]], ids=["one member", "two members"])
async def test_the_content_says_that_it_is_compressed_not_the_name(contacts_file, name, parts):
    contacts_file.path = contacts_file.path.with_name(name)
    contacts_file.write(b"".join(gzip.compress(one.encode()) for one in parts))
    source = contacts_file.source()
    async with source.lifespan():
        assert source.find_contact("u999").email.reveal() == "old999@x.org"


async def test_a_name_that_says_gzip_makes_no_file_compressed(contacts_file):
    contacts_file.path = contacts_file.path.with_name("players.csv.gz")
    contacts_file.write(TEXT)
    source = contacts_file.source()
    async with source.lifespan():
        assert source.find_contact("u999").email.reveal() == "old999@x.org"


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_file_stops_the_start_and_later_keeps_the_contacts(contacts_file, until, case):
    data, problem = BAD[case]
    contacts_file.write(data)
    with pytest.raises(ConfigError) as refused:
        async with contacts_file.source().lifespan():
            pytest.fail("started")
    assert refused.value.faults[0].problem.startswith(f"{contacts_file.path}: {problem}")

    contacts_file.write(GZIP)
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.write(data)

        async def is_refused():
            return contacts_file.logged()

        await until(is_refused)
        assert source.find_contact("u1").email.reveal() == "old1@x.org"
        contacts_file.write(gzip.compress(NEW.encode()))

        async def is_used():
            return source.find_contact("u1").email.reveal() == "new1@x.org"

        await until(is_used)


async def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(contacts_file, monkeypatch):
    monkeypatch.setattr(content, "MIN_LIMIT", 1_000_000)
    contacts_file.write(bomb(3_000_000))
    with pytest.raises(ConfigError) as refused:
        async with contacts_file.source().lifespan():
            pytest.fail("started")
    assert "more than 1,000,000 bytes after decompression" in refused.value.faults[0].problem


async def test_a_file_without_its_last_line_break_is_refused_as_if_not_compressed(contacts_file, until):
    contacts_file.write(GZIP)
    async with contacts_file.source().lifespan():
        contacts_file.write(gzip.compress(NEW[:-1].encode()))

        async def is_refused():
            return contacts_file.logged()

        await until(is_refused)
    assert contacts_file.logged()[0]["problem"].startswith("no line break at its end")
