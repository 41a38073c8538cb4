"""The health pages and the metrics, and who may read them."""

import contextlib
import sqlite3

import aiohttp
import pytest

from gatepost.outbox import driver_errors, sqlite
from gatepost.testing import emulator


async def test_a_gateway_that_works_is_live_and_ready(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        assert await gateway.get("/health/live") == (200, {"live": True})
        status, ready = await gateway.get("/health/ready")
    assert status == 200
    assert ready["problems"] == []
    assert ready["instances"]["sendgrid-main"]["state"] == "usable"


async def test_it_is_not_ready_while_every_plugin_of_a_route_rests(deployment, sendgrid, wait_until):
    sendgrid.failure = emulator.answer(429, {"Retry-After": "3600"})
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.email()
        await wait_until(lambda: _unready(gateway))
        status, ready = await gateway.get("/health/ready")
        assert status == 503
        assert ready["problems"][0] == "routes.email: none of its plugins can send now"
        assert ready["instances"]["sendgrid-main"]["state"] == "resting"
        # It is alive, and still accepts messages.
        assert (await gateway.get("/health/live"))[0] == 200
        await deployment.email()


async def test_a_wrong_key_is_shown_as_misconfigured(deployment, sendgrid, wait_until):
    sendgrid.failure = emulator.answer(401)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.email()

        async def misconfigured() -> bool:
            _, ready = await gateway.get("/health/ready")
            return ready["instances"]["sendgrid-main"]["misconfigured"]

        await wait_until(misconfigured)


@pytest.mark.parametrize(
    ("answer", "problem", "state"),
    [
        (emulator.answer(401), "plugins.sendgrid-main: misconfigured: ", "misconfigured"),
        (
            emulator.answer(429, {"Retry-After": "3600"}),
            "plugins.sendgrid-main: rests for 3600 s: ",
            "resting",
        ),
    ],
    ids=["misconfigured", "resting"],
)
async def test_with_a_fallback_it_is_ready_and_the_problem_is_named(
    deployment, sendgrid, mailboxes, answer, problem, state
):
    sendgrid.failure = answer
    async with deployment.running(email=["sendgrid-main", "relay"]) as gateway:
        before = await gateway.metrics()
        await deployment.hears(await deployment.email(), "accepted")
        status, ready = await gateway.get("/health/ready")
        after = await gateway.metrics()
    assert (status, ready["ready"]) == (200, True)
    (text,) = ready["problems"]
    assert text.startswith(problem)
    series = "gatepost_plugin_breaker", "sendgrid-main", state
    assert (before[series], after[series], after["gatepost_ready",]) == (0, 1, 1)


async def test_the_states_of_a_breaker_exist_before_the_first_send(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        metrics = await gateway.metrics()
    states = {
        tuple(labels): value
        for (name, *labels), value in metrics.items()
        if name == "gatepost_plugin_breaker"
    }
    assert states == {
        ("sendgrid-main", "usable"): 1,
        ("sendgrid-main", "resting"): 0,
        ("sendgrid-main", "probing"): 0,
        ("sendgrid-main", "misconfigured"): 0,
    }


async def test_a_store_that_refuses_writes_sets_the_ready_metric_to_0(deployment, sendgrid, monkeypatch):
    monkeypatch.setattr("gatepost.outbox.group_commit.GroupCommit.is_failing", True)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        assert (await gateway.metrics())["gatepost_ready",] == 0


async def test_a_message_that_failed_is_counted(deployment, sendgrid):
    deployment.tables["delivery"]["email_lifetime"] = 0.5
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.hears(await deployment.email(), "failed")
        await gateway.settled()
        metrics = await gateway.metrics()
    assert metrics["gatepost_messages_ended_total", "email", "failed"] == 1
    assert metrics["gatepost_messages_ended_total", "email", "sent"] == 0


async def test_metrics_count_answers_sends_callbacks_and_queues(deployment, sendgrid):
    deployment.tables["plugins.sendgrid-main"]["concurrency"] = 1
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.hears(await deployment.email(), "accepted")
        assert (await deployment.crm.send_email(ext_user_id="nobody"))["error_code"] == 1
        deployment.crm.authorization = "wrong"
        assert (await deployment.crm.send_email(ext_user_id="anna"))["error_code"] == 3
        deployment.crm.authorization = "the-secret"
        await gateway.settled()
        sendgrid.failure = emulator.hang(taken=False)
        for _ in range(3):
            await deployment.email()
        await gateway.waits("email", "sending")
        metrics = await gateway.metrics()
        sendgrid.failure = emulator.NO_FAILURE
        await sendgrid.drop_connections()
    assert metrics["gatepost_answers_total", "email", "brand", "0"] == 4
    assert metrics["gatepost_answers_total", "email", "brand", "1"] == 1
    assert metrics["gatepost_answers_total", "email", "", "3"] == 1
    assert metrics["gatepost_sends_total", "sent", "sendgrid-main"] == 1
    assert metrics["gatepost_callbacks_total", "acknowledged", "accepted"] == 1
    assert metrics["gatepost_queue_messages", "email", "sending"] == 1
    assert metrics["gatepost_queue_messages", "email", "queued"] == 2
    assert metrics["gatepost_queue_age_seconds", "email"] >= 0


@pytest.mark.parametrize("path", ["/metrics", "/health/ready"])
async def test_only_the_loopback_and_metrics_allow_may_observe(deployment, sendgrid, path):
    deployment.tables["server"] |= {
        "trusted_proxies": ["127.0.0.1"],
        "metrics_allow": ["10.1.0.0/16", "fd00::/8"],
    }
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        for address in ("10.1.2.3", "fd00::1", "10.1.2.3, 127.0.0.1"):
            assert await _observes(gateway, path, {"X-Forwarded-For": address}), address
        for address in ("10.2.0.1", "192.168.0.1", "8.8.8.8", "::1", "127.0.0.1", "nonsense", ""):
            assert not await _observes(gateway, path, {"X-Forwarded-For": address}), address
        # A trusted proxy that does not name its client.
        assert not await _observes(gateway, path, {"Via": "1.1 proxy"})
        assert await _observes(gateway, path)


@pytest.mark.parametrize("path", ["/metrics", "/health/ready"])
async def test_a_request_through_an_untrusted_proxy_may_not_observe(deployment, sendgrid, path):
    """The proxy is on this machine and in a network that may observe; its client may be anyone."""
    deployment.tables["server"]["metrics_allow"] = ["127.0.0.0/8"]
    headers = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        for header in headers:
            assert not await _observes(gateway, path, {header: "127.0.0.1"}), header
        assert await _observes(gateway, path)


async def test_a_stranger_reads_whether_it_is_ready_but_not_why(deployment, sendgrid, wait_until):
    sendgrid.failure = emulator.answer(429, {"Retry-After": "3600"})
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        for ready in (True, False):
            stranger = gateway.http.get(f"{gateway.url}/health/ready", headers={"Via": "1.1 proxy"})
            async with stranger as response:
                assert (response.status, await response.json()) == (200 if ready else 503, {"ready": ready})
            if ready:
                await deployment.email()
                await wait_until(lambda: _unready(gateway))


async def _observes(gateway, path: str, headers: dict[str, str] | None = None) -> bool:
    """Return whether a request with these headers gets more than a stranger's."""
    async with gateway.http.get(gateway.url + path, headers=headers) as response:
        if path == "/metrics":
            assert response.status in {200, 404}
            return response.status == 200
        assert response.status == 200
        return "instances" in await response.json()


async def test_it_is_not_ready_while_requests_are_refused_because_of_the_store(
    deployment, sendgrid, monkeypatch, wait_until
):
    quick = tuple(text for text in sqlite._PRAGMAS if not text.startswith("busy_timeout"))
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*quick, "busy_timeout=20"))
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        with contextlib.closing(sqlite3.connect(deployment.folder / "gatepost.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await deployment.crm.send_email(ext_user_id="anna"))["error_code"] == 12
            status, ready = await gateway.get("/health/ready")
            assert (status, ready["problems"]) == (503, ["the store refuses writes"])
        await deployment.hears(await deployment.email(), "accepted")
        await wait_until(lambda: _ready(gateway))


async def test_a_full_disk_is_shown_although_reads_still_work(deployment, sendgrid, monkeypatch):
    """A limit on the pages of the file causes the same SQLITE_FULL as a full disk."""
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*sqlite._PRAGMAS, "max_page_count=100"))
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        large = await deployment.crm.send_email(ext_user_id="anna", body="x" * 800_000)
        assert large["error_code"] == 12
        assert await gateway.metrics()  # which reads the queues' depth from the same store
        status, ready = await gateway.get("/health/ready")
        assert (status, ready["problems"]) == (503, ["the store refuses writes"])
        await deployment.hears(await deployment.email(), "accepted")
        assert (await gateway.get("/health/ready"))[0] == 200


