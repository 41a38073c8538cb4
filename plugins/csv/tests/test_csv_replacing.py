"""A changed file is taken over while the gateway runs, as a whole or not at all."""

import os

import pytest

from gatepost_csv import source as module

HEADER = "ext_user_id,email,phone\n"
OLD = HEADER + "".join(f"u{n},old{n}@x.org,\n" for n in range(10))
NEW = HEADER + "".join(f"u{n},new{n}@x.org,\n" for n in range(10))


async def email(source, ext_user_id="u1"):
    contact = source.find_contact(ext_user_id)
    return contact and contact.email.reveal()


@pytest.fixture
def taken(until):
    async def taken(source, address):
        async def there():
            return await email(source) == address

        await until(there)

    return taken


@pytest.fixture
def refused(players, until):
    async def refused(times=1):
        async def said():
            return len(players.logged()) >= times

        await until(said)
        return players.logged()[times - 1]["problem"]

    return refused


async def test_a_file_that_is_renamed_into_its_place(players, taken):
    players.write(OLD)
    source = players.source()
    async with source.lifespan():
        assert await email(source) == "old1@x.org"
        players.write(NEW)
        await taken(source, "new1@x.org")
        players.write(OLD)
        await taken(source, "old1@x.org")
    assert not players.logged()


async def test_a_file_that_is_rewritten_in_place(players, taken):
    players.write(OLD)
    source = players.source()
    async with source.lifespan():
        players.rewrite(NEW)
        await taken(source, "new1@x.org")


async def test_another_size_with_the_same_time(players, taken):
    players.write(OLD)
    source = players.source()
    async with source.lifespan():
        players.rewrite(NEW + "u99,a@x.org,\n", keep_time=True)
        await taken(source, "new1@x.org")


async def test_the_same_size_with_the_same_time(players, taken):
    players.write(OLD)
    source = players.source()
    async with source.lifespan():
        players.rewrite(NEW, keep_time=True)
        await taken(source, "new1@x.org")


async def test_another_file_of_the_same_size_and_time(players, taken):
    players.write(OLD)
    before = players.path.stat()
    source = players.source()
    async with source.lifespan():
        fresh = players.path.with_suffix(".same")
        fresh.write_text(NEW)
        os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
        fresh.replace(players.path)
        await taken(source, "new1@x.org")


async def test_a_link_that_points_elsewhere_now(players, tmp_path, taken):
    for name, text in (("a", OLD), ("b", NEW)):
        (tmp_path / name).write_text(text)
    players.path.symlink_to(tmp_path / "a")
    source = players.source()
    async with source.lifespan():
        assert await email(source) == "old1@x.org"
        (tmp_path / "link").symlink_to(tmp_path / "b")
        (tmp_path / "link").replace(players.path)
        await taken(source, "new1@x.org")


