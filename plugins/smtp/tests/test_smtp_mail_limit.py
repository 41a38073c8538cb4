"""A relay that takes few mails over one connection."""

import asyncio

import pytest

from gatepost.model import Receipt
from gatepost_smtp import mail_limit
from gatepost_smtp.mail_limit import MAX_MAILS, MailLimit
from gatepost_smtp.testing.limits import SessionLimit

CLOSING = "421 4.7.0 too many mails over this connection"


async def send(relay, an_email, count, at_once=1):
    for _ in range(count // at_once):
        sends = (relay.send_email(an_email()) for _ in range(at_once))
        assert await asyncio.gather(*sends) == [Receipt()] * at_once


async def test_after_two_connections_no_mail_is_refused(sink, connected, an_email):
    sink.refuse_mail = SessionLimit(3)
    async with connected(sink.port, connections=1) as relay:
        await send(relay, an_email, 31)

    assert len(sink.mails) == 31
    assert sink.refuse_mail.refused == 2
    assert sink.sessions == 11


async def test_several_connections_learn_it_together(sink, connected, an_email):
    sink.refuse_mail = SessionLimit(3)
    async with connected(sink.port, connections=4) as relay:
        await send(relay, an_email, 48, at_once=4)
        refused = sink.refuse_mail.refused
        await send(relay, an_email, 48, at_once=4)

    assert len(sink.mails) == 96
    assert refused <= 4 + 4
    assert sink.refuse_mail.refused == refused


async def test_a_connection_that_is_closed_after_a_mail_counts_too(sink, connected, an_email):
    closed = []

    def close(mails):
        closed.append(mails)
        return "250 2.1.0 ok"

    sink.refuse_mail = lambda mails: CLOSING if close(mails) and mails >= 2 else ""
    async with connected(sink.port, connections=1) as relay:
        await send(relay, an_email, 12)

    # Two connections got a third mail.
    assert closed.count(2) == 2


async def test_connections_that_end_at_once_teach_nothing(sink, connected, an_email):
    async with connected(sink.port, connections=4) as relay:
        await send(relay, an_email, 8, at_once=4)
        sink.close_all_sessions()
        sessions = sink.sessions
        await send(relay, an_email, 40, at_once=4)

    assert sink.sessions <= sessions + 4


async def test_connections_that_are_lost_while_idle_teach_nothing(sink, connected, an_email, set_ahead):
    async with connected(sink.port, connections=1) as relay:
        await send(relay, an_email, 1)
        for _ in range(2):
            set_ahead(20)
            sink.hang_up("MAIL", times=1)
            await send(relay, an_email, 1)
        sessions = sink.sessions
        await send(relay, an_email, 5)

    assert sink.sessions == sessions == 3


async def test_a_relay_that_refuses_the_mail_over_the_next_connection_too_has_no_such_limit(
    sink, connected, an_email
):
    async with connected(sink.port, connections=1) as relay:
        for _ in range(3):
            await send(relay, an_email, 2)
            sink.refuse_mail = lambda _mails: CLOSING
            with pytest.raises(Exception, match="421"):
                await relay.send_email(an_email())
            sink.refuse_mail = lambda _mails: ""
        sessions = sink.sessions
        await send(relay, an_email, 20)

    assert sink.sessions == sessions + 1


async def test_a_higher_limit_is_used(sink, connected, an_email, monkeypatch):
    monkeypatch.setattr(mail_limit, "MIN_RETRY_DELAY", 0.0)
    sink.refuse_mail = SessionLimit(3)
    async with connected(sink.port, connections=1) as relay:
        await send(relay, an_email, 12)
        sink.refuse_mail.mails = 20
        sessions = sink.sessions
        await send(relay, an_email, 41)

    assert sink.sessions <= sessions + 3


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Ended:
    """A connection that the relay has ended."""

    def __init__(self, mails, opened_at, ended_at):
        self.mails, self.opened_at, self.ended_at = mails, opened_at, ended_at


def learned(clock, mails):
    limit = MailLimit(clock)
    limit.record_end(Ended(mails, opened_at=0, ended_at=0.2))
    clock.now = 1.0
    limit.record_end(Ended(mails, opened_at=0.5, ended_at=0.7))
    return limit


def test_a_limit_needs_two_connections_one_after_the_other():
    clock = Clock()
    limit = MailLimit(clock)
    assert limit.permits(MAX_MAILS - 1)
    assert not limit.permits(MAX_MAILS)

    for mails, opened_at, ended_at in [(3, 0, 1), (3, 0, 1), (7, 2, 3), (3, 2, 3), (7, 2, 3), (7, 2.5, 3)]:
        limit.record_end(Ended(mails, opened_at, ended_at))
    assert limit.permits(MAX_MAILS - 1)

    limit.record_end(Ended(7, opened_at=3.5, ended_at=4))
    assert limit.permits(6)
    assert not limit.permits(7)


def test_a_connection_that_carries_more_disproves_a_limit():
    limit = MailLimit(Clock())
    limit.record_end(Ended(3, opened_at=0, ended_at=1))
    limit.record_taken(4)
    limit.record_end(Ended(3, opened_at=2, ended_at=3))

    assert limit.permits(MAX_MAILS - 1)


def test_one_mail_more_is_tried_less_and_less_often():
    clock = Clock()
    limit = learned(clock, 5)

    tries = []
    for second in range(1, 20_000):
        clock.now = second
        if limit.permits(5):
            tries.append(second)
            limit.record_end(Ended(5, opened_at=second - 1, ended_at=second))

    assert tries == [61, 181, 421, 901, 1861, 3781, 7381, 10981, 14581, 18181]
    assert not limit.permits(5)


def test_a_mail_more_that_is_taken_raises_the_limit():
    clock = Clock()
    limit = learned(clock, 5)
    clock.now = 61.0
    for mails in range(5, MAX_MAILS):
        assert limit.permits(mails)
        limit.record_taken(mails + 1)

    assert not limit.permits(MAX_MAILS)
