import asyncio
import hashlib
import hmac
import json
from contextlib import asynccontextmanager

import pytest
import structlog

from gatepost.model import Secret
from gatepost.wire import connect
from gatepost_sandbox.reporter import BATCH, PAUSES, Reporter


@pytest.fixture
def reporting(gateway, build, log):
    """Run a Reporter of its own against the gateway; ``started=False`` leaves its task to the test."""
    gateway.plugin = build(webhook_secret=Secret("shared"))
    logger = structlog.wrap_logger(None, [log], structlog.stdlib.BoundLogger)

    @asynccontextmanager
    async def run(**how):
        how = {"after": 0.0, "pauses": [0.0] * 5, **how}
        async with connect(gateway.url, timeout=10.0, connections=1) as http:
            reporter = Reporter(http, Secret("shared"), logger, **how)
            reporter.start = lambda: tasks.append(asyncio.create_task(reporter.run()))
            tasks = []
            yield reporter
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run


class TestOnTheWire:
    async def test_a_report_is_what_the_readme_says(self, running, gateway, email):
        seen = []
        parse = gateway._parse

        async def spy(request):
            seen.append((request.method, request.headers, await request.read()))
            return await parse(request)

        gateway._parse = spy
        async with running() as sandbox:
            await sandbox.send_email(email(id="m"))
            await gateway.statuses("m", 1)
        [(method, headers, body)] = seen
        assert (method, headers["Content-Type"]) == ("POST", "application/json")
        assert json.loads(body) == {"reports": [{"message": "m", "status": "delivered"}]}
        signed = headers["Sandbox-Timestamp"].encode() + b"." + body
        assert headers["Sandbox-Signature"] == hmac.new(b"shared", signed, hashlib.sha256).hexdigest()

    async def test_one_that_was_signed_with_another_secret_is_not_taken(self, running, build, gateway, email):
        async with running() as sandbox:
            gateway.plugin = build(webhook_secret=Secret("other"))
            await sandbox.send_email(email())
            await gateway.until(lambda: gateway.answers)
        assert gateway.answers[0] == 401

    async def test_many_travel_together(self, reporting, gateway):
        async with reporting() as reporter:
            for number in range(2 * BATCH + 1):
                reporter.report(f"m{number}", ("delivered",))
            reporter.start()
            await gateway.until(lambda: len(gateway.events) == 2 * BATCH + 1)
        assert len(gateway.bodies) == 3
        assert [event.message_id for event in gateway.events] == [f"m{n}" for n in range(2 * BATCH + 1)]

    async def test_a_message_has_one_status_a_request_in_order(self, reporting, gateway):
        async with reporting() as reporter:
            reporter.report("a", ("delivered", "opened", "unsubscribed"))
            reporter.report("b", ("delivered",))
            reporter.start()
            assert await gateway.statuses("a", 3) == ["delivered", "opened", "unsubscribed"]
        assert [len(json.loads(body)["reports"]) for body in gateway.bodies] == [2, 1, 1]

    async def test_one_that_is_not_due_waits(self, reporting, gateway):
        async with reporting(after=3600.0) as reporter:
            reporter.start()
            reporter.report("a", ("delivered",))
            await asyncio.sleep(0)
            assert reporter.waiting == 1
        assert gateway.bodies == []

    async def test_one_that_is_not_due_does_not_travel_with_one_that_is(self, reporting, gateway):
        async with reporting() as reporter:
            reporter.report("a", ("delivered",))
            reporter._after = 3600.0
            reporter.report("b", ("delivered",))
            reporter.start()
            await gateway.statuses("a", 1)
            assert reporter.waiting == 1
        assert [event.message_id for event in gateway.events] == ["a"]


