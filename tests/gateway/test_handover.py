"""One process hands its listening socket over to the next, as an upgrade does: no request is refused."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import aiohttp
import pytest

from gatepost.testing.configuration import free_port
from gateway.conftest import WAIT_TIMEOUT, needs_hangups, sms, until


class Process:
    """``gatepost serve`` that was started with a listening socket, as systemd does it."""

    def __init__(self, config, listener, environment=None):
        self.log = config.with_name(f"{time.monotonic_ns()}.log")
        descriptor = listener.fileno()

        def hand_over():
            os.dup2(descriptor, 3)
            given = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
            os.environ.update(given | (environment or {}))

        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gatepost", "serve", "--config", str(config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=hand_over,  # noqa: PLW1509  the child alone knows its id
                pass_fds=(3,),
            )

    async def says(self, event):
        await until(lambda: f'"event": "{event}"' in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    async def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 60) == 0, self.log.read_text()


@pytest.fixture
def listener(deployment):
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        deployment.tables["server"]["port"] = listener.getsockname()[1]
        deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
        deployment.tables["routes"] = {"sms": ["box"]}
        # As operators run it: at this level the log of a start is kept back until the start has succeeded.
        deployment.tables["logs"]["level"] = "info"
        yield listener


@pytest.fixture
def start(deployment, listener):
    """Return a function that starts a process with the listener."""
    started = []

    def begin(**environment):
        started.append(Process(deployment.write(), listener, environment))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


@pytest.mark.parametrize("overlapping", [True, False])
async def test_no_request_is_refused_or_lost_while_one_process_follows_another(
    deployment, listener, start, tmp_path, overlapping
):
    """The next one starts before the old one ends, and waits for the SQLite file; or after it, as at a restart."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    answers, done = [], asyncio.Event()

    async def load(http, name):
        number = 0
        while not done.is_set():
            # Each on a connection of its own: those are what a closed listener refuses.
            async with http.post(
                f"{url}/sms", json=sms(f"{name}-{number}"), headers={"Authorization": "the-secret"}
            ) as response:
                answers.append((await response.json())["error_code"])
            number += 1

    old = start()
    await old.says("listening")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        clients = [asyncio.create_task(load(http, name)) for name in range(4)]
        for _ in range(2):
            await asyncio.sleep(0.2)
            if overlapping:
                new = start()
                await new.says("store_in_use")
                await old.end()
            else:
                await old.end()
                new = start()
            await new.says("listening")
            old = new
        done.set()
        await asyncio.gather(*clients)
        await until(lambda: len([*(tmp_path / "box").glob("*.json")]) >= len(answers))
        await old.end()
    assert set(answers) == {0}
    taken = [path.name for path in (tmp_path / "box").glob("*.json")]
    assert len(taken) == len(answers)


async def test_a_socket_with_another_address_is_refused(deployment, listener, start):
    deployment.tables["server"]["port"] = 1
    process = start()
    assert await asyncio.to_thread(process.process.wait, 60) == 1
    problems = [json.loads(line).get("problem") for line in process.log.read_text().splitlines()]
    port = listener.getsockname()[1]
    assert (
        f"the service manager hands over 127.0.0.1:{port}, on which this configuration does not listen: make the "
        "ListenStream of the socket unit and [server] host and port the same"
    ) in problems


async def test_a_descriptor_that_is_no_socket_is_refused(start):
    process = start(LISTEN_FDS="2")
    assert await asyncio.to_thread(process.process.wait, 60) == 1
    (problem,) = [json.loads(line)["problem"] for line in process.log.read_text().splitlines()]
    assert problem.startswith(
        "the service manager hands over descriptor 4 as a listening socket, and it is none"
    )


@needs_hangups
async def test_the_service_manager_is_messages_what_happens(listener, start, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WAIT_TIMEOUT)
        messages = []

        def read(wanted):
            give_up = time.monotonic() + WAIT_TIMEOUT
            while wanted not in (text := manager.recv(4096).decode()):
                assert time.monotonic() < give_up, messages
                messages.append(text)
            messages.append(text)

        # The system keeps ten messages for a reader: more often, a busy machine would lose some.
        process = start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000")
        await asyncio.to_thread(read, "READY=1")
        await asyncio.to_thread(read, "WATCHDOG=1")
        process.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(read, "RELOADING=1")
        assert re.search(r"MONOTONIC_USEC=\d+", messages[-1])
        await asyncio.to_thread(read, "READY=1")
        await process.end()
        await asyncio.to_thread(read, "STOPPING=1")


async def test_systemd_itself_hands_a_socket_over(deployment, tmp_path):
    """``systemd-socket-activate`` starts the gateway at the first connection, which waits for it."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not installed")
    port = free_port()
    deployment.tables["server"]["port"] = port
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    deployment.tables["routes"] = {"sms": ["box"]}
    config = deployment.write()
    arguments = [
        "-l",
        f"127.0.0.1:{port}",
        sys.executable,
        "-m",
        "gatepost",
        "serve",
        "--config",
        str(config),
    ]
    # It passes on nothing of the environment but what it is messages.
    with (tmp_path / "activate.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)  # noqa: ASYNC220  it is long-lived
    try:
        await until(lambda: b"Listening" in (tmp_path / "activate.log").read_bytes())
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"http://127.0.0.1:{port}/sms", json=sms(), headers={"Authorization": "the-secret"}
            ) as response,
        ):
            assert (await response.json())["error_code"] == 0
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
