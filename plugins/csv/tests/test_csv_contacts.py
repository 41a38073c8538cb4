"""Contacts are found in a file, and the rows that can't be used are logged."""

import msgspec
import pytest

from gatepost.errors import Unavailable
from gatepost.model import Secret
from gatepost_csv import Settings


async def find(contacts_file, text, ext_user_id, **settings):
    contacts_file.write(text)
    source = contacts_file.source(**settings)
    async with source.lifespan():
        contact = source.find_contact(ext_user_id)
    return contact and (
        contact.email and contact.email.reveal(),
        contact.phone and contact.phone.reveal(),
        dict(contact.attributes),
    )


ANN = ("ann@example.com", "+447700900001", {"name": "Ann"})


@pytest.mark.parametrize(
    "text",
    [
        "ext_user_id,email,phone,name\nu1,ann@example.com,+447700900001,Ann\n",
        "ext_user_id,email,phone,name\nu1,ann@example.com,+447700900001,Ann",
        "\ufeffext_user_id,email,phone,name\nu1,ann@example.com,+447700900001,Ann\n",
        '\ufeff"ext_user_id","email","phone","name"\n"u1","ann@example.com","+447700900001","Ann"\n',
        "ext_user_id,email,phone,name\r\nu1,ann@example.com,+447700900001,Ann\r\n",
        "ext_user_id,email,phone,name\ru1,ann@example.com,+447700900001,Ann\r",
        "ext_user_id,email,phone,name\r\nu0,,,\ru1,ann@example.com,+447700900001,Ann\nu2,,,\n",
        "ext_user_id,email,phone,name\n\n\nu1,ann@example.com,+447700900001,Ann\n\n",
        "name,phone,ext_user_id,email\nAnn,+447700900001,u1,ann@example.com\n",
        " Ext_User_ID ,EMAIL,Phone, name\nu1,ann@example.com,+447700900001,Ann\n",
        "ext_user_id,email,phone,name,,\nu1,ann@example.com,+447700900001,Ann,,x\n",
    ],
    ids=[
        "plain", "no last line break", "BOM", "BOM and quotes", "CRLF", "CR", "mixed line ends", "blank lines",
        "other order", "other case", "nameless columns",
    ],
)  # fmt: skip
async def test_a_user_is_found(contacts_file, text):
    assert await find(contacts_file, text, "u1") == ANN


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_every_delimiter(contacts_file, delimiter):
    text = "ext_user_id,email,phone,name\nu1,ann@example.com,+447700900001,Ann\n".replace(",", delimiter)
    assert await find(contacts_file, text, "u1", delimiter=delimiter) == ANN


async def test_quoted_fields_may_hold_anything(contacts_file):
    text = 'ext_user_id,email,phone,name\n"u,""1",a@x.org,,"O\'Neil, ""Ann""\r\nsecond\nthird"\n'
    assert await find(contacts_file, text, 'u,"1') == (
        "a@x.org",
        None,
        {"name": 'O\'Neil, "Ann"\r\nsecond\nthird'},
    )


async def test_empty_fields_are_none_and_others_stay_unchanged(contacts_file):
    text = 'ext_user_id,email,phone,name\nu1, ,"",\nu2, a@x.org ,=CMD(),"=1+1"\n'
    assert await find(contacts_file, text, "u1") == (None, None, {"name": ""})
    assert await find(contacts_file, text, "u2") == (" a@x.org ", "=CMD()", {"name": "=1+1"})


async def test_a_file_without_attribute_columns(contacts_file):
    assert await find(contacts_file, "ext_user_id,email,phone\nu1,a@x.org,\n", "u1") == ("a@x.org", None, {})


BLOCKED = {
    "self-excluded": "self-excluded",
    " closed account ": "closed account",
    "2026-01-31": "2026-01-31",
    "no contact": "no contact",
    "00": "00",
    "1": "blocked",
    "true": "blocked",
    "YES": "blocked",
    "": "",
    "  ": "",
    "0": "",
    "false": "",
    "FALSE": "",
    " No ": "",
}


@pytest.mark.parametrize("text", BLOCKED)
async def test_the_column_blocked_says_who_must_not_be_contacted(contacts_file, text):
    contacts_file.write(f"Blocked,ext_user_id,email,name,phone\n{text},u1,a@x.org,Ann,\n")
    source = contacts_file.source()
    async with source.lifespan():
        contact = source.find_contact("u1")
    assert contact.blocked == BLOCKED[text]
    assert (contact.email, contact.phone, contact.attributes) == (Secret("a@x.org"), None, {"name": "Ann"})


async def test_without_the_column_no_user_is_blocked(contacts_file):
    contacts_file.write("ext_user_id,email,phone,last\nu1,a@x.org,,self-excluded\n")
    source = contacts_file.source()
    async with source.lifespan():
        assert source.find_contact("u1").blocked == ""


