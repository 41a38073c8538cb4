# ruff: noqa: ASYNC110, ASYNC240  it polls other processes and databases, and writes small files
"""A deployment under test: Smartico on one side, a provider on the other, and gateways between them."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gatepost.cli import store as cli
from gatepost.cli.changes import change_messages
from gatepost.testing.configuration import free_port
from gatepost.testing.smartico import Smartico
from gatepost.web.admin.requests import RetryRequest
from torture.bouncing_relay import BouncingRelay
from torture.load import USERS, Load
from torture.oracle import Excuse, History, Verdict, judge
from torture.provider import Provider
from torture.replica import ForkServer, Replica
from torture.stores import Store

SETTLE_TIMEOUT = 300.0
"""Seconds in which the gateways must finish all work after the last disturbance."""

CONCURRENCY = 16
"""Sends in flight at once, per replica."""

MAX_DELAY = 0.03

SHORT_TIMES = {
    "gatepost.callbacks.worker:CALLBACK_LEASE": 2.0,
    "gatepost.callbacks.attempt:RETRY_DELAYS": (0.2,) * 30,
    "gatepost.upkeep.housekeeping:SWEEP_INTERVAL": 0.2,
}
"""Constants of the gateway that are shortened, so that tests need not wait as long."""


class Deployment:
    """The gateways, what they talk to, and what was done to them."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        rng: random.Random,
        crm: Smartico,
        provider: Provider | BouncingRelay,
        fork_server: ForkServer,
    ) -> None:
        self.folder = folder
        self.store = store
        self.rng = rng
        self.crm = crm
        self.provider = provider
        self.load = Load(
            rng, self._choose_url, authorization=crm.authorization, callback_url=crm.callback_url
        )
        self.replicas: list[Replica] = []
        self.out_of_service: set[Replica] = set()
        """Replicas that get neither requests nor reports."""
        self.excuses: list[Excuse] = []
        self.retries: list[tuple[float, str]] = []
        """The time and the id of every held message that was sent again."""
        self.find_held = store.held_for_deaths
        """Returns the held messages to send again: those that the test's own kills caught three times."""
        self._fork_server = fork_server
        self._webhook_rng = random.Random(0)

    def add_replica(
        self,
        *,
        delivery: Mapping[str, object],
        timeout: float,
        constants: Mapping[str, object] | None = None,
        planted_defect: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Replica:
        """Write the configuration of a further replica, without starting it.

        ``delivery`` is that table of the configuration, ``timeout`` the provider's in seconds. ``fork_server``
        describes the other arguments.
        """
        number = len(self.replicas)
        port = free_port()
        config = self.folder / f"replica-{number}.toml"
        config.write_text(self._configuration(number, port, delivery, timeout))
        options = {
            "constants": {**SHORT_TIMES, **(constants or {})},
            "planted_defect": planted_defect,
            "environment": dict(environment or {}),
        }
        replica = Replica(self._fork_server, config, f"http://127.0.0.1:{port}", options)
        self.replicas.append(replica)
        self.provider.webhook_url = f"{self.replicas[0].url}/webhooks/provider"
        self.provider.next_webhook = self._choose_webhook
        # The other half of the timeout is for the way of the answer to the gateway.
        self.provider.answer_timeout = timeout / 2
        return replica

    def _configuration(self, number: int, port: int, delivery: Mapping[str, object], timeout: float) -> str:
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
                **self.provider.plugin_table(number),
                "concurrency": CONCURRENCY,
                "timeout": timeout,
            },
        }
        return "\n".join(
            "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items()), ""])
            for name, table in tables.items()
        )

    def _choose_url(self) -> str:
        return self.rng.choice([one for one in self.replicas if one not in self.out_of_service]).url

    def _choose_webhook(self) -> str:
        """Return the webhook of a running replica, or of any replica if none is running."""
        running = [one for one in self.replicas if one not in self.out_of_service and one.running]
        return f"{self._webhook_rng.choice(running or self.replicas).url}/webhooks/provider"

    async def start_replicas(self) -> None:
        """Start all replicas, and begin to watch the store."""
        await asyncio.gather(*(replica.start() for replica in self.replicas))
        self.store.watch()

    async def kill_replicas(self) -> None:
        """Kill all replicas that are running."""
        for replica in self.replicas:
            await replica.kill()

    def excuse_resends(self) -> None:
        """Note a disturbance: each message that is in flight now may be sent once more."""
        self.excuses.append(Excuse(time.monotonic()))

    async def wait_for_sends(self, count: int) -> None:
        """Wait up to five seconds until the provider took this number of messages, then until it is stored."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while len(self.provider.send_times) < count:
                    await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)

    async def wait_for_open_requests(self, count: int) -> None:
        """Wait up to two seconds until the provider has this number of requests in flight."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while self.provider.open_requests < count:
                    await asyncio.sleep(0.002)

    async def settle(self) -> None:
        """Wait until all messages and callbacks have ended, at most SETTLE_TIMEOUT."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await self.provider.wait_until_reported()
                while await asyncio.to_thread(self.store.count_open):
                    await self.retry_held()
                    await asyncio.sleep(0.3)

    async def retry_held(self) -> None:
        """Retry the messages that ``find_held`` returns, as an operator would."""
        held = await asyncio.to_thread(self.find_held)
        if held:
            settings = cli.load_settings(self.replicas[0].config)
            asked_at = time.monotonic()
            results = await change_messages(settings, "retry", held, lambda ids: RetryRequest(ids=ids))
            self.retries += [(asked_at, result.id) for result in results if result.queued]

    async def judge(self) -> tuple[History, Verdict]:
        """Kill all replicas, and compare what happened with the promises."""
        await self.kill_replicas()
        rows, statuses = await asyncio.to_thread(self.store.dump)
        history = History(
            answers=self.load.answers,
            sends=self.provider.send_times,
            excuses=[*self.excuses, *self.provider.late_answers],
            reports=self.provider.acknowledged_reports,
            callbacks=[(call.ext_message_id, call.status) for call in self.crm.callbacks],
            rows=rows,
            statuses=statuses,
            finished_twice=await asyncio.to_thread(self.store.finished_twice),
        )
        assert not self.crm.violations, self.crm.violations[:3]
        return history, judge(history)


@asynccontextmanager
async def deployment(
    fork_server: ForkServer,
    folder: Path,
    store: Store,
    seed: int,
    *,
    reports: bool = True,
    max_delay: float = MAX_DELAY,
    provider: Provider | BouncingRelay | None = None,
) -> AsyncIterator[Deployment]:
    """Start Smartico and the provider, and yield a deployment that has no replica yet.

    ``provider`` is used instead of one that is made from ``reports`` and ``max_delay``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    users = "".join(f"user-{number},user-{number}@players.example,\n" for number in range(USERS))
    (folder / "contacts.csv").write_text("ext_user_id,email,phone\n" + users)
    async with AsyncExitStack() as stack:
        crm = await stack.enter_async_context(Smartico(api_key="the-key", authorization="the-secret"))
        provider = provider or Provider(random.Random(seed + 1), reports=reports, max_delay=max_delay)
        await stack.enter_async_context(provider)
        system = Deployment(folder, store, random.Random(seed), crm, provider, fork_server)
        stack.push_async_callback(system.kill_replicas)
        yield system


def _toml(value: object) -> str:
    """Return a value in TOML; tables are inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
