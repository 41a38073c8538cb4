"""*Console*: how long each page and each command takes on a store with a million messages, on SQLite and on PostgreSQL.

``python benchmarks/console_pages.py [FOLDER URL [POSTMASTER]]`` measures in new stores, which takes some fifteen minutes, or
in the one that ``million.py`` has filled. A page's time is from the request until its last byte has arrived, of a gateway that
runs beside it with a relay that rests. Its CPU is that of the gateway and of PostgreSQL, whose first process is POSTMASTER:
on a machine with other work it says more than the time.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import aiohttp
from databases import Postgres
from driver import USERS
from gateways import SQLITE
from machine import Row, free_port, precise_cpu
from million import CLIENTS, EMAIL_ROUTES, RELAY, SMS_ROUTES, fill
from sqlalchemy import Connection, select

from gatepost.model import Secret
from gatepost.outbox.reader import Reader
from gatepost.outbox.schema import attempts, messages
from gatepost.testing.process import GatewayProcess

PAGE_GOAL = 200.0
"""Milliseconds of a page."""

STATISTICS_GOAL = 1.0
"""Seconds of ``gatepost stats`` for a campaign by day, plugin, country and status."""

CAMPAIGN = "stats, a campaign, finest"

ROUNDS = 5

COMMAND_ROUNDS = 3

ROUND_SECONDS = 16.0
"""Between two rounds, so that no page is shown what it read in the round before."""

USER = "x-operator"

BATCH = "/messages/batch"

_CONFIG = """\
[server]
port = {port}

[logs]
level = "info"
trail = "off"
format = "json"

[store]
url = {store}

[console]
listen = "127.0.0.1:{console}"
user_header = "x-operator"
user_header_networks = ["127.0.0.1"]

{clients}
[contacts]
sources = ["players"]
shared = true

{routes}
[plugins.players]
use = "csv"
path = "contacts.csv"

[plugins.relay]
use = "smtp"
host = "127.0.0.1"
port = {closed}
security = "none"

