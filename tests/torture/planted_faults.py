"""What a gateway's process may be given on its way: bugs that the bench must find, a clock that jumps, poison.

Called by name in the child, after everything is imported and before it serves.
"""

import asyncio
import functools
import os
import re
import signal
import time
from pathlib import Path

from gatepost import app
from gatepost.intake import accept
from gatepost.model import Email, Receipt, Status
from gatepost.outbox import Outbox, RecordResult, StoredMessage
from gatepost.plugin_host.instances import Instance


def answer_before_commit() -> None:
    """Promise 1: Smartico hears 0 before the message is on disk."""
    real = Outbox.put

    async def put(self: Outbox, message: accept.NewMessage) -> StoredMessage:
        async def later() -> None:
            # Longer than a kill after the answer may take on a slow machine.
            await asyncio.sleep(2)
            await real(self, message)

        self._late = [*getattr(self, "_late", []), asyncio.ensure_future(later())]
        return StoredMessage(message.id, message.fingerprint)

    Outbox.put = put


def resend_at_once() -> None:
    """Promise 2: what was claimed when the process died is due again, and no report is waited for."""
    real = app.open_outbox

    def opened(url, base, policy, *rest):
        return real(url, base, type(policy)(uncertain_wait=0.0, retention=policy.retention), *rest)

    app.open_outbox = opened


def forget_reports() -> None:
    """Promise 4: a report is answered with 200 and not stored."""

    async def record(_self: Outbox, reported: object) -> RecordResult:
        return RecordResult(new=len(reported.events), repeated=0, unknown=0)

    Outbox.record = record


def tell_before_it_is_due() -> None:
    """Promise 4: a status goes out although the one before it was not heard yet."""
    from gatepost.outbox import reports  # noqa: PLC0415

    real = reports._status_row

    def row(tx, identity, status, code, callback_state, url):
        found = real(tx, identity, status, code, reports.CallbackState.QUEUED, url)
        if status is Status.ACCEPTED:
            found["due_at"] = tx.after(0.5)
        return found

    reports._status_row = row


def finish_whoever_holds() -> None:
    """Promise 2 among replicas: an outcome counts whoever claimed the message meanwhile."""
    from gatepost.outbox import send_results  # noqa: PLC0415

    real = send_results.finish

    def finish(tx, outcomes):
        for outcome in outcomes:
            statement = send_results.messages.update().where(send_results.messages.c.id == outcome.id)
            tx.connection.execute(
                statement.values(holder=tx.holder, attempt=outcome.attempt, state="sending")
            )
        return real(tx, outcomes)

    send_results.finish = finish


def leave_at_once() -> None:
    """Promise 1, and manners: told to stop, it goes with the next message on disk, and owes its answer."""
    real = Outbox.put
    stopping = False

    async def put(self: Outbox, message: accept.NewMessage) -> StoredMessage:
        stored = await real(self, message)
        if stopping:
            os._exit(0)
        return stored

    def stop(_self: app.Gateway) -> None:
        nonlocal stopping
        stopping = True
        # Nothing was in hand: without an end the bench would wait for it.
        asyncio.get_running_loop().call_later(5, os._exit, 0)

    Outbox.put = put
    app.Gateway.stop = stop


DEADLY = 16
"""One in so many messages is deadly where there is poison."""

SICKENING = 0.06
"""Seconds from the deadly message to the end: time enough for others to be sent."""


def is_deadly(uid: str) -> bool:
    """Whether this message kills the process that sends it."""
    return int(uid.removeprefix("uid-")) % DEADLY == DEADLY // 2


def poison() -> None:
    """The process dies over one message in sixteen."""
    real = Instance.send

    async def send(self: Instance, message: Email) -> Receipt:
        if is_deadly(re.search(r"uid-\d+", message.subject)[0]):
            await asyncio.sleep(SICKENING)
            os.kill(os.getpid(), signal.SIGKILL)
        return await real(self, message)

    Instance.send = send


def send_suspects_together() -> None:
    """Poison, and whatever was in hand at two deaths is sent as before: at the third all of it is blamed."""
    from sqlalchemy import literal  # noqa: PLC0415

    from gatepost.outbox import deaths  # noqa: PLC0415

    deaths.waiting_state = literal("queued")
    poison()


def jumping_clock() -> None:
    """The store's clock is off by as many seconds as the file that TORTURE_CLOCK names says."""
    offset = Path(os.environ["TORTURE_CLOCK"])

    def clock() -> float:
        return time.time() + float(offset.read_text() or 0)

    app.open_outbox = functools.partial(app.open_outbox, clock=clock)
