"""The CPU of a delivered message, of all processes, beside what a user would pick instead.

A message comes in, and the provider has it: without callbacks, without reports. Each figure is the median of the ratios of
neighbours in one run.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from gateways import ONE_CLIENT, SENDGRID, SMTP, configure
from machine import Row, cpu_with_children, free_port, query_count, run_script, start_script, wait_for_count
from programs import find

from gatepost.testing.process import GatewayProcess
from peers import kannel, postfix, with_django

CONNECTIONS = 32
SMTP_CONNECTIONS = 8

SMS_GOAL = 1.4
"""CPU of a text message, as a multiple of Kannel's."""

HTTP_SMS = """\
[plugins.out]
use = "http"
channel = "sms"
base_url = "http://127.0.0.1:{port}"
concurrency = {connections}
default_sender = "Amazing"
request = {{ path = "/send", json = {{ to = "{{recipient}}", from = "{{sender}}", text = "{{text}}", ref = "{{id}}" }} }}
"""


class Load(NamedTuple):
    """The server under load: the processes whose CPU counts, and what makes the load, as a script and its arguments."""

    pids: Sequence[int]
    script: str
    arguments: Sequence[object]


Contender = Callable[[Path, int, int], AbstractContextManager[Load]]
"""Runs a server in a folder, with a provider's port, for a number of messages."""


def sms(rounds: int, count: int) -> Iterator[Row]:
    """Measure Kannel and the gateway in turn."""
    name, unit = "an SMS, accepted and sent: CPU", "of Kannel"
    if not find("bearerbox"):
        yield Row(name, None, unit, SMS_GOAL, at_least=False, note="Kannel is not installed")
        return
    pairs = _in_turn(_kannel, _gateway_sms, "provider.py", rounds, count)
    yield _row(
        name, pairs, "Kannel", SMS_GOAL, "which writes and does not sync; each message of ours is on disk"
    )


def email(rounds: int, count: int) -> Iterator[Row]:
    """Measure django-anymail over HTTP and Postfix over SMTP, each with the gateway in turn."""
    with_django.install()
    pairs = _in_turn(_anymail, _gateway_http, "provider.py", rounds, count)
    yield _row(
        "an email over HTTP, accepted and sent: CPU", pairs, "django-anymail", None, "which stores nothing"
    )
    name = "an email over SMTP, accepted and sent: CPU"
    if not find("postfix"):
        yield Row(name, None, "of Postfix", note="Postfix is not installed")
        return
    pairs = _in_turn(_postfix, _gateway_smtp, "smtp_sink.py", rounds, count)
    yield _row(name, pairs, "Postfix", None, "which syncs each mail, and looks no contact up")


def _in_turn(
    one: Contender, other: Contender, provider: str, rounds: int, count: int
) -> list[tuple[float, float]]:
    """Return the CPU seconds of a message of both, for each round."""
    return [(_measure(one, provider, count // 2), _measure(other, provider, count)) for _ in range(rounds)]


def _measure(contender: Contender, provider: str, count: int) -> float:
    port, count_port = free_port(), free_port()
    with (
        TemporaryDirectory() as folder,
        start_script(provider, port, count_port),
        contender(Path(folder), port, count) as load,
    ):
        before = sum(map(cpu_with_children, load.pids))
        already = query_count(count_port)["count"]
        result = run_script(load.script, *load.arguments)
        if result["refused"]:
            raise RuntimeError(f"{result['refused']:.0f} of {count} were not accepted")
        wait_for_count(count_port, count + int(already))
        time.sleep(1)  # The work after a send counts too.
        return (sum(map(cpu_with_children, load.pids)) - before) / count


def _row(name: str, pairs: list[tuple[float, float]], other: str, goal: float | None, promise: str) -> Row:
    theirs, ours = pairs[-1]
    note = f"{ours * 1e6:.0f} µs each; {other} {theirs * 1e6:.0f}, {promise}"
    figure = median(ours / theirs for theirs, ours in pairs)
    return Row(name, figure, f"of {other}", goal, at_least=False, note=note)


@contextmanager
def _gateway(folder: Path, plugins: str, channel: str) -> Iterator[GatewayProcess]:
    senders = ONE_CLIENT._replace(routes=f'[routes]\n{channel} = ["out"]\n')
    with GatewayProcess(configure(folder, plugins, senders=senders)) as gateway:
        yield gateway


@contextmanager
def _gateway_sms(folder: Path, provider: int, count: int) -> Iterator[Load]:
    with _gateway(folder, HTTP_SMS.format(port=provider, connections=CONNECTIONS), "sms") as gateway:
        yield Load([gateway.pid], "peers/sms_load.py", ["gatepost", gateway.url, CONNECTIONS, count])


@contextmanager
def _gateway_http(folder: Path, provider: int, count: int) -> Iterator[Load]:
    with _gateway(folder, SENDGRID.format(port=provider, connections=CONNECTIONS), "email") as gateway:
        yield Load([gateway.pid], "driver.py", [gateway.url, CONNECTIONS, 600, "run", count])


@contextmanager
def _gateway_smtp(folder: Path, provider: int, count: int) -> Iterator[Load]:
    with _gateway(folder, SMTP.format(port=provider, connections=SMTP_CONNECTIONS), "email") as gateway:
        yield Load([gateway.pid], "driver.py", [gateway.url, CONNECTIONS, 600, "run", count])


@contextmanager
def _kannel(folder: Path, provider: int, count: int) -> Iterator[Load]:
    with kannel.running(folder, provider, CONNECTIONS) as (url, pids):
        yield Load(pids, "peers/sms_load.py", ["kannel", url, CONNECTIONS, count])


@contextmanager
def _anymail(folder: Path, provider: int, count: int) -> Iterator[Load]:
    configure(folder, "")  # for its file of contacts
    with with_django.running(folder / "contacts.csv", provider) as (url, pids):
        yield Load(pids, "driver.py", [url, CONNECTIONS, 600, "run", count])


@contextmanager
def _postfix(folder: Path, provider: int, count: int) -> Iterator[Load]:
    with postfix.running(folder, provider) as (port, pids):
        yield Load(pids, "peers/smtp_load.py", [port, SMTP_CONNECTIONS, count])
