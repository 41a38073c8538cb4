"""A changed file replaces the contacts while the gateway runs: as a whole or not at all."""

import os

import pytest

from gatepost_csv import plugin

HEADER = "ext_user_id,email,phone\n"
OLD = HEADER + "".join(f"u{n},old{n}@x.org,\n" for n in range(10))
NEW = HEADER + "".join(f"u{n},new{n}@x.org,\n" for n in range(10))


async def email(source, ext_user_id="u1"):
    contact = source.find_contact(ext_user_id)
    return contact and contact.email.reveal()


@pytest.fixture
def wait_for_email(until):
    async def wait_for_email(source, address):
        async def is_current():
            return await email(source) == address

        await until(is_current)

    return wait_for_email


@pytest.fixture
def wait_for_refusal(contacts_file, until):
    async def wait_for_refusal(times=1):
        async def is_logged():
            return len(contacts_file.logged()) >= times

        await until(is_logged)
        return contacts_file.logged()[times - 1]["problem"]

    return wait_for_refusal


async def test_a_file_that_is_renamed_into_place(contacts_file, wait_for_email):
    contacts_file.write(OLD)
    source = contacts_file.source()
    async with source.lifespan():
        assert await email(source) == "old1@x.org"
        contacts_file.write(NEW)
        await wait_for_email(source, "new1@x.org")
        contacts_file.write(OLD)
        await wait_for_email(source, "old1@x.org")
    assert not contacts_file.logged()


async def test_a_file_that_is_rewritten_in_place(contacts_file, wait_for_email):
    contacts_file.write(OLD)
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.rewrite(NEW)
        await wait_for_email(source, "new1@x.org")


async def test_another_size_with_the_same_time(contacts_file, wait_for_email):
    contacts_file.write(OLD)
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.rewrite(NEW + "u99,a@x.org,\n", keep_time=True)
        await wait_for_email(source, "new1@x.org")


async def test_the_same_size_with_the_same_time(contacts_file, wait_for_email):
    contacts_file.write(OLD)
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.rewrite(NEW, keep_time=True)
        await wait_for_email(source, "new1@x.org")


async def test_another_file_of_the_same_size_and_time(contacts_file, wait_for_email):
    contacts_file.write(OLD)
    before = contacts_file.path.stat()
    source = contacts_file.source()
    async with source.lifespan():
        fresh = contacts_file.path.with_suffix(".same")
        fresh.write_text(NEW)
        os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
        fresh.replace(contacts_file.path)
        await wait_for_email(source, "new1@x.org")


async def test_a_link_that_is_changed(contacts_file, tmp_path, wait_for_email):
    for name, text in (("a", OLD), ("b", NEW)):
        (tmp_path / name).write_text(text)
    contacts_file.path.symlink_to(tmp_path / "a")
    source = contacts_file.source()
    async with source.lifespan():
        assert await email(source) == "old1@x.org"
        (tmp_path / "link").symlink_to(tmp_path / "b")
        (tmp_path / "link").replace(contacts_file.path)
        await wait_for_email(source, "new1@x.org")


