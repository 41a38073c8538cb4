"""The gateway of the guide's example: three brands, four providers and nine rules, with real processes and providers.

Each store has one gateway for all tests of this file: one process on SQLite, two replicas on PostgreSQL. Requests, and
the reports of the providers, go to the replicas in turn.
"""

import asyncio
import itertools
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gatepost.testing.process import GatewayProcess
from gatepost.testing.report_sender import AutomaticReports
from gatepost.testing.smartico import Smartico
from gatepost_sendgrid.testing import SendGridEmulator
from gatepost_vonage.testing import VonageEmulator

GUIDE = Path(__file__).parents[2] / "docs/how-to/routing.md"

SLOTS = 4
"""Messages that a replica sends at once through ``vonage-eu``."""
EMAIL_CAP = 12
"""The ``per_day`` of lucky's emails here."""
CALLERS = 2
"""Requests in flight at each replica."""

NUMBERS = {"uk": "+447400123456", "de": "+4915123456789", "us": "+12025550123"}
"""The numbers of users, by the beginning of their ids."""
CLIENTS = {"amazing": "Amazing", "splendid": "Splendid", "lucky": "Lucky"}
"""The clients and their senders of text messages."""
TIMEOUT = 60.0


def contacts(client: str) -> str:
    """Return the users of a client; those of all clients have the same ids."""
    lines = ["ext_user_id,email,phone", f"only-{client},only@{client}.players.example,"]
    lines += [f"{kind},{kind}@{client}.players.example,{number}" for kind, number in NUMBERS.items()]
    lines += [f"de{number},de{number}@{client}.players.example,{NUMBERS['de']}" for number in range(10)]
    lines += [f"web,{client}@mail.web.example,"]
    return "\n".join(lines) + "\n"


def example() -> str:
    """Return the configuration of the guide."""
    return GUIDE.read_text().partition("```toml\n")[2].partition("```")[0]


def replaced(config: str, **texts: str) -> str:
    """Return the configuration with these keys of all tables set to other values, written as in TOML."""
    lines = config.splitlines()
    for key, text in texts.items():
        assert any(line.startswith(f"{key} = ") for line in lines), f"the guide has no {key}"
        lines = [f"{key} = {text}" if line.startswith(f"{key} = ") else line for line in lines]
    return "\n".join(lines) + "\n"


def with_lines(config: str, head: str, *lines: str) -> str:
    """Return the configuration with lines added to a table."""
    assert config.count(f"{head}\n") == 1, f"the guide has no {head}"
    return config.replace(f"{head}\n", "\n".join([head, *lines, ""]))


class GatedVonage(VonageEmulator):
    """A Vonage that can be made to hold back its answers."""

    def __init__(self, application_id: str) -> None:
        super().__init__()
        self.application_id = application_id
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = 0

    async def answer_to(self, request, body):
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        return await super().answer_to(request, body)


