"""Faults that a scenario plants in a gateway's process: bugs that must be found, poison messages, a shifted clock.

The fork server calls one of these functions by its name in the child, after all imports and before it serves.
"""

import asyncio
import functools
import itertools
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from gatepost import app, gateway
from gatepost.errors import Uncertain
from gatepost.intake import accept
from gatepost.model import Email, Receipt, Status
from gatepost.outbox import Outbox, RecordResult, StoredMessage
from gatepost.plugin_host.instances import Instance


def answer_before_commit() -> None:
    """Break promise 1: answer Smartico with 0 before the message is on disk."""
    real = Outbox.put

    async def put(self: Outbox, message: accept.NewMessage) -> StoredMessage:
        async def put_later() -> None:
            # Longer than the time from the answer to the kill on a slow machine.
            await asyncio.sleep(2)
            await real(self, message)

        self._delayed = [*getattr(self, "_delayed", []), asyncio.ensure_future(put_later())]
        return StoredMessage(message.id, message.fingerprint)

    Outbox.put = put


def resend_without_waiting() -> None:
    """Break promise 2: send what was in flight at a crash again without waiting for a report."""
    real = app.open_outbox

    def open_outbox(url, base, policy, **options):
        return real(url, base, replace(policy, uncertain_wait=0.0), **options)

    app.open_outbox = open_outbox


def forget_reports() -> None:
    """Break promise 4: answer a report with 200 and do not store it."""

    async def record(_self: Outbox, reported: object) -> RecordResult:
        return RecordResult(new=len(reported.events), repeated=0, unknown=0)

    Outbox.record = record


def answer_reports_before_commit() -> None:
    """Break promise 4: take a report before it is on disk."""
    real = Outbox.record

    async def record(self: Outbox, reported: object) -> RecordResult:
        async def record_later() -> None:
            # Longer than the time from the answer to the kill on a slow machine.
            await asyncio.sleep(2)
            await real(self, reported)

        self._delayed = [*getattr(self, "_delayed", []), asyncio.ensure_future(record_later())]
        return RecordResult(new=len(reported.events), repeated=0, unknown=0)

    Outbox.record = record


def call_back_out_of_order() -> None:
    """Break promise 4: make the callback of a status before the one of the status before it."""
    from gatepost.outbox import reports  # noqa: PLC0415

    real = reports._status_row

    def status_row(tx, new, reporter, _callback_state, message):
        row = real(tx, new, reporter, reports.CallbackState.QUEUED, message)
        if new.status is Status.ACCEPTED:
            *before, _, client, target = row
            return (*before, tx.after(0.5), client, target)
        return row

    reports._status_row = status_row


def finish_without_fence() -> None:
    """Break promise 2 among replicas: record a result, whichever replica has the claim meanwhile."""
    from gatepost.outbox import send_results  # noqa: PLC0415

    real = send_results.finish

    def finish(tx, results):
        for result in results:
            statement = send_results.messages.update().where(send_results.messages.c.id == result.id)
            tx.connection.execute(statement.values(holder=tx.holder, attempt=result.attempt, state="sending"))
        return real(tx, results)

    send_results.finish = finish


def exit_at_sigterm() -> None:
    """Break promise 1: after SIGTERM, exit as soon as the next message is on disk, without an answer to it."""
    real = Outbox.put
    stopping = False

    async def put(self: Outbox, message: accept.NewMessage) -> StoredMessage:
        stored = await real(self, message)
        if stopping:
            os._exit(0)
        return stored

    def stop(_self: gateway.Gateway) -> None:
        nonlocal stopping
        stopping = True
        # If no further message comes, the process must end all the same.
        asyncio.get_running_loop().call_later(5, os._exit, 0)

    Outbox.put = put
    gateway.Gateway.stop = stop


def send_repeats_as(change: Callable[[Email, int], Email]) -> None:
    """Let ``change`` make another message of each, with the number of sends of this process."""
    real = Instance.send
    count = itertools.count()

    async def send(self: Instance, message: Email) -> Receipt:
        return await real(self, change(message, next(count)))

    Instance.send = send


def give_repeats_their_own_key() -> None:
    """Break what ``replay_safe`` promises: send each repeat with another key."""
    send_repeats_as(
        lambda email, count: replace(email, idempotency_key=f"{email.idempotency_key}-{os.getpid()}-{count}")
    )


def change_repeats() -> None:
    """Break what ``replay_safe`` promises: change a byte of each repeat."""
    send_repeats_as(lambda email, count: replace(email, html=f"{email.html}<!-- {count} -->"))


def give_retries_the_old_key() -> None:
    """Break what ``replay_safe`` promises: never change the key of a message."""
    send_repeats_as(lambda email, _count: replace(email, idempotency_key=email.id))


def repeat_for_ever() -> None:
    """Break what ``replay_safe`` promises: repeat after the provider may have forgotten the key."""
    from gatepost.delivery import failover  # noqa: PLC0415

    failover.repeat_until = lambda _member, _first_at, expires_at: expires_at


def take_no_answer_for_a_receipt() -> None:
    """Break promise 1: record a message as sent although its answer was lost."""
    real = Instance.send

    async def send(self: Instance, message: Email) -> Receipt:
        try:
            return await real(self, message)
        except Uncertain:
            return Receipt()

    Instance.send = send


POISON_EVERY = 16
"""One message of this many is poison."""

DEATH_DELAY = 0.06
"""Seconds from the send of a poison message to the death of the process, in which others are sent."""


def is_poison(uid: str) -> bool:
    """Return whether the process dies that sends this message."""
    return int(uid.removeprefix("uid-")) % POISON_EVERY == POISON_EVERY // 2


def die_of_poison_messages() -> None:
    """Make the process kill itself when it sends a poison message."""
    real = Instance.send

    async def send(self: Instance, message: Email) -> Receipt:
        if is_poison(re.search(r"uid-\d+", message.subject)[0]):
            await asyncio.sleep(DEATH_DELAY)
            os.kill(os.getpid(), signal.SIGKILL)
        return await real(self, message)

    Instance.send = send


def send_suspects_together() -> None:
    """Die of poison messages, and send suspects together with others, so that a third death holds all of them."""
    from sqlalchemy import literal  # noqa: PLC0415

    from gatepost.outbox import deaths  # noqa: PLC0415

    deaths.waiting_state = literal("queued")
    die_of_poison_messages()


def shift_store_clock() -> None:
    """Shift the store's clock by the seconds in the file that TORTURE_CLOCK names."""
    offset = Path(os.environ["TORTURE_CLOCK"])

    def clock() -> float:
        return time.time() + float(offset.read_text() or 0)

    app.open_outbox = functools.partial(app.open_outbox, clock=clock)
