"""A relay that refuses mails because there were too many of them."""

import asyncio

import pytest
import structlog

from gatepost.errors import Rejected, Unavailable
from gatepost.model import Receipt
from gatepost_smtp.replies import asks_to_slow_down
from gatepost_smtp.testing.limits import RateLimit
from gatepost_smtp.throttle import MAX_PAUSE, MIN_PAUSE, MIN_REFUSALS, Throttle

ANSWERS = ["421 4.7.0 too many mails", "421", "450 4.7.1 too much mail", "451 4.7.0 slow down"]


def never():
    """Stand still: the first period has no end."""
    return 0.0


async def send(relay, an_email, count):
    sends = (relay.send_email(an_email()) for _ in range(count))
    return await asyncio.gather(*sends, return_exceptions=True)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_refused_mails_lead_to_a_pause_in_which_the_relay_is_left_alone(
    sink, connected, an_email, answer
):
    sink.refuse_mail = RateLimit(5, 60, never, answer)
    async with connected(sink.port, connections=1) as relay:
        outcomes = [(await send(relay, an_email, 1))[0] for _ in range(20)]

    assert outcomes[:5] == [Receipt()] * 5
    assert all(isinstance(one, Unavailable) for one in outcomes[5:])
    assert not any(one.message_only or one.content_only for one in outcomes[5:])
    pauses = [one.retry_after for one in outcomes[5:]]
    assert pauses[: MIN_REFUSALS - 1] == [None] * (MIN_REFUSALS - 1)
    assert all(0 < pause <= MIN_PAUSE for pause in pauses[MIN_REFUSALS - 1 :])
    assert {one.code for one in outcomes[5:]} == {answer[:9]}
    # The mail over the reused connection was tried over a new one as well, where the relay closes.
    assert sink.refuse_mail.refused <= MIN_REFUSALS + 1


@pytest.mark.parametrize("answer", ANSWERS)
async def test_many_mails_at_once_do_not_become_a_storm_of_connections(sink, connected, an_email, answer):
    sink.refuse_mail = RateLimit(8, 60, never, answer)
    async with connected(sink.port, connections=8) as relay:
        outcomes = await send(relay, an_email, 64)
        sessions = sink.sessions
        outcomes += await send(relay, an_email, 64)

    assert outcomes.count(Receipt()) == 8
    assert sessions <= 16
    assert sink.sessions == sessions
    assert sink.refuse_mail.refused <= 16


async def test_after_the_pause_mails_go_on(sink, connected, an_email, set_ahead):
    now = 0.0
    sink.refuse_mail = RateLimit(2, 60, lambda: now, ANSWERS[2])
    async with connected(sink.port, connections=1) as relay:
        for _ in range(2 + MIN_REFUSALS + 1):
            await send(relay, an_email, 1)
        now = 60.0
        set_ahead(MIN_PAUSE)
        outcomes = await send(relay, an_email, 1)

    assert outcomes == [Receipt()]


async def test_a_refused_connection_beside_none_leads_to_a_pause_too(sink, connected, an_email):
    sink.answer("connect", "421 4.7.0 too many connections in this minute")
    async with connected(sink.port, connections=4) as relay:
        outcomes = [(await send(relay, an_email, 1))[0] for _ in range(8)]

    assert [one.retry_after is not None for one in outcomes] == [False] * 2 + [True] * 6
    assert sink.sessions == MIN_REFUSALS


