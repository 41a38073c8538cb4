"""The CPU of one webhook with 2,000 events, from the raw request to the disk.

    python benchmarks/webhook_2000.py [--json] [EVENTS]

Stores EVENTS messages as sent, lets the emulated SendGrid sign one request with an event about each, and gives it to the
gateway's webhook code: signature, translation, and a commit to SQLite with synchronous=FULL. Prints the best and
the median of five rounds in milliseconds of CPU of all threads. Each round has new messages. In the last line, one
element of the request is not an event. ``--json`` prints only the medians.
"""

import argparse
import asyncio
import gc
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from load import noop_cost
from machine import Row, run_script

from gatepost.config.routes import Routes
from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import Contacts
from gatepost.contacts.users import UserSearch
from gatepost.hookspecs import Context
from gatepost.model import Channel, Secret, WebhookRequest
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import NewMessage, Outbox, Policy, SendResult, Try, new_id, open_outbox
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.states import State
from gatepost.plugin_host.instances import Instance
from gatepost.testing.report_sender import TakenMessage
from gatepost.testing.webhook_requests import webhook_request
from gatepost.webhooks.handler import Webhooks
from gatepost_sendgrid import SendGrid, Settings, reports
from gatepost_sendgrid.testing import SendGridEmulator

ROUNDS = 5
GOAL = 0.6
"""CPU of an event, as a multiple of a request to the no-op of *accept*."""


def request(
    vendor: SendGridEmulator, ids: Mapping[str, str], *, invalid_event: bool = False
) -> WebhookRequest:
    """Return a signed request with a ``delivered`` event about each message; ``ids``: the provider's by ours."""
    mail = {"personalizations": [{"to": [{"email": "player@mail.example"}]}]}
    events = []
    for one, provider_id in ids.items():
        taken = TakenMessage(id=one, provider_id=provider_id, message=mail, headers={})
        events.append(vendor.event("delivered", taken) | {"gp_id": one})
    if invalid_event:
        events[len(events) // 2] = "not an event"
    body = join(vendor, events)
    return vendor.sign(webhook_request(body=body))


def join(vendor: SendGridEmulator, events: list[dict]) -> bytes:
    """Return the body of one request; SendGrid itself would split this many events into two."""
    parts = vendor.bodies(events, batch=0)
    return b"[" + b",".join(part.strip()[1:-1] for part in parts) + b"]"


async def send_messages(outbox: Outbox, count: int) -> dict[str, str]:
    """Store messages that were sent; return the provider's ids by ours."""
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
    sent = {one: secrets.token_urlsafe(16) for one in ids}
    [queue] = await outbox.due_queues()
    for batch in await outbox.claim(lambda: [ClaimRequest(queue, count, 60.0)]):
        await asyncio.gather(
            *(
                outbox.finish(
                    SendResult(
                        id=claim.id,
                        attempt=claim.attempt,
                        state=State.SENT,
                        instance="sendgrid",
                        tries=[Try(instance="sendgrid", outcome="sent", provider_id=sent[claim.id])],
                    )
                )
                for claim in batch.claims
            )
        )
    return sent


async def measure_cpu(work: Callable[[], Awaitable[object]]) -> float:
    """Return the CPU milliseconds of all threads while ``work`` runs."""
    gc.collect()
    began = time.process_time()
    await work()
    return (time.process_time() - began) * 1000


def print_line(part: str, times: list[float]) -> None:
    print(f"{part:<44} best {min(times):7.1f} ms   median {statistics.median(times):7.1f} ms of CPU")


def rows() -> Iterator[Row]:
    """Measure the row for the table of ``make bench``: an event, and in turn a request to the no-op."""
    ratios = []
    for _ in range(3):
        noop, figures = noop_cost(), run_script("webhook_2000.py", "--json")
        ratios.append(figures["recorded"] / 2000 / 1000 / noop)
    note = f"{figures['recorded']:.0f} ms in all; signature and translation {figures['read']:.1f} ms of that"
    name, unit = "webhook of 2,000 events: CPU of an event", "of a no-op request"
    yield Row(name, statistics.median(ratios), unit, GOAL, at_least=False, note=note)


async def measure(events: int, folder: Path, *, quiet: bool) -> dict[str, float]:
    """Return the medians in milliseconds of CPU; print all figures unless ``quiet``."""
    vendor = SendGridEmulator()
    settings = Settings(api_key=Secret(vendor.api_key), webhook_public_key=vendor.public_key)
    plugin = SendGrid(settings, Context(name="sendgrid", log=logs.get("benchmark")))
    instance = Instance(InstanceSettings(name="sendgrid", use="sendgrid"), plugin)
    key = reports.parse_public_key(vendor.public_key)
    url = Secret(f"sqlite:///{folder / 'outbox.db'}")
    recorded: dict[bool, list[float]] = {False: [], True: []}
    read: list[float] = []
    async with open_outbox(url, folder, Policy()) as outbox:
        routes = Routes(email=Routes.listed(Channel.EMAIL, ("sendgrid",)))
        webhooks = Webhooks(
            {"sendgrid": instance}, routes, outbox, UserSearch(Contacts({}, 2.0, ""), routes, 2.0), Metrics()
        )
        for invalid_event in (False, True):
            for _ in range(ROUNDS):
                signed = request(vendor, await send_messages(outbox, events), invalid_event=invalid_event)
                began = time.process_time()
                reports.read_report(signed, key, count_machine_opens=False)
                if not invalid_event:
                    read.append((time.process_time() - began) * 1000)
                recorded[invalid_event].append(
                    await measure_cpu(lambda signed=signed: expect_200(webhooks, signed))
                )
    if not quiet:
        print(f"{events} events, {len(signed.body) / 1e6:.2f} MB")
        print_line("signature and translation", read)
        print_line("whole webhook", recorded[False])
        print_line("whole webhook, one element is not an event", recorded[True])
    return {
        "read": statistics.median(read),
        "recorded": statistics.median(recorded[False]),
    }


async def expect_200(webhooks: Webhooks, signed: WebhookRequest) -> None:
    """Handle the request, and end the program if the answer is not 200."""
    answer = await webhooks.handle("sendgrid", signed)
    if answer.status != 200:
        raise SystemExit(f"the webhook answered {answer.status}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("events", nargs="?", type=int, default=2000)
    arguments = parser.parse_args()
    logs.configure("error")
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(arguments.events, Path(folder), quiet=arguments.json))
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
