"""The reporter: what it sends, its retries, its limits, and its start and end."""

import asyncio
import hashlib
import hmac
import json
from contextlib import asynccontextmanager

import pytest
import structlog

from gatepost.model import Secret
from gatepost.wire import connect
from gatepost_sandbox.reporter import MAX_BATCH, RETRY_DELAYS, Reporter


@pytest.fixture
def reporting(gateway, build, log):
    """Connect a Reporter to the gateway; the test starts its task by ``reporter.start()``."""
    gateway.plugin = build(webhook_secret=Secret("shared"))
    logger = structlog.wrap_logger(None, [log], structlog.stdlib.BoundLogger)

    @asynccontextmanager
    async def run(**options):
        options = {"delay": 0.0, "retry_delays": [0.0] * 5, **options}
        async with connect(gateway.url, timeout=10.0, connections=1) as http:
            reporter = Reporter(http, Secret("shared"), logger, **options)
            reporter.start = lambda: tasks.append(asyncio.create_task(reporter.run()))
            tasks = []
            yield reporter
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run


class TestRequests:
    async def test_a_report_has_the_documented_form_and_signature(self, running, gateway, email):
        requests = []
        parse = gateway._parse

        async def spy(request):
            requests.append((request.method, request.headers, await request.read()))
            return await parse(request)

        gateway._parse = spy
        async with running() as sandbox:
            await sandbox.send_email(email(id="m"))
            await gateway.statuses("m", 1)
        [(method, headers, body)] = requests
        assert (method, headers["Content-Type"]) == ("POST", "application/json")
        assert json.loads(body) == {"reports": [{"message": "m", "status": "delivered"}]}
        signed = headers["Sandbox-Timestamp"].encode() + b"." + body
        assert headers["Sandbox-Signature"] == hmac.new(b"shared", signed, hashlib.sha256).hexdigest()

    async def test_a_report_signed_with_another_secret_is_refused(self, running, build, gateway, email):
        async with running() as sandbox:
            gateway.plugin = build(webhook_secret=Secret("other"))
            await sandbox.send_email(email())
            await gateway.until(lambda: gateway.answers)
        assert gateway.answers[0] == 401

    async def test_reports_of_many_messages_share_a_request(self, reporting, gateway):
        async with reporting() as reporter:
            for number in range(2 * MAX_BATCH + 1):
                reporter.report(f"m{number}", ("delivered",))
            reporter.start()
            await gateway.until(lambda: len(gateway.events) == 2 * MAX_BATCH + 1)
        assert len(gateway.bodies) == 3
        assert [event.message_id for event in gateway.events] == [f"m{n}" for n in range(2 * MAX_BATCH + 1)]

    async def test_each_request_reports_the_next_status_of_a_message(self, reporting, gateway):
        async with reporting() as reporter:
            reporter.report("a", ("delivered", "opened", "unsubscribed"))
            reporter.report("b", ("delivered",))
            reporter.start()
            assert await gateway.statuses("a", 3) == ["delivered", "opened", "unsubscribed"]
        assert [len(json.loads(body)["reports"]) for body in gateway.bodies] == [2, 1, 1]

    async def test_a_report_waits_until_it_is_due(self, reporting, gateway):
        async with reporting(delay=3600.0) as reporter:
            reporter.start()
            reporter.report("a", ("delivered",))
            await asyncio.sleep(0)
            assert reporter.pending == 1
        assert gateway.bodies == []

    async def test_a_due_report_is_sent_without_one_that_is_not_due(self, reporting, gateway):
        async with reporting() as reporter:
            reporter.report("a", ("delivered",))
            reporter._delay = 3600.0
            reporter.report("b", ("delivered",))
            reporter.start()
            await gateway.statuses("a", 1)
            assert reporter.pending == 1
        assert [event.message_id for event in gateway.events] == ["a"]


