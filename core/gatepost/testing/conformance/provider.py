"""What an emulated provider offers to the checks, and the adapter that turns an Emulator into one."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gatepost.model import WebhookRequest
from gatepost.testing.emulator import (
    NO_FAILURE,
    Emulator,
    Failure,
    answer,
    close_after_body,
    close_before_body,
    drip,
    hang,
)
from gatepost.testing.features import FailureMode
from gatepost.testing.kit_emulator import PROSE
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.webhook_requests import webhook_request

_RETRY_AFTER = 7
"""Seconds that the provider asks a throttled plugin to wait."""
_DRIP = 0.25
"""Seconds between two bytes of an answer that comes byte by byte."""


class Provider(Protocol):
    """An emulated provider, as the checks of sending use it.

    One that counts the plugin's connections has the attribute ``connections`` too. One whose reports are fetched has the
    method ``queue(kind, message_id)``, after which a report waits.
    """

    @property
    def attempts(self) -> int:
        """The number of requests to send that have begun, whatever their result."""
        ...

    def simulate(self, failure: FailureMode | None) -> None:
        """Fail in this way at every request from now on; None: work as usual."""
        ...

    def received(self) -> Sequence[ReceivedMessage]:
        """Return every message that was taken, in order."""
        ...


class Reporter(Protocol):
    """An emulated provider, as the checks of webhooks use it."""

    def report(
        self, kinds: Sequence[str], message_id: str, *, to: str, spoiled: bool = False
    ) -> WebhookRequest:
        """Return one unsigned request with reports of these kinds about a message of ours.

        It goes to the URL ``to``, unless the message itself said where its reports go. ``spoiled``: with invalid
        reports before, between and after them.
        """
        ...

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the request signed at ``received_at``, in its headers, its body or its URL.

        ``forged``: signed with a key that is not the provider's.
        """
        ...


_FAILURES: Mapping[FailureMode, Failure] = {
    FailureMode.REFUSE: answer(400, reason=PROSE),
    FailureMode.THROTTLE: answer(429, {"Retry-After": str(_RETRY_AFTER)}, reason=PROSE),
    FailureMode.OUTAGE: answer(503, reason=PROSE),
    FailureMode.DENY: answer(401, reason=PROSE),
    FailureMode.HANG: hang(taken=False),
    FailureMode.DRIP: drip(_DRIP),
    FailureMode.LOSE: close_after_body(taken=True),
    FailureMode.DROP: close_before_body(),
    FailureMode.REDIRECT: answer(307, {"Location": "/elsewhere"}),
    FailureMode.NONSENSE: answer(200, reason=PROSE),
}

_INVALID_REPORTS: Sequence[Any] = ({}, None, 7, "x", [], {"event": None, "status": {"no": "text"}})


class EmulatedProvider:
    """A ``gatepost.testing.emulator.Emulator`` as Provider and Reporter."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    @property
    def attempts(self) -> int:
        return sum(self._emulator.is_send(method, path) for method, path in self._emulator.requests)

    @property
    def connections(self) -> int:
        """The number of connections that were opened so far."""
        return self._emulator.connections

    def simulate(self, failure: FailureMode | None) -> None:
        self._emulator.failure = _FAILURES[failure] if failure else NO_FAILURE

    def received(self) -> Sequence[ReceivedMessage]:
        return [self._emulator.received(taken) for taken in self._emulator.taken]

    def report(
        self, kinds: Sequence[str], message_id: str, *, to: str, spoiled: bool = False
    ) -> WebhookRequest:
        taken = next(taken for taken in self._emulator.taken if taken.id == message_id)
        events: list[Any] = [self._emulator.event(kind, taken) for kind in kinds]
        if spoiled:
            events = [*_INVALID_REPORTS, *(part for event in events for part in (event, *_INVALID_REPORTS))]
        (body,) = self._emulator.bodies(events, batch=0)
        return webhook_request(self._emulator.received(taken).webhook_url or to, body)

    def queue(self, kind: str, message_id: str) -> None:
        """Let a report wait for a plugin that fetches reports."""
        taken = next(taken for taken in self._emulator.taken if taken.id == message_id)
        self._emulator.queued.append(self._emulator.event(kind, taken))

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        return self._emulator.sign(request, forged=forged)


def provider_of(emulator: Any) -> Any:
    """Return an emulator as Provider (and as Reporter, where it reports); None where its plugin sends nothing."""
    if isinstance(emulator, Emulator):
        return EmulatedProvider(emulator)
    return emulator if hasattr(emulator, "simulate") else None
