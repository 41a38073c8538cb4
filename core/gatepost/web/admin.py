"""What commands on this machine may ask of a running gateway: to send again, to tell now, who rests, a test message.

They find it by a note that it leaves while it runs, which only its own user can read.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from gatepost.callbacks.worker import Callbacks
from gatepost.config.settings import Settings
from gatepost.errors import Refused
from gatepost.intake import requests
from gatepost.intake.accept import Acceptance
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import CallbackRetry, MessageRetry, Outbox
from gatepost.outbox.sqlite import FileLock
from gatepost.outbox.store_url import sqlite_path
from gatepost.throttle import BreakerState, Throttle

MAX_BODY = 8 * 1_048_576
"""Bytes of a command's request that are read; more than any message may have."""

MOST = 500
"""Messages in one MessagesRequest."""

_SCHEME = b"Bearer "

_RUNNING = ".running"

_log = logs.get(__name__)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running gateway can be spoken to, and with what: whoever can read it may control it."""

    pid: int
    url: str
    token: str


def note_of(settings: Settings) -> Path:
    """The file of the note: the store's lock, or one beside the configuration where the store is no file."""
    database = sqlite_path(settings.store.url, settings.path.parent)
    return FileLock(database).path if database else settings.path.with_name(settings.path.name + _RUNNING)


@contextlib.contextmanager
def noted(settings: Settings, url: str, token: str) -> Iterator[None]:
    """Leave the note while the block runs.

    Where that can't be done the gateway is as good without: the log says what the commands will miss.
    """
    path = note_of(settings)
    content = msgspec.json.encode(Note(pid=os.getpid(), url=url, token=token))
    try:
        # Also where the file was there before, nobody else can read what stands in it from now on.
        with open(path, "wb", opener=_private) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
    except OSError as error:
        _log.warning("note_not_left", path=str(path), problem=f"{error.strerror}: gatepost send won't work")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # The lock's file stays. Of this one another process may have made its own meanwhile.
            if path.suffix == _RUNNING and path.read_bytes() == content:
                path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


class MessagesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /control/retry`` and ``/control/retry-callbacks``; the answer is a list of MessageRetry or of CallbackRetry."""

    ids: Sequence[str]


class RestsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /control/rests``; the answer is a list of Rest, in the order of the channel's route."""

    channel: Channel


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """A sending instance that is not asked now, or is to be probed."""

    instance: str
    seconds: float
    """Until it is asked again."""
    reason: str


class SendRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /control/send``; the answer is the contract's."""

    client: str
    """In whose name: its senders, callbacks and routes are used."""
    channel: Channel
    fields: Mapping[str, str]
    """As Smartico would send them."""


class Control:
    """The room behind ``/control/...``; made anew with every start, and so is its token."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        acceptance: Acceptance,
        callbacks: Callbacks,
        throttles: Mapping[str, Throttle],
    ) -> None:
        """``throttles``: of every sending instance, by its name."""
        self._settings = settings
        self._outbox = outbox
        self._acceptance = acceptance
        self._callbacks = callbacks
        self._throttles = throttles
        self.token = secrets.token_urlsafe(32)
        """Stands in the note."""

    def admits(self, authorization: bytes) -> bool:
        """Whether this Authorization header holds the token."""
        return secrets.compare_digest(authorization, _SCHEME + self.token.encode())

    async def take(self, what: str, body: bytes) -> bytes | None:
        """Do what a command asks and return the answer, JSON; None where there is no such thing to ask.

        Raises ValueError for a body that is none of ours, and StoreError.
        """
        match what:
            case "retry":
                return msgspec.json.encode(await self._retry(_ids(body)))
            case "retry-callbacks":
                return msgspec.json.encode(await self._retry_callbacks(_ids(body)))
            case "rests":
                return msgspec.json.encode(self._rests(msgspec.json.decode(body, type=RestsRequest).channel))
            case "send":
                return await self._send(msgspec.json.decode(body, type=SendRequest))
        return None

    async def _retry(self, ids: Sequence[str]) -> list[MessageRetry]:
        lifetimes = {channel: self._settings.delivery.lifetime(channel) for channel in Channel}
        # All at once: they share a commit.
        retried = await asyncio.gather(*(self._outbox.retry(one, lifetimes) for one in ids))
        _log.info("messages_retried", messages=sum(one.queued for one in retried))
        return retried

    async def _retry_callbacks(self, ids: Sequence[str]) -> list[CallbackRetry]:
        callback_retries = await self._outbox.retry_callbacks(ids)
        self._callbacks.wake({(one.client, one.target) for one in callback_retries if one.callbacks})
        _log.info("callbacks_retried", callbacks=sum(one.callbacks for one in callback_retries))
        return callback_retries

    def _rests(self, channel: Channel) -> list[Rest]:
        now = asyncio.get_running_loop().time()
        seen = {
            name: self._throttles[name].describe(now) for name in self._settings.routes.instances(channel)
        }
        return [
            Rest(instance=name, seconds=one.rests, reason=one.reason)
            for name, one in seen.items()
            if one.state is not BreakerState.USABLE
        ]

    async def _send(self, request: SendRequest) -> bytes:
        client = self._settings.clients.get(request.client)
        if client is None:
            raise ValueError("the running gateway has no such client")
        try:
            return await self._acceptance.take(
                request.client, client, request.channel, msgspec.json.encode(request.fields)
            )
        except Refused as refusal:
            return requests.refused(refusal)


def _ids(body: bytes) -> Sequence[str]:
    ids = msgspec.json.decode(body, type=MessagesRequest).ids
    if len(ids) > MOST:
        raise ValueError(f"at most {MOST} messages at once")
    return ids
