"""The limits of a client and the rules of its routes, as Smartico sees them: codes 8, 12 and 14."""

import asyncio
import json
import time

import pytest
from structlog.testing import capture_logs

from gatepost.outbox import counters

RULES = """\
[[routes.email]]
name = "capped"
senders = ["capped@brand.example"]
use = ["box"]
per_day = 2

[[routes.email]]
name = "internal"
domains = ["brand.example"]
use = ["box"]

[[routes.email]]
name = "players"
domains = ["players.example"]
use = ["box"]

[[routes.sms]]
name = "refused"
senders = ["Spam"]
refuse = "no texts from this sender"

[[routes.sms]]
name = "uk"
countries = ["GB", "IE"]
use = ["box"]
"""
SHORT_ROUTES = '[routes]\nemail = ["box"]\nsms = ["box"]\n'


@pytest.fixture(autouse=True)
def one_day(monkeypatch):
    """Let no day begin during a test."""
    today = time.time_ns() // 1_000_000 // counters.DAY * counters.DAY
    monkeypatch.setattr(counters, "start_of_day", lambda _tx: today)


@pytest.fixture
def with_limits(start, config, tmp_path):
    """Return a function that runs a gateway with these keys of the client, with rules or with lists."""

    def run(*, rules: str = SHORT_ROUTES, **keys: object):
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        client = config.replace('sms_senders = ["Brand"]\n', lines).replace(SHORT_ROUTES, rules)
        assert lines in client
        return start(tmp_path, client)

    return run


async def codes(answers):
    return [answer["error_code"] for answer in await asyncio.gather(*answers)]


async def test_a_daily_cap_of_a_client_is_exact_and_says_which(with_limits):
    async with with_limits(email_per_day=5, sms_per_day=1) as gateway:
        with capture_logs() as logged:
            answers = await codes(gateway.email(f"uid-{number}") for number in range(20))
        assert sorted(answers) == [0] * 5 + [14] * 15
        accepted = answers.index(0)
        # A repeat is answered as ever.
        assert (await gateway.email(f"uid-{accepted}"))["error_code"] == 0
        assert await gateway.email("more") == {
            "error_code": 14,
            "error_message": "the client's email_per_day of 5 is reached: accepted again from 00:00 UTC",
        }
        assert sorted(await codes(gateway.sms(f"uid-{number}") for number in range(3))) == [0, 14, 14]
        metrics = await gateway.metrics()
        # The labels in the order of their names: channel, client, code.
        assert metrics["gatepost_answers_total", "email", "brand", "14"] == 16
    lines = [line for line in logged if line["event"] == "limit_reached"]
    assert [(line["client"], line["limit"], line["cap"]) for line in lines] == [
        ("brand", "email_per_day/brand", 5)
    ]


async def test_one_user_gets_no_more_than_per_user_per_day_on_both_channels(with_limits):
    async with with_limits(per_user_per_day=3) as gateway:
        assert await codes([gateway.email("1"), gateway.sms("2")]) == [0, 0]
        assert sorted(await codes(gateway.email(f"more-{number}") for number in range(3))) == [0, 14, 14]
        answer = await gateway.email("again")
        assert "per_user_per_day of 3" in answer["error_message"]
        assert "anna" not in answer["error_message"]
        assert (await gateway.email("other", ext_user_id="nophone"))["error_code"] == 0
        # A preview goes to the operator, not to the user.
        preview = {"activity_type": "preview", "to_email_address": "support@brand.example"}
        assert (await gateway.email("preview", **preview))["error_code"] == 0


async def test_a_full_queue_is_12_until_a_message_ends(with_limits, config):
    relay = '[plugins.relay]\nuse = "smtp"\nhost = "127.0.0.1"\nport = 1\nsecurity = "none"\n'
    rules = f'[routes]\nemail = ["relay"]\nsms = ["box"]\n\n{relay}'
    async with with_limits(rules=rules, max_queued=3) as gateway:
        assert (
            sorted(await codes(gateway.email(f"uid-{number}") for number in range(9))) == [0] * 3 + [12] * 6
        )
        answer = await gateway.sms("1")
        assert (answer["error_code"], "max_queued of 3" in answer["error_message"]) == (12, True)


async def test_what_ends_makes_room(with_limits):
    async with with_limits(max_queued=1) as gateway:
        for number in range(5):
            assert (await gateway.email(f"uid-{number}"))["error_code"] == 0
            await gateway.settled()


