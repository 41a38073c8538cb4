"""Sending, when the provider or the way to it fails. Each of these runs once a channel."""

import time
from collections.abc import Collection
from typing import Any

from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost.model import Receipt
from gatepost.testing.conformance.bench import SHORT_TIMEOUTS, TIMEOUT, Bench, Live, described
from gatepost.testing.conformance.provider import Trouble
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.send_checks import belongs
from gatepost.testing.conformance.watching import everything_in, found_in

_LISTED = (Rejected, Unavailable, Uncertain)

# Played one by one, as far as they were declared, by the checks that look for the same thing in each.
_ONCE_EACH = (
    Trouble.REFUSE,
    Trouble.THROTTLE,
    Trouble.OUTAGE,
    Trouble.DENY,
    Trouble.LOSE,
    Trouble.DROP,
    Trouble.REDIRECT,
    Trouble.NONSENSE,
)


async def _met(bench: Bench, trouble: Trouble, *, seconds: float = TIMEOUT) -> tuple[object, Any, Live]:
    """What a plugin makes of one trouble: the outcome, the message, and what was seen."""
    async with bench.live(seconds=seconds) as live:
        message = bench.message(trouble)
        with bench.playing(trouble):
            outcome = await live.send(message)
    return outcome, message, live


def _must_be(outcome: object, kind: type[SendError], because: str) -> Any:
    assert isinstance(outcome, kind), f"{because}: {described(outcome)} instead of raising {kind.__name__}"
    return outcome


@check(Group.SEND, Trouble.REFUSE)
async def refused(bench: Bench) -> None:
    """A message that the provider refuses for good is Rejected."""
    outcome, _, _ = await _met(bench, Trouble.REFUSE)
    _must_be(outcome, Rejected, "the provider refuses the message for good")


@check(Group.SEND, Trouble.THROTTLE)
async def throttled(bench: Bench) -> None:
    """A provider that has had too many is Unavailable."""
    outcome, _, _ = await _met(bench, Trouble.THROTTLE)
    error = _must_be(outcome, Unavailable, "the provider has had too many")
    assert not error.misconfigured, "too many messages are nothing that the operator has to mend"


@check(Group.SEND, Trouble.THROTTLE, Trouble.ASK_FOR_PAUSE)
async def pause(bench: Bench) -> None:
    """The pause that the provider asks for is passed on, in seconds."""
    begun = time.monotonic()
    outcome, _, _ = await _met(bench, Trouble.THROTTLE)
    # Where the provider names a moment, what is left of it depends on when it is read.
    took = time.monotonic() - begun
    after = getattr(outcome, "retry_after", None)
    assert after is not None, (
        f"the provider asked for 7 seconds, and {described(outcome)} without retry_after"
    )
    assert max(0.0, 6.0 - took) <= after <= 8.0, f"the provider asked for 7 seconds, retry_after is {after}"


@check(Group.SEND, Trouble.OUTAGE)
async def outage(bench: Bench) -> None:
    """A provider with a fault of its own is Unavailable."""
    outcome, _, _ = await _met(bench, Trouble.OUTAGE)
    error = _must_be(outcome, Unavailable, "the provider has a fault of its own")
    assert not error.misconfigured, "the provider's own fault is nothing that the operator has to mend"


@check(Group.SEND, Trouble.DENY)
async def denied(bench: Bench) -> None:
    """A key that is refused is Unavailable, misconfigured: the message may well be sent by another."""
    outcome, _, _ = await _met(bench, Trouble.DENY)
    error = _must_be(outcome, Unavailable, "the provider refuses the key")
    assert error.misconfigured, "the operator has to mend it: misconfigured=True"


@check(Group.SEND, Trouble.UNREACHABLE)
async def unreachable(bench: Bench) -> None:
    """A provider where nobody listens is Unavailable: the message was surely not taken."""
    with bench.nobody_listening() as table:
        async with bench.live(table=table) as live:
            message = bench.message()
            outcome = await live.send(message)
    _must_be(outcome, Unavailable, "nobody listens")
    _discreet(bench, outcome, live)


@check(Group.SEND, Trouble.LOSE)
async def lost(bench: Bench) -> None:
    """An answer that is lost after the message was out is Uncertain."""
    outcome, message, _ = await _met(bench, Trouble.LOSE)
    _must_be(outcome, Uncertain, "the provider took the message and its answer was lost")
    count = len(bench.stand_in.taken(message.id))
    assert count <= 1, f"the answer was lost, and the provider has the message {count} times"


@check(Group.SEND, Trouble.DROP)
async def dropped(bench: Bench) -> None:
    """A connection that breaks while the message goes out is Uncertain or Unavailable, not Rejected."""
    outcome, _, _ = await _met(bench, Trouble.DROP)
    assert isinstance(outcome, Uncertain | Unavailable), f"the connection broke: {described(outcome)}"


@check(Group.SEND, Trouble.HANG)
async def hang(bench: Bench) -> None:
    """A provider that never answers is Uncertain, by the plugin's own deadline of `timeout` seconds."""
    outcome = await _unanswered(bench, Trouble.HANG)
    _must_be(outcome, Uncertain, "the provider read the message and never answered")


