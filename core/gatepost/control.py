"""What commands on this machine may ask of a running gateway: to send or tell again, and a test message."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence

import msgspec

from gatepost import contract, logs
from gatepost.acceptance import Acceptance
from gatepost.errors import Refused
from gatepost.model import Channel
from gatepost.outbox import Outbox, Retried, Retry
from gatepost.settings import Settings

MAX_BODY = 8 * 1_048_576
"""Bytes of a command's request that are read; more than any message may have."""

MOST = 500
"""Messages in one RetryRequest."""

_SCHEME = b"Bearer "

_log = logs.get(__name__)


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /control/retry``; the answer is a list of Retried."""

    wishes: Sequence[Retry]


class SendRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /control/send``; the answer is the contract's."""

    client: str
    """In whose name: its senders, callbacks and routes are used."""
    channel: Channel
    fields: Mapping[str, str]
    """As Smartico would send them."""


class Control:
    """The room behind ``/control/...``; made anew with every start, and so is its token."""

    def __init__(self, settings: Settings, outbox: Outbox, acceptance: Acceptance) -> None:
        self._settings = settings
        self._outbox = outbox
        self._acceptance = acceptance
        self.token = secrets.token_urlsafe(32)
        """Stands in the store's lock file, which only the gateway's own user can read."""

    def admits(self, authorization: bytes) -> bool:
        """Whether this Authorization header holds the token."""
        return secrets.compare_digest(authorization, _SCHEME + self.token.encode())

    async def take(self, what: str, body: bytes) -> bytes | None:
        """Do what a command asks and return the answer, JSON; None where there is no such thing to ask.

        Raises ValueError for a body that is none of ours, and StoreError.
        """
        if what == "retry":
            return msgspec.json.encode(await self._retry(msgspec.json.decode(body, type=RetryRequest)))
        if what == "send":
            return await self._send(msgspec.json.decode(body, type=SendRequest))
        return None

    async def _retry(self, request: RetryRequest) -> list[Retried]:
        if len(request.wishes) > MOST:
            raise ValueError(f"at most {MOST} messages at once")
        lifetimes = {channel: self._settings.delivery.lifetime(channel) for channel in Channel}
        # All at once: they share a commit.
        retried = await asyncio.gather(*(self._outbox.retry(wish, lifetimes) for wish in request.wishes))
        _log.info(
            "retried",
            messages=sum(one.queued for one in retried),
            callbacks=sum(one.callbacks for one in retried),
        )
        return retried

    async def _send(self, request: SendRequest) -> bytes:
        client = self._settings.clients.get(request.client)
        if client is None:
            raise ValueError("the running gateway has no such client")
        try:
            return await self._acceptance.take(
                request.client, client, request.channel, msgspec.json.encode(request.fields)
            )
        except Refused as refusal:
            return contract.refused(refusal)
