"""What is known of a user's contact as text and as JSON, for ``gatepost contact``."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from gatepost.cli.common import printable
from gatepost.cli.message_view import json_text
from gatepost.cli.users import name_of
from gatepost.contacts.examination import ContactReport, SourceReport, SourceState
from gatepost.model import Channel
from gatepost.outbox.suppressions import Suppression
from gatepost.upkeep.durations import duration
from gatepost.web.admin.words import utc


class ContactView(NamedTuple):
    """What the command shows."""

    report: ContactReport
    suppression: Suppression | None
    store_problem: str
    """Why it is not known whether the user is suppressed."""
    addresses: Mapping[str, str]
    """The address and the number by channel, with --reveal."""


def as_json(view: ContactView) -> str:
    """Return the view for programs."""
    shown = msgspec.to_builtins(view.report)
    shown |= {"suppression": view.suppression, "store_problem": view.store_problem}
    return json_text(shown | ({"addresses": view.addresses} if view.addresses else {}))


def as_text(view: ContactView) -> str:
    """Return the view for people."""
    return "\n".join(printable(line) for line in _lines(view))


def _lines(view: ContactView) -> Iterator[str]:
    report = view.report
    yield f"{name_of(report.ext_user_id)} of {report.client}: {_verdict(report)}"
    if report.is_known:
        for one in report.channels:
            usable = f"usable, from {one.source}" if one.source else f"not usable: {one.problem}"
            address = view.addresses.get(one.channel)
            yield f"  {one.channel:<11} {usable}{f': {address}' if address else ''}"
    if report.blocked:
        yield f"  blocked     {report.blocked}, says {report.blocked_by}"
    elif report.is_known:
        yield "  blocked     no"
    if report.waits_for:
        yield f"  waits       {', '.join(report.waits_for)} did not answer, and every message waits until it does"
    yield f"  suppressed  {_suppressed(view)}"
    for source in report.sources:
        yield f"  source      {source.instance}: {'; '.join(_source(source))}"


def _verdict(report: ContactReport) -> str:
    if report.is_known:
        return "known"
    if not report.sources:
        return "unknown, because the client has no contact sources"
    if report.is_unclear:
        return "not found, but a source did not answer: messages are accepted and wait"
    return "no contact source knows this ext_user_id"


def _suppressed(view: ContactView) -> str:
    if view.store_problem:
        return f"not known: {view.store_problem}"
    if (one := view.suppression) is None:
        return "no"
    return f"{f'until {utc(one.ends_at)}' if one.ends_at else 'without an end'}, by {one.actor}: {one.reason}"


def _source(one: SourceReport) -> Iterator[str]:
    if one.state is SourceState.NOT_ASKED:
        yield "not asked, because an earlier source knows the user"
    else:
        yield f"{_answer(one)} ({_elapsed(one.seconds or 0.0)})"
    if one.data_at is not None:
        yield f"data written {duration(max(0.0, time.time() - one.data_at))} ago"
    if one.data_problem:
        yield one.data_problem


def _answer(one: SourceReport) -> str:
    if one.state is SourceState.UNAVAILABLE:
        return f"did not answer: {one.problem}"
    if one.state is SourceState.UNKNOWN:
        return "does not know the user"
    has = [
        what
        for channel, what in ((Channel.EMAIL, "email"), (Channel.SMS, "phone"))
        if channel in one.channels
    ]
    return f"knows the user, with {' and '.join(has) or 'neither email nor phone'}"


def _elapsed(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "less than 1 ms"
