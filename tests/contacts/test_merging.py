"""Chains of sources: which of them are asked, and what their answers say together, compared with a plain model."""

import asyncio
from typing import NamedTuple

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.settings import InstanceSettings
from gatepost.contacts import lookup
from gatepost.contacts.lookup import Contacts, LookupOutcome
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost.plugin_host.instances import Instance
from torture.fast_forward import FastForward

DOWN = Unavailable("the database is down")
LATENCY = 0.01


class Source:
    def __init__(self, answer):
        self.answer = answer
        self.lookups = 0

    def find(self):
        self.lookups += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class RemoteSource(Source):
    @hookimpl
    async def find_contact(self, ext_user_id):
        await asyncio.sleep(LATENCY)
        return self.find()


class MemorySource(Source):
    @hookimpl
    def find_contact(self, ext_user_id):
        return self.find()


class Chain:
    """A chain of sources; each is given as its answer and its keys, such as ``merge=True``."""

    def __init__(self, *sources, kind=RemoteSource, region=""):
        self.plugins = [kind(answer) for answer, _ in sources]
        instances = [
            Instance(InstanceSettings(name=f"source-{number}", use="fake", **keys), plugin)
            for number, (plugin, (_, keys)) in enumerate(zip(self.plugins, sources, strict=True))
        ]
        self.contacts = Contacts({"brand": instances}, timeout=5.0, default_region=region)

    async def find(self, channel=Channel.SMS, earlier=None):
        return await self.contacts.find("brand", "joe", channel, earlier)

    @property
    def lookups(self):
        return [plugin.lookups for plugin in self.plugins]


def contact(email=None, phone=None, blocked="", **attributes):
    return Contact(
        email=Secret(email) if email else None,
        phone=Secret(phone) if phone else None,
        attributes=attributes,
        blocked=blocked,
    )


MERGE = {"merge": True}
ADDRESS_ONLY = contact(email="joe@players.example", city="Valletta")
PHONE = contact(phone="+447700900123", city="Rome", name="Joe")


async def test_a_merging_source_has_the_number_that_the_first_lacks():
    found = await Chain((ADDRESS_ONLY, {}), (PHONE, MERGE)).find()

    assert (found.outcome, found.recipient) == (LookupOutcome.FOUND, Secret("+447700900123"))
    assert (found.source, found.attributes) == ("source-1", {"city": "Valletta", "name": "Joe"})


async def test_without_merge_it_is_not_asked():
    chain = Chain((ADDRESS_ONLY, {}), (PHONE, {}))

    assert (await chain.find()).outcome is LookupOutcome.NO_ADDRESS
    assert chain.lookups == [1, 0]


async def test_the_first_usable_number_wins():
    other = contact(phone="+447700900999")
    assert (await Chain((PHONE, {}), (other, MERGE)).find()).recipient == PHONE.phone
    unusable = contact(phone="none", name="Ann")
    found = await Chain((unusable, {}), (PHONE, MERGE), (other, MERGE)).find()
    assert (found.recipient, found.attributes) == (PHONE.phone, {"name": "Ann", "city": "Rome"})


async def test_a_blank_attribute_is_completed_too():
    padded = contact(email="joe@players.example", city="  ")
    assert (await Chain((padded, {}), (PHONE, MERGE)).find(Channel.EMAIL)).attributes["city"] == "Rome"


async def test_a_user_whom_only_a_merging_source_knows_is_known():
    last = contact(phone="+447700900999", town="Oslo")
    chain = Chain((None, {}), (PHONE, MERGE), (last, {}))

    assert (await chain.find()).recipient == PHONE.phone
    assert chain.lookups == [1, 1, 0]


