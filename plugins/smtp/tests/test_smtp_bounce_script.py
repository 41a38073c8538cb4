"""The script with which a mail server hands bounces to Gatepost, run as a mail server runs it."""

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
    """Answers each POST with one status, or never."""

    def __init__(self, answer):
        self._answer = answer
        self.requests = []

    @contextlib.asynccontextmanager
    async def serving(self):
        async with await asyncio.start_server(self._take, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/relay"

    async def _take(self, reader, writer):
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
def seen(tmp_path):
    """curl's arguments, as `ps` shows them; its patience is cut short where it was given any."""
    folder, arguments = tmp_path / "bin", tmp_path / "arguments"
    folder.mkdir()
    curl = folder / "curl"
    curl.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {arguments}\n'
        f'case "$*" in *"--max-time 20 "*) set -- "$@" --max-time 0.3 ;; esac\n'
        f'exec {shutil.which("curl")} "$@"\n'
    )
    curl.chmod(0o755)
    return arguments


async def hand_over(seen, *arguments, mail=BOUNCE):
    """Run the script; returns its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        SCRIPT,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": f"{seen.parent / 'bin'}:/usr/bin:/bin"},
    )
    said, _ = await process.communicate(mail.encode())
    return process.returncode, said.decode()


@pytest.mark.parametrize("answer", [200, 202, 204])
async def test_what_was_taken_is_done(seen, secret_file, answer):
    gateway = Gateway(answer)
    async with gateway.serving() as url:
        assert await hand_over(seen, url, secret_file) == (0, "")

    [(headers, body)] = gateway.requests
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["content-type"] == "message/rfc822"
    assert body.decode() == BOUNCE


@pytest.mark.parametrize("answer", [302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, None])
async def test_what_was_not_taken_is_kept_for_later(seen, secret_file, answer):
    async with Gateway(answer).serving() as url:
        code, said = await hand_over(seen, url, secret_file)

    assert code == TRY_AGAIN
    assert ("no answer" if answer is None else str(answer)) in said


async def test_a_gateway_that_is_down_is_asked_later(seen, secret_file, closed_port):
    code, said = await hand_over(seen, f"http://127.0.0.1:{closed_port}/webhooks/relay", secret_file)

    assert code == TRY_AGAIN
    assert "no answer" in said


async def test_a_script_that_is_called_wrongly_loses_nothing(seen, secret_file):
    for arguments in ((), ("http://127.0.0.1:1/",), ("http://127.0.0.1:1/", secret_file.parent / "none")):
        code, said = await hand_over(seen, *arguments)

        assert code == TRY_AGAIN
        assert "usage" in said


async def test_the_secret_is_no_argument_and_is_not_told(seen, secret_file):
    async with Gateway(401).serving() as url:
        _, said = await hand_over(seen, url, secret_file)

    assert url in seen.read_text()
    assert "secret" not in seen.read_text()
    assert SECRET not in said


async def test_of_a_large_mail_the_beginning_is_sent(seen, secret_file):
    gateway = Gateway(200)
    async with gateway.serving() as url:
        code, _ = await hand_over(seen, url, secret_file, mail=BOUNCE.replace("the body", "x" * 3_000_000))

    [(_, body)] = gateway.requests
    assert code == 0
    assert len(body) == 262144


async def test_what_is_handed_over_is_understood(seen, secret_file, connected):
    gateway = Gateway(200)
    async with gateway.serving() as url:
        await hand_over(seen, url, secret_file)
    [(headers, body)] = gateway.requests

    async with connected(1, webhook_secret=Secret(SECRET)) as relay:
        found = await relay.parse_webhook(
            WebhookRequest(method="POST", url=url, headers=headers, body=body, received_at=0.0)
        )

    assert found.events == [StatusEvent(status=Status.FAILED, message_id=ID, code="5.1.1")]
