"""Several files of one source: their union, what they contradict each other in, and what changes while it runs."""

import os

import pytest

from gatepost.errors import ConfigError, Unavailable
from gatepost.model import Channel, Contact, Secret
from gatepost_csv import files

HEADER = "ext_user_id,email,phone\n"


def rows(start, stop, word="old"):
    return HEADER + "".join(f"u{n},{word}{n}@x.org,\n" for n in range(start, stop))


def email(source, user):
    contact = source.find_contact(user)
    return contact and contact.email.reveal()


@pytest.fixture
def becomes(until):
    """Return a function that waits until users have these addresses."""

    async def becomes(source, **expected):
        async def is_so():
            return {user: email(source, user) for user in expected} == expected

        await until(is_so)

    return becomes


@pytest.fixture
def refused(folder, until):
    """Return a function that waits for a refusal and returns it as the operator sees it."""

    async def refused():
        async def is_refused():
            return folder.logged()

        await until(is_refused)
        return folder.problem()

    return refused


async def start_problem(source):
    with pytest.raises(ConfigError) as error:
        async with source.lifespan():
            pytest.fail("started")
    return error.value.faults[0].problem


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", {"u1", "u2"}),
        ("*.csv", {"u1"}),
        ("*.csv*", {"u1", "u2", "u5"}),
        ("a.*", {"u1"}),
        ("?.csv.gz", {"u2"}),
        ("[ab].*", {"u1", "u2"}),
        (".*", {"u4"}),
    ],
)
async def test_a_folder_or_a_pattern_names_the_files(folder, pattern, found):
    names = ["a.csv", "b.csv.gz", "c.txt", ".d.csv", "e.csv.tmp"]
    for number, name in enumerate(names, 1):
        folder.put(name, rows(number, number + 1))
    source = folder.source(path=folder.path / pattern if pattern else folder.path)
    async with source.lifespan():
        assert {user for user in (f"u{n}" for n in range(1, 6)) if source.find_contact(user)} == found


async def test_each_file_has_its_own_columns(folder):
    folder.put("a.csv", "name,ext_user_id,email,phone\nAnn,u1,a@x.org,\n")
    folder.put("b.csv", "ext_user_id,country,phone,email\nu2,GB,+447700900001,\n")
    folder.put("c.csv", HEADER + "u3,c@x.org,+447700900001\n")
    source = folder.source()
    async with source.lifespan():
        assert source.find_contact("u1").attributes == {"name": "Ann"}
        assert source.find_contact("u2").attributes == {"country": "GB"}
        assert source.find_contact("u3").attributes == {}
        assert await source.find_user(Channel.SMS, Secret("+447700900001")) == ["u2", "u3"]


async def test_the_age_is_that_of_the_oldest_file(folder):
    for name, when in (("a.csv", 1_700_000_300), ("b.csv", 1_700_000_000), ("c.csv", 1_700_000_600)):
        folder.put(name, HEADER)
        os.utime(folder.path / name, (when, when))
    async with folder.source().lifespan():
        assert folder.described[-1].as_of == 1_700_000_000


async def test_the_same_user_in_two_files_is_one_user(folder):
    folder.put("a.csv", "ext_user_id,email,phone,name\nu1,a@x.org,,Ann\nu2,,,\n")
    folder.put("b.csv", "name,phone,email,ext_user_id\nAnn,,a@x.org,u1\n")
    source = folder.source()
    async with source.lifespan():
        assert email(source, "u1") == "a@x.org"
        assert (folder.described[-1].users, folder.problem()) == (2, "")


