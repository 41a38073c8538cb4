"""The script that posts a mail server's bounces to Gatepost, run as a mail server runs it."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest

from gatepost.model import Secret, Status, StatusEvent, WebhookRequest

SCRIPT = Path(__file__).parents[3] / "deploy/postfix/gatepost-bounce"
SECRET = 'a "secret" \\ $HOME `id` %'
ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
BOUNCE = f"""\
From: MAILER-DAEMON@relay.example
To: bounces@mail.amazing.example
Content-Type: multipart/report; report-type=delivery-status; boundary=limit

--limit
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example
Original-Envelope-Id: {ID}

Final-Recipient: rfc822; ann@post.example
Action: failed
Status: 5.1.1
--limit
Content-Type: message/rfc822

Subject: Your weekly letter

the body
--limit--
"""
TRY_AGAIN = 75

if not (shutil.which("curl") and shutil.which("sh") and SCRIPT.exists()):
    pytest.skip("the bounce script needs curl, sh and a checkout", allow_module_level=True)


class Gateway:
    """A gateway that answers each POST with the same status, or never."""

    def __init__(self, answer):
        self._answer = answer
        self.requests = []

    @contextlib.asynccontextmanager
    async def serving(self):
        async with await asyncio.start_server(self._handle, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/relay"

    async def _handle(self, reader, writer):
        with contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
            headers = {name.lower(): value for name, _, value in lines}
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append((headers, body))
            if self._answer is None:
                await reader.read()
                return
            writer.write(
                f"HTTP/1.1 {self._answer} x\r\nContent-Length: 0\r\nLocation: /other\r\n\r\n".encode()
            )
            await writer.drain()


@pytest.fixture
def secret_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def curl_arguments(tmp_path):
    """The file with curl's arguments, as `ps` shows them; the timeout of ``run_script`` replaces the script's own."""
    folder, arguments = tmp_path / "bin", tmp_path / "arguments"
    folder.mkdir()
    curl = folder / "curl"
    curl.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {arguments}\n'
        f'case "$*" in *"--max-time 20 "*) set -- "$@" --max-time $MAX_TIME ;; esac\n'
        f'exec {shutil.which("curl")} "$@"\n'
    )
    curl.chmod(0o755)
    return arguments


async def run_script(curl_arguments, *arguments, mail=BOUNCE, max_time=60.0):
    """Run the script; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        SCRIPT,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": f"{curl_arguments.parent / 'bin'}:/usr/bin:/bin", "MAX_TIME": str(max_time)},
    )
    output, _ = await process.communicate(mail.encode())
    return process.returncode, output.decode()


@pytest.mark.parametrize("answer", [200, 202, 204])
async def test_an_accepted_mail_is_done(curl_arguments, secret_file, answer):
    gateway = Gateway(answer)
    async with gateway.serving() as url:
        assert await run_script(curl_arguments, url, secret_file) == (0, "")

    [(headers, body)] = gateway.requests
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["content-type"] == "message/rfc822"
    assert body.decode() == BOUNCE


@pytest.mark.parametrize("answer", [302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, None])
async def test_a_mail_that_is_not_accepted_is_tried_again_later(curl_arguments, secret_file, answer):
    async with Gateway(answer).serving() as url:
        max_time = 0.3 if answer is None else 60.0
        code, output = await run_script(curl_arguments, url, secret_file, max_time=max_time)

    assert code == TRY_AGAIN
    assert ("no answer" if answer is None else str(answer)) in output


async def test_without_a_gateway_a_mail_is_tried_again_later(curl_arguments, secret_file, closed_port):
    code, output = await run_script(
        curl_arguments, f"http://127.0.0.1:{closed_port}/webhooks/relay", secret_file
    )

    assert code == TRY_AGAIN
    assert "no answer" in output


async def test_wrong_arguments_lose_no_mail(curl_arguments, secret_file):
    for arguments in ((), ("http://127.0.0.1:1/",), ("http://127.0.0.1:1/", secret_file.parent / "none")):
        code, output = await run_script(curl_arguments, *arguments)

        assert code == TRY_AGAIN
        assert "usage" in output


async def test_the_secret_is_neither_an_argument_nor_output(curl_arguments, secret_file):
    async with Gateway(401).serving() as url:
        _, output = await run_script(curl_arguments, url, secret_file)

    assert url in curl_arguments.read_text()
    assert "secret" not in curl_arguments.read_text()
    assert SECRET not in output


async def test_only_the_beginning_of_a_large_mail_is_posted(curl_arguments, secret_file):
    gateway = Gateway(200)
    async with gateway.serving() as url:
        code, _ = await run_script(
            curl_arguments, url, secret_file, mail=BOUNCE.replace("the body", "x" * 3_000_000)
        )

    [(_, body)] = gateway.requests
    assert code == 0
    assert len(body) == 262144


async def test_the_plugin_reads_what_the_script_posts(curl_arguments, secret_file, connected):
    gateway = Gateway(200)
    async with gateway.serving() as url:
        await run_script(curl_arguments, url, secret_file)
    [(headers, body)] = gateway.requests

    async with connected(1, webhook_secret=Secret(SECRET)) as relay:
        report = await relay.parse_webhook(
            WebhookRequest(method="POST", url=url, headers=headers, body=body, received_at=0.0)
        )

    assert report.events == [StatusEvent(status=Status.FAILED, message_id=ID, code="5.1.1")]