@check(Group.SEND, Trouble.DRIP)
async def drip(bench: Bench) -> None:
    """An answer that comes drop by drop ends at the deadline: it is one for the whole call."""
    outcome = await _unanswered(bench, Trouble.DRIP)
    assert isinstance(outcome, Uncertain | Receipt), f"the answer came drop by drop: {described(outcome)}"


async def _unanswered(bench: Bench, trouble: Trouble) -> object:
    """What the plugin makes of a request that the provider has begun to read."""
    outcome: object = None
    # On a machine that is busy enough a short timeout may pass before the request is even out.
    for seconds in SHORT_TIMEOUTS:
        before = bench.stand_in.attempts
        outcome, _, _ = await _met(bench, trouble, seconds=seconds)
        if bench.stand_in.attempts > before:
            break
    return outcome


@check(Group.SEND, Trouble.REDIRECT)
async def redirected(bench: Bench) -> None:
    """A redirect is followed nowhere: the message is not sent elsewhere, and no Receipt is returned."""
    before = bench.stand_in.attempts
    outcome, _, _ = await _met(bench, Trouble.REDIRECT)
    assert bench.stand_in.attempts - before == 1, "the redirect was followed"
    assert isinstance(outcome, _LISTED), f"the provider pointed elsewhere: {described(outcome)}"


@check(Group.SEND, Trouble.NONSENSE)
async def nonsense(bench: Bench) -> None:
    """A yes without sense in it is a Receipt or Uncertain, and no other error."""
    outcome, _, _ = await _met(bench, Trouble.NONSENSE)
    assert isinstance(outcome, Receipt | Uncertain), f"a yes without sense in it: {described(outcome)}"


@check(Group.SEND)
async def no_repeats(bench: Bench) -> None:
    """It never tries again by itself, whatever went wrong: that is the core's to do."""
    async with bench.live() as live:
        for trouble in _declared(bench, _ONCE_EACH):
            _once(trouble, (await _suffered(bench, live, trouble))[1])
    if Trouble.HANG in bench.plays:
        async with bench.live(seconds=SHORT_TIMEOUTS[0]) as live:
            _once(Trouble.HANG, (await _suffered(bench, live, Trouble.HANG))[1])


def _once(trouble: Trouble, attempts: int) -> None:
    assert attempts <= 1, f"{trouble}: one message was sent in {attempts} requests"


@check(Group.SEND)
async def listed_errors(bench: Bench) -> None:
    """Whatever goes wrong, what it raises is Rejected, Unavailable or Uncertain, and says why."""
    async with bench.live() as live:
        for trouble in _declared(bench, _ONCE_EACH):
            outcome, _ = await _suffered(bench, live, trouble)
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, _LISTED), f"{trouble}: {described(outcome)}, which is not listed"
                assert outcome.reason.strip(), f"{trouble}: the error has no reason for an operator to read"


@check(Group.SEND)
async def errors_discreet(bench: Bench) -> None:
    """Nothing of the recipient, and no secret, is in an error: text, code, cause, context, notes."""
    async with bench.live() as live:
        for trouble in _declared(bench, _ONCE_EACH):
            text = everything_in((await _suffered(bench, live, trouble))[0])
            assert not found_in(text, bench.recipients), f"{trouble}: the error holds the recipient"
            assert not found_in(text, bench.secrets()), f"{trouble}: the error holds a secret"


@check(Group.SEND)
async def troubles_discreet(bench: Bench) -> None:
    """Nothing of the recipient, and no secret, is logged when something goes wrong."""
    async with bench.live() as live:
        for trouble in _declared(bench, _ONCE_EACH):
            await _suffered(bench, live, trouble)
            _silent(bench, live, trouble)
    # What was printed is known only now.
    _silent(bench, live, "some trouble")


def _silent(bench: Bench, live: Live, what: str) -> None:
    text = "\n".join(live.watch.texts)
    assert not found_in(text, bench.recipients), f"{what}: the recipient stands in a log"
    assert not found_in(text, bench.secrets()), f"{what}: a secret stands in a log"


async def _suffered(bench: Bench, live: Live, trouble: Trouble) -> tuple[object, int]:
    """What one trouble came to, and how many requests the provider saw."""
    before = bench.stand_in.attempts
    with bench.playing(trouble):
        outcome = await live.send(bench.message(trouble))
    return outcome, bench.stand_in.attempts - before


@check(Group.SEND)
async def recovers(bench: Bench) -> None:
    """After any trouble the next message is sent well, by the same instance."""
    async with bench.live(concurrency=1) as live:
        for trouble in _declared(bench, _ONCE_EACH):
            with bench.playing(trouble):
                await live.send(bench.message(trouble))
            message = bench.message()
            outcome = await live.send(message)
            assert isinstance(outcome, Receipt), f"after {trouble}: {described(outcome)}"
            belongs(bench, message, [])


def _discreet(bench: Bench, outcome: object, live: Live) -> None:
    text = everything_in(outcome) + "\n".join(live.watch.texts)
    assert not found_in(text, bench.recipients), "the recipient stands in the error or in a log"


def _declared(bench: Bench, troubles: Collection[Trouble]) -> list[Trouble]:
    return [trouble for trouble in troubles if trouble in bench.plays]
