"""Whose an address or a number is."""

import asyncio

import pytest

from gatepost.errors import Unavailable
from gatepost.model import Channel, Secret

HEADER = "ext_user_id,email,phone\n"


@pytest.fixture
def find(contacts_file):
    """Return a function that finds the users of a file with these rows."""

    async def find(rows, recipient, header=HEADER, **context):
        contacts_file.write(header + rows)
        source = contacts_file.source(**context)
        async with source.lifespan():
            return await ask(source, recipient)

    return find


async def ask(source, recipient):
    channel = Channel.EMAIL if "@" in recipient else Channel.SMS
    return await source.find_user(channel, Secret(recipient))


@pytest.mark.parametrize(
    "written",
    [
        "+447700900100",
        "+44 7700 900100",
        "+44 (7700) 900-100",
        "+44 (0)7700 900100",
        "00447700900100",
        "+44.7700.900.100",
    ],
)
async def test_a_number_is_found_however_it_is_written(find, written):
    assert await find(f'one,,"{written}"\nother,,+447700900101\n', "+447700900100") == ["one"]


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("07700 900100", "GB", "+447700900100"),
        ("7700900100", "GB", "+447700900100"),
        ("011 44 7700 900100", "US", "+447700900100"),
        ("(201) 555-0123", "US", "+12015550123"),
        ("02 1234 5678", "IT", "+390212345678"),
        ("011 15-2345-6789", "AR", "+5491123456789"),
    ],
)
async def test_with_a_default_region_a_number_is_found_without_its_country_code(
    find, written, region, number
):
    assert await find(f'one,,"{written}"\n', number, default_region=region) == ["one"]
    assert await find(f'one,,"{written}"\n', number) == []


async def test_a_national_number_of_another_country_is_not_found(find):
    assert await find("one,,07700900100\n", "+337700900100", default_region="GB") == []


@pytest.mark.parametrize("written", ["anna@players.example", "Anna@PLAYERS.example"])
async def test_an_address_is_found_in_any_case(find, written):
    assert await find(f"one,{written},\nother,joanna@players.example,\n", "anna@players.example") == ["one"]


@pytest.mark.parametrize("domain", ["bücher.example", "xn--bcher-kva.example"])
async def test_an_international_domain_is_found_in_both_forms(find, domain):
    assert await find(f"one,anna@{domain},\n", "anna@xn--bcher-kva.example") == ["one"]


@pytest.mark.parametrize("more", ["", ",whatsapp", ",blocked"])
async def test_only_the_columns_of_addresses_count(find, more):
    header = f"ext_user_id,email,phone{more}\n"
    cell = more and ",447700900100"
    rows = f"447700900100,447700900100,+447700900999{cell}\nx,447700900100@players.example,{cell}\n"
    assert await find(rows, "+447700900100", header) == []


async def test_all_users_are_found_up_to_a_hundred(find):
    rows = [f"user{number},,+447700900100" for number in range(150)]
    assert await find("\n".join(rows) + "\n", "+447700900100") == [f"user{number}" for number in range(100)]


async def test_a_row_that_a_later_one_replaces_does_not_count(find):
    rows = "one,,+447700900100\none,,+447700900101\ntwo,,+447700900101\ntwo,,+447700900100\n"
    assert await find(rows, "+447700900100") == ["two"]


async def test_an_id_that_smartico_can_not_send_is_not_found(find):
    assert await find(f"{'x' * 513},,+447700900100\n{'y' * 512},,+447700900100\n", "+447700900100") == [
        "y" * 512
    ]


async def test_users_in_every_block_of_memory_are_found(find):
    filler = "x" * 1000
    rows = [
        f"user{number},,+4477018{number:05d}" if number % 1000 else f"hit{number},,+447700900100"
        for number in range(1, 5001)
    ]
    header = "ext_user_id,email,phone,more\n"
    text = "".join(f"{row},{filler}\n" for row in rows)
    assert await find(text, "+447700900100", header) == [f"hit{n}000" for n in range(1, 6)]


async def test_many_questions_at_once_share_searches(contacts_file, monkeypatch):
    contacts_file.write(HEADER + "".join(f"user{n},,+4477009{n:05d}\n" for n in range(1000)))
    source = contacts_file.source()
    async with source.lifespan():
        searches = []
        search = source._current.contacts.search
        monkeypatch.setattr(
            type(source._current.contacts),
            "search",
            lambda _self, wanted, *rest: searches.append(len(wanted)) or search(wanted, *rest),
        )
        numbers = [f"+4477009{n:05d}" for n in range(50)]
        found = await asyncio.gather(*(ask(source, number) for number in numbers))
    assert found == [[f"user{n}"] for n in range(50)]
    assert sum(searches) == 50
    assert len(searches) <= 2


async def test_a_cancelled_question_does_not_stop_the_others(contacts_file, monkeypatch):
    contacts_file.write(HEADER + "one,,+447700900100\n")
    source = contacts_file.source()
    async with source.lifespan():
        first = asyncio.create_task(ask(source, "+447700900100"))
        second = asyncio.create_task(ask(source, "+447700900100"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == ["one"]


@pytest.mark.parametrize("text", ["+٤٤٧٧٠٠٩٠٠١٠٠", "ann@people.example", "447700900100", "+9990000", ""])
async def test_what_is_no_number_in_e164_is_nobodys_and_spoils_no_other_answer(contacts_file, text):
    contacts_file.write(HEADER + "one,,+447700900100\n")
    source = contacts_file.source()
    async with source.lifespan():
        assert await asyncio.gather(ask(source, text), ask(source, "+447700900100")) == [[], ["one"]]


async def test_without_a_file_the_source_is_unavailable(contacts_file):
    with pytest.raises(Unavailable):
        await ask(contacts_file.source(), "+447700900100")


async def test_a_file_that_is_replaced_during_the_search_is_unavailable(contacts_file):
    contacts_file.write(HEADER + "one,,+447700900100\n")
    source = contacts_file.source()
    async with source.lifespan():
        source._current.contacts.release(lambda: None)
        with pytest.raises(Unavailable):
            await ask(source, "+447700900100")