REFUSED = {
    "nothing": ("", "the file is empty: its first line must name the columns"),
    "only a header": (HEADER, "0 users, fewer than half of the 10 in use; if that is right, restart the gateway"),
    "too few": (HEADER + "u1,a@x.org,\n" * 4, "1 users, fewer than half of the 10 in use; "),
    "too few usable": (HEADER + "u1\n" * 10, "0 users, fewer than half"),
    "cut in a row": (NEW[:-9], "the last line is incomplete"),
    "cut in the last column": (NEW[:-1], "no line break at its end, unlike the file in use; the export may not be finished"),
    "unclosed quote": (NEW + '"u77,a@x.org,\n', "a quoted field is not closed"),
    "no columns": (NEW.removeprefix(HEADER), "the header has no column"),
    "not UTF-8": (NEW.encode() + b"u77,\xff,\n", "not UTF-8"),
    "NUL": (NEW.encode() + b"u77,\0,\n", "a NUL character"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_a_bad_file_leaves_the_old_contacts_in_use(
    contacts_file, wait_for_refusal, wait_for_email, case
):
    content, problem = REFUSED[case]
    contacts_file.write(OLD)
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.write(content)
        assert (await wait_for_refusal()).startswith(problem)
        assert [await email(source, f"u{n}") for n in range(10)] == [f"old{n}@x.org" for n in range(10)]
        contacts_file.write(NEW)
        await wait_for_email(source, "new1@x.org")
    assert len(contacts_file.logged()) == 1, "logged once, and not at every check"


async def test_the_line_is_logged(contacts_file, wait_for_refusal):
    contacts_file.write(OLD)
    async with contacts_file.source().lifespan():
        contacts_file.write(NEW + "u77,\0,\n")
        await wait_for_refusal()
    assert contacts_file.logged()[0]["line"] == 12


async def test_a_file_with_half_of_the_users_is_used(contacts_file, wait_for_email):
    contacts_file.write(OLD)
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.write(HEADER + "".join(f"u{n},new{n}@x.org,\n" for n in range(5)))
        await wait_for_email(source, "new1@x.org")


async def test_a_file_that_no_longer_says_who_is_blocked_is_refused(contacts_file, wait_for_refusal):
    contacts_file.write("ext_user_id,email,phone,blocked\nu1,a@x.org,,self-excluded\n")
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.write("ext_user_id,email,phone\nu1,a@x.org,\n")
        assert (await wait_for_refusal()).startswith("no column `blocked`, unlike the file in use")
        assert source.find_contact("u1").blocked == "self-excluded"


async def test_the_last_line_break_is_needed_only_if_the_file_in_use_has_one(contacts_file, wait_for_email):
    contacts_file.write(OLD.rstrip())
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.write(NEW.rstrip())
        await wait_for_email(source, "new1@x.org")


async def test_a_missing_file(contacts_file, wait_for_refusal, wait_for_email):
    contacts_file.write(OLD)
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.path.unlink()
        assert await wait_for_refusal() == "No such file or directory"
        assert await email(source) == "old1@x.org"
        contacts_file.write(NEW)
        await wait_for_email(source, "new1@x.org")
    assert len(contacts_file.logged()) == 1


async def test_two_bad_files_in_a_row_are_both_logged(contacts_file, wait_for_refusal):
    contacts_file.write(OLD)
    async with contacts_file.source().lifespan():
        contacts_file.write("")
        assert "empty" in await wait_for_refusal(1)
        contacts_file.write(NEW[:-9])
        assert "incomplete" in await wait_for_refusal(2)


async def test_an_unreadable_file_is_tried_again(
    contacts_file, wait_for_refusal, wait_for_email, monkeypatch
):
    contacts_file.write(OLD)
    source = contacts_file.source()
    path_type = type(contacts_file.path)
    opened = path_type.open

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    async with source.lifespan():
        monkeypatch.setattr(path_type, "open", refuse)
        _write_beside(contacts_file, NEW).replace(contacts_file.path)
        assert await wait_for_refusal() == "Permission denied"
        monkeypatch.setattr(path_type, "open", opened)
        await wait_for_email(source, "new1@x.org")


def _write_beside(contacts_file, text):
    fresh = contacts_file.path.with_suffix(".beside")
    with open(fresh, "w") as file:  # noqa: PTH123  Path.open is what the test has broken
        file.write(text)
    return fresh


async def test_a_file_is_not_read_while_it_changes(contacts_file, wait_for_email, until, monkeypatch):
    """At each check the writer is between two rows, so that the parser would find no problem."""
    contacts_file.write(OLD)
    checks, reads = [], []
    source = contacts_file.source()
    read = source._read

    def counted_read():
        reads.append(len(checks))
        return read()

    def append_and_check(path):
        checks.append(path)
        if len(checks) <= 20:
            with path.open("a") as file:
                file.write(f"u1{len(checks)},a@x.org,\n")
        return read_fingerprints(path)

    read_fingerprints = plugin.read_fingerprints
    monkeypatch.setattr(plugin, "read_fingerprints", append_and_check)
    monkeypatch.setattr(source, "_read", counted_read)
    async with source.lifespan():

        async def is_complete():
            return source.find_contact("u120") is not None

        await until(is_complete)
    assert reads == [0, 21], "read at the start, and then when two checks in a row found the same"


async def test_a_file_that_changes_while_it_is_read(
    contacts_file, wait_for_email, wait_for_refusal, monkeypatch
):
    contacts_file.write(OLD)
    source = contacts_file.source()
    pause = source._pause

    def append_row():
        monkeypatch.setattr(source, "_pause", pause)
        with contacts_file.path.open("a") as file:
            file.write("u77,a@x.org,\n")

    async with source.lifespan():
        monkeypatch.setattr(source, "_pause", append_row)
        contacts_file.write(NEW)
        assert await wait_for_refusal() == "another program changed the file while it was read"
        await wait_for_email(source, "new1@x.org")
        assert await email(source, "u77") == "a@x.org"


async def test_the_watch_survives_an_unexpected_error(
    contacts_file, wait_for_email, wait_for_refusal, monkeypatch
):
    contacts_file.write(OLD)
    source = contacts_file.source()
    pause = source._pause

    def fail():
        raise MemoryError("zelda")

    async with source.lifespan():
        monkeypatch.setattr(source, "_pause", fail)
        contacts_file.write(OLD)
        assert await wait_for_refusal() == "MemoryError while it was read"
        monkeypatch.setattr(source, "_pause", pause)
        contacts_file.write(NEW)
        await wait_for_email(source, "new1@x.org")