async def test_a_text_of_too_many_parts_is_14(with_limits):
    texts = ["x" * 306, "x" * 307, "\u0416" * 134, "\u0416" * 135]
    async with with_limits(sms_max_parts=2) as gateway:
        answers = [await gateway.sms(f"uid-{number}", body=text) for number, text in enumerate(texts)]
        assert [answer["error_code"] for answer in answers] == [0, 14, 0, 14]
        problem = "the text would be sent in 3 parts; the client's sms_max_parts is 2"
        assert answers[1]["error_message"] == problem
        # A refused uid is not used up.
        assert (await gateway.sms("uid-1", body="short"))["error_code"] == 0


async def test_the_rules_decide_by_sender_and_recipient(with_limits):
    async with with_limits(rules=RULES, sms_default_sender="Brand") as gateway:
        capped = {"from_email_address": "capped@brand.example"}
        assert sorted(await codes(gateway.email(f"c-{number}", **capped) for number in range(4))) == [
            0,
            0,
            14,
            14,
        ]
        answer = await gateway.email("one more", **capped)
        assert "route capped's per_day of 2 is reached" in answer["error_message"]
        assert (await gateway.email("other"))["error_code"] == 0
        preview = {"activity_type": "preview", "to_email_address": "support@brand.example"}
        assert (await gateway.email("preview", **preview))["error_code"] == 0

        refused = await gateway.sms("spam", from_number="Spam")
        assert refused == {"error_code": 14, "error_message": "no texts from this sender"}
        assert (await gateway.sms("spam"))["error_code"] == 0


async def test_the_clients_default_sender_counts_as_the_sender(with_limits):
    async with with_limits(rules=RULES, sms_default_sender="Spam", sms_senders=["Brand"]) as gateway:
        assert (await gateway.sms("1"))["error_code"] == 14
        first = await gateway.sms("2", from_number="Brand")
        assert first["error_code"] == 0
        # The fingerprint is that of the request, which brought no sender now.
        assert (await gateway.sms("2"))["error_code"] == 9
        await gateway.settled()
        (path,) = (gateway.folder / "box").glob("*.json")
        assert json.loads(path.read_text())["from"] == "Brand"


async def test_a_default_sender_is_sent(with_limits):
    async with with_limits(sms_default_sender="Default") as gateway:
        await gateway.sms("1")
        await gateway.settled()
        (path,) = (gateway.folder / "box").glob("*.json")
        assert json.loads(path.read_text())["from"] == "Default"


FOREIGN_RULES = """\
[[routes.email]]
name = "theirs"
domains = ["elsewhere.example"]
use = ["box"]

[[routes.sms]]
name = "french"
countries = ["FR"]
use = ["box"]
"""


async def test_the_checks_come_in_the_order_of_the_contract(with_limits):
    """Each request has several faults; the next one has the first of them mended."""
    async with with_limits(
        rules=FOREIGN_RULES, email_per_day=1, sms_max_parts=1, sms_senders=["Brand"]
    ) as gateway:
        broken = {"callback_url": "https://elsewhere.test/", "from_number": "Other", "ext_user_id": "nobody"}
        expected = []
        for mended, code in ((), 7), ("callback_url", 10), ("from_number", 1), ("ext_user_id", 8):
            if mended:
                del broken[mended]
            answer = await gateway.sms("uid", body="x" * 200, **broken)
            expected.append((answer["error_code"], code))
        assert [answer for answer, _ in expected] == [code for _, code in expected]
        assert (await gateway.sms("uid", ext_user_id="nophone", body="x" * 200))["error_code"] == 2
        # Of what no rule takes, nothing is counted and no uid is used up.
        assert (await gateway.email("uid"))["error_code"] == 8


async def test_a_client_of_no_rule_is_refused_before_the_lookup(with_limits):
    rules = FOREIGN_RULES.replace("use =", 'clients = ["other"]\nuse =')
    other = '\n[clients.other]\nauthorization = ["another-secret"]\nallow_ips = ["127.0.0.1"]\ncontacts = ["members"]\n'
    other += '[plugins.members]\nuse = "csv"\npath = "contacts.csv"\n'
    async with with_limits(rules=rules + other, contacts=["players"]) as gateway:
        assert (await gateway.email("uid", ext_user_id="nobody"))["error_code"] == 8
