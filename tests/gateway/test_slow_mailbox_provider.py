"""The recipe of the SMTP guide: two instances on one relay, one of them slower, for the domains of a mailbox provider."""

import asyncio
import time
import tomllib
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path

import aiosmtpd.smtp
import pytest

from gatepost.testing.serving import stop
from gatepost_smtp.testing.limits import RateLimit
from gatepost_smtp.testing.sink import Sink

GUIDE = Path(__file__).parents[2] / "docs/how-to/providers/smtp.md"
SLOW, OTHERS = 16, 24
"""Mails to the slow provider and to all others."""
RATE = 8.0
"""The ``per_second`` of the recipe here."""


def recipe():
    """Return the tables of the guide's recipe."""
    section = GUIDE.read_text().partition("\n## Slow down for one mailbox provider\n")[2]
    return tomllib.loads(section.partition("```toml\n")[2].partition("```")[0].replace("env:", ""))


class Relay:
    """Takes mails (aiosmtpd), and answers those to the slow provider only when it has all others."""

    def __init__(self):
        self.slow, self.others = [], []
        self.connections = {True: set(), False: set()}
        self.open, self.max_open = 0, 0
        self.has_others = asyncio.Event()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        now = time.monotonic()
        is_slow = message_from_bytes(envelope.content)["To"].endswith("bigmail.example")
        self.connections[is_slow].add(session.peer)
        if not is_slow:
            self.others.append(now)
            if len(self.others) == OTHERS:
                self.has_others.set()
            return "250 2.0.0 ok"
        self.slow.append(now)
        self.open += 1
        self.max_open = max(self.max_open, self.open)
        await self.has_others.wait()
        self.open -= 1
        return "250 2.0.0 ok"


@asynccontextmanager
async def serving(relay):
    sessions = []

    def protocol():
        session = aiosmtpd.smtp.SMTP(relay, loop=asyncio.get_running_loop())
        sessions.append(session)
        return session

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await stop(server)
    for session in sessions:
        if session.transport:
            session.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def relay(deployment):
    relay = Relay()
    users = [f"slow{n},slow{n}@{'mx.' if n % 2 else ''}bigmail.example,," for n in range(SLOW)]
    users += [f"other{n},other{n}@players.example,," for n in range(OTHERS)]
    deployment.contacts = "\n".join(["ext_user_id,email,phone,name", *users, ""])
    async with serving(relay) as port:
        tables = recipe()
        deployment.tables["routes.email"] = tables["routes"]["email"]
        for name, table in tables["plugins"].items():
            here = {"host": "127.0.0.1", "port": port, "security": "none", "timeout": 120}
            without_login = {key: table[key] for key in table if key not in {"username", "password"}}
            deployment.tables[f"plugins.{name}"] = without_login | here
        deployment.tables["plugins.relay-bigmail"]["per_second"] = RATE
        yield relay


async def test_a_slow_provider_gets_its_rate_and_holds_up_no_other(deployment, relay):
    async with deployment.running() as gateway:
        begun_at = time.monotonic()
        slow = [await deployment.email(f"slow{n}") for n in range(SLOW)]
        others = [await deployment.email(f"other{n}") for n in range(OTHERS)]
        for message in [*slow, *others]:
            await deployment.hears(message, "accepted")
        await gateway.settled()

    assert len(relay.slow) == SLOW
    # The first has its turn after the beginning, and each further one an interval later.
    assert all(at - begun_at >= number / RATE - 0.01 for number, at in enumerate(sorted(relay.slow)))
    limit = deployment.tables["plugins.relay-bigmail"]["connections"]
    assert relay.max_open == limit < SLOW
    assert len(relay.connections[True]) == limit
    assert not relay.connections[True] & relay.connections[False]


async def test_a_relay_that_counts_mails_gets_all_of_them_over_few_connections(deployment):
    counted = RateLimit(10, 1.5, time.monotonic, "450 4.7.1 too much mail")
    async with Sink().serving() as sink:
        sink.refuse_mail = counted
        deployment.tables["plugins.relay"] = {
            "use": "smtp",
            "host": "127.0.0.1",
            "port": sink.port,
            "security": "none",
        }
        async with deployment.running(email=["relay"]) as gateway:
            messages = [await deployment.email() for _ in range(35)]
            for message in messages:
                await deployment.hears(message, "accepted")
            await gateway.settled()

    assert len(sink.mails) == len(messages)
    assert sink.sessions <= 8
    # In each period those on the eight connections when it has taken its mails, two before the third refusal is known, and
    # after that one in a second.
    assert 0 < counted.refused <= (8 + 2 + 2) * counted.periods