@pytest.mark.parametrize(
    "ext_user_id",
    [
        "7",
        "07",
        " 007",
        "007 ",
        "u\0",
        "\ud800",
        "\ud800" * 255,
        "é",
        "e\u0301",
        "007\0a@x.org",
        "\xff",
        "user" * 60,
    ],
)
async def test_only_the_exact_id_is_found(contacts_file, ext_user_id):
    contacts_file.write("ext_user_id,email,phone\n007,a@x.org,\nu,b@x.org,\n\u00c9,c@x.org,\n")
    source = contacts_file.source()
    async with source.lifespan():
        assert source.find_contact(ext_user_id) is None
        assert (source.find_contact("007")).email == Secret("a@x.org")


async def test_every_user_is_found_in_a_file_of_several_blocks(contacts_file):
    count, name = 3000, "ö" * 600
    contacts_file.write(
        "ext_user_id,email,phone,name\n" + "".join(f"u{n},{n}@x.org,,{name}\n" for n in range(count))
    )
    source = contacts_file.source()
    async with source.lifespan():
        for number in range(count):
            contact = source.find_contact(f"u{number}")
            assert contact.email.reveal() == f"{number}@x.org"
            assert contact.attributes == {"name": name}
        assert source.find_contact(f"u{count}") is None


async def test_rows_that_fill_more_than_a_block_at_once(contacts_file):
    rows = "".join(f"u{n},{n}@x.org,,{'n' * 120_000},{'m' * 120_000}\n" for n in range(150))
    contacts_file.write("ext_user_id,email,phone,name,more\n" + rows)
    source = contacts_file.source()
    async with source.lifespan():
        for number in range(150):
            assert (source.find_contact(f"u{number}")).email.reveal() == f"{number}@x.org"


async def test_the_last_row_of_a_repeated_id_counts(contacts_file):
    text = "ext_user_id,email,phone\nu1,old@x.org,\nu2,b@x.org,\nu1,new@x.org,\nu1,newest@x.org,\n"
    assert (await find(contacts_file, text, "u1"))[0] == "newest@x.org"
    assert contacts_file.row_problems() == {
        "the ext_user_id of a later row, which replaces this one": (2, [2, 4])
    }
    assert contacts_file.logged("contacts_read")[0]["users"] == 2


async def test_unusable_rows_are_logged_with_the_line_where_they_begin(contacts_file):
    text = (
        'ext_user_id,email,phone,name\nu1,a@x.org,,"two\nlines"\n'  # 2 and 3
        "u2,b@x.org\n"  # 4
        "u3,c@x.org,,too,many\n"  # 5
        "\n"
        ",d@x.org,,Dan\n"  # 7
        "  ,e@x.org,,Eve\n"  # 8
        '"u4\nu5",f@x.org,,Fay\n'  # 9 and 10
        'u6,"g@x.org\r\n",,Gil\n'  # 11 and 12
        "u7,h@x.org,,Hal\n"
        "u8\n"  # 14
    )
    assert (await find(contacts_file, text, "u7"))[0] == "h@x.org"
    assert contacts_file.row_problems() == {
        "not as many columns as the header": (3, [4, 5, 14]),
        "no ext_user_id": (2, [7, 8]),
        "a line break in ext_user_id, email or phone": (2, [9, 11]),
    }
    for unusable in ("u2", "u3", "", "  ", "u4", "u4\nu5", "u6", "u8"):
        assert await find(contacts_file, text, unusable) is None


async def test_only_the_first_lines_are_logged(contacts_file):
    await find(contacts_file, "ext_user_id,email,phone\n" + "x\n" * 5000, "x")
    ((count, lines),) = contacts_file.row_problems().values()
    assert count == 5000
    assert lines == list(range(2, 22))


async def test_nothing_of_a_row_is_logged(contacts_file):
    await find(
        contacts_file, "ext_user_id,email,phone\nzelda\nu1,zelda@x.org,\nu1,zelda@x.org,\n,zelda,\n", "u1"
    )
    assert len(contacts_file.row_problems()) == 3
    assert "zelda" not in repr(contacts_file.captured.entries)


async def test_a_file_with_only_a_header_has_no_users(contacts_file):
    assert await find(contacts_file, "ext_user_id,email,phone\n", "u1") is None


async def test_outside_its_lifespan_the_source_is_unavailable(contacts_file):
    contacts_file.write("ext_user_id,email,phone\nu1,a@x.org,\n")
    source = contacts_file.source()
    with pytest.raises(Unavailable):
        source.find_contact("u1")
    async with source.lifespan():
        assert source.find_contact("u1")
    with pytest.raises(Unavailable):
        source.find_contact("u1")


@pytest.mark.parametrize(
    "table",
    [{}, {"path": "x", "delimeter": ";"}, {"path": "x", "delimiter": ""}, {"path": "x", "check_every": 0}],
)
def test_invalid_settings_are_refused(table):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, Settings, dec_hook=lambda kind, value: kind(value))
