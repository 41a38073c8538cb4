"""*The whole way*: accept, contact, send, signed report, callback, all over https, against the same by hand."""

import base64
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import certifi
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from gateways import configure
from machine import Row, asked, cpu, free_port, run, serving

from gatepost.testing.process import GatewayProcess

GOAL = 3.0
CONNECTIONS = 16
QUIET = 10.0
"""Seconds without a callback after which no more are waited for."""

SENDGRID = """\
[plugins.out]
use = "sendgrid"
api_key = "SG.bench"
base_url = "https://localhost:{port}"
webhook_public_key = "{key}"
concurrency = 32
"""


class Place(NamedTuple):
    """Certificates, keys and ports of one run."""

    folder: Path
    port: int
    provider: int
    public_key: str

    @property
    def certificate(self) -> Path:
        """With its key, and good for localhost."""
        return self.folder / "server.pem"

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes everybody trust it: the standard library and aiohttp read the first, requests the second."""
        authority = str(self.folder / "ca.pem")
        return {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority}


def rows(rounds: int, count: int, count_by_hand: int) -> Iterator[Row]:
    """As it is, and once more where making a TLS connection is as cheap as it can be."""
    yield from _rows(rounds, count, count_by_hand, "whole way", GOAL, certifi.where())
    yield from _rows(1, count, count_by_hand, "whole way, one authority trusted", None, os.devnull)


def _rows(
    rounds: int, count: int, count_by_hand: int, name: str, goal: float | None, authorities: str
) -> Iterator[Row]:
    """Interleaved; each with so many messages that it takes about as long."""
    ratios, costs, lost, lost_by_hand = [], [], 0.0, 0.0
    for _ in range(rounds):
        by_hand = _measured(_by_hand, count_by_hand, authorities)
        ours = _measured(_gateway, count, authorities)
        ratios.append(ours["rate"] / by_hand["rate"])
        costs.append(by_hand["cost"] / ours["cost"])
        lost += ours["lost"]
        lost_by_hand += by_hand["lost"]
    rate = (
        f"{ours['rate']:.0f} a second; by hand {by_hand['rate']:.0f}, of which {lost_by_hand:.0f} were lost"
    )
    cost = f"{ours['cost'] * 1e6:.0f} µs each; by hand {by_hand['cost'] * 1e6:.0f}"
    if lost:
        yield Row(f"{name}: throughput", None, "", goal, note=f"VOID: {lost:.0f} callbacks never came")
        return
    yield Row(f"{name}: throughput", median(ratios), "of by hand", goal, note=rate)
    yield Row(f"{name}: CPU", median(costs), "of by hand", note=cost)


def _measured(
    start: Callable[[Place], AbstractContextManager[int]], count: int, authorities: str
) -> dict[str, float]:
    with TemporaryDirectory() as name:
        place = _place(Path(name), authorities)
        sink, counted, counting = free_port(), free_port(), free_port()
        webhooks = f"https://localhost:{place.port}/webhooks/out"
        with (
            serving("callback_sink.py", sink, counted, "delivered", place.certificate),
            serving(
                "reporting_provider.py",
                place.provider,
                counting,
                place.certificate,
                place.folder / "reports.key",
                webhooks,
                environment=place.environment,
            ),
            start(place) as pid,
        ):
            spent = cpu(pid)
            url, told = f"https://localhost:{place.port}", f"https://localhost:{sink}/callback"
            driven = run(
                "driver.py", url, CONNECTIONS, 600, "run", count, told, environment=place.environment
            )
            seen = _until_quiet(count, counted)
            spent = cpu(pid) - spent
    if driven["refused"] or driven["count"] < count:
        raise RuntimeError(f"{count - driven['count'] + driven['refused']:.0f} of {count} were not accepted")
    return {
        "rate": seen["count"] / (seen["last"] - driven["begun"]),
        "cost": spent / seen["count"],
        "lost": count - seen["count"],
    }


def _until_quiet(count: int, counting: int) -> dict[str, float]:
    begun = time.monotonic()
    while True:
        seen = asked(counting)
        if seen["count"] >= count or time.monotonic() - max(begun, seen["last"]) > QUIET:
            return seen
        time.sleep(0.05)


def _place(folder: Path, authorities: str) -> Place:
    """``authorities``: a file of those that are trusted beside our own."""
    authority = trustme.CA()
    (folder / "ca.pem").write_bytes(Path(authorities).read_bytes() + authority.cert_pem.bytes())
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "reports.key").write_bytes(pem)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Place(folder, free_port(), free_port(), base64.b64encode(der).decode())


@contextmanager
def _gateway(place: Place) -> Iterator[int]:
    plugins = SENDGRID.format(port=place.provider, key=place.public_key)
    pem = f'certificate = "{place.certificate}"\nkey = "{place.certificate}"'
    config = configure(place.folder, plugins, port=place.port, server=pem)
    with GatewayProcess(config, environment=place.environment) as gateway:
        yield gateway.pid


@contextmanager
def _by_hand(place: Place) -> Iterator[int]:
    configure(place.folder, "")  # for its contacts
    with serving(
        "by_hand.py",
        place.port,
        place.folder / "contacts.csv",
        place.certificate,
        f"https://localhost:{place.provider}",
        place.public_key,
        environment=place.environment,
    ) as pid:
        yield pid
