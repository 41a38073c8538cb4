"""Sending, when the provider does as it should. Each of these runs once a channel."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gatepost.config.settings import InstanceSettings
from gatepost.errors import Rejected
from gatepost.model import Channel, Receipt, Secret
from gatepost.plugin_host.instances import Instance
from gatepost.testing.conformance import asking, yardstick
from gatepost.testing.conformance.bench import (
    Bench,
    closed_port,
    described,
    gathered,
    lifespan_of,
    sending_hook,
)
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.watching import Watch, everything_in, forms, found_in

AT_ONCE = 8
"""Messages that are sent together."""


@check(Group.SEND)
async def taken(bench: Bench) -> None:
    """A good message returns a Receipt, and the provider has it once."""
    async with bench.live() as live:
        message, _ = await bench.delivered(live)
    count = len(bench.stand_in.taken(message.id))
    assert count == 1, (
        f"the provider has {count} messages with the id that this one bore; there should be one"
    )


@check(Group.SEND)
async def one_recipient(bench: Bench) -> None:
    """The message goes to its recipient and to no other's."""
    async with bench.live() as live:
        messages = [(await bench.delivered(live))[0] for _ in range(3)]
    for message in messages:
        belongs(bench, message, messages)


@check(Group.SEND)
async def provider_id(bench: Bench) -> None:
    """The provider's id is printable, at most 255 characters, and another one for each message."""
    async with bench.live() as live:
        receipts = [await bench.delivered(live) for _ in range(2)]
    ids = [receipt.provider_id for _, receipt in receipts]
    for message, receipt in receipts:
        own = receipt.provider_id
        assert isinstance(own, str), "provider_id is no text"
        assert len(own) <= 255, f"provider_id has {len(own)} characters"
        assert own.isprintable(), "provider_id holds what can't be printed"
        assert not found_in(own, [message.recipient.reveal()]), "provider_id holds the recipient"
    assert not ids[0] or ids[0] != ids[1], "two messages have the same provider_id: reports would be mixed up"


@check(Group.SEND)
async def concurrently(bench: Bench) -> None:
    """Eight at once are each sent once, to their own recipients."""
    async with bench.live(concurrency=AT_ONCE) as live:
        messages = [bench.message() for _ in range(AT_ONCE)]
        for outcome in await gathered([live.send(message) for message in messages]):
            assert isinstance(outcome, Receipt), f"one of several at once was not taken: {described(outcome)}"
    for message in messages:
        belongs(bench, message, messages)


@check(Group.SEND)
async def free_loop(bench: Bench) -> None:
    """It blocks the loop neither with a call nor with much CPU, a long message included."""
    async with bench.live() as live:
        for text in ("short", "long " * 100):
            await live.send(_of_text(bench, text))
        long = "long " * (100 if bench.channel is Channel.SMS else 40_000)
        await yardstick.check_cpu(live.watch, lambda: live.send(_of_text(bench, long)))
    calls = ", ".join(sorted(set(live.watch.blocking)))
    assert not calls, f"it blocks the loop by {calls}: hand it to asyncio.to_thread"


def _of_text(bench: Bench, text: str) -> Any:
    html: dict[str, Any] = {"html": f"<p>{text}</p>"} if bench.channel is Channel.EMAIL else {}
    return bench.message(text=text, **html)


@check(Group.SEND)
async def discreet(bench: Bench) -> None:
    """Nothing of the recipient, and no secret, is logged at any level or printed."""
    async with bench.live() as live:
        await bench.delivered(live)
        await live.send(bench.message(sender=_strange_sender(bench)))
    text = "\n".join(live.watch.texts)
    assert not found_in(text, bench.recipients), "the recipient stands in a log"
    assert not found_in(text, bench.secrets()), "a secret stands in a log"


@check(Group.SEND)
async def guarded(bench: Bench) -> None:
    """Behind the gateway's own guard it does the same, with nothing to complain about."""
    watch = Watch()
    plugin = bench.make(watch)
    instance = Instance(InstanceSettings(name="conformance", use="conformance"), plugin)
    message = bench.message()
    with watch.listening():
        async with lifespan_of(plugin, watch):
            receipt = await instance.send(message)
    assert isinstance(receipt, Receipt), "the guard had no Receipt"
    assert "plugin_violation" not in "\n".join(watch.texts), "the gateway's guard found a fault, see the log"


