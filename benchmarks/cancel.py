"""How long it takes to cancel a large campaign, and how long that holds up another client.

    .venv/bin/python benchmarks/cancel.py [--messages 1000000] [sqlite] [postgresql]

The store is filled with queued mails of one client. They are cancelled by a pattern of their subjects, in the steps that
`gatepost messages cancel` asks for. Meanwhile another client's messages are accepted, claimed and
recorded as sent, and both clients' callbacks are claimed and recorded as acknowledged. The delay of each of these is
compared with that before the cancel.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvloop
from sqlalchemy import insert

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from claiming import claim_callbacks
from gatepost.content import EmailContent, encode_content
from gatepost.model import Channel, Mailbox, Secret
from gatepost.outbox import CallbackResult, NewMessage, Outbox, Policy, SendResult, new_id, open_outbox
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.queues import add_queues
from gatepost.outbox.schema import contents, messages
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction
from gatepost.web.admin.cancellations import cancel
from gatepost.web.admin.requests import CancelRequest
from torture import postgres

CALLBACKS_PER_SECOND = 500
"""Callbacks that Smartico answers for the client whose messages are cancelled."""

MAX_DELAY = 0.1
"""Seconds by which a cancel may delay another client's send or callback."""


def message(client: str, subject: str, html: str) -> NewMessage:
    content = EmailContent(sender=Mailbox("news@brand.example"), subject=subject, html=html)
    return NewMessage(
        id=new_id(),
        client=client,
        channel=Channel.EMAIL,
        route="email",
        uid=new_id(),
        fingerprint=bytes(32),
        ext_user_id=f"user-{random.randrange(10**6)}",
        preview="",
        callback_url=f"https://{client}.example/status",
        content=encode_content(content),
        lifetime=86_400.0,
    )


async def fill(outbox: Outbox, count: int, html: str) -> None:
    """Store the queued mails of a campaign, accepted at about 1,000 a second."""
    subject = "Spring sale: 20 % off"
    first = message("campaign", subject, html)

    def put(tx: Transaction, chunks: Sequence[int]) -> list[None]:
        (queue,) = add_queues(tx, [(Channel.EMAIL, "email", "campaign")]).values()
        for start in chunks:
            rows = [_row(tx, queue.id, start + number, count) for number in range(2_000)]
            tx.connection.execute(insert(messages), rows)
            tx.connection.execute(
                insert(contents), [{"message_id": row["id"], "content": first.content} for row in rows]
            )
        return [None] * len(chunks)

    for start in range(0, count, 2_000):
        await outbox.change(put, start)


def _row(tx: Transaction, queue: int, number: int, count: int) -> dict[str, object]:
    created_at = tx.now - count + number
    return {
        "id": new_id(),
        "client": "campaign",
        "channel": "email",
        "uid": f"uid-{number}",
        "queue": queue,
        "country": "",
        "fingerprint": bytes(32),
        "ext_user_id": f"user-{number}",
        "preview": "",
        "callback_url": "https://campaign.example/status",
        "state": "queued",
        "due_at": created_at,
        "created_at": created_at,
        "expires_at": created_at + 86_400_000,
        "attempt": 0,
        "holder": "",
        "lost_answers": 0,
        "passed": "",
        "deaths": 0,
        "instance": "",
        "reason": "",
        "code": "",
    }


class OtherClient:
    """A client whose messages and callbacks go on; it notes the delay of each."""

    def __init__(self, outbox: Outbox, html: str) -> None:
        self._outbox = outbox
        self._html = html
        self._background: set[asyncio.Task[bool]] = set()
        self.delays: dict[str, list[float]] = {"send": [], "callback": []}

    async def _measured(self, kind: str, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            start = time.perf_counter()
            await step()
            self.delays[kind].append(time.perf_counter() - start)
            await asyncio.sleep(random.uniform(0.02, 0.08))

    async def _send(self) -> None:
        """Accept a message and claim it: then it goes to the provider."""
        await self._outbox.put(message("other", "Your login code", self._html))
        queues, _ = self._outbox.queue_signals.take()
        requests = [ClaimRequest(queue, 16, 30.0) for queue in queues if queue.client == "other"]
        for batch in await self._outbox.claim(lambda: requests):
            for claim in batch.claims:
                result = SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT)
                self._background.add(task := asyncio.create_task(self._outbox.finish(result)))
                task.add_done_callback(self._background.discard)

    async def _call_back(self, client: str = "other", limit: int = 16) -> None:
        calls = await claim_callbacks(self._outbox, limit, 45.0, client=client)
        results = [CallbackResult(seq=one.seq, attempt=one.attempt, acknowledged=True) for one in calls]
        await self._outbox.finish_callbacks(lambda: results)

    async def _call_back_campaign(self) -> None:
        while True:
            await self._call_back("campaign", CALLBACKS_PER_SECOND // 10)
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._measured("send", self._send)),
            asyncio.create_task(self._measured("callback", self._call_back)),
            asyncio.create_task(self._call_back_campaign()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *self._background, return_exceptions=True)

    def figures(self) -> str:
        texts = []
        for kind, delays in self.delays.items():
            ordered = sorted(delays)
            p99 = ordered[len(ordered) * 99 // 100]
            late = sum(delay > MAX_DELAY for delay in ordered)
            texts.append(
                f"{kind}: median {statistics.median(ordered) * 1000:.0f} ms, 99 % {p99 * 1000:.0f} ms, "
                f"longest {ordered[-1] * 1000:.0f} ms, {late} of {len(ordered)} longer than {MAX_DELAY * 1000:g} ms"
            )
            delays.clear()
        return "; ".join(texts)


async def measure(url: str, folder: Path, count: int, size: int) -> None:
    html = "x" * size
    async with open_outbox(Secret(url), folder, Policy()) as outbox:
        start = time.perf_counter()
        await fill(outbox, count, html)
        print(
            f"  filled with {count:,} mails of {size:,} bytes in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        other = OtherClient(outbox, html)
        async with other.at_work():
            await asyncio.sleep(10)
            print(f"  before  {other.figures()}", flush=True)
            start, cpu = time.perf_counter(), time.process_time()
            wanted = MessageFilter(client="campaign", text="*sale*")
            request = CancelRequest(wanted=wanted, reason="benchmark")
            steps = 0
            while True:
                progress = await cancel(None, outbox, request, "benchmark")
                steps += 1
                if progress.done:
                    break
                request = msgspec.structs.replace(request, progress=progress)
                # What the way over the socket takes; others have their turn.
                await asyncio.sleep(0.001)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            print(
                f"  cancel  {progress.found:,} in {seconds:.1f} s ({progress.found / seconds:,.0f} a second, "
                f"{cpu:.1f} s of CPU, {steps:,} steps); {other.figures()}",
                flush=True,
            )
            await asyncio.sleep(10)
            print(f"  after   {other.figures()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stores", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=2_000, help="of the HTML of a mail")
    options = parser.parse_args()
    for name in options.stores:
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            if name == "sqlite":
                uvloop.run(measure("sqlite:///outbox.db", Path(folder), options.messages, options.bytes))
                continue
            with postgres.start_server() as server:
                uvloop.run(measure(server.new_database(), Path(folder), options.messages, options.bytes))


if __name__ == "__main__":
    main()