class System:
    """The gateway, the providers, and a Smartico for each brand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sendgrid = SendGridEmulator()
        plugins = tomllib.loads(example())["plugins"]
        self.vonage = {
            name: GatedVonage(plugins[name]["application_id"]) for name in ("vonage-eu", "vonage-uk")
        }
        self.smarticos = {
            name: Smartico(api_key=f"key-of-{name}", authorization=f"secret-of-{name}") for name in CLIENTS
        }
        self.mailboxes: Any = None
        self.urls: list[str] = []
        self.accepted: dict[str, str] = {}
        """The client of each accepted message."""

    def config(self, store: str, relay: dict[str, Any]) -> str:
        """Return the example with the addresses and keys of this machine, and with small caps."""
        config = example()
        config = replaced(
            config,
            allow_ips='["127.0.0.1"]',
            callback_hosts='["127.0.0.1"]\nallow_private_callbacks = true',
            trusted_proxies="[]\nport = 0",
            public_url='""',
            per_day=str(EMAIL_CAP),
            host=f'"{relay["host"]}"\nport = {relay["port"]}\nca_file = "ca.pem"',
        )
        config = with_lines(config, "[plugins.sendgrid-main]", f'base_url = "{self.sendgrid.base_url}"')
        for name, vonage in self.vonage.items():
            config = with_lines(
                config, f"[plugins.{name}]", f'base_url = "{vonage.base_url}"', f"concurrency = {SLOTS}"
            )
            (self.folder / f"{name}.pem").write_text(vonage.private_key)
        config = config.replace("file:/run/secrets/", "file:")
        return f'{config}\n[store]\nurl = "{store}"\n\n[logs]\nformat = "json"\n'

    def environment(self) -> dict[str, str]:
        """Return the secrets that the example reads from the environment."""
        secrets = {
            f"{name.upper()}_{kind}": value
            for name, crm in self.smarticos.items()
            for kind, value in (("SECRET", crm.authorization), ("API_KEY", crm.api_key))
        }
        for name, vonage in self.vonage.items():
            secrets[f"{name.upper().replace('-', '_')}_SIGNATURE_SECRET"] = vonage.signature_secret
        return {
            **secrets,
            "SENDGRID_API_KEY": self.sendgrid.api_key,
            "SENDGRID_WEBHOOK_KEY": self.sendgrid.public_key,
            "SMTP_PASSWORD": "relay-password",
        }

    @asynccontextmanager
    async def running(self, stores: list[str], serve_mail, authority) -> AsyncIterator[None]:
        """Run a replica for each of these URLs of a store."""
        async with AsyncExitStack() as stack:
            for server in (self.sendgrid, *self.vonage.values(), *self.smarticos.values()):
                await stack.enter_async_context(server)
            self.mailboxes, relay = await stack.enter_async_context(serve_mail(self.folder, authority))
            for name in CLIENTS:
                (self.folder / f"{name}.csv").write_text(contacts(name))
            processes = []
            for number, store in enumerate(stores):
                path = self.folder / f"replica-{number}.toml"
                path.write_text(self.config(store, relay))
                processes.append(GatewayProcess(path, environment=self.environment()))
                stack.callback(processes[-1].kill)
            self.urls += await asyncio.gather(*(asyncio.to_thread(one.start) for one in processes))
            providers = {"sendgrid-main": self.sendgrid, **self.vonage}
            for (name, provider), url in zip(providers.items(), itertools.cycle(reversed(self.urls))):
                provider.webhook_url = f"{url}/webhooks/{name}"
                provider.automatic_reports = AutomaticReports(kinds=["delivered"])
            self._next_url = itertools.cycle(self.urls)
            yield

    async def post(self, channel: str, client: str, *, replica: int | None = None, **fields: str):
        """Let a client's Smartico send a message; ``sender`` is its sender. Return the answer."""
        crm = self.smarticos[client]
        crm.gateway_url = next(self._next_url) if replica is None else self.urls[replica]
        sender = fields.pop("sender", CLIENTS[client] if channel == "sms" else f"news@{client}.example")
        if channel == "sms":
            answer = await crm.send_sms(from_number=sender, **fields)
        else:
            answer = await crm.send_email(from_email_address=sender, **fields)
        if answer["error_code"] == 0:
            self.accepted[answer["ext_message_id"]] = client
        return answer

    async def send(self, channel: str, client: str, **fields: str) -> str:
        """Send a message that must be accepted; return its id."""
        answer = await self.post(channel, client, **fields)
        assert answer["error_code"] == 0, answer
        return answer["ext_message_id"]

    async def heard(self, message: str, *statuses: str) -> None:
        """Wait until the brand of a message has heard exactly these statuses of it, and no other brand any."""
        crm = self.smarticos[self.accepted[message]]
        await crm.wait_for(message, statuses[-1], timeout=TIMEOUT)
        assert crm.statuses_of(message) == list(statuses)
        for other in self.smarticos.values():
            assert not other.violations
            assert other is crm or not other.statuses_of(message)

    def recipients(self) -> dict[str, list[tuple[str, str]]]:
        """Return what each instance took: the ids and the recipients of messages."""
        mails = [(one["Message-ID"], one["To"]) for one in self.mailboxes.mails]
        return {
            "sendgrid-main": [
                (one.id, one.message["personalizations"][0]["to"][0]["email"]) for one in self.sendgrid.taken
            ],
            "relay": [(text.strip("<>").partition("@")[0], recipient) for text, recipient in mails],
            **{
                name: [(one.id, one.message["to"]) for one in vonage.taken]
                for name, vonage in self.vonage.items()
            },
        }

    def instances_of(self, message: str) -> list[str]:
        """Return the instances that took a message, one for each time."""
        return [
            name for name, taken in self.recipients().items() for identity, _ in taken if message in identity
        ]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def system(request, tmp_path_factory, authority, serve_mail):
    """Yield the running gateway of the guide's example."""
    folder = tmp_path_factory.mktemp("rules")
    stores = ["sqlite:///gatepost.db"]
    if request.param == "postgresql":
        stores = [request.getfixturevalue("postgres_server").new_database()] * 2
    system = System(folder)
    async with system.running(stores, serve_mail, authority):
        yield system


