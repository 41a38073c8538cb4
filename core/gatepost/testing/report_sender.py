"""The half of an emulated provider that reports to webhooks, with the provider's signatures and retries."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import aiohttp
import msgspec

from gatepost.model import Status, WebhookRequest
from gatepost.testing.webhook_requests import replace_request, webhook_request

Event = dict[str, Any]
"""One report as the provider would write it, before it is encoded."""

Tampering = Literal["", "unsigned", "forged", "flipped"]
"""Empty: none. ``unsigned``: no signature; ``forged``: signed with another key; ``flipped``: one bit of the body changed
after signing."""


class TakenMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message that the provider has taken."""

    id: str
    """Our id, as it came with the message; empty where it did not."""
    provider_id: str
    """The provider's own id."""
    message: Any
    """The request's body, decoded."""
    headers: Mapping[str, str]
    """The request's headers; names are case-insensitive."""


class AutomaticReports(msgspec.Struct, frozen=True, kw_only=True):
    """The reports that the provider sends about each message that it takes."""

    kinds: Sequence[str]
    """The kinds of the reports, in order."""
    delay: float = 0.0
    """Seconds from the message to its first report, and from each report to the next."""
    before_answer: bool = False
    """Whether the reports are sent before the answer to the send itself."""


class ReportSender:
    """The part of an Emulator that sends reports to webhooks."""

    retry_pauses: ClassVar[Sequence[float]] = (60.0, 600.0, 3600.0)
    """Seconds between the tries to deliver a report, as the provider documents them."""
    signs_retries: ClassVar[bool] = False
    """Whether a report that was unsigned at first is signed when it is sent again."""
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {}
    """The statuses that each kind of report means; empty for a kind that means no status."""

    def __init__(self) -> None:
        self.taken: list[TakenMessage] = []
        """Messages that were taken, in order."""
        self.webhook_url = ""
        """Where reports go, unless a call names another URL."""
        self.automatic_reports: AutomaticReports | None = None
        self.time_scale = 1.0
        """What the pauses between tries to deliver a report are multiplied by."""
        self.webhook_answers: Counter[int] = Counter()
        """How often the webhook answered with each HTTP status; 0 is no answer."""
        self._session: aiohttp.ClientSession
        self._report_tasks: set[asyncio.Task[None]] = set()

    def event(self, kind: str, taken: TakenMessage) -> Event:
        """Return a report of this kind about the message, with all its fields."""
        raise NotImplementedError(
            f"{type(self).__name__} reports nothing: give it `event`, `bodies` and `sign`"
        )

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        """Return the bodies of the webhook requests for these events: ``batch`` events each; 0: the provider's way."""
        raise NotImplementedError(f"{type(self).__name__} has no `bodies`")

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the request signed at ``received_at``: with headers, or with another body or URL.

        ``forged``: signed with a key that is not the provider's.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `sign`")

    def tries_again(self, status: int) -> bool:
        """Return whether a report that got this answer (0: none) is sent again."""
        return not 200 <= status < 300

    async def report(  # noqa: PLR0913  each is one thing that providers do
        self,
        events: Iterable[Event],
        *,
        to: str = "",
        batch: int = 0,
        copies: int = 1,
        shuffled: random.Random | None = None,
        delay: float = 0.0,
        at: float | None = None,
        tampering: Tampering = "",
        tries: int = 1,
    ) -> list[int]:
        """Send reports to a webhook, one request after the other, and return the last HTTP status of each.

        ``shuffled`` puts the events into a random order. ``copies`` is how often each request is sent.
        ``delay`` is the seconds before each request, ``at`` the time of the signature instead of now.
        ``tries`` is the largest number of tries for a request that gets no good answer.
        """
        ordered = list(events)
        if shuffled is not None:
            shuffled.shuffle(ordered)
        requests = [body for body in self.bodies(ordered, batch=batch) for _ in range(copies)]
        statuses = []
        for body in requests:
            await asyncio.sleep(delay)
            statuses.append(await self._deliver(to or self.webhook_url, body, at, tampering, tries))
        return statuses

    async def report_status(self, message_id: str, status: Status) -> None:
        """Report this status of a message with an id of ours, by the kind that means the least beside it.

        Does nothing where no kind means it.
        """
        taken = next(taken for taken in self.taken if taken.id == message_id)
        kinds = [kind for kind, statuses in self.meanings.items() if status in statuses]
        kinds.sort(key=lambda kind: len(self.meanings[kind]))
        await self._report_on(taken, AutomaticReports(kinds=kinds[:1]))

    async def wait_for_reports(self) -> None:
        """Wait until every automatic report has been delivered or given up."""
        while self._report_tasks:
            await asyncio.gather(*self._report_tasks)

    async def _report_automatically(self, taken: TakenMessage) -> None:
        """Send the automatic reports: now, or in a task of their own."""
        if not self.automatic_reports:
            return
        if self.automatic_reports.before_answer:
            await self._report_on(taken, self.automatic_reports)
            return
        task = asyncio.create_task(self._report_on(taken, self.automatic_reports))
        self._report_tasks.add(task)
        task.add_done_callback(self._report_tasks.discard)

    async def _cancel_reports(self) -> None:
        for task in self._report_tasks:
            task.cancel()
        await asyncio.gather(*self._report_tasks, return_exceptions=True)

    async def _report_on(self, taken: TakenMessage, automatic: AutomaticReports) -> None:
        for kind in automatic.kinds:
            await self.report([self.event(kind, taken)], delay=automatic.delay, tries=len(self.retry_pauses))

    async def _deliver(
        self, url: str, body: bytes, at: float | None, tampering: Tampering, tries: int
    ) -> int:
        status = 0
        for number in range(tries):
            if number:
                pauses = self.retry_pauses
                await asyncio.sleep(pauses[min(number, len(pauses)) - 1] * self.time_scale)
            if number and tampering == "unsigned" and self.signs_retries:
                tampering = ""
            request = webhook_request(url, body, at=at)
            if tampering != "unsigned":
                request = self.sign(request, forged=tampering == "forged")
            if tampering == "flipped":
                request = replace_request(request, body=_flipped(request.body))
            status = await self._post(request)
            if not self.tries_again(status):
                break
        return status

    async def _post(self, request: WebhookRequest) -> int:
        status = 0
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
            ) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        self.webhook_answers[status] += 1
        return status


def _flipped(body: bytes) -> bytes:
    """Return ``body`` with one bit of a letter or digit in its middle changed; JSON usually stays JSON."""
    middle = len(body) // 2
    place = next((at for at in range(middle, len(body)) if chr(body[at]).isalnum()), middle)
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