async def test_a_merging_source_that_does_not_know_the_user_changes_nothing():
    assert (await Chain((ADDRESS_ONLY, {}), (None, MERGE)).find()).outcome is LookupOutcome.NO_ADDRESS
    assert (await Chain((None, {}), (None, MERGE)).find()).outcome is LookupOutcome.UNKNOWN_USER
    found = await Chain((ADDRESS_ONLY, {}), (None, MERGE)).find(Channel.EMAIL)
    assert (found.recipient, found.attributes) == (ADDRESS_ONLY.email, {"city": "Valletta"})


async def test_a_block_of_a_merging_source_counts():
    excluded = contact(blocked="self-excluded")
    assert (await Chain((PHONE, {}), (excluded, MERGE)).find()).outcome is LookupOutcome.BLOCKED
    assert (await Chain((DOWN, {}), (excluded, MERGE)).find()).outcome is LookupOutcome.BLOCKED


async def test_while_a_merging_source_is_away_only_messages_that_need_it_wait():
    assert (await Chain((ADDRESS_ONLY, {}), (DOWN, MERGE)).find()).outcome is LookupOutcome.UNREACHABLE
    found = await Chain((ADDRESS_ONLY, {}), (DOWN, MERGE)).find(Channel.EMAIL)
    assert (found.recipient, found.attributes) == (ADDRESS_ONLY.email, {"city": "Valletta"})


async def test_while_the_first_source_is_away_users_without_an_address_elsewhere_wait():
    profile = contact(name="Joe")
    assert (await Chain((DOWN, {}), (profile, MERGE)).find()).outcome is LookupOutcome.UNREACHABLE
    # Without merge the source that knows the user has the last word, as Smartico's contract says.
    assert (await Chain((DOWN, {}), (profile, {})).find()).outcome is LookupOutcome.NO_ADDRESS
    assert (await Chain((DOWN, {}), (PHONE, MERGE)).find()).recipient == PHONE.phone


async def test_an_earlier_result_serves_what_came_from_the_source_that_is_away():
    earlier = await Chain((ADDRESS_ONLY, {}), (PHONE, MERGE)).find()
    assert await Chain((ADDRESS_ONLY, {}), (DOWN, MERGE)).find(earlier=earlier) == earlier

    renamed = contact(email="joe@players.example", name="Joseph")
    found = await Chain((renamed, {}), (DOWN, MERGE)).find(earlier=earlier)
    assert (found.recipient, found.attributes) == (PHONE.phone, {"name": "Joseph", "city": "Rome"})
    own = contact(phone="+447700900999")
    assert (await Chain((own, {}), (DOWN, MERGE)).find(earlier=earlier)).recipient == own.phone
    gone = await Chain((ADDRESS_ONLY, {}), (contact(name="Joe"), MERGE)).find(earlier=earlier)
    assert gone.outcome is LookupOutcome.NO_ADDRESS


async def test_the_number_of_an_earlier_result_is_not_read_again(monkeypatch):
    earlier = await Chain((ADDRESS_ONLY, {}), (PHONE, MERGE)).find()
    monkeypatch.setattr(lookup, "canonical_phone", lambda *_: None)

    assert await Chain((ADDRESS_ONLY, {}), (PHONE, MERGE)).find(earlier=earlier) == earlier


def test_sources_that_merge_are_asked_at_the_same_time():
    """The clock of this loop moves only while all wait."""
    chain = Chain((ADDRESS_ONLY, {}), (None, MERGE), (PHONE, MERGE))
    with asyncio.Runner(loop_factory=FastForward) as runner:
        runner.run(chain.find())
        assert runner.get_loop().time() < 1.5 * LATENCY


async def test_sources_in_memory_that_merge_are_asked_without_a_task():
    looking = Chain((ADDRESS_ONLY, {}), (PHONE, MERGE), kind=MemorySource).find()
    with pytest.raises(StopIteration) as end:
        looking.send(None)
    assert end.value.value.recipient == PHONE.phone


class Step(NamedTuple):
    """A source of a random chain: its keys, and its answers at the arrival and at the send."""

    blocks: bool
    merge: bool
    answers: tuple[object, object]