RULES = [
    ("email", "amazing", {"sender": "codes@amazing.example", "ext_user_id": "uk"}, "sendgrid-main"),
    ("email", "splendid", {"sender": "codes@splendid.example", "ext_user_id": "web"}, "sendgrid-main"),
    ("email", "amazing", {"ext_user_id": "web"}, "relay"),
    ("email", "lucky", {"ext_user_id": "uk"}, "relay"),
    ("email", "splendid", {"ext_user_id": "uk"}, "sendgrid-main"),
    ("sms", "amazing", {"sender": "AmazingCode", "ext_user_id": "uk"}, "vonage-eu"),
    ("sms", "splendid", {"sender": "SplendidPIN", "ext_user_id": "de"}, "vonage-eu"),
    ("sms", "lucky", {"ext_user_id": "uk"}, "vonage-eu"),
    ("sms", "amazing", {"ext_user_id": "de"}, "vonage-eu"),
]


async def test_each_rule_sends_by_its_plugin_and_smartico_hears_it(system):
    """The relay reports nothing, so its mails are only accepted."""
    ids = [await system.send(channel, client, **fields) for channel, client, fields, _ in RULES]
    for message, (*_, instance) in zip(ids, RULES, strict=True):
        await system.heard(message, *(["accepted"] if instance == "relay" else ["accepted", "delivered"]))

    assert [system.instances_of(message) for message in ids] == [[instance] for *_, instance in RULES]


@pytest.mark.parametrize(
    ("channel", "client", "fields", "code", "text"),
    [
        ("sms", "amazing", {"ext_user_id": "us"}, 14, "no text messages to the United States and Canada"),
        ("sms", "amazing", {"ext_user_id": "us", "sender": "AmazingCode"}, 14, "no text messages to"),
        ("sms", "splendid", {"ext_user_id": "de", "sender": "Amazing"}, 10, ""),
        ("email", "lucky", {"ext_user_id": "uk", "sender": "news@amazing.example"}, 10, ""),
        ("email", "splendid", {"ext_user_id": "only-amazing"}, 1, ""),
        ("sms", "lucky", {"ext_user_id": "web"}, 2, ""),
    ],
)
async def test_what_a_brand_may_not_send_is_refused(system, channel, client, fields, code, text):
    answer = await system.post(channel, client, **fields)

    assert answer["error_code"] == code
    assert answer["error_message"].startswith(text)


