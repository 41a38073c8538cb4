# ruff: noqa: ASYNC110, ASYNC240  it watches other processes, and blocks nobody but itself
"""Smartico on one side, a provider on the other, and gateways between them that things are done to."""

import asyncio
import contextlib
import json
import math
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path

import aiohttp
from aiohttp import web

from gatepost.cli import store as cli
from gatepost.testing.emulator import NO_FAILURE, Failure
from gatepost.testing.report_sender import TakenMessage
from gatepost.testing.smartico import Smartico
from gatepost_sendgrid.testing import SendGridEmulator
from torture.oracle import Excuse, History, Verdict, judge
from torture.replica import ForkServer, Replica
from torture.stores import Store

USERS = 50
AT_ONCE = 24
"""Requests of Smartico's under way at once."""
SETTLE = 300.0
"""Seconds that the gateways get to bring everything to its end when nothing is broken any more."""

CONCURRENCY = 16

QUICK = {
    "gatepost.callbacks.worker:CALLBACK_LEASE": 2.0,
    "gatepost.callbacks.attempt:RETRY_DELAYS": (0.2,) * 30,
    "gatepost.upkeep.housekeeping:SWEEP_INTERVAL": 0.2,
}
"""What a gateway of the bench need not wait as long for as a real one."""


_suffering: ContextVar[Failure] = ContextVar("suffering", default=NO_FAILURE)
_taken: ContextVar[list[str]] = ContextVar("taken")

OK = 200
REPORTS = 100
"""Tries to deliver a report, five in a second; in earnest a provider tries for a day."""


