"""Checks of sending while the provider works. Each runs once for each channel."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gatepost.config.settings import InstanceSettings
from gatepost.errors import Rejected
from gatepost.model import Channel, Receipt, Secret
from gatepost.plugin_host.instances import Instance
from gatepost.testing.conformance import assertions, cpu_units
from gatepost.testing.conformance.harness import Harness, closed_port
from gatepost.testing.conformance.leaks import contains_any, text_of
from gatepost.testing.conformance.recorder import Recorder
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import describe, gather, lifespan_of, sending_hook
from gatepost.testing.fakes import FakeCore

CONCURRENT_SENDS = 8
"""Messages that are sent concurrently."""


@check(Group.SEND)
async def success(harness: Harness) -> None:
    """Return a Receipt for a good message, which the provider then has once.

    Return the Receipt once the provider has answered that it has the message. Send our id along, and return it
    in the emulator's `received`.
    """
    async with harness.run_plugin() as running:
        message, _ = await harness.send_message(running)
    count = len(harness.received(message.id))
    assert count == 1, f"the provider has {count} messages with the id of the one that was sent"


@check(Group.SEND)
async def one_recipient(harness: Harness) -> None:
    """Send the message to its recipient and to no one else.

    Build each request from its own message alone, and use no body or list of recipients again.
    """
    async with harness.run_plugin() as running:
        messages = [(await harness.send_message(running))[0] for _ in range(3)]
    for message in messages:
        assert_delivered_once(harness, message, messages)


@check(Group.SEND)
async def provider_id(harness: Harness) -> None:
    """Return a provider's id that is printable, has at most 255 characters, and differs for each message.

    Return the provider's id of this one message, cut to 255 characters, or Receipt() where it has none.
    """
    async with harness.run_plugin() as running:
        receipts = [await harness.send_message(running) for _ in range(2)]
    ids = [receipt.provider_id for _, receipt in receipts]
    for message, receipt in receipts:
        own = receipt.provider_id
        assert isinstance(own, str), "provider_id is not a text"
        assert len(own) <= 255, f"provider_id has {len(own)} characters"
        assert own.isprintable(), "provider_id has characters that can't be printed"
        assert not contains_any(own, [message.recipient.reveal()]), "provider_id holds the recipient"
    assert not ids[0] or ids[0] != ids[1], (
        "two messages have the same provider_id: their reports can't be told apart"
    )


@check(Group.SEND)
async def concurrent(harness: Harness) -> None:
    """Send eight concurrent messages once each, to their own recipients.

    Keep what belongs to one call in local variables, not in the instance.
    """
    async with harness.run_plugin(concurrency=CONCURRENT_SENDS) as running:
        messages = [harness.message() for _ in range(CONCURRENT_SENDS)]
        for outcome in await gather([running.send(message) for message in messages]):
            assert isinstance(outcome, Receipt), (
                f"one of several concurrent messages was not taken: {describe(outcome)}"
            )
    for message in messages:
        assert_delivered_once(harness, message, messages)


@check(Group.SEND)
async def free_loop(harness: Harness) -> None:
    """Never block the event loop, neither with a call nor with much CPU, for a long message too.

    Use an async client, and make blocking calls and long computations in asyncio.to_thread.
    """
    async with harness.run_plugin() as running:
        for text in ("short", "long " * 100):
            await running.send(_with_text(harness, text))
        long = "long " * (100 if harness.channel is Channel.SMS else 40_000)
        await cpu_units.assert_little_cpu(running.recorder, lambda: running.send(_with_text(harness, long)))
    assertions.assert_no_blocking_calls(running)


def _with_text(harness: Harness, text: str) -> Any:
    html: dict[str, Any] = {"html": f"<p>{text}</p>"} if harness.channel is Channel.EMAIL else {}
    return harness.message(text=text, **html)


@check(Group.SEND)
async def no_leaks(harness: Harness) -> None:
    """Log and print neither the recipient nor a secret, at any level.

    Log the message's id and nothing else of it, and keep libraries from logging requests.
    """
    async with harness.run_plugin() as running:
        await harness.send_message(running)
        await running.send(harness.message(sender=_odd_sender(harness)))
    text = "\n".join(running.recorder.texts)
    assert not contains_any(text, harness.recipients), "the recipient is in a log"
    assert not contains_any(text, harness.secrets()), "a secret is in a log"


@check(Group.SEND)
async def plugin_host(harness: Harness) -> None:
    """Work inside the gateway's plugin host, which logs no plugin_violation.

    Keep to the limits of Receipt in `gatepost.model`: an opaque provider_id without the recipient, a price with
    its currency.
    """
    recorder = Recorder()
    plugin = harness.make_plugin(FakeCore(recorder.logger("conformance")))
    instance = Instance(InstanceSettings(name="conformance", use="conformance"), plugin)
    message = harness.message()
    with recorder.capture_output():
        async with lifespan_of(plugin, recorder):
            receipt = await instance.send(message)
    assert isinstance(receipt, Receipt), "the plugin host got no Receipt"
    assert "plugin_violation" not in "\n".join(recorder.texts), "the plugin host logged a plugin_violation"


@check(Group.SEND)
async def hostile_content(harness: Harness) -> None:
    """Send odd but permitted content or raise Rejected; never another error, never half a message.

    Encode each field as the API wants it, and raise Rejected before the request where the API can't carry it.
    """
    async with harness.run_plugin() as running:
        for fields in _odd_messages(harness):
            message = harness.message(**fields)
            outcome = await running.send(message)
            shown = ", ".join(sorted(fields))
            assert isinstance(outcome, Receipt | Rejected), f"with an odd {shown} {describe(outcome)}"
            assert not contains_any(text_of(outcome), harness.recipients), (
                f"with an odd {shown} the error holds the recipient"
            )
            count, expected = len(harness.received(message.id)), int(isinstance(outcome, Receipt))
            assert count == expected, f"with an odd {shown} it was taken {count} times: {describe(outcome)}"


@check(Group.SEND)
async def no_proxy(harness: Harness) -> None:
    """Read no proxy variable: only the operator's settings decide where messages go.

    Keep the client from reading the environment (trust_env=False), as wire.connect does.
    """
    with closed_port() as port, _environment(_proxies(port)):
        async with harness.run_plugin() as running:
            message = harness.message()
            outcome = await running.send(message)
    assert isinstance(outcome, Receipt), f"with proxy variables set {describe(outcome)}"


@check(Group.SEND)
async def without_sender(harness: Harness) -> None:
    """Send a message without a sender or reply address with the default, or raise Rejected.

    Take the default of the settings, and raise Rejected where there is none, as wire.sender_of does.
    """
    fields: dict[str, Any] = {"sender": None} if harness.channel is Channel.SMS else {"reply_to": None}
    async with harness.run_plugin() as running:
        outcome = await running.send(harness.message(**fields))
    assert isinstance(outcome, Receipt | Rejected), f"without its own sender {describe(outcome)}"


@check(Group.SEND)
async def cancelled_early(harness: Harness) -> None:
    """End as cancelled when a send is cancelled at any early moment, and send the next message well.

    Take locks and connections with `async with`, so that a cancellation releases them.
    """
    async with harness.run_plugin(concurrency=1) as running:
        for turns in range(6):
            given_up = harness.message()
            task = running.begin(sending_hook(given_up), given_up)
            for _ in range(turns):
                await asyncio.sleep(0)
            await assertions.assert_cancellable(task)
        message, _ = await harness.send_message(running)
    assert_delivered_once(harness, message, [])


def assert_delivered_once(harness: Harness, message: Any, others: list[Any]) -> None:
    """Raise AssertionError unless the provider has the message once, for its recipient only."""
    found = harness.received(message.id)
    assert len(found) == 1, f"the provider has a message {len(found)} times; it was sent once"
    own = message.recipient.reveal()
    assert [one.casefold() for one in found[0].recipients] == [own.casefold()], (
        f"the provider has the message for {len(found[0].recipients)} recipients, not for its own one alone"
    )
    other_recipients = [other.recipient.reveal() for other in others if other.id != message.id]
    other_recipients += [recipient for recipient in harness.recipients if recipient != own and not others]
    assert not contains_any(found[0].raw, other_recipients), "the message also went to another's recipient"


def _odd_sender(harness: Harness) -> Any:
    message = harness.message()
    return "Str@nge Sender +" if harness.channel is Channel.SMS else message.sender


def _odd_messages(harness: Harness) -> Iterator[dict[str, Any]]:
    """Yield fields that the core permits and that are rare."""
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
    if harness.channel is Channel.SMS:
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
    """Set these environment variables, and no exception from proxies, while the block runs."""
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
    """Return the variables that would lead every request to this port."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    return {each: f"http://127.0.0.1:{port}" for name in names for each in (name, name.upper())}
