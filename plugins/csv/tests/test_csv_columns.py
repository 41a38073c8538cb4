"""Columns that have other names in the file."""

import msgspec
import pytest

from gatepost.errors import ConfigError
from gatepost_csv import Settings


async def contact(contacts_file, header, columns, row="p1,ann@x.org,+447700900001,self-excluded,Ann"):
    contacts_file.write(f"{header}\n{row}\n")
    source = contacts_file.source(columns=columns)
    async with source.lifespan():
        found = source.find_contact("p1")
    return found.email.reveal(), found.phone and found.phone.reveal(), found.blocked, dict(found.attributes)


HEADER = "player_id,mail_address,mobile,status,Vorname"
RENAMED = {
    "ext_user_id": "player_id",
    "email": "mail_address",
    "phone": "mobile",
    "blocked": "status",
    "first_name": "Vorname",
}


async def test_a_column_is_known_by_its_name_in_the_file(contacts_file):
    found = await contact(contacts_file, HEADER, RENAMED)
    assert found == ("ann@x.org", "+447700900001", "self-excluded", {"first_name": "Ann"})


async def test_our_names_are_still_known_in_any_case(contacts_file):
    found = await contact(contacts_file, "player_id,EMAIL,Phone,blocked,name", {"ext_user_id": "player_id"})
    assert found == ("ann@x.org", "+447700900001", "self-excluded", {"name": "Ann"})


async def test_a_column_of_ours_that_another_one_replaces_is_not_read(contacts_file):
    header, columns = "id,contact_email,phone,Email,name", {"ext_user_id": "id", "email": "contact_email"}
    row = "p1,ann@x.org,,login@x.org,Ann"
    assert await contact(contacts_file, header, columns, row) == ("ann@x.org", None, "", {"name": "Ann"})


async def test_one_column_may_be_two_of_ours(contacts_file):
    contacts_file.write("email,phone\nann@x.org,\n")
    source = contacts_file.source(columns={"ext_user_id": "email", "email": "email"})
    async with source.lifespan():
        assert source.find_contact("ann@x.org").email.reveal() == "ann@x.org"


REFUSED = {
    "another required name": ({**RENAMED, "email": "mail"}, "line 1: the header has no column mail; it must name"),
    "our name where another is set": ({**RENAMED, "phone": "phone"}, "line 1: the header has no column phone;"),
    "a block that is not there": ({**RENAMED, "blocked": "excluded"}, "line 1: the header has no column excluded;"),
    "an attribute": ({**RENAMED, "first_name": "name"}, "line 1: the header has no column name;"),
    "another case": ({**RENAMED, "email": "Mail_Address"}, "line 1: the header has no column Mail_Address;"),
    "several": ({"email": "mail"}, "line 1: the header has no column ext_user_id, mail, phone; it must name ext_user_id, mail and phone,"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_a_named_column_that_is_missing_is_refused(contacts_file, case):
    columns, problem = REFUSED[case]
    contacts_file.write(f"{HEADER}\np1,,,,\n")
    with pytest.raises(ConfigError) as refused:
        async with contacts_file.source(columns=columns).lifespan():
            pytest.fail("started")
    assert refused.value.faults[0].problem.startswith(f"{contacts_file.path}: {problem}")


async def test_a_named_column_that_is_there_twice_is_refused(contacts_file):
    contacts_file.write("id,mail,phone,mail\np1,,,\n")
    with pytest.raises(ConfigError) as refused:
        async with contacts_file.source(columns={"ext_user_id": "id", "email": "mail"}).lifespan():
            pytest.fail("started")
    assert refused.value.faults[0].problem.endswith("line 1: columns 2 and 4 have the same name")


def test_a_name_of_ours_in_another_spelling_is_refused(contacts_file):
    """It would be an attribute, and who is blocked in that column would get messages."""
    names = ["Blocked", " blocked", "EMAIL", "phone ", "Ext_User_Id"]
    with pytest.raises(ConfigError) as refused:
        contacts_file.source(columns={**dict.fromkeys(names, "status"), "First_name": "Vorname"})
    assert [fault.key for fault in refused.value.faults] == [f"columns.{name}" for name in names]
    assert refused.value.faults[0].problem == "must be written blocked"


@pytest.mark.parametrize("columns", [{"email": ""}, {"email": " "}, {"": "mail"}, {"email": 1}, ["email"]])
def test_a_column_without_a_name_is_refused(columns):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"path": "x", "columns": columns}, Settings, dec_hook=lambda kind, value: kind(value))
