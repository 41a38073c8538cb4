"""What the source says of its contacts for the operator: how many, how old, and whether a newer file is refused."""

import os

from gatepost.hookspecs import ContactsState

HEADER = "ext_user_id,email,phone\n"
ROWS = HEADER + "".join(f"u{n},{n}@x.org,\n" for n in range(10))


async def test_it_says_how_many_users_the_file_has_and_when_it_was_written(contacts_file):
    contacts_file.write(ROWS)
    os.utime(contacts_file.path, (1_700_000_000, 1_700_000_000))
    async with contacts_file.source().lifespan():
        assert contacts_file.described == [ContactsState(users=10, as_of=1_700_000_000)]


async def test_it_says_why_a_newer_file_is_refused_until_one_is_used(contacts_file, until):
    contacts_file.write(ROWS)
    os.utime(contacts_file.path, (1_700_000_000, 1_700_000_000))
    async with contacts_file.source().lifespan():
        contacts_file.write(HEADER + "u1,a@x.org,\n")

        async def is_refused():
            return contacts_file.described[-1].problem

        await until(is_refused)
        refused = contacts_file.described[-1]
        # The age is that of the contacts in use.
        assert (refused.users, refused.as_of) == (10, 1_700_000_000)
        assert refused.problem.startswith(
            "the new file is refused: 1 users, fewer than half of the 10 in use"
        )
        contacts_file.write(ROWS + "u10,10@x.org,\n")

        async def is_used():
            return contacts_file.described[-1].users == 11

        await until(is_used)
        assert contacts_file.described[-1].problem == ""


async def test_a_refusal_names_the_line(contacts_file, until):
    contacts_file.write(ROWS)
    async with contacts_file.source().lifespan():
        contacts_file.write(ROWS + 'u11,"never closed,\n')

        async def is_refused():
            return contacts_file.described[-1].problem

        await until(is_refused)
    assert contacts_file.described[-1].problem.startswith("the new file is refused: line 12: ")


async def test_a_file_that_can_be_reached_again_is_no_problem(contacts_file, until, monkeypatch):
    contacts_file.write(ROWS)
    async with contacts_file.source().lifespan():
        with monkeypatch.context() as away:
            away.setattr("gatepost_csv.plugin.read_fingerprints", lambda _path: None)
            away.setattr("gatepost_csv.plugin.read_snapshot", _unreachable)

            async def is_refused():
                return contacts_file.described[-1].problem

            await until(is_refused)

        async def is_fine():
            return not contacts_file.described[-1].problem

        await until(is_fine)


def _unreachable(*_):
    raise OSError(2, "No such file or directory")
