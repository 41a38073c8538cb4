"""Reading what a provider reports."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookRetry
from gatepost.model import Receipt, Report, Status, StatusEvent, WebhookRequest
from gatepost.testing.conformance import yardstick
from gatepost.testing.conformance.bench import Bench, Live, described, gathered
from gatepost.testing.conformance.provider import Form
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.watching import found_in

_LISTED = (NoVerificationKey, BadSignature, BadWebhook, WebhookRetry)
_MANY = 500
"""Reports in a request that is large, and not so large that a provider would not send it."""

_GARBAGE = (
    b"",
    b" ",
    b"null",
    b"0",
    b'"x"',
    b"[]",
    b"{}",
    b'[null, 1, [], {}, "x"]',
    b"[" * 2000,
    b"[" * 2000 + b"]" * 2000,
    b'{"a":' * 2000,
    b"9" * 5000,
    b'[{"event": 1e999, "timestamp": -1, "status": {}, "id": []}]',
    b"\xff\xfe\x00",
    b'{"status": "\xed\xa0\x80"}',
    b'{"status": "\\ud800"}',
    b"\0" * 100,
    b"status=delivered&id=1",
    b"<xml/>",
    b"x" * 100_000,
)
_HOSTILE_VALUES = (
    "",
    " ",
    "\0",
    "ü☃",
    "x" * 5_000,
    "Bearer ",
    "Bearer ..",
    "0",
    "-1",
    "1e999",
    "=",
    "²",
)


def request_of(body: bytes, headers: Mapping[str, str], *, method: str = "POST") -> WebhookRequest:
    return WebhookRequest(
        method=method,
        url="https://gateway.example/webhooks/conformance",
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        received_at=time.time(),
    )


def signed(bench: Bench, body: bytes, *, age: float = 0.0) -> WebhookRequest:
    return request_of(body, bench.reporter.sign(body, time.time() - age))


async def reported(bench: Bench, live: Live, kinds: Sequence[str] = ()) -> tuple[Any, Receipt, bytes]:
    """A message sent well, and the body of a report about it."""
    message, receipt = await _sent(bench, live)
    return message, receipt, bench.reporter.report(kinds or _telling(bench)[:1], message.id)


async def _sent(bench: Bench, live: Live) -> tuple[Any, Receipt]:
    assert bench.channels, (
        "the webhooks are checked on messages that the plugin sent: add EmailSuite or SmsSuite"
    )
    return await bench.on(bench.channels[0]).delivered(live)


def _telling(bench: Bench) -> list[str]:
    """The kinds that mean a status."""
    kinds = [kind for kind, statuses in bench.meanings.items() if statuses]
    assert kinds, "the suite's `meanings` names no kind of report that means a status"
    return kinds


def events_of(outcome: object) -> list[StatusEvent]:
    assert isinstance(outcome, Report), (
        f"a genuine report: {described(outcome)} instead of returning a Report"
    )
    events: list[Any] = list(outcome.events)
    strange = [type(event).__name__ for event in events if not isinstance(event, StatusEvent)]
    assert not strange, f"its events hold a {strange[0]}"
    return events


@check(Group.WEBHOOKS)
async def meanings(bench: Bench) -> None:
    """Each kind of report means the statuses that it should, and nothing else."""
    async with bench.live() as live:
        for kind, statuses in bench.meanings.items():
            message, _, body = await reported(bench, live, [kind])
            outcome = await live.parse(signed(bench, body))
            got = [event.status for event in events_of(outcome)]
            assert got == list(statuses), (
                f"{kind} of {message.id} means {_names(got)}, not {_names(statuses)}"
            )
            assert statuses or outcome.ignored, f"{kind} means no status, and is not counted in ignored"  # type: ignore[attr-defined]


@check(Group.WEBHOOKS)
async def seven(bench: Bench) -> None:
    """Every status is one of the seven, as a Status and not as a text."""
    async with bench.live() as live:
        for kind in bench.meanings:
            _, _, body = await reported(bench, live, [kind])
            for event in events_of(await live.parse(signed(bench, body))):
                assert isinstance(event.status, Status), f"{kind} gives {event.status!r}, which is no Status"


@check(Group.WEBHOOKS)
async def found_again(bench: Bench) -> None:
    """A report is about the message that was sent: it bears our id, or the provider's of the Receipt."""
    async with bench.live() as live:
        for kind in _telling(bench):
            message, receipt, body = await reported(bench, live, [kind])
            for event in events_of(await live.parse(signed(bench, body))):
                assert not event.message_id or event.message_id == message.id, f"{kind}: another message's id"
                by_theirs = bool(receipt.provider_id) and event.provider_id == receipt.provider_id
                assert event.message_id or by_theirs, f"{kind}: neither our id nor the Receipt's provider_id"


@check(Group.WEBHOOKS)
async def discreet(bench: Bench) -> None:
    """Nothing of the recipient, and no secret, is in a Report or in a log."""
    async with bench.live() as live:
        reports = []
        for kind in bench.meanings:
            _, _, body = await reported(bench, live, [kind])
            reports.append(repr(await live.parse(signed(bench, body))))
            await live.parse(request_of(body, {}))
    for shown, where in (("\n".join(reports), "a Report"), ("\n".join(live.watch.texts), "a log")):
        assert not found_in(shown, bench.recipients), f"the recipient stands in {where}"
        assert not found_in(shown, bench.secrets()), f"a secret stands in {where}"


