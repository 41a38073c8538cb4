"""The real plugins at the emulators of their providers: each message, each failure and each report that there is."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from gatepost.model import Channel
from gatepost.prove.canaries import Canaries, Person
from gatepost.prove.client import GatewayClient
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.private_copy import OWN_CLIENT, sender_of
from gatepost.prove.surroundings import Standing
from gatepost.testing.conformance.provider import provider_of
from gatepost.testing.features import FailureMode

FAILURES: Sequence[FailureMode] = (
    *(FailureMode.REFUSE, FailureMode.NONSENSE, FailureMode.REDIRECT, FailureMode.LOSE, FailureMode.DROP),
    # The last ones, because an instance rests after each.
    *(FailureMode.HANG, FailureMode.OUTAGE, FailureMode.DENY, FailureMode.THROTTLE),
)
"""The failures, in the order in which they are simulated."""

_WORDS = {
    FailureMode.REFUSE: "the provider refuses the message",
    FailureMode.NONSENSE: "the provider's answer makes no sense",
    FailureMode.REDIRECT: "the provider redirects elsewhere",
    FailureMode.LOSE: "the message is taken and the answer lost",
    FailureMode.DROP: "the connection is lost before the message",
    FailureMode.HANG: "the provider never answers",
    FailureMode.OUTAGE: "the provider is down",
    FailureMode.DENY: "the provider refuses the key",
    FailureMode.THROTTLE: "the provider has too many requests",
}
_FIRST_NUMBER = 9000
"""Emulators that fail by recipient have numbers for fiction from here on."""
_SECONDS = 5.0
_POLL_INTERVAL = 0.02


class EmulatedPlugin:
    """One sending instance, its emulator, and the canaries that it sends to."""

    def __init__(
        self, position: int, standing: Standing, channels: Sequence[Channel], canaries: Canaries
    ) -> None:
        self.standing = standing
        self._position = position
        self._channels = [channel for channel in channels if channel in standing.channels]
        self._provider = provider_of(standing.emulator)
        self._usual = canaries.add()
        self._people = {
            (channel, failure): self._person(canaries, channel, failure)
            for channel in self._channels
            for failure in self._failures()
        }
        _quote(standing.emulator, self._usual)

    @property
    def people(self) -> Iterator[Person]:
        """Everybody whom the contact source must know."""
        yield self._usual
        yield from self._people.values()

    async def exercise(self, gateway: GatewayClient, url: str, outcomes: Outcomes) -> None:
        """Send, report and fail."""
        for channel in self._channels:
            where = f"{self.standing.instance} ({self.standing.use}), {channel}"
            identity = await self._send(gateway, channel, self._usual)
            if not identity or not await self._has_received(identity):
                why = "the plugin did not send a usual message to its emulator"
                outcomes.missing(where, "sent to the emulator of its provider", why)
                continue
            outcomes.done(where, "sent to the emulator of its provider")
            await self._report(gateway, where, identity, url, outcomes)
            for failure in self._failures():
                await self._fail(gateway, where, channel, failure, outcomes)

    async def _fail(
        self, gateway: GatewayClient, where: str, channel: Channel, failure: FailureMode, outcomes: Outcomes
    ) -> None:
        name = self.standing.instance
        before = await gateway.sends(name)
        self._provider.simulate(failure)
        await self._send(gateway, channel, self._people[channel, failure])
        tried = await gateway.wait_for_sends(before + 1, name, _SECONDS)
        self._provider.simulate(None)
        if tried:
            outcomes.done(where, _WORDS[failure])
        else:
            outcomes.missing(where, _WORDS[failure], "the instance rested after the failures before")

    async def _send(self, gateway: GatewayClient, channel: Channel, person: Person) -> str:
        fields = {
            "ext_user_id": person.user,
            "sender": sender_of(channel, self._position),
            "text": "A message",
        }
        return (await gateway.send(OWN_CLIENT, channel, fields)).id

    async def _has_received(self, identity: str) -> bool:
        for _ in range(int(_SECONDS / _POLL_INTERVAL)):
            if any(message.id == identity for message in self._provider.received()):
                return True
            await asyncio.sleep(_POLL_INTERVAL)
        return False

    async def _report(
        self, gateway: GatewayClient, where: str, identity: str, url: str, outcomes: Outcomes
    ) -> None:
        emulator = self.standing.emulator
        kinds = list(emulator.meanings) if hasattr(self._provider, "report") else []
        if not kinds:
            outcomes.missing(where, "reports by webhook", "the emulator of the provider has none")
        for kind in kinds:
            for forged in (True, False):
                request = self._provider.report(
                    [kind], identity, to=f"{url}/webhooks/{self.standing.instance}"
                )
                status = await gateway.report(self._provider.sign(request, forged=forged))
                outcomes.done(where, f"report {kind}{', forged' if forged else ''}: answered with {status}")

    def _failures(self) -> list[FailureMode]:
        return [one for one in FAILURES if one in self.standing.emulator.failure_modes]

    def _person(self, canaries: Canaries, channel: Channel, failure: FailureMode) -> Person:
        """Return somebody for whom the emulator fails in this way."""
        number = _FIRST_NUMBER + len(canaries.people)
        recipient: Any = self.standing.emulator.recipient
        address = recipient(channel, number, failure)
        if address == recipient(channel, number, None):
            return canaries.add()
        return canaries.add(email=address) if channel is Channel.EMAIL else canaries.add(phone=address)


def _quote(emulator: Any, person: Person) -> None:
    """Let the errors of an emulator quote a person, as a careless provider's would."""
    write = getattr(emulator, "error", None)
    if write is not None:
        emulator.error = lambda status, reason: write(status, f"{reason}: {person.private_text}")
