"""From the outbox to a provider: claim, find the contact, send, record what came of it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from gatepost.config.settings import Client, Settings
from gatepost.contacts.lookup import ContactCache, Contacts, LookupOutcome, LookupResult
from gatepost.content import preview_recipient
from gatepost.delivery import attempt
from gatepost.delivery.html_text import TextParts
from gatepost.delivery.suspects import Suspects
from gatepost.errors import SendError, StoreBroken, StoreError, Unavailable, Uncertain
from gatepost.model import Channel, Email, Receipt, Sms
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Claim, Outbox, SendResult
from gatepost.outbox.states import State
from gatepost.plugin_host.instances import SEND_OVERRUN, Instance
from gatepost.throttle import BreakerState, Throttle

POLL = 1.0
"""Seconds after which the outbox is looked at even if nobody said that there is something."""

LEASES = 3.0
"""A claim is held for so many times what a send may take, and held on to while it is being sent."""

_log = logs.get(__name__)


class Provider(NamedTuple):
    """A sending instance and its throttle."""

    instance: Instance
    throttle: Throttle

    @property
    def lease(self) -> float:
        """Seconds that a claim for it is held."""
        # With the margin: a short timeout must not make the lease end while the plugin is still at it.
        return LEASES * (self.instance.settings.timeout + SEND_OVERRUN)


class _Progress:
    """How far one claim has come."""

    __slots__ = ("asked", "asking", "content")

    def __init__(self) -> None:
        self.asking = ""
        """The instance that has the message in hand; empty: nobody."""
        self.asked: attempt.Asked | None = None
        """What the last of them answered."""
        self.content = b""
        """What to store for the next try; empty: what is stored already."""


class Delivery:
    """The senders of one gateway: a loop for each channel that has a route."""

    def __init__(
        self,
        settings: Settings,
        *,
        outbox: Outbox,
        providers: Mapping[str, Provider],
        contacts: Contacts,
        contact_cache: ContactCache,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._providers = providers
        self._contacts = contacts
        self._contact_cache = contact_cache
        self._metrics = metrics
        self._text_parts = TextParts(settings.clients, metrics)
        self._clock = clock
        self._stopping = False
        self._sending: set[asyncio.Task[None]] = set()
        self._held: dict[str, tuple[Claim, float, float]] = {}
        self._routes = {channel: self._route(channel) for channel in Channel}
        # Only one claim at a time on a channel: by its loop, or by Suspects, which must have nothing else in hand.
        self._gates = {channel: asyncio.Lock() for channel in Channel}
        self._stray: set[Channel] = set()
        """Channels whose last claim failed. It may have been made after all."""
        self._suspects = Suspects(
            outbox,
            self._gates,
            in_hand=self._sending,
            usable=lambda channel: self._usable(self._routes[channel]) is not None,
            begin=self._begin_suspect,
        )

    async def run(self) -> None:
        """Send until ``stop``; then return when nothing is in hand any more."""
        renewing = asyncio.create_task(self._renew(), name="delivery-renew")
        try:
            async with asyncio.TaskGroup() as loops:
                for channel, route in self._routes.items():
                    if route:
                        loops.create_task(self._loop(channel, route), name=f"delivery-{channel}")
                loops.create_task(self._suspects.run(), name="delivery-suspects")
            while self._sending:
                await asyncio.wait(self._sending)
        finally:
            renewing.cancel()
            # Only when there was no time to wait for them: each records that nobody knows.
            for task in self._sending:
                task.cancel()
            await asyncio.gather(renewing, *self._sending, return_exceptions=True)

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self._suspects.stop()
        for event in self._outbox.messages_due.values():
            event.set()

    def _route(self, channel: Channel) -> Sequence[Provider]:
        return [self._providers[name] for name in self._settings.routes.instances(channel)]

    async def _loop(self, channel: Channel, route: Sequence[Provider]) -> None:
        arrived = self._outbox.messages_due[channel]
        while not self._stopping:
            arrived.clear()
            patience = POLL
            try:
                if channel in self._stray:
                    # Nobody else would look at those before the lease ends.
                    async with self._gates[channel]:
                        await self._outbox.release_claims(channel, self._held)
                    self._stray.discard(channel)
                provider = self._usable(route)
                if provider is not None and provider.throttle.free(self._clock()):
                    if await self._claim(channel, provider, route):
                        continue
                else:
                    # The others of the route are not asked for a turn, so they must not end the wait either.
                    patience = self._patience([provider] if provider else route)
            except StoreBroken:
                return
            except StoreError as error:
                _log.warning("claim_failed", channel=channel.value, reason=str(error))
                self._stray.add(channel)
            await _wait(arrived, patience)

    async def _claim(self, channel: Channel, provider: Provider, route: Sequence[Provider]) -> bool:
        """Begin to send what is due; returns whether there may be more than could be taken."""
        most = 0

        def free() -> int:
            nonlocal most
            most = provider.throttle.free(self._clock())
            return most

        async with self._gates[channel]:
            if self._stopping:
                return False
            # Asked late: those whose outcomes go to disk in the same transaction have left their slots by then.
            claims = await self._outbox.claim(channel, free, provider.lease)
            for claim in claims:
                self._begin(claim, provider, route)
        return len(claims) == most

    async def _begin_suspect(self, channel: Channel) -> None:
        """Begin to send the next suspect; the gates are closed, and nothing else is in hand."""
        route = self._routes[channel]
        provider = self._usable(route)
        if provider is None:
            return
        try:
            claims = await self._outbox.claim_suspect(channel, provider.lease)
        except StoreError:
            self._stray.add(channel)
            raise
        for claim in claims:
            self._begin(claim, provider, route)

    def _usable(self, route: Sequence[Provider]) -> Provider | None:
        """The first of the route that works. One that is merely busy is waited for, not passed over."""
        now = self._clock()
        for provider in route:
            state = provider.throttle.describe(now).state
            if state is BreakerState.USABLE or (
                state is BreakerState.PROBING and provider.throttle.free(now)
            ):
                return provider
        return None

    def _patience(self, route: Sequence[Provider]) -> float:
        now = self._clock()
        wakes = [wake for provider in route if (wake := provider.throttle.wake_in(now)) is not None]
        return min([POLL, *wakes])

    def _begin(self, claim: Claim, provider: Provider, route: Sequence[Provider]) -> None:
        wait = provider.throttle.begin(self._clock())
        self._hold(claim, provider, renew_in=provider.lease / 3)
        task = asyncio.create_task(self._deliver(claim, provider, route, wait), name=f"send-{claim.id}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(
        self, claim: Claim, provider: Provider, route: Sequence[Provider], wait: float
    ) -> None:
        """One claim from its beginning to its outcome; ``provider`` has a slot and a turn for it."""
        outcome: SendResult | None = None
        progress = _Progress()
        try:
            try:
                message = await self._message(claim, progress)
            except BaseException:
                provider.throttle.release()
                raise
            if isinstance(message, SendResult):
                provider.throttle.release()
                outcome = message
            else:
                await _turn(provider, wait)
                outcome = self._outcome(claim, await self._ask(claim, message, provider, route, progress))
        except asyncio.CancelledError:
            outcome = self._interrupted(claim, progress)
            raise
        except Exception as error:  # noqa: BLE001  one message's trouble must not become another's
            _log.error("delivery_failed", message=claim.id, exc_info=error)
            outcome = self._interrupted(claim, progress)
        finally:
            # The slot is free before the outcome is on disk: the next is claimed in the same transaction.
            self._outbox.messages_due[claim.channel].set()
            if outcome is not None:
                await self._finish(msgspec.structs.replace(outcome, content=progress.content))
            self._held.pop(claim.id, None)

    def _interrupted(self, claim: Claim, progress: "_Progress") -> SendResult:
        """It ended in the middle: while a provider is asked nobody knows, otherwise it is merely late."""
        if progress.asking:
            unknown = Uncertain("interrupted while it was being sent")
            return self._outcome(claim, attempt.Asked(progress.asking, unknown))
        if progress.asked:
            return self._outcome(claim, progress.asked)
        return attempt.later(claim, "interrupted before it was sent")

    def _outcome(self, claim: Claim, asked: attempt.Asked) -> SendResult:
        return attempt.outcome_of(claim, asked, self._settings.delivery.uncertain_wait)

    async def _message(self, claim: Claim, progress: "_Progress") -> Email | Sms | SendResult:
        """What is to be sent, or what becomes of a message that can't be."""
        if claim.lifetime <= 0:
            return attempt.ended(claim, State.FAILED, "its lifetime ended")
        client = self._settings.clients.get(claim.client)
        if client is None:
            # Another client's sources mean other people. A table that was renamed by mistake may come back.
            return attempt.later(claim, "its client is no longer configured")
        lookup = await self._find(claim, client)
        if lookup.outcome is LookupOutcome.UNREACHABLE:
            return attempt.later(claim, "no contact source could be asked")
        if lookup.recipient is None:
            return attempt.ended(claim, State.REJECTED, _why_nobody(claim, lookup))
        try:
            composed = await attempt.compose(claim, lookup.recipient, lookup.attributes, self._text_parts)
        except ValueError:
            _log.error("content_unreadable", message=claim.id)
            return attempt.ended(claim, State.FAILED, "its content can't be read")
        progress.content = composed.content
        return composed.message

    async def _find(self, claim: Claim, client: Client) -> LookupResult:
        """Look up where the message goes now; only the client's own sources are asked."""
        if claim.preview:
            recipient = preview_recipient(client, claim.id, claim.preview)
            return LookupResult(LookupOutcome.FOUND if recipient else LookupOutcome.NO_ADDRESS, recipient)
        cached = self._contact_cache.take(claim.id)
        return cached or await self._contacts.find(claim.client, claim.ext_user_id, claim.channel)

    async def _ask(
        self,
        claim: Claim,
        message: Email | Sms,
        first: Provider,
        route: Sequence[Provider],
        progress: "_Progress",
    ) -> attempt.Asked:
        """Ask one provider after the other until one has an answer that is not Unavailable."""
        asked = await self._send(first, claim, message, progress)
        for provider in route[route.index(first) + 1 :]:
            if not isinstance(asked.answer, Unavailable):
                break
            now = self._clock()
            if not provider.throttle.free(now):
                continue
            # What is left of the lease was measured for the first, who may be much faster than this one.
            self._hold(claim, provider, renew_in=0.0)
            await _turn(provider, provider.throttle.begin(now))
            asked = await self._send(provider, claim, message, progress)
        return asked

    async def _send(
        self, provider: Provider, claim: Claim, message: Email | Sms, progress: "_Progress"
    ) -> attempt.Asked:
        """One try; always gives its slot back."""
        answer: Receipt | SendError | None = None
        progress.asking = provider.instance.name
        try:
            answer = await provider.instance.send(message)
        except SendError as error:
            answer = error
        finally:
            if answer is None:
                answer = Uncertain("interrupted while it was being sent")
            failure = answer if isinstance(answer, SendError) else None
            provider.throttle.end(self._clock(), failure, attempt.content_of(claim, message))
            self._metrics.sends.labels(provider.instance.name, attempt.word(answer)).inc()
        if failure is not None:
            self._tell(provider, message.id, failure)
        progress.asking, progress.asked = "", attempt.Asked(provider.instance.name, answer)
        return progress.asked

    def _tell(self, provider: Provider, message_id: str, failure: SendError) -> None:
        shout = isinstance(failure, Unavailable) and failure.misconfigured
        (_log.error if shout else _log.warning)(
            f"send_{attempt.word(failure)}",
            instance=provider.instance.name,
            message=message_id,
            reason=failure.reason,
            code=failure.code,
        )

    async def _finish(self, outcome: SendResult) -> None:
        """Record an outcome, however long the store takes to take it; only cancellation ends that."""
        while True:
            try:
                if not await self._outbox.finish(outcome):
                    _log.warning("claim_was_lost", message=outcome.id, state=outcome.state.value)
                return
            except StoreBroken:
                return
            except StoreError as error:
                _log.warning("outcome_not_stored_yet", message=outcome.id, reason=str(error))
                await asyncio.sleep(0.2)

    def _hold(self, claim: Claim, provider: Provider, renew_in: float) -> None:
        self._held[claim.id] = claim, provider.lease, self._clock() + renew_in

    async def _renew(self) -> None:
        """Hold on to what is still being sent when a third of its lease is over."""
        while True:
            await asyncio.sleep(POLL)
            now = self._clock()
            due = [(claim, lease) for claim, lease, when in self._held.values() if when <= now]
            for claim, lease in due:
                self._held[claim.id] = claim, lease, now + lease / 3
            kept = await asyncio.gather(
                *(self._outbox.renew(claim, lease) for claim, lease in due), return_exceptions=True
            )
            failed = sum(isinstance(one, Exception) for one in kept)
            if failed:
                _log.warning("leases_not_renewed", count=failed)


def _why_nobody(claim: Claim, lookup: LookupResult) -> str:
    if claim.preview:
        return "its preview_recipients entry is gone"
    return "the user has vanished" if lookup.outcome is LookupOutcome.UNKNOWN_USER else "the address is gone"


async def _turn(provider: Provider, wait: float) -> None:
    """Wait for the provider's turn; who is cancelled meanwhile gives the slot back."""
    if wait <= 0:
        return
    try:
        await asyncio.sleep(wait)
    except asyncio.CancelledError:
        provider.throttle.release()
        raise


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