class TestRetries:
    @pytest.mark.parametrize("status", [503, 500, 404, 401, 400, 302, 0])
    async def test_any_answer_other_than_2xx_is_retried(self, reporting, gateway, status):
        gateway.next_statuses.extend([status] * 3)
        async with reporting() as reporter:
            reporter.start()
            reporter.report("a", ("delivered", "opened"))
            assert await gateway.statuses("a", 2) == ["delivered", "opened"]
        assert gateway.answers == [status, status, status, 200, 200]
        assert len(set(gateway.bodies[:4])) == 1

    async def test_an_unreachable_gateway_is_retried(self, reporting, gateway, log):
        async with reporting(retry_delays=[0.0] * 10_000) as reporter:
            origin = reporter._http._origin
            reporter._http._origin = origin._replace(port=1)
            reporter.start()
            reporter.report("a", ("delivered",))
            while not log.entries:  # noqa: ASYNC110  only the log shows a try that failed
                await asyncio.sleep(0)
            reporter._http._origin = origin
            assert await gateway.statuses("a", 1) == ["delivered"]

    async def test_after_the_last_retry_the_next_report_is_sent(self, reporting, gateway, log):
        gateway.next_statuses.extend([500] * 3)
        async with reporting(retry_delays=[0.0, 0.0]) as reporter:
            reporter.start()
            reporter.report("a", ("delivered", "opened"))
            await gateway.until(lambda: len(gateway.answers) == 3)
            reporter.report("b", ("delivered",))
            assert await gateway.statuses("b", 1) == ["delivered"]
        assert {event.message_id for event in gateway.events} == {"b"}
        [given_up] = [entry for entry in log.entries if entry["log_level"] == "error"]
        assert given_up["messages"] == 1

    def test_the_retry_delays_grow_and_end(self):
        assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)
        assert sum(RETRY_DELAYS) < 60


class TestLimits:
    async def test_reports_beyond_the_limit_are_dropped_and_logged_once(self, reporting, gateway, log):
        async with reporting(max_pending=3) as reporter:
            for number in range(10):
                reporter.report(f"m{number}", ("delivered",))
            assert reporter.pending == 3
            reporter.start()
            await gateway.until(lambda: len(gateway.events) == 3)
            reporter.report("later", ("delivered",))
            await gateway.statuses("later", 1)
        assert [entry["log_level"] for entry in log.entries] == ["warning"]


class TestLifespan:
    async def test_the_lifespan_leaves_no_task_and_no_connection(self, running, gateway, email):
        before = asyncio.all_tasks()
        async with running() as sandbox:
            assert len(asyncio.all_tasks() - before) == 1
            await sandbox.send_email(email(id="m"))
            await gateway.statuses("m", 1)
        gone = {task for task in asyncio.all_tasks() - before if task.get_name() == "sandbox reports"}
        assert gone == set()

    async def test_the_lifespan_ends_even_if_the_gateway_never_answers(self, running, gateway, email, log):
        answering = asyncio.Event()

        async def never(request):
            await answering.wait()
            return 200

        gateway._parse = never
        async with running() as sandbox:
            await sandbox.send_email(email(id="first"))
            while not gateway.bodies:  # noqa: ASYNC110  no event follows a request that is not answered
                await asyncio.sleep(0)
            await sandbox.send_email(email(id="second"))
        answering.set()
        assert log.entries[-1]["messages"] == 1

    async def test_an_error_of_the_task_is_raised_at_the_end(self, running, gateway, email, monkeypatch):
        async def broken(self):
            raise RuntimeError("broken")

        monkeypatch.setattr(Reporter, "run", broken)
        with pytest.raises(RuntimeError, match="broken"):
            async with running():
                await asyncio.sleep(0)

    @pytest.mark.parametrize(
        ("settings", "missing"),
        [
            ({"webhook_url": ""}, "server.public_url"),
            ({"webhook_secret": None}, "webhook_secret"),
        ],
    )
    async def test_an_instance_that_can_not_report_logs_why_and_sends(
        self, running, gateway, email, log, settings, missing
    ):
        async with running(**settings) as sandbox:
            await sandbox.send_email(email())
        assert gateway.bodies == []
        assert [entry["missing"] for entry in log.entries] == [missing]

    async def test_the_lifespan_can_be_entered_again(self, running, gateway, email):
        async with running() as sandbox:
            pass
        async with sandbox.lifespan():
            await sandbox.send_email(email(id="m"))
            assert await gateway.statuses("m", 1) == ["delivered"]
