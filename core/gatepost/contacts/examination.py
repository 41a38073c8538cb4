"""What the contact sources know of one user, for an operator: everything but the address and the number."""

import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from gatepost.contacts.addresses import email_problem, phone_problem
from gatepost.contacts.lookup import Answer, Contacts, LookupOutcome
from gatepost.model import Channel, Contact, Secret
from gatepost.plugin_host.instances import Instance

_NOUNS: Mapping[Channel, str] = {Channel.EMAIL: "email address", Channel.SMS: "phone number"}


class SourceState(StrEnum):
    """What a source says about a user."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    UNAVAILABLE = "unavailable"
    """It did not answer."""
    NOT_ASKED = "not asked"
    """An earlier source knows the user."""


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One source of the client."""

    instance: str
    state: SourceState
    channels: Sequence[Channel] = ()
    """Those for which it has an address or a number, usable or not."""
    blocked: str = ""
    """Why the user must not be contacted, if the source says so."""
    problem: str = ""
    """Why it did not answer."""
    seconds: float | None = None
    """How long it took; None where it was not asked."""
    data_at: float | None = None
    """When its data were written, in seconds since the epoch, if it says so."""
    data_problem: str = ""
    """Why newer data are not used."""


class ChannelReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the user can be reached on a channel."""

    channel: Channel
    source: str = ""
    """The source whose address or number is used; empty: none is usable."""
    problem: str = ""
    """Why none is usable."""


class ContactReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may know of a user's contact. It has no address and no number."""

    client: str
    ext_user_id: str
    is_known: bool
    is_unclear: bool
    """Whether a source that did not answer may know the user, and no other does."""
    blocked: str = ""
    """Why the user must not be contacted; empty: no source says so."""
    blocked_by: str = ""
    """The first source that says so."""
    waits_for: Sequence[str] = ()
    """The sources with ``blocks = true`` that did not answer: until they do, messages wait."""
    channels: Sequence[ChannelReport]
    sources: Sequence[SourceReport]


class Examination(NamedTuple):
    """The report, and beside it what it leaves out."""

    report: ContactReport
    addresses: Mapping[Channel, Secret]
    """The address and the number that are used, else the first unusable ones, as their source has them."""


async def examine(contacts: Contacts, client: str, ext_user_id: str) -> Examination:
    """Ask the sources about a user, as for a message. Raises KeyError for a client that is not configured."""
    seconds: dict[str, float] = {}

    async def ask(source: Instance, user: str) -> Answer:
        begun = time.perf_counter()
        answer = await contacts.ask(source, user)
        seconds[source.name] = time.perf_counter() - begun
        return answer

    answers = await contacts.query(client, ext_user_id, ask)
    by_source = {answer.source.name: answer for answer in answers}
    channels = {channel: _examine_channel(contacts, answers, channel) for channel in Channel}
    is_known = any(answer.contact for answer in answers)
    blocking = next((one for one in answers if one.contact and one.contact.blocked), None)
    report = ContactReport(
        client=client,
        ext_user_id=ext_user_id,
        is_known=is_known,
        is_unclear=not is_known and any(one.failure for one in answers),
        blocked=blocking.contact.blocked if blocking and blocking.contact else "",
        blocked_by=blocking.source.name if blocking else "",
        waits_for=[one.source.name for one in answers if one.failure and one.source.settings.blocks],
        channels=[one for one, _ in channels.values()],
        sources=[
            _source_report(source, by_source.get(source.name), seconds.get(source.name))
            for source in contacts.sources[client]
        ],
    )
    return Examination(report, {channel: one for channel, (_, one) in channels.items() if one})


def _source_report(source: Instance, answer: Answer | None, seconds: float | None) -> SourceReport:
    data = source.services.contacts
    contact = answer.contact if answer else None
    return SourceReport(
        instance=source.name,
        state=_state(answer),
        channels=[one for one in Channel if contact and _raw(contact, one)],
        blocked=contact.blocked if contact else "",
        problem=answer.failure.reason if answer and answer.failure else "",
        seconds=seconds,
        data_at=data.as_of if data else None,
        data_problem=data.problem if data else "",
    )


def _state(answer: Answer | None) -> SourceState:
    if answer is None:
        return SourceState.NOT_ASKED
    if answer.failure is not None:
        return SourceState.UNAVAILABLE
    return SourceState.UNKNOWN if answer.contact is None else SourceState.KNOWN


def _examine_channel(
    contacts: Contacts, answers: Sequence[Answer], channel: Channel
) -> tuple[ChannelReport, Secret | None]:
    """Return whether the user has a usable address, whether or not the user may be contacted; and the address."""
    # Without a block and without those that are away the result is about the address alone.
    given = [
        one._replace(contact=one.contact and msgspec.structs.replace(one.contact, blocked=""))
        for one in answers
        if one.failure is None
    ]
    found = contacts.result(given, channel)
    if found.recipient is not None:
        return ChannelReport(channel=channel, source=found.source), found.recipient
    noun = _NOUNS[channel]
    unusable = list(_addresses(given, channel))
    problems = [f"the {noun} of {name} {_problem(contacts, raw, channel)}" for name, raw in unusable]
    away = [one.source.name for one in answers if one.failure is not None]
    if not problems:
        problems.append(f"no source{' that answered' if away else ''} has one")
    if contacts.result(answers, channel).outcome is LookupOutcome.UNREACHABLE:
        problems.append(f"{' and '.join(away)} did not answer and may have one, so messages wait")
    return ChannelReport(channel=channel, problem="; ".join(problems)), unusable[0][1] if unusable else None


def _addresses(answers: Sequence[Answer], channel: Channel) -> Iterator[tuple[str, Secret]]:
    """Yield the addresses that could be used, with their sources."""
    known = False
    for source, contact, _ in answers:
        if contact is not None and (not known or source.settings.merge):
            known = True
            if raw := _raw(contact, channel):
                yield source.name, raw


def _raw(contact: Contact, channel: Channel) -> Secret | None:
    return (contact.email if channel is Channel.EMAIL else contact.phone) or None


def _problem(contacts: Contacts, raw: Secret, channel: Channel) -> str:
    text = raw.reveal()
    return email_problem(text) if channel is Channel.EMAIL else phone_problem(text, contacts.region)
