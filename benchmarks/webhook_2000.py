"""What 2,000 events in one webhook cost, from the raw request to the disk.

    python benchmarks/webhook_2000.py [--json] [EVENTS]

Stores as many messages, has the emulated SendGrid sign one request with an event about each, and hands it to
the gateway's webhook room: signature, translation, and a commit to SQLite with synchronous=FULL. Prints the
best and the median of five rounds in milliseconds of CPU, of all threads; every round has messages of its
own. The last line has one element in the middle that is not an event. ``--json`` prints the medians alone.
"""

import argparse
import asyncio
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from machine import Row, run

from gatepost.config.settings import InstanceSettings, Routes
from gatepost.hookspecs import Context
from gatepost.model import Channel, Secret, WebhookRequest
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import NewMessage, Outbox, Policy, new_id, open_outbox
from gatepost.plugin_host.instances import Instance
from gatepost.testing.report_sender import TakenMessage
from gatepost.webhooks import Webhooks
from gatepost_sendgrid import SendGrid, Settings, reports
from gatepost_sendgrid.testing import SendGridEmulator

ROUNDS = 5
BOUND = 250.0


def request(vendor: SendGridEmulator, ids: list[str], *, spoilt: bool = False) -> WebhookRequest:
    mail = {"personalizations": [{"to": [{"email": "player@mail.example"}]}]}
    events = []
    for one in ids:
        taken = TakenMessage(id=one, provider_id="euo2iKxdSayPF4YE4--I7A", message=mail, headers={})
        events.append(vendor.event("delivered", taken) | {"gp_id": one})
    if spoilt:
        events[len(events) // 2] = "not an event"
    body = join(vendor, events)
    headers = vendor.sign(body, time.time(), forged=False)
    return WebhookRequest(
        method="POST",
        url="https://gatepost.example/webhooks/sendgrid",
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        received_at=time.time(),
    )


def join(vendor: SendGridEmulator, events: list[dict]) -> bytes:
    """One request, although the vendor would have made two of so much."""
    parts = vendor.bodies(events, batch=0)
    return b"[" + b",".join(part.strip()[1:-1] for part in parts) + b"]"


async def stored(outbox: Outbox, count: int) -> list[str]:
    ids = [new_id() for _ in range(count)]
    await asyncio.gather(
        *(
            outbox.put(
                NewMessage(
                    id=one,
                    client="bench",
                    channel=Channel.EMAIL,
                    uid=one,
                    fingerprint=b"",
                    ext_user_id="u",
                    preview="",
                    callback_url="https://smartico.example/callback",
                    content=b"{}",
                    lifetime=86_400.0,
                )
            )
            for one in ids
        )
    )
    return ids


async def cpu(work: Callable[[], Awaitable[object]]) -> float:
    gc.collect()
    begun = time.process_time()
    await work()
    return (time.process_time() - begun) * 1000


def show(what: str, took: list[float]) -> None:
    print(f"{what:<44} best {min(took):7.1f} ms   median {statistics.median(took):7.1f} ms of CPU")


def rows() -> Iterator[Row]:
    """For the table of `make bench`."""
    figures = run("webhook_2000.py", "--json")
    note = f"signature {figures['verified']:.1f} ms, translation {figures['translated']:.1f} of that"
    yield Row("webhook of 2,000 events", figures["recorded"], "ms of CPU", BOUND, at_least=False, note=note)


async def measure(events: int, folder: Path, *, quiet: bool) -> dict[str, float]:
    vendor = SendGridEmulator()
    settings = Settings(api_key=Secret(vendor.api_key), webhook_public_key=vendor.public_key)
    plugin = SendGrid(settings, Context(name="sendgrid", log=logs.get("benchmark")))
    instance = Instance(InstanceSettings(name="sendgrid", use="sendgrid"), plugin)
    key = reports.parse_public_key(vendor.public_key)
    url = Secret(f"sqlite:///{folder / 'outbox.db'}")
    recorded: dict[bool, list[float]] = {False: [], True: []}
    verified: list[float] = []
    translated: list[float] = []
    async with open_outbox(url, folder, Policy()) as outbox:
        room = Webhooks({"sendgrid": instance}, Routes(email=("sendgrid",)), outbox, Metrics())
        for spoilt in (False, True):
            for _ in range(ROUNDS):
                signed = request(vendor, await stored(outbox, events), spoilt=spoilt)
                begun = time.process_time()
                reports.verify(key, signed)
                middle = time.process_time()
                reports.translate(signed.body, count_machine_opens=False)
                if not spoilt:
                    verified.append((middle - begun) * 1000)
                    translated.append((time.process_time() - middle) * 1000)
                recorded[spoilt].append(await cpu(lambda signed=signed: expect_200(room, signed)))
    if not quiet:
        print(f"{events} events, {len(signed.body) / 1e6:.2f} MB")
        show("signature", verified)
        show("translation", translated)
        show("all of it, recorded", recorded[False])
        show("all of it, recorded, one element no event", recorded[True])
    return {
        "verified": statistics.median(verified),
        "translated": statistics.median(translated),
        "recorded": statistics.median(recorded[False]),
    }


async def expect_200(room: Webhooks, signed: WebhookRequest) -> None:
    status = await room.handle("sendgrid", signed)
    if status != 200:
        raise SystemExit(f"the webhook answered {status}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("events", nargs="?", type=int, default=2000)
    chosen = parser.parse_args()
    logs.configure("error")
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(chosen.events, Path(folder), quiet=chosen.json))
    if chosen.json:
        print(json.dumps(figures))
    elif chosen.events == 2000 and figures["recorded"] > BOUND:
        raise SystemExit(f"more than the {BOUND:.0f} ms that are allowed")


if __name__ == "__main__":
    main()
