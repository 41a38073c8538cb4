"""The operations that commands on the same machine can ask of a running gateway.

They retry messages and callbacks, list the resting instances, and send a test message. A command finds the gateway
by the admin file, which holds its URL and a token and can be read by the gateway's own user only.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from gatepost.callbacks.worker import CallbackWorker
from gatepost.config.settings import Settings
from gatepost.errors import Refused
from gatepost.intake import answers
from gatepost.intake.accept import Acceptance
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import CallbackRetry, MessageRetry, Outbox
from gatepost.outbox.sqlite import FileLock
from gatepost.outbox.store_url import sqlite_path
from gatepost.throttle import BreakerState, Throttle

MAX_BODY = 8 * 1_048_576
"""Bytes of a request that are read; more than any message may have."""

MAX_IDS = 500
"""Messages in one RetryRequest."""

_AUTH_SCHEME = b"Bearer "

_FILE_SUFFIX = ".running"

_log = logs.get(__name__)


class AdminFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the admin file; a process that can read it can control the gateway."""

    pid: int
    url: str
    token: str


def admin_file_path(settings: Settings) -> Path:
    """Return the admin file: the store's lock, or beside the configuration where the store is not a file."""
    database = sqlite_path(settings.store.url, settings.path.parent)
    return FileLock(database).path if database else settings.path.with_name(settings.path.name + _FILE_SUFFIX)


@contextlib.contextmanager
def admin_file(settings: Settings, url: str, token: str) -> Iterator[None]:
    """Write the admin file for as long as the block runs.

    The gateway also runs without it; where it can't be written the log says which commands will not work.
    """
    path = admin_file_path(settings)
    content = msgspec.json.encode(AdminFile(pid=os.getpid(), url=url, token=token))
    try:
        # The mode is set before the content is written, also for a file that exists already.
        with open(path, "wb", opener=_open_private) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
    except OSError as error:
        problem = (
            f"{error.strerror}: gatepost send won't work, nor messages retry and retry-callbacks with SQLite"
        )
        _log.warning("admin_file_not_written", path=str(path), problem=problem)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # The store's lock stays. The other file may belong to another gateway by now.
            if path.suffix == _FILE_SUFFIX and path.read_bytes() == content:
                path.unlink()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /admin/retry`` and ``/admin/retry-callbacks``; the answer is a list of MessageRetry or CallbackRetry."""

    ids: Sequence[str]


class RestingInstancesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /admin/resting-instances``; the answer is a list of RestingInstance in the order of the route."""

    channel: Channel


class RestingInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A sending instance whose breaker is resting or probing."""

    instance: str
    seconds: float
    """Until the instance gets its next message."""
    reason: str


class SendRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /admin/send``; the answer is the one that ``/email`` and ``/sms`` give."""

    client: str
    """The client whose senders, callbacks and routes are used."""
    channel: Channel
    fields: Mapping[str, str]
    """The fields as Smartico would send them."""


class AdminApi:
    """The operations behind ``/admin/...``, with a token that is new at each start."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        acceptance: Acceptance,
        callbacks: CallbackWorker,
        throttles: Mapping[str, Throttle],
    ) -> None:
        """``throttles`` holds the throttle of every sending instance, by its name."""
        self._settings = settings
        self._outbox = outbox
        self._acceptance = acceptance
        self._callbacks = callbacks
        self._throttles = throttles
        self.token = secrets.token_urlsafe(32)
        """The token in the admin file."""

    def is_authorized(self, authorization: bytes) -> bool:
        """Return whether this Authorization header holds the token."""
        return secrets.compare_digest(authorization, _AUTH_SCHEME + self.token.encode())

    async def run(self, operation: str, body: bytes) -> bytes | None:
        """Run an operation and return its answer as JSON; None when there is no such operation.

        Raises ValueError for an invalid body, and StoreError.
        """
        match operation:
            case "retry":
                return msgspec.json.encode(await self._retry(_ids(body)))
            case "retry-callbacks":
                return msgspec.json.encode(await self._retry_callbacks(_ids(body)))
            case "resting-instances":
                request = msgspec.json.decode(body, type=RestingInstancesRequest)
                return msgspec.json.encode(self._resting_instances(request.channel))
            case "send":
                return await self._send(msgspec.json.decode(body, type=SendRequest))
        return None

    async def _retry(self, ids: Sequence[str]) -> list[MessageRetry]:
        lifetimes = {channel: self._settings.delivery.lifetime(channel) for channel in Channel}
        # Concurrently, so that they share a commit.
        retries = await asyncio.gather(*(self._outbox.retry(one, lifetimes) for one in ids))
        _log.info("messages_retried", messages=sum(one.queued for one in retries))
        return retries

    async def _retry_callbacks(self, ids: Sequence[str]) -> list[CallbackRetry]:
        retries = await self._outbox.retry_callbacks(ids)
        self._callbacks.end_rests({(one.client, one.target) for one in retries if one.callbacks})
        _log.info("callbacks_retried", callbacks=sum(one.callbacks for one in retries))
        return retries

    def _resting_instances(self, channel: Channel) -> list[RestingInstance]:
        now = asyncio.get_running_loop().time()
        snapshots = {
            name: self._throttles[name].snapshot(now) for name in self._settings.routes.instances(channel)
        }
        return [
            RestingInstance(instance=name, seconds=one.rest_remaining, reason=one.reason)
            for name, one in snapshots.items()
            if one.state is not BreakerState.USABLE
        ]

    async def _send(self, request: SendRequest) -> bytes:
        client = self._settings.clients.get(request.client)
        if client is None:
            raise ValueError("the running gateway has no such client")
        body = msgspec.json.encode(request.fields)
        try:
            return await self._acceptance.accept(request.client, client, request.channel, body)
        except Refused as refusal:
            return answers.refused(refusal)


def _ids(body: bytes) -> Sequence[str]:
    ids = msgspec.json.decode(body, type=RetryRequest).ids
    if len(ids) > MAX_IDS:
        raise ValueError(f"at most {MAX_IDS} messages in one request")
    return ids