async def test_a_split_shares_the_messages_of_two_brands(system):
    """One after the other: an instance that is busy would get less. Each replica counts for itself."""
    ids = []
    for number in range(20):
        ids.append(await system.send("sms", ("amazing", "splendid")[number // 2 % 2], ext_user_id="uk"))
        await system.heard(ids[-1], "accepted", "delivered")

    shares = Counter(instance for message in ids for instance in system.instances_of(message))
    assert shares.total() == 20
    assert 6 - len(system.urls) <= shares["vonage-eu"] <= 6 + len(system.urls)


async def test_codes_go_before_a_campaign_at_the_same_plugin(system):
    """While all slots are taken, a campaign and then codes of another brand are queued."""
    vonage = system.vonage["vonage-eu"]
    vonage.gate.clear()
    slots = SLOTS * len(system.urls)
    campaign = [await system.send("sms", "splendid", ext_user_id=f"de{number % 4}") for number in range(40)]
    async with asyncio.timeout(TIMEOUT):
        while vonage.held < slots:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.02)
    codes = [
        await system.send("sms", "amazing", sender="AmazingCode", ext_user_id=f"de{number % 4 + 4}")
        for number in range(20)
    ]
    earlier = len(vonage.taken)
    vonage.gate.set()
    for message in (*campaign, *codes):
        await system.heard(message, "accepted", "delivered")

    # Without `urgent` the two routes would have equal shares.
    taken = [one.id for one in vonage.taken[earlier:]]
    assert len(taken) == len(set(taken)) == 60
    assert set(taken[:slots]) <= set(campaign)
    assert len(set(taken[slots : slots + 20]) & set(codes)) >= 14


async def fill(system, replica, answers):
    """Send emails of lucky, one after the other; note the answer to each uid."""
    for _ in range(10):
        uid = f"lucky-{len(answers)}"
        answers[uid] = {}
        answers[uid] = await system.post("email", "lucky", replica=replica, ext_user_id="uk", email_uid=uid)


async def test_a_cap_holds_over_all_replicas_and_a_repeat_is_no_new_message(system):
    if (datetime.now(UTC) + timedelta(seconds=2 * TIMEOUT)).date() != datetime.now(UTC).date():
        # Across midnight it would meet the caps of two days.
        await asyncio.sleep(2 * TIMEOUT)
    answers: dict[str, Any] = {}
    replicas = range(len(system.urls))
    await asyncio.gather(*(fill(system, replica, answers) for replica in replicas for _ in range(CALLERS)))

    ids = {uid: answer["ext_message_id"] for uid, answer in answers.items() if answer["error_code"] == 0}
    refused = [uid for uid in answers if uid not in ids]
    assert {answers[uid]["error_code"] for uid in refused} == {14}
    assert {answers[uid]["error_message"] for uid in refused} == {
        f"route lucky-email's per_day of {EMAIL_CAP} is reached: accepted again from 00:00 UTC"
    }
    for replica in replicas:
        for uid in answers:
            answer = await system.post("email", "lucky", replica=replica, ext_user_id="uk", email_uid=uid)
            assert answer.get("ext_message_id") == ids.get(uid)
            assert answer["error_code"] == (0 if uid in ids else 14)
    for message in ids.values():
        await system.heard(message, "accepted")
        assert system.instances_of(message) == ["relay"]
    # All that the route sent today, also in other tests. With one process the cap is exact.
    sent = [to for _, to in system.recipients()["relay"] if to == "uk@lucky.players.example"]
    in_flight = CALLERS * len(replicas) if len(replicas) > 1 else 0
    assert EMAIL_CAP <= len(sent) <= EMAIL_CAP + in_flight


async def test_brands_are_apart(system):
    """Of all that the other tests sent: each message went to a user of its own brand."""
    await system.send("email", "lucky", ext_user_id="web")
    numbers = {number.removeprefix("+") for number in NUMBERS.values()}
    for instance, taken in system.recipients().items():
        for message, recipient in taken:
            client = next(client for one, client in system.accepted.items() if one in message)
            own = f"@{client}.players.example", f"{client}@mail.web.example"
            assert recipient.endswith(own) or recipient in numbers
            assert client != "lucky" or instance in {"relay", "vonage-eu"}
