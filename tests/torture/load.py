# ruff: noqa: ASYNC110  it polls what other tasks count
"""The load of a deployment: Smartico's requests, each repeated until the gateway accepts it."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator

import aiohttp

USERS = 50

CONCURRENT_REQUESTS = 24


class Load:
    """Sends messages with the uids ``uid-0``, ``uid-1``, … as fast as ``allow`` permits."""

    def __init__(
        self, rng: random.Random, choose_url: Callable[[], str], *, authorization: str, callback_url: str
    ) -> None:
        """``choose_url`` returns the gateway for the next request, as a load balancer would choose it."""
        self.answers: dict[str, list[str]] = {}
        """By uid, every ext_message_id that came with error_code 0."""
        self.refused = 0
        """Answers with error_code 12 (try again)."""
        self.allowed = 0
        """Number of messages that may have been begun."""
        self.stop_times: list[float] = []
        """When a replica was asked to stop."""
        self.unanswered: list[tuple[str, float, str]] = []
        """Requests in flight at a stop that were not accepted: uid, time since the epoch, how they ended."""
        self._rng = rng
        self._choose_url = choose_url
        self._headers = {"Authorization": authorization}
        self._callback_url = callback_url
        self._more_allowed = asyncio.Event()

    async def run(self, end: int, first: int = 0) -> None:
        """Send the messages with the numbers from ``first`` to ``end`` - 1."""
        numbers = iter(range(first, end))
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            await asyncio.gather(*(self._send_messages(http, numbers) for _ in range(CONCURRENT_REQUESTS)))

    def allow(self, more: int) -> None:
        """Allow the beginning of this number of further messages."""
        self.allowed += more
        self._more_allowed.set()

    async def wait_for_answers(self, count: int) -> None:
        """Wait until this number of messages has been accepted."""
        while len(self.answers) < count:
            await asyncio.sleep(0.005)

    async def _send_messages(self, http: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for number in numbers:
            while number >= self.allowed:
                self._more_allowed.clear()
                await self._more_allowed.wait()
            uid = f"uid-{number}"
            await self._send(http, uid)
            if self._rng.random() < 0.1:
                # Two simultaneous repeats, perhaps at two replicas, must get the id of the same message.
                await asyncio.gather(self._send(http, uid), self._send(http, uid))

    async def _send(self, http: aiohttp.ClientSession, uid: str) -> None:
        """Send a message, and repeat it until it is accepted."""
        body = {
            "ext_user_id": f"user-{len(uid) % USERS}",
            "from_email_address": "Brand <noreply@brand.example>",
            "subject": f"Message {uid}",
            "body": "<p>Hello there</p>",
            "email_uid": uid,
            "callback_url": self._callback_url,
        }
        while True:
            url = f"{self._choose_url()}/email"
            began = time.monotonic()
            try:
                async with http.post(url, json=body, headers=self._headers) as response:
                    answer = await response.json()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not isinstance(error, aiohttp.ClientConnectorError):
                    self._note_unanswered(uid, began, "cut off")
                await asyncio.sleep(0.05)
                continue
            if answer["error_code"] == 0:
                self.answers.setdefault(uid, []).append(answer["ext_message_id"])
                return
            self.refused += 1
            self._note_unanswered(uid, began, "refused")
            assert answer["error_code"] == 12, answer
            await asyncio.sleep(0.05)

    def _note_unanswered(self, uid: str, began: float, end: str) -> None:
        """Note the end of a request if a replica was asked to stop during it."""
        if self.stop_times and began < self.stop_times[-1]:
            # For a repeat of an accepted message the store does not show whether this request was read.
            end = f"{end}, repeated" if uid in self.answers else end
            self.unanswered.append((uid, time.time(), end))