class Provider(SendGridEmulator):
    """Takes a while, remembers when, and reports what it takes."""

    def __init__(self, rng: random.Random, *, reports: bool, most: float = 0.03) -> None:
        super().__init__()
        self.history_sends: list[tuple[float, str]] = []
        self.reported: dict[str, set[str]] = {}
        self.time_scale = 0.005
        self.under_way = 0
        """Requests that are not answered yet."""
        self._rng = rng
        self._most = most
        self._reports_all = reports
        self._own: set[asyncio.Task[None]] = set()
        self.patience = math.inf
        """Seconds after which a gateway may have given up waiting for an answer."""
        self.balanced: Callable[[], str] = lambda: self.webhook_url
        """Where the next try to deliver a report goes: a load balancer knows who is there."""
        self.choose: Callable[[], Failure] = lambda: NO_FAILURE
        """What goes wrong with the next request."""
        self.faults = 0
        self.lost_answers: list[Excuse] = []
        """Messages that were taken although the gateway could not be told."""
        self.unheard: list[Excuse] = []
        """The same, and nobody had planned it."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self.choose() if request.path == "/v3/mail/send" else NO_FAILURE
        self.faults += fault is not NO_FAILURE
        self.plan(fault)
        _suffering.set(fault)
        _taken.set(taken := [])
        began = time.monotonic()
        response = await super().handle(request)
        # On a starved machine an answer may come too late by itself, or to nobody.
        gone = request.transport is None or request.transport.is_closing()
        if taken and fault is NO_FAILURE and (gone or time.monotonic() - began > self.patience):
            self.unheard.append(Excuse(time.monotonic(), frozenset(taken)))
        return response

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        self.under_way += 1
        try:
            await asyncio.sleep(self._rng.uniform(0, self._most))
            response = await super().answer_to(request, body)
            await asyncio.sleep(self._rng.uniform(0, self._most))
        finally:
            self.under_way -= 1
        return response

    async def take(self, taken: TakenMessage) -> None:
        self.history_sends.append((time.monotonic(), taken.id))
        _taken.get().append(taken.id)
        if _suffering.get() is not NO_FAILURE:
            self.lost_answers.append(Excuse(time.monotonic(), frozenset({taken.id})))
        await super().take(taken)
        if self._reports_all:
            task = asyncio.create_task(self._report(taken))
            self._own.add(task)
            task.add_done_callback(self._own.discard)

    async def _report(self, taken: TakenMessage) -> None:
        for kind in ("delivered", "open"):
            await asyncio.sleep(self._rng.uniform(0, 2 * self._most))
            if await self._reported(kind, taken):
                self.reported.setdefault(taken.id, set()).add("opened" if kind == "open" else kind)

    async def _reported(self, kind: str, taken: TakenMessage) -> bool:
        for _ in range(REPORTS):
            (status,) = await self.report([self.event(kind, taken)], to=self.balanced())
            if not self.tries_again(status):
                return status == OK
            await asyncio.sleep(0.2)
        return False

    async def all_reported(self) -> None:
        """Wait until every report was taken or given up."""
        while self._own:
            await asyncio.gather(*self._own)


class Bench:
    """One scenario's world."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        rng: random.Random,
        crm: Smartico,
        provider: Provider,
        fork_server: ForkServer,
    ) -> None:
        self.folder = folder
        self.store = store
        self.rng = rng
        self.rng_reports = random.Random(0)
        self.crm = crm
        self.provider = provider
        self.replicas: list[Replica] = []
        self.excuses: list[Excuse] = []
        self.answers: dict[str, list[str]] = {}
        self.refused = 0
        self.allowed = 0
        """So many messages may have been begun by now."""
        self.asleep: set[Replica] = set()
        """Nobody sends these anything."""
        self.blamed: set[str] = set()
        """Innocent messages that were in hand at three deaths, and that the operator had sent again."""
        self.stops: list[float] = []
        """When replicas were asked to stop."""
        self.broken_off: list[tuple[str, float, str]] = []
        """Requests under way at a stop that were not answered with 0: uid, when that was known, how."""
        self._fork_server = fork_server
        self._news = asyncio.Event()

    def add_replica(
        self, *, delivery: Mapping[str, object], timeout: float, order: Mapping[str, object] | None = None
    ) -> Replica:
        """Write its configuration; it is not started yet."""
        number = len(self.replicas)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        tables = {
            "server": {"port": port},
            "store": {"url": self.store.url},
            "clients.brand": {
                "authorization": [self.crm.authorization],
                "allow_ips": ["127.0.0.1"],
                "callback_api_key": self.crm.api_key,
                "callback_hosts": ["127.0.0.1"],
                "allow_private_callbacks": True,
            },
            "contacts": {"sources": ["players"]},
            "delivery": delivery,
            "routes": {"email": ["provider"]},
            "logs": {"level": "info", "format": "json"},
            "plugins.players": {"use": "csv", "path": "contacts.csv"},
            "plugins.provider": {
                "use": "sendgrid",
                "api_key": self.provider.api_key,
                "base_url": self.provider.base_url,
                "webhook_public_key": self.provider.public_key,
                "concurrency": CONCURRENCY,
                "timeout": timeout,
            },
        }
        config = self.folder / f"replica-{number}.toml"
        config.write_text(
            "\n".join(
                "\n".join(
                    [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
                )
                for name, table in tables.items()
            )
        )
        replica = Replica(
            self._fork_server, config, f"http://127.0.0.1:{port}", {"set": QUICK, **(order or {})}
        )
        self.replicas.append(replica)
        self.provider.webhook_url = f"{self.replicas[0].url}/webhooks/provider"
        # In half of the gateway's time: so much it may need to hear what was answered.
        self.provider.patience = timeout / 2
        self.provider.balanced = self._balanced
        return replica

    def _balanced(self) -> str:
        """The webhook of a replica that is there, of all of them where none is."""
        up = [one for one in self.replicas if one not in self.asleep and one.running]
        return f"{self.rng_reports.choice(up or self.replicas).url}/webhooks/provider"

    def crashed(self, ids: frozenset[str] | None = None) -> None:
        """From here on what was in flight may be sent once more."""
        self.excuses.append(Excuse(time.monotonic(), ids))

    async def load(self, messages: int) -> None:
        """Smartico sends so many, as ``allowed`` lets it, and repeats each until it hears a 0."""
        await self.load_range(0, messages)

    async def load_range(self, first: int, end: int) -> None:
        """The same with the messages from ``first`` to before ``end``."""
        numbers = iter(range(first, end))
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            await asyncio.gather(*(self._sender(http, numbers) for _ in range(AT_ONCE)))

    async def _sender(self, http: aiohttp.ClientSession, numbers: Iterable[int]) -> None:
        for number in numbers:
            while number >= self.allowed:
                self._news.clear()
                await self._news.wait()
            uid = f"uid-{number}"
            await self._accepted(http, uid)
            if self.rng.random() < 0.1:
                # Two at once, perhaps at two replicas: the same message all the same.
                await asyncio.gather(self._accepted(http, uid), self._accepted(http, uid))

    async def _accepted(self, http: aiohttp.ClientSession, uid: str) -> None:
        body = {
            "ext_user_id": f"user-{len(uid) % USERS}",
            "from_email_address": "Brand <noreply@brand.example>",
            "subject": f"Message {uid}",
            "body": "<p>Hello there</p>",
            "email_uid": uid,
            "callback_url": self.crm.callback_url,
        }
        headers = {"Authorization": self.crm.authorization}
        while True:
            replica = self.rng.choice([one for one in self.replicas if one not in self.asleep])
            began = time.monotonic()
            try:
                async with http.post(f"{replica.url}/email", json=body, headers=headers) as response:
                    answer = await response.json()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not isinstance(error, aiohttp.ClientConnectorError):
                    self._broken_off(uid, began, "cut off")
                await asyncio.sleep(0.05)
                continue
            if answer["error_code"] == 0:
                self.answers.setdefault(uid, []).append(answer["ext_message_id"])
                return
            self.refused += 1
            self._broken_off(uid, began, "refused")
            assert answer["error_code"] == 12, answer
            await asyncio.sleep(0.05)

    def _broken_off(self, uid: str, began: float, how: str) -> None:
        """A request went wrong: note it if the replica was asked to stop while it was under way."""
        if self.stops and began < self.stops[-1]:
            # Of a repeat of what was answered before one can't tell whether it had been read.
            how = f"{how}, repeated" if uid in self.answers else how
            self.broken_off.append((uid, time.time(), how))

    def allow(self, more: int) -> None:
        """Let so many messages more begin."""
        self.allowed += more
        self._news.set()

    async def answered(self, count: int) -> None:
        """Wait until so many messages were answered with 0."""
        while len(self.answers) < count:
            await asyncio.sleep(0.005)

    async def sent(self, count: int) -> None:
        """Wait until the provider took so many, or for five seconds; then until that may be on disk."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while len(self.provider.history_sends) < count:
                    await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)

    async def busy(self, requests: int) -> None:
        """Wait until the provider has so many requests in hand, or for two seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while self.provider.under_way < requests:
                    await asyncio.sleep(0.002)

    async def settle(self) -> None:
        """Wait until the store says that nothing waits any more, or for too long."""
        try:
            async with asyncio.timeout(SETTLE):
                await self.provider.all_reported()
                while await asyncio.to_thread(self.store.waiting):
                    await self._acquit()
                    await asyncio.sleep(0.3)
        except TimeoutError:
            pass

    async def _acquit(self) -> None:
        """As the operator, have those sent again that are blamed for the bench's own kills."""
        blamed = await asyncio.to_thread(self.store.blamed)
        if blamed:
            self.blamed |= set(blamed)
            settings = cli.load_settings(self.replicas[0].config)
            await cli.retry(settings, blamed)

    async def killed(self) -> None:
        """Leave no gateway running."""
        for replica in self.replicas:
            await replica.kill()

    async def judged(self) -> tuple[History, Verdict]:
        """Stop everybody and hold what happened against the promises."""
        await self.killed()
        rows, statuses = await asyncio.to_thread(self.store.dump)
        history = History(
            answers=self.answers,
            sends=self.provider.history_sends,
            excuses=[*self.excuses, *self.provider.unheard],
            reported=self.provider.reported,
            heard=[(call.ext_message_id, call.status) for call in self.crm.callbacks],
            rows=rows,
            statuses=statuses,
            finished_again=await asyncio.to_thread(self.store.finished_again),
        )
        assert not self.crm.violations, self.crm.violations[:3]
        return history, judge(history)


@asynccontextmanager
async def bench(
    fork_server: ForkServer,
    folder: Path,
    store: Store,
    seed: int,
    *,
    reports: bool = True,
    most: float = 0.03,
) -> AsyncIterator[Bench]:
    """A world without a gateway yet; ``most`` (seconds) is half of what the provider may take to answer."""
    folder.mkdir(parents=True, exist_ok=True)
    users = "".join(f"user-{number},user-{number}@players.example,\n" for number in range(USERS))
    (folder / "contacts.csv").write_text("ext_user_id,email,phone\n" + users)
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        crm = await stack.enter_async_context(Smartico(api_key="the-key", authorization="the-secret"))
        provider = Provider(random.Random(seed + 1), reports=reports, most=most)
        await stack.enter_async_context(provider)
        run = Bench(folder, store, rng, crm, provider, fork_server)
        stack.push_async_callback(run.killed)
        yield run
