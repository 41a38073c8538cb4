"""Commands over the admin socket of a running gateway: who asks, what is recorded, and what bad clients can do."""

import asyncio
import json
import logging
import os
import pwd
import stat
import subprocess
import sys

import aiohttp
import pytest
import structlog
from click.testing import CliRunner

from gatepost.cli import main
from gatepost.observe import logs
from gatepost.server import protocol
from gatepost.testing.process import GatewayProcess
from gatepost.web.admin import actors, api, app, socket_file
from gatepost.web.admin.actors import Peer
from gatepost.web.admin.requests import MAX_IDS

OWN_NAME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture(autouse=True)
def quiet_gateway(monkeypatch):
    """Silence the gateway's log: it shares the process with the command, whose output the tests check."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def socket_of(gateway):
    return gateway.folder / "gatepost.db.sock"


async def post(gateway, operation, **fields):
    """Let the gateway run an operation; return the status and the text of the answer."""
    connector = aiohttp.UnixConnector(path=str(socket_of(gateway)))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.post(f"http://gateway/{operation}", json=fields) as response,
    ):
        return response.status, await response.text()


async def run(folder, *arguments, code=0):
    """Run a command in a thread, because the gateway runs on this test's loop; return what it printed."""
    arguments = [*arguments, "--config", str(folder / "gatepost.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == code, result.output
    return result.output


async def audited(folder):
    return json.loads(await run(folder, "audit", "list", "--json"))


async def exchange(gateway, data, *, end=False):
    """Send bytes over the socket; return everything that is answered until the gateway closes."""
    reader, writer = await asyncio.open_unix_connection(socket_of(gateway))
    writer.write(data)
    if end:
        writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_the_socket_is_there_while_the_gateway_runs(tmp_path, start):
    async with start(tmp_path) as gateway:
        mode = socket_of(gateway).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not socket_of(gateway).exists()
    assert (tmp_path / "gatepost.db.lock").read_bytes() == b""


async def test_the_public_listener_has_no_operations(gateway):
    for operation in api.OPERATIONS:
        for path in (f"/admin/{operation}", f"/{operation}"):
            async with gateway.http.post(f"{gateway.url}{path}", json={"ids": []}) as response:
                assert response.status == 404
                assert await response.read() == b""


async def test_the_socket_has_no_public_routes(gateway):
    for path in ("email", "sms", "metrics", "webhooks/box", "health/live"):
        status, _ = await post(gateway, path)
        assert status == 404


async def test_a_wrong_request_changes_nothing(gateway):
    assert await post(gateway, "retry", ids=[]) == (200, "[]")
    for operation, fields, problem in (
        ("retry", {}, "missing required field `ids`"),
        ("retry", {"ids": [], "more": 1}, "unknown field `more`"),
        ("retry", {"ids": ["0" * 36] * (MAX_IDS + 1)}, f"length <= {MAX_IDS}"),
        ("tell", {"ids": "x"}, "Expected `array`"),
        # Whatever is typed as an id would be in the audit log.
        ("retry", {"ids": ["anna@players.example"]}, "matching regex"),
        ("cancel-ids", {"ids": ["447700900123"], "reason": "wrong user"}, "matching regex"),
        ("resting-instances", {"channel": "post"}, "Invalid enum value"),
        ("send", {"client": "other", "channel": "sms", "fields": {}}, "has no client other"),
    ):
        status, text = await post(gateway, operation, **fields)
        assert status == 400
        assert problem in text
    assert (await post(gateway, "nothing"))[0] == 404
    assert await audited(gateway.folder) == []


async def test_a_test_message_is_recorded_and_no_address_is(gateway):
    arguments = (
        "send",
        "email",
        "--from",
        "noreply@brand.example",
        "--no-wait",
        "--subject",
        "vorpal-subject",
    )
    output = await run(gateway.folder, *arguments, "--user", "anna", "--body", "vorpal-body")
    await run(gateway.folder, *arguments, "--user", "jabberwock@vorpal.example", code=1)

    refused, accepted = await audited(gateway.folder)
    identity = output.split()[-1]
    assert accepted["target"] == {
        "client": "brand",
        "channel": "email",
        "user": accepted["target"]["user"],
        "id": identity,
    }
    assert len(accepted["target"]["user"]) == 64
    assert refused["target"] == {"client": "brand", "channel": "email", "error_code": 1}
    assert accepted["operation"] == refused["operation"] == "send"
    assert accepted["actor"] == actors.own_actor()
    text = await run(gateway.folder, "audit", "list", "--limit", "1")
    assert text.endswith("send  client=brand channel=email error_code=1\n")
    stored = b"".join(one.read_bytes() for one in gateway.folder.glob("gatepost.db*") if one.is_file())
    for private in (b"jabberwock", b"vorpal-subject", b"vorpal-body"):
        assert private not in (json.dumps([accepted, refused]) + text).encode()
    assert b"jabberwock" not in stored


async def test_the_operator_is_the_process_that_connected(gateway, monkeypatch):
    """A command in a process of its own, which sends no name."""
    monkeypatch.setattr(actors, "_login", lambda _process: None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gatepost", "send", "sms", "--user", "anna", "--from", "Brand", "--no-wait"),
        *("--config", gateway.folder / "gatepost.toml"),
        stdout=subprocess.PIPE,
        env={**os.environ, "SUDO_USER": "maria"},
    )
    output, _ = await process.communicate()

    assert output.startswith(b"accepted as ")
    (entry,) = await audited(gateway.folder)
    assert entry["actor"] == f"{OWN_NAME} (sudo: maria)"


async def test_retries_are_recorded_with_and_without_a_running_gateway(tmp_path, start, config):
    async with start(tmp_path, config) as gateway:
        identity = (await gateway.email())["ext_message_id"]
        await run(tmp_path, "messages", "retry", identity, code=1)
        await run(tmp_path, "messages", "tell", identity, code=1)
    await run(tmp_path, "messages", "retry", identity, code=1)
    await run(tmp_path, "messages", "tell", identity, code=1)

    entries = await audited(tmp_path)
    assert [one["operation"] for one in entries] == ["tell", "retry"] * 2
    for entry in entries:
        assert entry["target"]["ids"] == [identity]
        assert entry["actor"] == actors.own_actor()


async def test_an_empty_audit_log_says_so(gateway):
    assert await run(gateway.folder, "audit", "list") == "The audit log is empty.\n"


async def test_two_commands_at_once_are_both_answered(gateway):
    """The first operation is stopped in the middle of its request; the second one does not wait for it."""
    reader, writer = await asyncio.open_unix_connection(socket_of(gateway))
    body = b'{"ids": []}'
    writer.write(b"POST /retry HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:4])
    await writer.drain()

    assert await post(gateway, "tell", ids=[]) == (200, "[]")

    writer.write(body[4:])
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xfe" * 100,
        b'{"ids": []}\n',
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /retry HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /retry HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n\xff\xfe{",
        b"GET /retry HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"x" * 100_000,
    ],
)
async def test_garbage_is_refused_and_the_next_command_is_answered(gateway, data):
    answer = await exchange(gateway, data)

    assert b" 200 " not in answer
    assert await post(gateway, "retry", ids=[]) == (200, "[]")


async def test_a_large_request_is_refused_by_its_length(gateway):
    head = b"POST /retry HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"

    async with asyncio.timeout(60):
        assert (await exchange(gateway, head % (app.MAX_BODY + 1))).startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_has_gone_holds_nothing(gateway):
    body = b'{"ids": []}'
    whole = b"POST /retry HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    for length in (0, 1, 30, len(whole) - 1, len(whole)):
        _, writer = await asyncio.open_unix_connection(socket_of(gateway))
        writer.write(whole[:length])
        writer.close()

    assert await post(gateway, "retry", ids=[]) == (200, "[]")


@pytest.mark.parametrize(
    "begin", [b"", b"POST /re", b"POST /retry HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"]
)
async def test_a_slow_client_is_cut_off(set_ahead, gateway, begin):
    waiting = asyncio.create_task(exchange(gateway, begin))
    await asyncio.sleep(0)
    assert await post(gateway, "retry", ids=[]) == (200, "[]")

    # Twice for a request that is refused: then its unread rest has a deadline of its own.
    while not waiting.done():
        set_ahead(protocol.CLIENT_TIMEOUT + 1)
        await asyncio.sleep(0.01)
    assert b" 200 " not in await waiting


async def test_a_peer_of_another_user_is_refused(monkeypatch):
    """The socket's mode keeps others out; where a file system ignores the mode, this does."""
    api_without_operations = api.AdminApi(None)
    events = []

    async def send(event):
        events.append(event)

    for client in (Peer("uid 65534", 1), None, ("127.0.0.1", 1)):
        events.clear()
        scope = {"client": client, "method": "POST", "path": "/retry", "headers": []}
        await app.AdminApp(api_without_operations)(scope, None, send)
        assert events[0]["status"] == 403


async def test_an_operation_that_fails_is_logged_and_answered(gateway, monkeypatch):
    async def fail(*_arguments):
        raise RuntimeError("a defect")

    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(app, "_log", log)
    operation = api.OPERATIONS["retry"]._replace(run=fail)
    monkeypatch.setitem(api.OPERATIONS, "retry", operation)

    assert await post(gateway, "retry", ids=[]) == (500, "an internal error, which the gateway's log shows")
    assert [call.args for call in log.calls] == [("internal_error",)]


async def test_after_a_kill_the_next_gateway_replaces_the_socket(deployment):
    process = GatewayProcess(deployment.write())
    path = deployment.folder / "gatepost.db.sock"
    try:
        await asyncio.to_thread(process.start)
        process.kill()
        assert stat.S_ISSOCK(path.stat().st_mode)
        output = await run(deployment.folder, "send", "sms", "--user", "anna", code=1)
        assert "no gateway is running with this configuration" in output

        await asyncio.to_thread(process.start)
        output = await run(deployment.folder, "send", "sms", "--user", "anna", code=1)
        assert "refused with error_code 8" in output
        assert await asyncio.to_thread(process.terminate) == 0
    finally:
        process.kill()
    assert not path.exists()
    assert "admin_socket_not_created" not in process.log.read_text()


async def test_a_gateway_without_a_socket_says_so_and_runs(tmp_path, start, monkeypatch):
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(socket_file, "_log", log)
    path = tmp_path / "gatepost.db.sock"
    path.write_text("in the way")

    async with start(tmp_path) as gateway:
        (warning,) = log.calls
        assert (await gateway.sms())["error_code"] == 0
        output = await run(tmp_path, "send", "sms", "--user", "anna", code=1)

    assert warning.args == ("admin_socket_not_created",)
    assert warning.kwargs["path"] == str(path)
    assert "so send won't work" in warning.kwargs["problem"]
    assert f"no gateway is running with this configuration (it would listen at {path})" in output
    assert path.read_text() == "in the way"