TEXTS = {
    Channel.EMAIL: [None, None, "nobody", "a@players.example", "b@PLAYERS.example"],
    Channel.SMS: [None, None, "none", "+447700900123", "+447700900999"],
}
CONTACTS = st.builds(
    contact,
    email=st.sampled_from(TEXTS[Channel.EMAIL]),
    phone=st.sampled_from(TEXTS[Channel.SMS]),
    blocked=st.sampled_from(["", "", "", "", "excluded"]),
    city=st.sampled_from(["", "Rome"]),
) | st.builds(contact, name=st.sampled_from(["", "Ann", "Joe"]), phone=st.sampled_from(TEXTS[Channel.SMS]))
ANSWERS = st.none() | st.just(DOWN) | CONTACTS
STEPS = st.builds(Step, st.booleans(), st.booleans(), st.tuples(ANSWERS, ANSWERS))


class Expected(NamedTuple):
    outcome: LookupOutcome
    queried: list[int]
    recipient: str | None = None
    attributes: object = None
    used: object = ()
    """The contacts that count, by the positions of their sources."""


def model(steps, answers, channel, earlier=None):
    """Return what is expected, written down as the documentation says it."""
    positions = range(len(steps))
    knows = [isinstance(answer, Contact) for answer in answers]
    queried = [n for n in positions if steps[n].blocks or steps[n].merge or not any(knows[:n])]
    away = [n for n in queried if answers[n] is DOWN]
    if any(knows[n] and answers[n].blocked for n in queried):
        return Expected(LookupOutcome.BLOCKED, queried)
    if any(steps[n].blocks for n in away):
        return Expected(LookupOutcome.UNREACHABLE, queried)
    contacts = {n: answers[n] for n in queried if knows[n]}
    if earlier:
        contacts |= {n: one for n, one in earlier.used.items() if n in away}
    used = {n: contacts[n] for n in sorted(contacts) if n == min(contacts) or steps[n].merge}
    raws = [one.email if channel is Channel.EMAIL else one.phone for one in used.values()]
    usable = [raw.reveal().lower() for raw in raws if raw and raw.reveal() not in {"nobody", "none"}]
    if usable:
        attributes = {}
        for one in reversed(used.values()):
            attributes |= {name: value for name, value in one.attributes.items() if value}
        return Expected(LookupOutcome.FOUND, queried, usable[0], attributes, used)
    if away and (not used or any(step.merge for step in steps)):
        return Expected(LookupOutcome.UNREACHABLE, queried)
    return Expected(LookupOutcome.NO_ADDRESS if used else LookupOutcome.UNKNOWN_USER, queried)


@settings(deadline=None, max_examples=300)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=5),
    channel=st.sampled_from(Channel),
    kind=st.sampled_from([RemoteSource, MemorySource]),
)
def test_any_chain_answers_as_the_model_says(steps, channel, kind):
    with structlog.testing.capture_logs(), asyncio.Runner(loop_factory=FastForward) as runner:
        runner.run(_compare(steps, channel, kind))


async def _compare(steps, channel, kind):
    earlier = expected_earlier = None
    for moment in range(2):
        answers = [step.answers[moment] for step in steps]
        chain = Chain(
            *((step.answers[moment], {"blocks": step.blocks, "merge": step.merge}) for step in steps),
            kind=kind,
        )
        expected = model(steps, answers, channel, expected_earlier)
        found = await chain.find(channel, earlier)

        assert found.outcome is expected.outcome
        assert chain.lookups == [int(n in expected.queried) for n in range(len(steps))]
        assert (found.recipient and found.recipient.reveal()) == expected.recipient
        given = {name: value for name, value in found.attributes.items() if value}
        assert given == (expected.attributes or {})
        if found.outcome is LookupOutcome.FOUND:
            earlier, expected_earlier = found, expected