CONTRADICTIONS = {
    "email": "u1,zelda@x.org,+447700900001,Ann,",
    "phone": "u1,a@x.org,+447700900002,Ann,",
    "attribute": "u1,a@x.org,+447700900001,Zelda,",
    "block": "u1,a@x.org,+447700900001,Ann,self-excluded",
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
@pytest.mark.parametrize("newest", ["a.csv", "b.csv"])
async def test_of_two_files_that_contradict_each_other_none_is_believed(folder, case, newest):
    header = "ext_user_id,email,phone,name,blocked\n"
    folder.put("a.csv", f"{header}u0,,,,\nu1,a@x.org,+447700900001,Ann,\n")
    folder.put("b.csv", f"{header}{CONTRADICTIONS[case]}\nu2,b@x.org,,,\n")
    os.utime(folder.path / newest, (2_000_000_000, 2_000_000_000))
    source = folder.source()
    async with source.lifespan():
        if case == "block":
            assert source.find_contact("u1") == Contact(blocked="self-excluded")
        else:
            with pytest.raises(Unavailable, match="two contacts files contradict each other"):
                source.find_contact("u1")
        assert email(source, "u2") == "b@x.org"
        assert folder.described[-1].users == 3
    assert folder.problem() == (
        "files contradict each other about 1 of the users, who get no messages: a.csv line 3 and b.csv line 2"
    )
    (logged,) = folder.logged("contact_files_contradict")
    assert (logged["count"], logged["places"]) == (1, ("a.csv line 3 and b.csv line 2",))
    assert "zelda" not in repr(folder.captured.entries).lower()


@pytest.mark.parametrize("blocked_in", range(4))
async def test_a_block_in_any_file_counts(folder, blocked_in):
    """Also where another file has the user twice, and where each file says something else."""
    header = "ext_user_id,email,phone,blocked\n"
    for number in range(4):
        word = "self-excluded" if number == blocked_in else ""
        folder.put(f"{number}.csv", f"{header}u1,{number}@x.org,,\nu1,{number}@x.org,,{word}\n")
    source = folder.source()
    async with source.lifespan():
        assert source.find_contact("u1") == Contact(blocked="self-excluded")


async def test_a_block_that_a_later_row_takes_back_does_not_count(folder):
    header = "ext_user_id,email,phone,blocked\n"
    folder.put("a.csv", f"{header}u1,a@x.org,,self-excluded\nu1,a@x.org,,\n")
    folder.put("b.csv", f"{header}u1,b@x.org,,\n")
    source = folder.source()
    async with source.lifespan():
        with pytest.raises(Unavailable):
            source.find_contact("u1")


async def test_both_numbers_of_a_user_in_two_files_are_that_users(folder):
    """A STOP from either of them must reach the user."""
    folder.put("a.csv", HEADER + "u1,,+447700900001\n")
    folder.put("b.csv", HEADER + "u1,,+447700900002\n")
    source = folder.source()
    async with source.lifespan():
        for number in ("+447700900001", "+447700900002"):
            assert await source.find_user(Channel.SMS, Secret(number)) == ["u1"]


async def test_a_contradiction_is_warned_of_when_the_source_opens(folder):
    folder.put("a.csv", HEADER + "anna,anna@players.example,\n")
    folder.put("b.csv", HEADER + "anna,eve@players.example,\n")
    async with folder.source().lifespan():
        pass
    ((key, problem),) = folder.warnings
    assert key == "path"
    assert problem.endswith("about 1 of the users, who get no messages: a.csv line 2 and b.csv line 2")


async def test_the_first_contradictions_are_named_and_all_are_counted(folder):
    folder.put("a.csv", rows(0, 50))
    folder.put("b.csv", rows(0, 50, "new"))
    async with folder.source().lifespan():
        pass
    (logged,) = folder.logged("contact_files_contradict")
    assert logged["count"] == 50
    assert logged["places"] == tuple(f"a.csv line {n} and b.csv line {n}" for n in range(2, 22))
    assert folder.problem().count("a.csv line") == 3


async def test_a_contradiction_that_is_mended_is_over(folder, until):
    folder.put("a.csv", rows(0, 3))
    folder.put("b.csv", rows(2, 5, "new"))
    source = folder.source()
    async with source.lifespan():
        assert folder.problem()
        folder.put("b.csv", rows(3, 5, "new"))

        async def is_over():
            return folder.problem() == ""

        await until(is_over)
        assert email(source, "u2") == "old2@x.org"


async def test_rows_with_problems_are_logged_by_file(folder):
    folder.put("a.csv", HEADER + "u1,a@x.org,\nu1,b@x.org,\n")
    folder.put("b.csv", HEADER + "u1,b@x.org,\nu2\n")
    source = folder.source()
    async with source.lifespan():
        assert email(source, "u1") == "b@x.org"
    found = [(one["file"], one["count"], one["lines"]) for one in folder.logged("contact_rows_with_problems")]
    assert found == [("a.csv", 1, [2]), ("b.csv", 1, [3])]


async def test_files_that_are_added_replaced_and_removed(folder, becomes):
    folder.put("a.csv", rows(0, 10))
    source = folder.source()
    async with source.lifespan():
        folder.put("b.csv.gz", rows(10, 15))
        await becomes(source, u1="old1@x.org", u12="old12@x.org")
        folder.put("a.csv", rows(0, 10, "new"))
        await becomes(source, u1="new1@x.org", u12="old12@x.org")
        (folder.path / "b.csv.gz").unlink()
        await becomes(source, u1="new1@x.org", u12=None)
        (folder.path / "a.csv").rename(folder.path / "c.csv")
        folder.put("d.csv", rows(20, 21))
        await becomes(source, u1="new1@x.org", u20="old20@x.org")
    assert not folder.logged()


async def test_fewer_than_half_of_all_users_are_refused(folder, refused):
    folder.put("a.csv", rows(0, 40))
    folder.put("b.csv", rows(40, 100))
    source = folder.source()
    async with source.lifespan():
        (folder.path / "b.csv").unlink()
        assert (await refused()).startswith(
            "the new file is refused: 40 users, fewer than half of the 100 in use"
        )
        assert email(source, "u99") == "old99@x.org"


async def test_when_no_file_is_left_the_old_contacts_stay_in_use(folder, refused, becomes):
    folder.put("a.csv", rows(0, 10))
    source = folder.source()
    async with source.lifespan():
        (folder.path / "a.csv").unlink()
        assert await refused() == "the new file is refused: no file is named *.csv or *.csv.gz"
        assert email(source, "u1") == "old1@x.org"
        folder.put("b.csv", rows(0, 10, "new"))
        await becomes(source, u1="new1@x.org")


async def test_one_bad_file_refuses_all_and_is_named(folder, refused):
    folder.put("a.csv", rows(0, 10))
    folder.put("b.csv", rows(10, 20))
    source = folder.source()
    async with source.lifespan():
        folder.put("b.csv", rows(10, 20) + "u20,\0,\n")
        folder.put("a.csv", rows(0, 10, "new"))
        assert (await refused()).startswith("the new file is refused: b.csv, line 12: a NUL character")
        assert (folder.logged()[0]["file"], folder.logged()[0]["line"]) == ("b.csv", 12)
        assert email(source, "u1") == "old1@x.org", "as a whole or not at all"


async def test_a_bad_file_stops_the_start_and_is_named(folder):
    folder.put("a.csv", rows(0, 10))
    folder.put("b.csv", "")
    assert (await start_problem(folder.source())).startswith(f"{folder.path / 'b.csv'}: the file is empty")


@pytest.mark.parametrize("without", ["a.csv", "b.csv"])
async def test_all_files_say_who_is_blocked_or_none_does(folder, without):
    """A user who is blocked in another system's export could be contacted otherwise."""
    for name in ("a.csv", "b.csv"):
        folder.put(name, HEADER if name == without else "ext_user_id,email,phone,blocked\n")
    problem = await start_problem(folder.source())
    assert problem.startswith(f"{folder.path / without}: no column `blocked`, unlike ")


async def test_a_new_file_without_the_column_blocked_is_refused(folder, refused):
    folder.put("a.csv", "ext_user_id,email,phone,blocked\nu1,a@x.org,,self-excluded\n")
    source = folder.source()
    async with source.lifespan():
        folder.put("b.csv", HEADER + "u2,b@x.org,\n")
        assert "b.csv: no column `blocked`, unlike a.csv" in await refused()
        assert source.find_contact("u1").blocked == "self-excluded"


@pytest.mark.parametrize("name", ["b.csv", "c.csv"])
async def test_a_file_without_its_last_line_break_is_refused(folder, refused, name):
    for one in ("a.csv", "b.csv"):
        folder.put(one, rows(0, 10))
    async with folder.source().lifespan():
        folder.put(name, rows(0, 10).rstrip())
        assert (await refused()).startswith(f"the new file is refused: {name}: no line break at its end")


async def test_exports_that_never_end_with_a_line_break_are_used(folder, becomes):
    folder.put("a.csv", rows(0, 10).rstrip())
    source = folder.source()
    async with source.lifespan():
        folder.put("b.csv", rows(10, 20).rstrip())
        await becomes(source, u19="old19@x.org")


async def test_too_many_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILES", 2)
    for name in "abc":
        folder.put(f"{name}.csv", HEADER)
    assert await start_problem(folder.source()) == f"{folder.path}: 3 files, more than 2"


async def test_a_folder_in_the_place_of_a_file_is_refused(folder):
    (folder.path / "a.csv").mkdir()
    assert await start_problem(folder.source()) == f"{folder.path / 'a.csv'}: not a regular file"


async def test_a_folder_that_does_not_exist_is_refused(folder):
    problem = await start_problem(folder.source(path=folder.path / "none" / "*.csv"))
    assert problem == f"{folder.path / 'none'}: No such file or directory"