async def test_a_broken_store_stops_the_process_with_exit_code_1(
    deployment, sendgrid, monkeypatch, wait_until
):
    """What is on the disk is unknown then, so no message is accepted."""
    quick = tuple(text for text in sqlite._PRAGMAS if not text.startswith("busy_timeout"))
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*quick, "busy_timeout=20"))
    async with deployment.running(code=1, email=["sendgrid-main"]) as gateway:
        await deployment.hears(await deployment.email(), "accepted")
        # From here on a locked file is taken for a damaged one.
        monkeypatch.setattr(driver_errors, "_BROKEN_CODES", {sqlite3.SQLITE_BUSY: "the file is damaged"})
        with contextlib.closing(sqlite3.connect(deployment.folder / "gatepost.db")) as other:
            other.execute("BEGIN IMMEDIATE")

            async def gone() -> bool:
                try:
                    answer = await deployment.crm.send_email(ext_user_id="anna")
                    ready, _ = await gateway.get("/health/ready")
                except (aiohttp.ClientError, OSError):
                    return True
                assert (answer["error_code"], ready) in {(12, 503), (12, 200)}
                return False

            await wait_until(gone)


async def _unready(gateway) -> bool:
    status, _ = await gateway.get("/health/ready")
    return status == 503


async def _ready(gateway) -> bool:
    status, _ = await gateway.get("/health/ready")
    return status == 200
