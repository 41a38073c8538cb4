"""*The whole way*: accept, contact, send, signed report, callback, compared with a hand-written service."""

import base64
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import certifi
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from drain import Watch
from gateways import configure, many_clients
from load import noop_cost
from machine import Row, cpu, free_port, query_count, run_script, start_script

from gatepost.testing.process import GatewayProcess

GOAL, ONE_AUTHORITY_GOAL = 15.0, 3.0
"""Throughput, as a multiple of the hand-written service's, with the usual list of authorities and with one alone."""

NOOP_GOAL = 7.0
"""CPU of a message over TLS with everything, as a multiple of a request to the no-op of *accept*, without TLS."""

CONNECTIONS = 16
CALLBACK_TIMEOUT = 10.0
"""Seconds without a callback after which the missing ones count as lost."""

SENDGRID = """\
[plugins.out]
use = "sendgrid"
api_key = "SG.bench"
base_url = "https://localhost:{port}"
webhook_public_key = "{key}"
concurrency = 32
"""


class Setup(NamedTuple):
    """The folder with certificates and keys, and the ports, of one run."""

    folder: Path
    port: int
    provider: int
    public_key: str

    @property
    def certificate(self) -> Path:
        """The PEM file with the certificate for localhost and its key."""
        return self.folder / "server.pem"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that make clients trust the certificate: the second is for requests, the first for others."""
        authority = str(self.folder / "ca.pem")
        return {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority}


def rows(rounds: int, count: int, count_by_hand: int) -> Iterator[Row]:
    """Measure with all authorities trusted, and with only one, where opening a TLS connection is cheapest."""
    yield from _rows(rounds, count, count_by_hand, "whole way", GOAL, certifi.where())
    name = "whole way, one authority trusted"
    yield from _rows(rounds, count, count_by_hand, name, ONE_AUTHORITY_GOAL, os.devnull)
    yield _compared_with_noop(rounds, count)


def _rows(
    rounds: int, count: int, count_by_hand: int, name: str, goal: float, authorities: str
) -> Iterator[Row]:
    """Measure both in turn, each with a number of messages that takes about the same time."""
    pairs = [
        (_measure(_by_hand, count_by_hand, authorities), _measure(_gateway, count, authorities))
        for _ in range(rounds)
    ]
    if lost := sum(gateway["lost"] for _, gateway in pairs):
        yield Row(f"{name}: throughput", None, "", goal, note=f"VOID: {lost:.0f} callbacks never came")
        return
    by_hand, gateway = pairs[-1]
    lost_by_hand = sum(by_hand["lost"] for by_hand, _ in pairs)
    rate = f"{gateway['rate']:.0f} a second; by hand {by_hand['rate']:.0f}, of which {lost_by_hand:.0f} were lost"
    each = f"{gateway['cpu'] * 1e6:.0f} µs each; by hand {by_hand['cpu'] * 1e6:.0f}"
    throughput = median(gateway["rate"] / by_hand["rate"] for by_hand, gateway in pairs)
    used = median(by_hand["cpu"] / gateway["cpu"] for by_hand, gateway in pairs)
    yield Row(f"{name}: throughput", throughput, "of by hand", goal, note=rate)
    yield Row(f"{name}: CPU", used, "of by hand", goal, note=each)


def _compared_with_noop(rounds: int, count: int) -> Row:
    """Measure a request to the no-op and the whole way of a message in turn."""
    name, unit = "whole way: CPU of a message", "times the no-op's"
    ratios, lost = [], 0.0
    for _ in range(rounds):
        noop, gateway = noop_cost(), of_gateway(count)
        ratios.append(gateway["cpu"] / noop)
        lost += gateway["lost"]
    if lost:
        return Row(name, None, "", NOOP_GOAL, at_least=False, note=f"VOID: {lost:.0f} callbacks never came")
    note = f"{gateway['cpu'] * 1e6:.0f} µs each; no-op {noop * 1e6:.0f}"
    return Row(name, median(ratios), unit, NOOP_GOAL, at_least=False, note=note)


def of_gateway(count: int, watch: Watch = nullcontext) -> dict[str, float]:
    """Send ``count`` messages the whole way through a gateway, with the usual authorities trusted."""
    return _measure(_gateway, count, certifi.where(), watch)


def _measure(
    start: Callable[[Setup], AbstractContextManager[int]],
    count: int,
    authorities: str,
    watch: Watch = nullcontext,
) -> dict[str, float]:
    with TemporaryDirectory() as name:
        setup = set_up(Path(name), authorities)
        callback_port, callback_count_port, count_port = free_port(), free_port(), free_port()
        webhooks = f"https://localhost:{setup.port}/webhooks/out"
        with (
            start_script(
                "callback_sink.py", callback_port, callback_count_port, "delivered", setup.certificate
            ),
            start_script(
                "reporting_provider.py",
                setup.provider,
                count_port,
                setup.certificate,
                setup.folder / "reports.key",
                webhooks,
                environment=setup.environment,
            ),
            start(setup) as pid,
            watch(pid),
        ):
            used = cpu(pid)
            url = f"https://localhost:{setup.port}"
            callback_url = f"https://localhost:{callback_port}/callback"
            load = run_script(
                "driver.py", url, CONNECTIONS, 600, "run", count, callback_url, environment=setup.environment
            )
            callbacks = _wait_for_callbacks(callback_count_port, count)
            used = cpu(pid) - used
    if load["refused"] or load["count"] < count:
        raise RuntimeError(f"{count - load['count'] + load['refused']:.0f} of {count} were not accepted")
    return {
        "rate": callbacks["count"] / (callbacks["last"] - load["began"]),
        "cpu": used / callbacks["count"],
        "lost": count - callbacks["count"],
    }


def _wait_for_callbacks(port: int, count: int) -> dict[str, float]:
    """Wait for ``count`` callbacks, but not longer than CALLBACK_TIMEOUT after the last one."""
    began = time.monotonic()
    while True:
        callbacks = query_count(port)
        waited = time.monotonic() - max(began, callbacks["last"])
        if callbacks["count"] >= count or waited > CALLBACK_TIMEOUT:
            return callbacks
        time.sleep(0.05)


def set_up(folder: Path, authorities: str) -> Setup:
    """Create certificates and keys; ``authorities`` is a file of further authorities to trust."""
    authority = trustme.CA()
    (folder / "ca.pem").write_bytes(Path(authorities).read_bytes() + authority.cert_pem.bytes())
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "reports.key").write_bytes(pem)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Setup(folder, free_port(), free_port(), base64.b64encode(der).decode())


@contextmanager
def _gateway(setup: Setup) -> Iterator[int]:
    """Start a gateway with everything on: ten clients, thirty rules, and a cap of each kind."""
    plugins = SENDGRID.format(port=setup.provider, key=setup.public_key)
    pem = f'certificate = "{setup.certificate}"\nkey = "{setup.certificate}"'
    config = configure(setup.folder, plugins, port=setup.port, server=pem, senders=many_clients(capped=True))
    with GatewayProcess(config, environment=setup.environment) as gateway:
        yield gateway.pid


@contextmanager
def _by_hand(setup: Setup) -> Iterator[int]:
    configure(setup.folder, "")  # for its file of contacts
    with start_script(
        "by_hand.py",
        setup.port,
        setup.folder / "contacts.csv",
        setup.certificate,
        f"https://localhost:{setup.provider}",
        setup.public_key,
        environment=setup.environment,
    ) as pid:
        yield pid