class TestRepeats:
    @pytest.mark.parametrize("status", [503, 500, 404, 401, 400, 302, 0])
    async def test_whatever_is_not_2xx_is_tried_again(self, reporting, gateway, status):
        gateway.plan.extend([status] * 3)
        async with reporting() as reporter:
            reporter.start()
            reporter.report("a", ("delivered", "opened"))
            assert await gateway.statuses("a", 2) == ["delivered", "opened"]
        assert gateway.answers == [status, status, status, 200, 200]
        assert len(set(gateway.bodies[:4])) == 1

    async def test_a_gateway_that_is_not_there_yet_is_waited_for(self, reporting, gateway, log):
        async with reporting(pauses=[0.0] * 10_000) as reporter:
            there = reporter._http._base_url
            reporter._http._base_url = "http://127.0.0.1:1/"
            reporter.start()
            reporter.report("a", ("delivered",))
            while not log.entries:  # noqa: ASYNC110  the log is where a try that failed can be seen
                await asyncio.sleep(0)
            reporter._http._base_url = there
            assert await gateway.statuses("a", 1) == ["delivered"]

    async def test_it_is_given_up_in_the_end_and_the_next_is_tried(self, reporting, gateway, log):
        gateway.plan.extend([500] * 3)
        async with reporting(pauses=[0.0, 0.0]) as reporter:
            reporter.start()
            reporter.report("a", ("delivered", "opened"))
            await gateway.until(lambda: len(gateway.answers) == 3)
            reporter.report("b", ("delivered",))
            assert await gateway.statuses("b", 1) == ["delivered"]
        assert {event.message_id for event in gateway.events} == {"b"}
        [given_up] = [entry for entry in log.entries if entry["log_level"] == "error"]
        assert given_up["messages"] == 1

    def test_the_pauses_grow_and_end(self):
        assert list(PAUSES) == sorted(PAUSES)
        assert sum(PAUSES) < 60


class TestBounds:
    async def test_those_beyond_the_capacity_are_dropped_and_it_is_said_once(self, reporting, gateway, log):
        async with reporting(capacity=3) as reporter:
            for number in range(10):
                reporter.report(f"m{number}", ("delivered",))
            assert reporter.waiting == 3
            reporter.start()
            await gateway.until(lambda: len(gateway.events) == 3)
            reporter.report("later", ("delivered",))
            await gateway.statuses("later", 1)
        assert [entry["log_level"] for entry in log.entries] == ["warning"]


class TestLifespan:
    async def test_it_leaves_no_task_and_no_connection(self, running, gateway, email):
        before = asyncio.all_tasks()
        async with running() as sandbox:
            assert len(asyncio.all_tasks() - before) == 1
            await sandbox.send_email(email(id="m"))
            await gateway.statuses("m", 1)
        gone = {task for task in asyncio.all_tasks() - before if task.get_name() == "sandbox reports"}
        assert gone == set()

    async def test_it_ends_though_the_gateway_never_answers(self, running, gateway, email, log):
        answering = asyncio.Event()

        async def never(request):
            await answering.wait()
            return 200

        gateway._parse = never
        async with running() as sandbox:
            await sandbox.send_email(email(id="first"))
            while not gateway.bodies:  # noqa: ASYNC110  nothing tells of a request that is not answered
                await asyncio.sleep(0)
            await sandbox.send_email(email(id="second"))
        answering.set()
        assert log.entries[-1]["messages"] == 1

    async def test_an_error_of_the_task_is_heard_at_the_end(self, running, gateway, email, monkeypatch):
        async def broken(self):
            raise RuntimeError("broken")

        monkeypatch.setattr(Reporter, "run", broken)
        with pytest.raises(RuntimeError, match="broken"):
            async with running():
                await asyncio.sleep(0)

    @pytest.mark.parametrize(
        ("settings", "lacking"),
        [
            ({"webhook_url": ""}, "server.public_url"),
            ({"webhook_secret": None}, "webhook_secret"),
        ],
    )
    async def test_where_it_can_not_report_it_says_so_and_sends(
        self, running, gateway, email, log, settings, lacking
    ):
        async with running(**settings) as sandbox:
            await sandbox.send_email(email())
        assert gateway.bodies == []
        assert [entry["lacking"] for entry in log.entries] == [lacking]

    async def test_it_can_be_opened_again(self, running, gateway, email):
        async with running() as sandbox:
            pass
        async with sandbox.lifespan():
            await sandbox.send_email(email(id="m"))
            assert await gateway.statuses("m", 1) == ["delivered"]