async def test_a_full_mailbox_or_a_suspicious_content_leads_to_no_pause(sink, relay, an_email):
    sink.answer("RCPT", "450 4.7.1 greylisted", times=10)
    for _ in range(10):
        await send(relay, an_email, 1)
    sink.answer("END", "451 4.7.1 suspicious", times=10)
    outcomes = [(await send(relay, an_email, 1))[0] for _ in range(10)]

    assert [one.retry_after for one in outcomes] == [None] * 10
    assert len(sink.commands) >= 20


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("421", True),
        ("421 4.7.0", True),
        ("450 4.7.1", True),
        ("454 4.7.0", True),
        ("451", False),
        ("451 4.3.0", False),
        ("421 4.3.2", False),
        ("", False),
    ],
)
def test_which_codes_ask_to_slow_down(code, expected):
    assert asks_to_slow_down(Unavailable("refused", code=code)) is expected
    assert not asks_to_slow_down(Unavailable("refused", code=code, message_only=True))
    assert not asks_to_slow_down(Unavailable("refused", code=code, content_only=True))
    assert not asks_to_slow_down(Unavailable("refused", code=code, misconfigured=True))


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def throttle(clock, warnings):
    return Throttle(clock, lambda event, problem: warnings.append((event, problem)))


def refuse(throttle, code="450 4.7.1"):
    error = Unavailable("refused", code=code)
    throttle.note(error)
    return error.retry_after


def drain(throttle, clock, limit, seconds):
    """Send as the core does, one mail a tenth of a second, until these seconds have passed; return what happened."""
    taken = refused = 0
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 0.1
        if limit(0):
            refused += 1
            clock.now += refuse(throttle) or 0.0
        else:
            taken += 1
            throttle.note(None)
    return taken, refused


@pytest.mark.parametrize(("mails", "seconds"), [(10, 2), (30, 60), (600, 3600)])
def test_nearly_all_mails_that_the_relay_allows_are_sent(throttle, clock, mails, seconds):
    limit = RateLimit(mails, seconds, clock, "450 4.7.1")
    periods = 20
    taken, refused = drain(throttle, clock, limit, seconds * periods)

    assert taken >= 0.75 * mails * periods
    assert refused <= 100 * periods


def test_a_taken_mail_ends_the_series_and_a_rejected_one_too(throttle):
    for answer in (None, Rejected("unknown", code="550 5.1.1")):
        for _ in range(3):
            assert [refuse(throttle) for _ in range(MIN_REFUSALS - 1)] == [None] * (MIN_REFUSALS - 1)
            throttle.note(answer)
    throttle.check()


def test_a_pause_is_limited(throttle, clock):
    for _ in range(50):
        pause = refuse(throttle)
        clock.now += pause or 0.0

    assert pause == MAX_PAUSE


def test_the_warning_says_the_rate_once(throttle, clock, warnings):
    drain(throttle, clock, RateLimit(30, 60, clock, "450 4.7.1"), 600)

    [(event, problem)] = warnings
    assert event == "relay_limits_rate"
    assert "450 4.7.1" in problem
    rate = float(problem.partition("per_second to ")[2].partition(",")[0])
    assert 0.35 <= rate <= 0.5


def test_a_limit_by_the_hour_is_measured_in_spite_of_long_pauses(throttle, clock, warnings):
    drain(throttle, clock, RateLimit(600, 3600, clock, "450 4.7.1"), 3 * 3600)

    [(_, problem)] = warnings
    assert "per_second to 0.17" in problem


def test_a_quiet_night_is_not_measured(throttle, clock, warnings):
    for _ in range(3):
        drain(throttle, clock, RateLimit(30, 60, clock, "450 4.7.1"), 5)
        clock.now += 3600

    assert not warnings


async def test_the_warning_is_logged(sink, connected, an_email, set_ahead):
    sink.refuse_mail = RateLimit(4, 60, never, ANSWERS[3])
    with structlog.testing.capture_logs() as logged:
        async with connected(sink.port, connections=1) as relay:
            for _ in range(2):
                await send(relay, an_email, 1)
                for _ in range(30):
                    await send(relay, an_email, 1)
                    set_ahead(3.0)
                sink.refuse_mail = RateLimit(4, 60, never, ANSWERS[3])

    [record] = logged
    assert (record["log_level"], record["event"]) == ("warning", "relay_limits_rate")