REFUSED = {
    "nothing": ("", "the file is empty: its first line must name the columns"),
    "only a header": (HEADER, "0 users, fewer than half of the 10 in use; if that is right, restart the gateway"),
    "too few": (HEADER + "u1,a@x.org,\n" * 4, "1 users, fewer than half of the 10 in use; "),
    "too few usable": (HEADER + "u1\n" * 10, "0 users, fewer than half"),
    "cut in a row": (NEW[:-9], "the last line is cut short: half-written?"),
    "cut in the last column": (NEW[:-1], "no line break at its end, unlike the file in use: half-written?"),
    "unclosed quote": (NEW + '"u77,a@x.org,\n', "a quoted field is never closed"),
    "no columns": (NEW.removeprefix(HEADER), "the header has no column"),
    "not UTF-8": (NEW.encode() + b"u77,\xff,\n", "not UTF-8"),
    "NUL": (NEW.encode() + b"u77,\0,\n", "a NUL character"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_the_old_contacts_stay(players, refused, taken, case):
    content, problem = REFUSED[case]
    players.write(OLD)
    source = players.source()
    async with source.lifespan():
        players.write(content)
        assert (await refused()).startswith(problem)
        assert [await email(source, f"u{n}") for n in range(10)] == [f"old{n}@x.org" for n in range(10)]
        players.write(NEW)
        await taken(source, "new1@x.org")
    assert len(players.logged()) == 1, "said once, and not at every look"


async def test_the_line_is_logged(players, refused):
    players.write(OLD)
    async with players.source().lifespan():
        players.write(NEW + "u77,\0,\n")
        await refused()
    assert players.logged()[0]["line"] == 12


async def test_half_of_the_users_are_enough(players, taken):
    players.write(OLD)
    source = players.source()
    async with source.lifespan():
        players.write(HEADER + "".join(f"u{n},new{n}@x.org,\n" for n in range(5)))
        await taken(source, "new1@x.org")


async def test_a_file_that_never_ended_with_a_line_break_need_not(players, taken):
    players.write(OLD.rstrip())
    source = players.source()
    async with source.lifespan():
        players.write(NEW.rstrip())
        await taken(source, "new1@x.org")


async def test_a_missing_file(players, refused, taken):
    players.write(OLD)
    source = players.source()
    async with source.lifespan():
        players.path.unlink()
        assert await refused() == "No such file or directory"
        assert await email(source) == "old1@x.org"
        players.write(NEW)
        await taken(source, "new1@x.org")
    assert len(players.logged()) == 1


async def test_two_bad_files_one_after_the_other_are_both_named(players, refused):
    players.write(OLD)
    async with players.source().lifespan():
        players.write("")
        assert "empty" in await refused(1)
        players.write(NEW[:-9])
        assert "cut short" in await refused(2)


async def test_a_file_that_can_not_be_read_is_tried_again(players, refused, taken, monkeypatch):
    players.write(OLD)
    source = players.source()
    path_type = type(players.path)
    opened = path_type.open

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    async with source.lifespan():
        monkeypatch.setattr(path_type, "open", refuse)
        _beside(players, NEW).replace(players.path)
        assert await refused() == "Permission denied"
        monkeypatch.setattr(path_type, "open", opened)
        await taken(source, "new1@x.org")


def _beside(players, text):
    fresh = players.path.with_suffix(".beside")
    with open(fresh, "w") as file:  # noqa: PTH123  Path.open is what the test has broken
        file.write(text)
    return fresh


async def test_a_file_is_left_alone_while_it_changes(players, taken, until, monkeypatch):
    """Its writer is between two rows at each look; a reader would find nothing wrong with it."""
    players.write(OLD)
    looks, reads = [], []
    source = players.source()
    read = source._read

    def reading():
        reads.append(len(looks))
        return read()

    def look(path):
        looks.append(path)
        if len(looks) <= 20:
            with path.open("a") as file:
                file.write(f"u1{len(looks)},a@x.org,\n")
        return look_at(path)

    look_at = module.look
    monkeypatch.setattr(module, "look", look)
    monkeypatch.setattr(source, "_read", reading)
    async with source.lifespan():

        async def grown():
            return source.find_contact("u120") is not None

        await until(grown)
    assert reads == [0, 21], "read at the start, and then when a look found what the one before had found"


async def test_a_file_that_changes_while_it_is_read(players, taken, refused, monkeypatch):
    players.write(OLD)
    source = players.source()
    breathe = source._breathe

    def write_on():
        monkeypatch.setattr(source, "_breathe", breathe)
        with players.path.open("a") as file:
            file.write("u77,a@x.org,\n")

    async with source.lifespan():
        monkeypatch.setattr(source, "_breathe", write_on)
        players.write(NEW)
        assert await refused() == "somebody is writing to the file"
        await taken(source, "new1@x.org")
        assert await email(source, "u77") == "a@x.org"


async def test_watching_survives_what_nobody_thought_of(players, taken, refused, monkeypatch):
    players.write(OLD)
    source = players.source()
    breathe = source._breathe

    def fail():
        raise MemoryError("zelda")

    async with source.lifespan():
        monkeypatch.setattr(source, "_breathe", fail)
        players.write(OLD)
        assert await refused() == "MemoryError while it was read"
        monkeypatch.setattr(source, "_breathe", breathe)
        players.write(NEW)
        await taken(source, "new1@x.org")
