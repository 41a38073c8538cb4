"""What an operator learns about a user's contact: everything but the address and the number."""

import msgspec
import pytest

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.addresses import canonical_email, canonical_phone, email_problem, phone_problem
from gatepost.contacts.examination import examine
from gatepost.contacts.lookup import Contacts
from gatepost.context import ContactsState
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost.plugin_host.instances import Instance

EMAIL, PHONE = "joe@players.example", "+447700900123"
JOE = Contact(email=Secret(EMAIL), phone=Secret(PHONE))
DOWN = Unavailable("the database is down")


class Source:
    def __init__(self, answer):
        self.answer = answer

    @hookimpl
    async def find_contact(self, ext_user_id):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def contacts_of(*sources, region=""):
    """Return the chain of these sources; each is given as its answer and its keys."""
    instances = [
        Instance(InstanceSettings(name=f"source-{number}", use="fake", **keys), Source(answer))
        for number, (answer, keys) in enumerate(sources)
    ]
    return Contacts({"brand": instances}, timeout=5.0, default_region=region)


async def examined(*sources, region=""):
    """Return the report on these sources, after checking that it holds nothing of the contact."""
    found = await examine(contacts_of(*sources, region=region), "brand", "joe")
    shown = msgspec.json.encode(found.report).decode()
    assert not [text for text in ("players.example", "7700", "nobody") if text in shown]
    return found.report


def problems(report):
    return {one.channel.value: one.problem for one in report.channels}


async def test_a_known_user_with_both_channels():
    report = await examined((JOE, {}), (None, {}))

    assert (report.is_known, report.is_unclear, report.blocked, report.waits_for) == (True, False, "", [])
    assert [(one.channel, one.source, one.problem) for one in report.channels] == [
        ("email", "source-0", ""),
        ("sms", "source-0", ""),
    ]
    first, second = report.sources
    assert (first.state, first.channels, second.state) == ("known", ["email", "sms"], "not asked")
    assert (first.seconds > 0, second.seconds) == (True, None)


async def test_each_channel_has_the_source_that_is_used():
    without = Contact(email=Secret(EMAIL), phone=Secret("none"))
    report = await examined((without, {}), (Contact(phone=Secret(PHONE)), {"merge": True}))

    assert [one.source for one in report.channels] == ["source-0", "source-1"]


async def test_why_no_address_is_usable():
    report = await examined((Contact(email=Secret("nobody"), phone=Secret("07700 900123")), {}))
    assert problems(report) == {
        "email": "the email address of source-0 is not exactly one address such as name@example.com",
        "sms": "the phone number of source-0 has no country code, and contacts.default_region is not set",
    }
    report = await examined((Contact(), {}), (DOWN, {"merge": True}))
    away = "no source that answered has one; source-1 did not answer and may have one, so messages wait"
    assert problems(report) == {"email": away, "sms": away}


async def test_a_user_whom_no_source_knows():
    report = await examined((None, {}), (None, {}))
    assert (report.is_known, report.is_unclear) == (False, False)
    report = await examined((None, {}), (DOWN, {}))
    assert (report.is_known, report.is_unclear) == (False, True)
    assert (report.sources[1].state, report.sources[1].problem) == ("unavailable", "the database is down")


async def test_a_blocked_user_keeps_the_channels():
    report = await examined((JOE, {}), (Contact(blocked="self-excluded"), {"blocks": True}))

    assert (report.blocked, report.blocked_by) == ("self-excluded", "source-1")
    assert [one.source for one in report.channels] == ["source-0", "source-0"]
    assert [one.blocked for one in report.sources] == ["", "self-excluded"]


async def test_the_messages_of_a_blocked_user_do_not_wait():
    """They are refused, whatever a source that is away may know."""
    report = await examined((Contact(blocked="self-excluded"), {}), (DOWN, {"merge": True}))

    assert report.blocked == "self-excluded"
    assert set(problems(report).values()) == {"no source that answered has one"}


async def test_a_source_that_blocks_and_is_away_is_named():
    report = await examined((JOE, {}), (DOWN, {"blocks": True}))

    assert (report.is_known, report.waits_for) == (True, ["source-1"])
    assert [one.source for one in report.channels] == ["source-0", "source-0"]


async def test_the_age_of_the_data_is_that_of_the_source():
    contacts = contacts_of((JOE, {}))
    (source,) = contacts.sources["brand"]
    source.services.describe_contacts(
        ContactsState(users=1, as_of=1_000.0, problem="the new file is refused")
    )

    (report,) = (await examine(contacts, "brand", "joe")).report.sources
    assert (report.data_at, report.data_problem) == (1_000.0, "the new file is refused")


async def test_what_the_report_leaves_out_stands_beside_it():
    found = await examine(contacts_of((JOE, {})), "brand", "joe")
    assert found.addresses == {Channel.EMAIL: Secret(EMAIL), Channel.SMS: Secret(PHONE)}
    found = await examine(contacts_of((Contact(phone=Secret("none")), {})), "brand", "joe")
    assert found.addresses == {Channel.SMS: Secret("none")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x" * 300, "more than 254 characters"),
        ("joe@players.example\r\nBcc: ann@players.example", "a control character"),
        (" joe@players.example", "begins or ends with a space"),
        ("Joe <joe@players.example>", "not exactly one address"),
    ],
)
def test_why_a_text_is_no_address(text, problem):
    assert canonical_email(text) is None
    assert problem in email_problem(text)


@pytest.mark.parametrize(
    ("text", "region", "problem"),
    [
        ("1" * 50, "", "more than 40 characters"),
        ("+447700900123 x5", "", "other characters than digits"),
        ("07700 900123", "", "has no country code"),
        ("112", "GB", "is not a possible phone number of GB"),
        ("+999123456789", "", "is not a possible phone number"),
    ],
)
def test_why_a_text_is_no_number(text, region, problem):
    assert canonical_phone(text, region) is None
    assert problem in phone_problem(text, region)