{others}
"""


def rows() -> Iterator[Row]:
    """Fill and measure both stores."""
    with TemporaryDirectory() as name:
        yield from _measure("SQLite", Path(name), SQLITE)
    with TemporaryDirectory() as name, Postgres() as server:
        yield from _measure("PostgreSQL", Path(name), server.new_database(), server.pid)


def _measure(store: str, folder: Path, url: str, postmaster: int = 0) -> Iterator[Row]:
    asyncio.run(fill(folder, url))
    yield from measure(store, folder, url, postmaster)


class _Cost(NamedTuple):
    """What one request or one command took."""

    seconds: float
    cpu: float = 0.0


def measure(store: str, folder: Path, url: str, postmaster: int = 0) -> Iterator[Row]:
    """Measure in a store that is filled."""
    config, port = _configure(folder, url)
    _run(config, ("console", "add-user", "ops", "--role", "operator", "--no-password"))
    names = asyncio.run(_names(folder, url))
    with GatewayProcess(config) as gateway:
        servers = [gateway.pid, *([postmaster] if postmaster else [])]
        pages = asyncio.run(_time_pages(f"http://127.0.0.1:{port}", _pages(names), servers))
        for name, costs in pages.items():
            milliseconds = [one.seconds * 1000 for one in costs]
            note = f"worst {max(milliseconds):.0f}; {median(one.cpu for one in costs) * 1000:.0f} ms of CPU"
            yield Row(f"{store}, {name}", median(milliseconds), "ms", PAGE_GOAL, at_least=False, note=note)
        for name, arguments in _commands(names).items():
            costs = _time_command(config, arguments)
            goal = STATISTICS_GOAL if name == CAMPAIGN else None
            cpu = median(one.cpu for one in costs)
            note = f"worst {max(one.seconds for one in costs):.1f}; {cpu:.2f} s of CPU"
            figure = median(one.seconds for one in costs)
            yield Row(f"{store}, gatepost {name}", figure, "s", goal, at_least=False, note=note)


def _configure(folder: Path, url: str) -> tuple[Path, int]:
    users = [f"u{user},user{user}@players.example,+4477009{user:05d}" for user in range(USERS)]
    (folder / "contacts.csv").write_text("\n".join(["ext_user_id,email,phone", *users, ""]))
    clients = [
        f'[clients.{name}]\nauthorization = ["secret of {name}"]\nallow_ips = ["127.0.0.1"]\n'
        'callback_api_key = "key"\ncallback_hosts = ["crm.example"]\n'
        for name in CLIENTS
    ]
    routes = [
        f'[[routes.{channel}]]\nname = "{route}"\nuse = {json.dumps(used)}\n'
        # The last rule takes what the others leave.
        + ("" if number == len(of) else f'clients = ["{CLIENTS[number]}"]\n')
        for channel, of in (("email", EMAIL_ROUTES), ("sms", SMS_ROUTES))
        for number, (route, used) in enumerate(of.items(), 1)
    ]
    instances = {name for of in (EMAIL_ROUTES, SMS_ROUTES) for used in of.values() for name in used}
    others = [
        f'[plugins.{name}]\nuse = "sandbox"\nfolder = "{name}"\n' for name in sorted(instances - {RELAY})
    ]
    port = free_port()
    path = folder / "gatepost.toml"
    path.write_text(
        _CONFIG.format(
            port=0,
            store=json.dumps(url),
            console=port,
            closed=free_port(),
            clients="\n".join(clients),
            routes="\n".join(routes),
            others="\n".join(others),
        )
    )
    return path, port


class _Names(NamedTuple):
    """What is looked for."""

    id: str
    uid: str
    user: str
    provider_id: str


async def _names(folder: Path, url: str) -> _Names:
    """Return the names of a message that a provider took, in the middle of the store."""

    def query(connection: Connection) -> _Names:
        taken = select(messages.c.id, messages.c.uid, messages.c.ext_user_id, attempts.c.provider_id)
        taken = taken.join(attempts, attempts.c.message_id == messages.c.id)
        taken = taken.where(attempts.c.provider_id.is_not(None), messages.c.id > "019")
        return _Names(*connection.execute(taken.order_by(messages.c.id).offset(300_000).limit(1)).one())

    reader = Reader(Secret(url), folder)
    try:
        return await reader.read(query)
    finally:
        await reader.close()


class _Page(NamedTuple):
    """A page: its path, and the fields of the form that leads to it, if any."""

    path: str
    form: Mapping[str, str] | None = None


def _pages(names: _Names) -> Mapping[str, _Page]:
    year = "period=custom&since=" + time.strftime("%Y-%m-%dT00:00", time.gmtime(time.time() - 365 * 86_400))
    return {
        "overview": _Page("/"),
        "messages": _Page("/messages"),
        "messages, one client": _Page("/messages?client=brand-c"),
        "messages, one user": _Page(f"/messages?user={names.user}"),
        "messages, held": _Page("/messages?state=held"),
        "messages, failed": _Page("/messages?state=failed"),
        "messages, waiting": _Page("/messages?state=queued"),
        "messages, one route": _Page("/messages?route=offers"),
        "messages, status failed": _Page("/messages?status=failed"),
        "messages, a client's status failed": _Page("/messages?client=brand-d&status=failed"),
        "messages, opened": _Page("/messages?status=opened"),
        "messages, one plugin": _Page("/messages?plugin=texts-b"),
        "messages, a plugin without a hit": _Page("/messages?plugin=players"),
        "messages, a client's rejected of a plugin": _Page("/messages?client=brand-e&state=rejected&plugin=texts"),
        "messages, dead callbacks": _Page("/messages?dead=1"),
        "messages, ten days ago": _Page("/messages?since=10d&until=9d&channel=sms"),
        "messages, refused": _Page("/messages?refused=1"),
        "one message": _Page(f"/messages/{names.id}"),
        "find by uid": _Page("/messages", {"id": names.uid}),
        "find by provider's id": _Page("/messages", {"id": names.provider_id}),
        "find what is not there": _Page("/messages", {"id": "nothing-has-this"}),
        "cancel all of a client, asked": _Page(BATCH, {"client": "brand-b", "operation": "cancel"}),
        "send failed ones again, asked": _Page(BATCH, {"state": "failed", "operation": "retry"}),
        "plugins": _Page("/plugins"),
        "callbacks": _Page("/callbacks"),
        "callbacks, one host": _Page("/callbacks?client=brand-c&target=crm.example:443"),
        "statistics, 7 days": _Page("/stats"),
        "statistics, 24 hours by hour and plugin": _Page("/stats?period=24h&by=hour,plugin"),
        "statistics, 30 days by client": _Page("/stats?period=30d&by=client"),
        "statistics, 30 days, finest": _Page("/stats?period=30d&by=day,plugin,country,status"),
        "statistics, a campaign, finest": _Page("/stats?period=30d&client=brand-b&route=offers&by=day,plugin,country,status"),
        "statistics, a year by day": _Page(f"/stats?{year}&by=day"),
        "statistics, a year by client and country": _Page(f"/stats?{year}&by=client,country"),
        "statistics, a year, finest": _Page(f"/stats?{year}&by=day,client,route,plugin,country,status"),
        "audit": _Page("/audit"),
    }  # fmt: skip


async def _time_pages(
    url: str, pages: Mapping[str, _Page], servers: Sequence[int]
) -> Mapping[str, Sequence[_Cost]]:
    """Return what each page took in each round."""
    costs: dict[str, list[_Cost]] = defaultdict(list)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(url, headers={USER: "ops"}, timeout=timeout) as http:
        csrf = ""
        # The first round fills caches, and shows that each page can be had.
        for number in range(ROUNDS + 1):
            began = time.monotonic()
            for name, page in pages.items():
                cpu = sum(map(precise_cpu, servers))
                seconds, text = await _get(http, page, csrf)
                if number:
                    costs[name].append(_Cost(seconds, sum(map(precise_cpu, servers)) - cpu))
                if page.path == BATCH:
                    await _wait_for_count(http, text)
                csrf = csrf or text.partition('name="csrf" value="')[2].partition('"')[0]
            await asyncio.sleep(max(0.0, began + ROUND_SECONDS - time.monotonic()))
    return costs


async def _get(http: aiohttp.ClientSession, page: _Page, csrf: str) -> tuple[float, str]:
    """Return the seconds of a page and its text; of one that leads to another, where that is."""
    form = None if page.form is None else {"csrf": csrf, **page.form}
    began = time.perf_counter()
    method = "GET" if form is None else "POST"
    async with http.request(method, page.path, data=form, allow_redirects=False) as response:
        text = await response.text()
    seconds = time.perf_counter() - began
    if page.path == BATCH:
        text = response.headers["location"]
    if response.status not in {200, 303, 404} and "/stats" not in page.path:
        raise RuntimeError(f"{page.path} answered {response.status}: {text[:500]}")
    return seconds, text


async def _wait_for_count(http: aiohttp.ClientSession, path: str) -> None:
    """Wait until the messages of a batch are counted, so that this takes nothing from the pages that are measured next."""
    while True:
        async with http.get(path) as response:
            if "hx-trigger" not in (await response.text()).partition("<main")[2]:
                return
        await asyncio.sleep(0.2)


def _commands(names: _Names) -> Mapping[str, Sequence[str]]:
    finest = "day,plugin,country,status"
    return {
        "--version": ["--version"],
        "status": ["status"],
        "messages": ["messages", "list"],
        "messages, a plugin without a hit": ["messages", "list", "--plugin", "players"],
        "messages, dead callbacks": ["messages", "list", "--dead"],
        "messages, a client's status failed": ["messages", "list", "--client", "brand-d", "--status", "failed"],
        "messages show": ["messages", "show", names.id],
        "stats": ["stats"],
        CAMPAIGN: ["stats", "--since", "30d", "--client", "brand-b", "--route", "offers", "--by", finest],
        "stats, 30 days, finest": ["stats", "--since", "30d", "--by", finest],
        "stats, a year by day": ["stats", "--since", "365d", "--by", "day"],
        "stats, a year, finest, CSV": ["stats", "--since", "365d", "--by", f"client,route,{finest}", "--csv"],
        "cancel, counted only": ["messages", "cancel", "--client", "brand-b", "--dry-run"],
        "audit": ["audit", "list"],
    }  # fmt: skip


def _time_command(config: Path, arguments: Sequence[str]) -> Sequence[_Cost]:
    """Return what a command took in each of its runs, without the CPU of a server."""
    costs = []
    for _ in range(COMMAND_ROUNDS):
        began, before = time.perf_counter(), os.times()
        _run(config, arguments)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        costs.append(_Cost(time.perf_counter() - began, cpu))
    return costs


def _run(config: Path, arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "gatepost", *arguments]
    environment = {**os.environ, "GATEPOST_CONFIG": str(config)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    # 1: the command has found something that an operator should look at.
    if done.returncode not in {0, 1}:
        raise RuntimeError(
            f"gatepost {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-1000:]}"
        )


def main() -> None:
    given = sys.argv[1:]
    measured = measure("store", Path(given[0]), given[1], *map(int, given[2:])) if given else rows()
    for row in measured:
        print(
            f"{row.name:60} {row.figure:8.2f} {row.unit:3} {row.note}{'' if row.met is not False else '  MISSED'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
