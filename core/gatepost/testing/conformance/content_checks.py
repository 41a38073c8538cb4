"""Checks that compare what was to be sent with what the provider received. Each runs once for each channel."""

from collections.abc import Iterator, Sequence
from typing import Any

from gatepost.errors import Rejected, Uncertain
from gatepost.model import Channel, Mailbox, Receipt
from gatepost.testing.conformance.harness import CANARY, Harness
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe
from gatepost.testing.features import MessageFeature
from gatepost.testing.received import ReceivedMessage

_LARGE = 1_048_576
"""Characters of the largest content: the gateway takes requests up to this size."""

Fields = dict[str, Any]


@check(Group.SEND)
async def content(harness: Harness) -> None:
    """Send text, subject and HTML unchanged: long ones, Unicode, and texts at the edge of a part.

    Pass text, subject and HTML on as they are: cut, strip, escape and convert nothing.
    """
    async with harness.run_plugin() as running:
        for what, fields, usual in _contents(harness):
            send = _deliver if usual else _offer
            message, received = await send(harness, running, what, fields)
            if received is not None:
                _assert_content(what, message, received)


@check(Group.SEND, after=("send.content",))
async def large_content(harness: Harness) -> None:
    """Send content of a megabyte unchanged, or raise Rejected.

    Send it whole, and raise Rejected where the API has a limit.
    """
    text = f"{CANARY} " + "word " * (_LARGE // 5)
    fields: Fields = {"text": text}
    if harness.channel is Channel.EMAIL:
        fields = {"text": text[: _LARGE // 4], "html": f"<p>{text}</p>"}
    async with harness.run_plugin() as running:
        message, received = await _offer(harness, running, "a megabyte", fields)
        if received is not None:
            _assert_content("a megabyte", message, received)


@check(Group.SEND)
async def one_message(harness: Harness) -> None:
    """Send exactly one message for each call: no copy, and no part of it as a message of its own.

    Make one request for each call, and leave it to the provider to split a text into parts.
    """
    async with harness.run_plugin() as running:
        for text in (f"Hello {CANARY}", f"{CANARY} " + "word " * 60):
            before = len(harness.emulated_provider.received())
            outcome = await running.send(harness.message(text=text))
            count = len(harness.emulated_provider.received()) - before
            expected = int(isinstance(outcome, Receipt))
            assert count == expected, f"one call sent {count} messages: {describe(outcome)}"


@check(Group.SEND, MessageFeature.SENDER)
async def sender(harness: Harness) -> None:
    """Send each message from its own sender, with its display name.

    Send `message.sender` with its name. Where the account has one sender for all, don't declare
    MessageFeature.SENDER.
    """
    async with harness.run_plugin() as running:
        for own in _senders(harness):
            message, received = await _deliver(harness, running, "a sender", {"sender": own})
            expected = own.address if isinstance(own, Mailbox) else own
            assert received.sender.lstrip("+") == expected.lstrip("+"), "the message has another sender"
            if isinstance(own, Mailbox):
                assert received.sender_name == message.sender.name, "the sender's name has changed"


@check(Group.SEND, MessageFeature.REPLY_TO)
async def reply_to(harness: Harness) -> None:
    """Send the reply address of an email, and none where it has none.

    Send `message.reply_to`, and leave the field out where it is None.
    """
    if harness.channel is not Channel.EMAIL:
        return
    async with harness.run_plugin() as running:
        for own in (Mailbox("help@amazing.example", "Amazing Help"), None):
            _, received = await _deliver(harness, running, "a reply address", {"reply_to": own})
            expected = own.address if own else ""
            assert received.reply_to == expected, "the email has another reply address"


@check(Group.SEND, MessageFeature.HEADERS)
async def headers(harness: Harness) -> None:
    """Send the further headers of an email unchanged.

    Pass `message.headers` on without folding or encoding the values.
    """
    if harness.channel is not Channel.EMAIL:
        return
    own = {
        "List-Unsubscribe": "<https://brand.example/u/c2VjcmV0LXRva2VuLXRoYXQtaXMtcXVpdGUtbG9uZy1hbmQtdW5icm9rZW4>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    async with harness.run_plugin() as running:
        _, received = await _deliver(harness, running, "headers", {"headers": own})
    found = {name.lower(): value for name, value in received.headers.items()}
    for name, value in own.items():
        assert found.get(name.lower()) == value, f"the header {name} is missing or has changed"


@check(Group.SEND, MessageFeature.TAGS)
async def tags(harness: Harness) -> None:
    """Send each message with its own tags, beside those of the settings.

    Send `message.tags` in the API's field for labels, and keep none of them for the next message.
    """
    values = (("brand", "news"), ("other-brand", "weekly.2"))
    async with harness.run_plugin() as running:
        for own, others in zip(values, reversed(values), strict=True):
            _, received = await _deliver(harness, running, "tags", {"tags": own})
            missing = [tag for tag in own if tag not in received.tags]
            assert not missing, f"the message has not its tag {missing[0]}"
            foreign = [tag for tag in others if tag in received.tags]
            assert not foreign, f"the message has {foreign[0]}, a tag of another message"


@check(Group.SEND, MessageFeature.CLIENT)
async def client(harness: Harness) -> None:
    """Say in each message whose it is: the name of its client.

    Send `message.client` unchanged in the field that the emulator's `received` reads.
    """
    await _assert_sent_along(harness, "client", ("brand", "other-brand"))


@check(Group.SEND, MessageFeature.UID)
async def uid(harness: Harness) -> None:
    """Send Smartico's own id of the message along.

    Send `message.uid` unchanged in the field that the emulator's `received` reads; it is not `message.id`.
    """
    await _assert_sent_along(harness, "uid", ("uid-4711", "0192d3a4-uid"))


async def _assert_sent_along(harness: Harness, field: str, values: Sequence[str]) -> None:
    """Raise AssertionError unless each of two messages has its own value of this field."""
    async with harness.run_plugin() as running:
        for own in values:
            _, received = await _deliver(harness, running, f"a {field}", {field: own})
            got = getattr(received, field)
            assert got == own, f"the {field} of the message is {got!r} instead of {own!r}"


@check(Group.SEND, MessageFeature.LIFETIME)
async def lifetime(harness: Harness) -> None:
    """Say how long the message is worth delivering, in the provider's unit.

    Send `message.lifetime` in the unit of the API, and return seconds in the emulator's `received`.
    """
    async with harness.run_plugin() as running:
        for own in (600.0, 7_200.0):
            _, received = await _deliver(harness, running, "a lifetime", {"lifetime": own})
            got = received.lifetime
            assert got is not None, "the message does not say how long it is worth delivering"
            assert abs(got - own) <= 1, f"the lifetime is {own:g} seconds, and the message says {got:g}"


@check(Group.SEND, MessageFeature.WEBHOOK_URL)
async def webhook_url(harness: Harness) -> None:
    """Tell the provider where its reports go: context.webhook_url, to which a query may be added.

    Send `context.webhook_url`, and add nothing but a query to it.
    """
    async with harness.run_plugin() as running:
        message, _ = await harness.send_message(running)
        (received,) = harness.received(message.id)
        expected = running.core.context().webhook_url
    got = received.webhook_url
    assert got.partition("?")[0] == expected, f"reports go to {got!r} instead of context.webhook_url"


@check(Group.SEND, MessageFeature.IDEMPOTENCY_KEY)
async def idempotency_key(harness: Harness) -> None:
    """Send the message's idempotency_key: the same bytes with the same key, and another key for another try.

    Send the core's key: make none of your own, and change nothing in a repeat. Return a Receipt for the answer that
    the message was accepted already, and raise Uncertain where the answer does not say that.
    """
    async with harness.run_plugin() as running:
        message, _ = await harness.send_message(running)
        outcome = await running.send(message)
        problem = f"a repeat of an accepted message is no Receipt and not Uncertain: {describe(outcome)}"
        assert isinstance(outcome, Receipt | Uncertain), problem
        first = harness.received(message.id)
        keys = {one.idempotency_key for one in first}
        assert keys == {message.idempotency_key}, "a repeat has not the message's own idempotency_key"
        assert len({one.raw for one in first}) == 1, "a repeat has other bytes than the first try"
        other, _ = await harness.send_message(running)
        (received,) = harness.received(other.id)
        assert received.idempotency_key not in keys, "two messages have the same idempotency key"


async def _deliver(
    harness: Harness, running: RunningPlugin, what: str, fields: Fields
) -> tuple[Any, ReceivedMessage]:
    """Send a message that every provider takes; return it and what the provider received."""
    message = harness.message(**fields)
    return message, _received(harness, what, message, await running.send(message))


async def _offer(
    harness: Harness, running: RunningPlugin, what: str, fields: Fields
) -> tuple[Any, ReceivedMessage | None]:
    """Send a rare message; return it and what the provider received, None where the plugin rejected it."""
    message = harness.message(**fields)
    outcome = await running.send(message)
    return message, None if isinstance(outcome, Rejected) else _received(harness, what, message, outcome)


def _received(harness: Harness, what: str, message: Any, outcome: object) -> ReceivedMessage:
    assert isinstance(outcome, Receipt), f"{what}: {describe(outcome)} instead of returning a Receipt"
    received = harness.received(message.id)
    assert len(received) == 1, f"{what}: the provider has the message {len(received)} times"
    return received[0]


def _assert_content(what: str, message: Any, received: ReceivedMessage) -> None:
    for name in ("text", "html", "subject"):
        own = _same_lines(getattr(message, name, ""))
        if own:
            got = _same_lines(getattr(received, name))
            assert got == own, f"{what}: the {name} has changed ({len(own)} characters became {len(got)})"


def _same_lines(text: str) -> str:
    """Return the text with the line ends that a provider may change made equal."""
    return text.replace("\r\n", "\n").rstrip("\n")


def _senders(harness: Harness) -> tuple[Any, ...]:
    if harness.channel is Channel.SMS:
        return ("Amazing", "+447700900999", "Brand7")
    return (
        Mailbox("news@amazing.example", "Amazing"),
        Mailbox("offers@brand.example"),
        Mailbox("hello@brand.example", 'Zoë, "the" Queen'),
    )


def _contents(harness: Harness) -> Iterator[tuple[str, Fields, bool]]:
    """Yield a name, fields, and whether every provider takes them."""
    yield "a short text", {"text": f"Hello {CANARY}"}, True
    yield "a text in Unicode", {"text": f"Привет, {CANARY}: grüß dich"}, True
    yield "an emoji", {"text": f"{CANARY} 😀🏳️‍🌈"}, True
    yield "160 characters of GSM-7", {"text": f"{CANARY} ".ljust(160, "x")}, True
    yield "161 characters of GSM-7", {"text": f"{CANARY} ".ljust(161, "x")}, True
    yield "a euro sign at the edge of a part", {"text": f"{CANARY} ".ljust(159, "x") + "€uro"}, True
    yield "70 characters of UCS-2", {"text": f"{CANARY} ".ljust(70, "ж")}, True
    yield "an emoji at the edge of a part", {"text": f"{CANARY} ".ljust(69, "ж") + "😀 and more"}, True
    yield "blanks at both ends", {"text": f"  {CANARY}  "}, False
    yield "lines", {"text": f"{CANARY}\n\n.\n..\nFrom here\r\nto there"}, False
    # The gateway has filled its merge fields: what looks like one is a text that a user has typed somewhere.
    filled = {"text": f"{CANARY} {{{{contact.vip}}}}", "attributes": {"vip": "yes"}}
    yield "a text like a merge field", filled, False
    yield "a long text", {"text": f"{CANARY} " + "word " * 300}, False
    if harness.channel is Channel.SMS:
        return
    yield "HTML in Unicode", {"html": f"<p>Привет, {CANARY} 😀 &amp; &#8364;</p>"}, True
    yield "a long subject", {"subject": f"{CANARY} " + "Grüße ☃ " * 12 + "end"}, True
    yield (
        "a subject like a merge field",
        {"subject": f"{CANARY} {{{{vip}}}}", "attributes": {"vip": "yes"}},
        True,
    )
    yield "an empty subject", {"subject": ""}, False
    yield "a long line", {"html": f"<p>{CANARY}{'x' * 3_000}</p>"}, True
