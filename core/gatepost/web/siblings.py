"""The metrics of several gateways under one address: whichever of them is asked, all of them answer."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator

import msgspec

from gatepost.config.settings import Settings
from gatepost.observe import logs
from gatepost.web.admin.own_metrics import Exposition, own_number
from gatepost.web.admin.requests import MetricsRequest
from gatepost.web.admin.socket_file import existing_addresses
from gatepost.wire.answers import AnswerReader
from gatepost.wire.connections import LostRequest, NoConnection
from gatepost.wire.dialing import connect_unix
from gatepost.wire.heads import Heads

TIMEOUT = 3.0
"""Seconds for the answer of another gateway."""

MAX_EXPOSITION_BYTES = 64 * 1024 * 1024
"""Bytes that are read of it: a metric of many thousand instances has one of them."""

_HEADS = Heads({"Content-Type": "application/json"})

_log = logs.get(__name__)


async def metrics_of_all(settings: Settings, scrape: Callable[[], Awaitable[bytes]]) -> bytes:
    """Return the metrics of every gateway of this parent, each with the label ``process``.

    ``scrape`` returns those of this gateway, which may have no socket at which it could be asked.
    """
    with existing_addresses(settings) as addresses:
        answers = await asyncio.gather(*map(_ask, addresses))
    found = {one.process: one for one in answers if one is not None}
    if own_number() not in found:
        found[own_number()] = Exposition(own_number(), (await scrape()).decode())
    return join(sorted(found.values(), key=lambda one: int(one.process)))


async def _ask(address: str) -> Exposition | None:
    question = msgspec.json.encode(MetricsRequest(parent=os.getppid()))
    head = _HEADS.write("POST", "/own-metrics", "gateway", body=question)
    reader = AnswerReader("POST", MAX_EXPOSITION_BYTES)
    try:
        async with asyncio.timeout(TIMEOUT):
            connection = await connect_unix(address)
            await connection.exchange(head + question, reader)
        connection.abort()
        if reader.answer.status != 200:
            return None
        return msgspec.json.decode(reader.answer.body, type=Exposition)
    except NoConnection:
        # A gateway that has died has left its socket there.
        return None
    except (LostRequest, TimeoutError, msgspec.MsgspecError) as error:
        _log.warning("metrics_incomplete", reason=type(error).__name__)
        return None


def join(expositions: Iterable[Exposition]) -> bytes:
    """Return the metrics of several gateways as one text: each family once, each sample with its process."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for one in expositions:
        for head, samples in _families(one.text):
            known = families.setdefault(head[0], (head, []))
            known[1].extend(_labelled(sample, one.process) for sample in samples)
    lines = [line for head, samples in families.values() for line in (*head, *samples)]
    return ("\n".join(lines) + "\n").encode()


def _families(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the comments and the samples of each family of Prometheus's text format."""
    head: list[str] = []
    samples: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP"):
            if head:
                yield head, samples
            head, samples = [line], []
        elif line.startswith("#"):
            head.append(line)
        elif line:
            samples.append(line)
    if head:
        yield head, samples


def _labelled(sample: str, process: str) -> str:
    name, brace, rest = sample.partition("{")
    label = f'process="{process}"'
    if brace and " " not in name:
        return f"{name}{{{label},{rest}"
    name, _, value = sample.partition(" ")
    return f"{name}{{{label}}} {value}"