@check(Group.WEBHOOKS)
async def codes(bench: Bench) -> None:
    """A code is short and printable: out of a closed list, not the provider's prose."""
    async with bench.live() as live:
        for kind in bench.meanings:
            _, _, body = await reported(bench, live, [kind])
            for event in events_of(await live.parse(signed(bench, body))):
                assert isinstance(event.code, str), f"{kind}: the code is no text"
                assert len(event.code) <= 64, f"{kind}: the code has {len(event.code)} characters"
                assert event.code.isprintable(), f"{kind}: the code holds what can't be printed"


@check(Group.WEBHOOKS)
async def garbage(bench: Bench) -> None:
    """Signed garbage is BadWebhook or counted in ignored; no other error comes out."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        for spoiled in (*_GARBAGE, *_spoiled(body)):
            outcome = await live.parse(signed(bench, spoiled))
            shown = f"a body that begins {spoiled[:24]!r}"
            assert isinstance(outcome, Report | BadWebhook | BadSignature | WebhookRetry), (
                f"{shown}: {described(outcome)}, which is not listed"
            )
            assert not found_in(repr(outcome), bench.recipients), f"{shown}: it is quoted in what came of it"


@check(Group.WEBHOOKS, unattended=True)
async def hostile_headers(bench: Bench) -> None:
    """Whatever stands in the headers of a stranger's request, it is refused with a listed error."""
    names = ["authorization", "content-type", "x-signature", "x-timestamp"]
    reporter: Any = bench.provider
    if hasattr(reporter, "sign"):
        names += [name.lower() for name in reporter.sign(b"{}", time.time())]
    async with bench.live() as live:
        for value in _HOSTILE_VALUES:
            outcome = await live.parse(request_of(b"{}", dict.fromkeys(names, value)))
            assert isinstance(outcome, _LISTED), f"headers {value[:12]!a}: {described(outcome)}"


@check(Group.WEBHOOKS, unattended=True)
async def strangers(bench: Bench) -> None:
    """A request that is nobody's, GET or POST, is refused with a listed error."""
    async with bench.live() as live:
        for body in _GARBAGE:
            for method in ("POST", "GET"):
                outcome = await live.parse(request_of(body, {}, method=method))
                assert isinstance(outcome, _LISTED), f"{method} of {body[:12]!r}: {described(outcome)}"


@check(Group.WEBHOOKS, Form.BATCHED)
async def one_bad(bench: Bench) -> None:
    """Bad events among good ones are counted, and lose nothing of these."""
    kinds = _telling(bench)
    async with bench.live() as live:
        message, _ = await _sent(bench, live)
        whole = events_of(await live.parse(signed(bench, bench.reporter.report(kinds, message.id))))
        outcome = await live.parse(signed(bench, bench.reporter.report(kinds, message.id, spoiled=True)))
        got = events_of(outcome)
    assert [event.status for event in got] == [event.status for event in whole], (
        f"of {len(whole)} good events beside bad ones {len(got)} were found"
    )
    assert sum(outcome.ignored.values()), "the bad events are counted nowhere"  # type: ignore[attr-defined]


@check(Group.WEBHOOKS)
async def again(bench: Bench) -> None:
    """The same request a second time says the same."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        request = signed(bench, body)
        first, second = await live.parse(request), await live.parse(request)
    assert events_of(first) == events_of(second), f"the second time {described(second)}"


@check(Group.WEBHOOKS)
async def concurrently(bench: Bench) -> None:
    """Many at once are each understood."""
    async with bench.live() as live:
        sent = [await reported(bench, live) for _ in range(4)]
        outcomes = await gathered([live.parse(signed(bench, body)) for _, _, body in sent * 5])
    for (message, receipt, _), outcome in zip(sent * 5, outcomes, strict=True):
        for event in events_of(outcome):
            own = {message.id, receipt.provider_id}
            assert {event.message_id, event.provider_id} & own, "a report was taken for another message's"
            assert event.message_id in {"", message.id}, "a report was taken for another message's"


@check(Group.WEBHOOKS)
async def free_loop(bench: Bench) -> None:
    """It blocks the loop neither with a call nor with much CPU, for a large request too."""
    kinds = _telling(bench)
    batched = Form.BATCHED in bench.reports_are
    async with bench.live() as live:
        message, _ = await _sent(bench, live)
        body = bench.reporter.report((kinds * _MANY)[: _MANY if batched else 1], message.id)
        request = signed(bench, body)
        await yardstick.check_cpu(live.watch, lambda: live.parse(request))
    calls = ", ".join(sorted(set(live.watch.blocking)))
    assert not calls, f"it blocks the loop by {calls}: hand it to asyncio.to_thread"


def _spoiled(body: bytes) -> Iterator[bytes]:
    """A genuine body cut short, repeated and changed at random, always in the same way."""
    chance = random.Random(4)  # noqa: S311  nothing to guess here
    yield from (body[: len(body) * part // 8] for part in range(1, 8))
    yield body + body
    for _ in range(40):
        place = chance.randrange(max(1, len(body)))
        yield body[:place] + bytes([chance.randrange(256)]) + body[place + 1 :]


def _names(statuses: Sequence[object]) -> str:
    return ", ".join(str(status) for status in statuses) or "nothing"
