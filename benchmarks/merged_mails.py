"""What merge fields cost a mail, from its request to the message that a plugin gets: off, on and unused, and used.

    python benchmarks/merged_mails.py

The same mail is decoded, checked, encoded and composed in turn for each of these; nothing is stored or sent.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median

import msgspec
from driver import TEXT, email
from machine import Row

from gatepost.config.client import Client
from gatepost.config.routes import Routes
from gatepost.config.settings import Contacts, Delivery, Logs, Server, Settings, Store
from gatepost.delivery.composition import Composer
from gatepost.intake import requests
from gatepost.merge_fields.messages import MergeFields
from gatepost.model import Channel, Secret
from gatepost.observe.metrics import Metrics
from gatepost.observe.trail import NO_TRAIL
from gatepost.outbox import Claim, Queue, new_id

ATTRIBUTES = {"first_name": "Anna-Maria", "city": "São Paulo", "born": "1990-12-31", "language": "pt-BR"}
FIELDS = (
    "<p>Hello {{contact.first_name|there}}, how is {{contact.city:upper|life}}?</p>"
    '<a href="https://brand.example/?n={{contact.first_name}}" title="{{contact.first_name}}">Play</a>'
)
RECIPIENT = Secret("anna@example.com")

ROUNDS, WARMUP_ROUNDS = 100, 10
CALLS = 100

Way = Callable[[], Awaitable[object]]


def rows() -> Iterator[Row]:
    """Yield the rows of this measurement."""
    mails = [_mail(fields, text) for text in (TEXT, "") for fields in ("", FIELDS)]
    ways = [_way(mail, on=on) for mail in mails for on in (False, True)]
    off, unused, ignored, used, _, _, ignored_bare, used_bare = asyncio.run(_times(ways))
    yield _row("merge fields, on and unused", unused, off, f"a mail of {len(mails[0]):,} bytes")
    yield _row("merge fields, four used", used, ignored, "the same mail with four fields")
    yield _row("merge fields, four used, text derived", used_bare, ignored_bare, "and without a text part")


def _row(name: str, times: list[float], without: list[float], what: str) -> Row:
    """Return a row: the median of the ratios of neighbours, and of the differences."""
    ratio = median(one / other for one, other in zip(times, without, strict=True))
    more = median(one - other for one, other in zip(times, without, strict=True))
    note = f"{median(times):.0f} µs of CPU each, {more:+.1f}; {what}"
    return Row(name, ratio, "of merge_fields off", note=note)


def _mail(fields: str, text: str) -> bytes:
    request = msgspec.json.decode(email("bench", 0))
    return msgspec.json.encode({**request, "body": request["body"] + fields, "text_body": text})


def _way(body: bytes, *, on: bool) -> Way:
    """Return the way of a mail, for a client whose merge fields are on or off."""
    client = Client(authorization=(Secret("x"),), merge_fields=on)
    composer = Composer(_settings(client), Metrics(clients=["bench"]), NO_TRAIL)
    merge_fields = MergeFields(["bench"])

    async def go() -> object:
        request = requests.decode(Channel.EMAIL, body)
        assert isinstance(request, requests.EmailRequest)
        template = None
        if client.merge_fields:
            template = await merge_fields.read_email(
                "bench", request.subject, request.html, request.text or None
            )
        claim = _claim(requests.stored_content(request, merge_fields=template is not None))
        return await composer.compose(claim, RECIPIENT, ATTRIBUTES)

    return go


def _settings(client: Client) -> Settings:
    return Settings(
        path=Path(),
        server=Server(),
        store=Store(),
        clients={"bench": client},
        contacts=Contacts(),
        delivery=Delivery(),
        routes=Routes(),
        logs=Logs(),
        plugins={},
    )


def _claim(content: bytes) -> Claim:
    return Claim(
        id=new_id(),
        attempt=1,
        queue=Queue(1, Channel.EMAIL, "all", "bench"),
        country="",
        ext_user_id="u1",
        preview="",
        content=content,
        lifetime=86_400.0,
    )


async def _times(ways: list[Way]) -> list[list[float]]:
    """Return the microseconds of CPU of a mail in each round, for each way."""
    times: list[list[float]] = [[] for _ in ways]
    for number in range(WARMUP_ROUNDS + ROUNDS):
        for way, durations in zip(ways, times, strict=True):
            began = time.process_time()
            for _ in range(CALLS):
                await way()
            if number >= WARMUP_ROUNDS:
                durations.append((time.process_time() - began) / CALLS * 1e6)
    return times


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name}: {row.figure:.3g} {row.unit}; {row.note}")
