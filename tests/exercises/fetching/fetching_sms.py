"""Text messages through an API without webhooks, as an exercise in the plugin contract: reports are fetched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Faults, Unavailable, Uncertain
from gatepost.hookspecs import Context, HasLifespan, SmsSender, hookimpl
from gatepost.model import Receipt, Secret, Sms, Status, StatusEvent

STATUSES = {"SENT": Status.ACCEPTED, "DONE": Status.DELIVERED, "LOST": Status.FAILED}
LEASE_SECONDS = 60.0
"""Longer than a turn takes: the replica that has it keeps it by asking again."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table for Fetching."""

    api_key: Annotated[Secret, Meta(description="the account's API key")]
    base_url: Annotated[str, Meta(description="the URL of the API")] = "https://api.fetching.example"
    connection: wire.ConnectionSetting = None
    default_sender: Annotated[str, Meta(description="the sender if Smartico sends no from_number")] = ""
    fetch_seconds: Annotated[
        float, Meta(ge=0.01, le=LEASE_SECONDS / 2, description="seconds between two fetches of reports")
    ] = 5.0


class Fetching(HasLifespan, SmsSender):
    """An account whose reports wait until they are fetched."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        faults = Faults(wire.key_faults(api_key=settings.api_key))
        with faults:
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                # One more, so that no send waits for the connection of a fetch.
                connections=context.concurrency + 1,
                headers=wire.bearer(settings.api_key),
                options=settings.connection,
            )
        faults.expect_none()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep a pool of connections open, and fetch reports meanwhile."""
        async with self._http.lifespan():
            fetching = asyncio.create_task(self._fetch_for_ever(), name="fetch reports")
            try:
                yield
            finally:
                fetching.cancel()
                await asyncio.wait({fetching})

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message."""
        body = {
            "id": message.id,
            "to": message.recipient.reveal(),
            "from": wire.sender_of(message, self._settings.default_sender),
            "text": message.text,
        }
        reply = await self._http.post("/messages", msgspec.json.encode(body))
        wire.expect_success(reply)
        match reply.json():
            case {"number": str(number)}:
                return Receipt(wire.safe_id(number))
        raise Uncertain("the answer is not from this API: check base_url", code=str(reply.status))

    async def _fetch_for_ever(self) -> None:
        while True:
            try:
                # Two replicas would report everything twice.
                if await self._context.lease("reports", LEASE_SECONDS):
                    await self._fetch()
            except Unavailable as error:
                self._context.log.warning("reports_not_fetched", reason=error.reason, code=error.code)
            await asyncio.sleep(self._settings.fetch_seconds)

    async def _fetch(self) -> None:
        """Pass on the reports after the last one that is stored; raise Unavailable where that can't be done."""
        last = await self._context.state.read("last")
        reply = await self._http.get(f"/reports?after={last or 0}")
        wire.expect_success(reply)
        match reply.json():
            case {"reports": [*items], "last": int(new)}:
                report = wire.collect_events(items, _event)
            case _:
                raise Unavailable("the answer is not from this API: check base_url", code=str(reply.status))
        if items:
            # Only then: where the store is away, the next turn fetches the same reports again.
            await self._context.report(report)
            await self._context.state.replace("last", last, str(new))


class _Item(msgspec.Struct):
    id: str
    state: str
    error: int = 0


def _event(item: Any) -> StatusEvent | str:
    found = msgspec.convert(item, _Item)
    if found.state not in STATUSES:
        return "unknown"
    return StatusEvent(
        status=STATUSES[found.state],
        message_id=wire.safe_id(found.id),
        code=wire.safe_code(found.error) if found.error else "",
    )