@check(Group.SEND)
async def hostile_content(bench: Bench) -> None:
    """Odd but permitted content is sent, or Rejected; never another error, never half a message."""
    async with bench.live() as live:
        for fields in _odd_messages(bench):
            message = bench.message(**fields)
            outcome = await live.send(message)
            shown = ", ".join(sorted(fields))
            assert isinstance(outcome, Receipt | Rejected), f"with an odd {shown} {described(outcome)}"
            assert not found_in(everything_in(outcome), bench.recipients), (
                f"with an odd {shown} the error holds the recipient"
            )
            count, expected = len(bench.stand_in.taken(message.id)), int(isinstance(outcome, Receipt))
            assert count == expected, f"with an odd {shown} it was taken {count} times: {described(outcome)}"


@check(Group.SEND)
async def no_proxy(bench: Bench) -> None:
    """It reads no proxy variable: the operator's settings alone say where messages go."""
    with closed_port() as port, _environment(_proxies(port)):
        async with bench.live() as live:
            message = bench.message()
            outcome = await live.send(message)
    assert isinstance(outcome, Receipt), f"with proxy variables set {described(outcome)}"


@check(Group.SEND)
async def without_sender(bench: Bench) -> None:
    """Without a sender, or a reply address, the default is used or the message Rejected."""
    fields: dict[str, Any] = {"sender": None} if bench.channel is Channel.SMS else {"reply_to": None}
    async with bench.live() as live:
        outcome = await live.send(bench.message(**fields))
    assert isinstance(outcome, Receipt | Rejected), described(outcome)


@check(Group.SEND)
async def cancelled_early(bench: Bench) -> None:
    """Cancelled at any moment of its beginning, it ends as cancelled and the next one is sent well."""
    async with bench.live(concurrency=1) as live:
        for turns in range(6):
            given_up = bench.message()
            task = live.begin(sending_hook(given_up), given_up)
            for _ in range(turns):
                await asyncio.sleep(0)
            await asking.cancelled(task)
        message, _ = await bench.delivered(live)
    belongs(bench, message, [])


def belongs(bench: Bench, message: Any, others: list[Any]) -> None:
    """AssertionError unless the provider has the message once, for its recipient alone."""
    texts = bench.stand_in.taken(message.id)
    assert len(texts) == 1, f"the provider has a message {len(texts)} times that was sent once"
    own = message.recipient.reveal()
    assert any(form in texts[0] for form in forms(own)), "the provider has the message without its recipient"
    strangers = [other.recipient.reveal() for other in others if other.id != message.id]
    strangers += [recipient for recipient in bench.recipients if recipient != own and not others]
    assert not found_in(texts[0], strangers), "the message went to another's recipient too"


def _strange_sender(bench: Bench) -> Any:
    message = bench.message()
    return "Str@nge Sender +" if bench.channel is Channel.SMS else message.sender


def _odd_messages(bench: Bench) -> Iterator[dict[str, Any]]:
    """Fields that the core lets through, and that are seldom."""
    for text in (
        "{}%s${x}{{y}}",
        "\r\n.\r\nQUIT\r\n",
        "\t\x0b\x1b[31m",
        "ü☃😀🏳️‍🌈",
        "\"\\'<>&",
        "x" * 1_500,
        " ",
    ):
        yield {"text": text}
    yield {"lifetime": 0.5}
    yield {"lifetime": 10_000_000.0}
    yield {"attributes": {"vip": "yes", "": "\0", "name": "ü" * 300}}
    if bench.channel is Channel.SMS:
        yield {"recipient": Secret("+999999999999999")}
        yield {"sender": "ü☃😀"}
        yield {"sender": "x" * 100}
        return
    yield {"subject": ""}
    yield {"subject": "=?utf-8?q?=0ABcc:=20eve@evil.example?= " + "ü☃😀" * 60}
    yield {"text": "", "html": "<p>only this</p>"}
    yield {"text": "only this", "html": ""}
    for local in ("o'brien", "a&b=c?d/e%f#g", "!#$%&'*+/=?^_`{|}~-", "x" * 64, "grüße"):
        yield {"recipient": Secret(f"{local}@people.example")}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*values, "NO_PROXY", "no_proxy")}
    for name in ("NO_PROXY", "no_proxy"):
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _proxies(port: int) -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "all_proxy")
    return {each: f"http://127.0.0.1:{port}" for name in names for each in (name, name.upper())}
