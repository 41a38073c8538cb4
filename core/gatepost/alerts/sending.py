"""Sending to a receiver, in a thread of its own: Apprise blocks, and a receiver may hang."""

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from gatepost.alerts.digest import Item, Message, digest
from gatepost.alerts.receivers import Receiver
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle

TIMEOUT = 30.0
"""Seconds that a receiver has to take a message."""

MAX_OWED = 100
"""Changes that are kept for a receiver that takes none while others do."""

_log = logs.get(__name__)


class Sending:
    """The messages to one receiver, one at a time."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.owed: list[Item] = []
        """What it has not taken, while another receiver has. It is lost at a restart."""
        self._thread: threading.Thread | None = None
        self._throttle = LogThrottle(time.monotonic)

    async def send(self, items: Sequence[Item]) -> bool:
        """Send what it is owed and these items; return whether it has taken them."""
        everything = [*self.owed, *items]
        if not everything:
            return True
        problem = await self.try_message(digest(everything))
        if not problem:
            self.owed = []
        elif self._throttle.due(problem):
            one = self.receiver
            _log.warning("alert_not_sent", scheme=one.scheme, entry=one.position, reason=problem)
        return not problem

    def owe(self, items: Sequence[Item]) -> None:
        """Keep these items for the next message."""
        self.owed = [*self.owed, *items][-MAX_OWED:]

    async def try_message(self, message: Message) -> str:
        """Send a message; return why it was not taken, or an empty text.

        A thread can't be stopped. While one hangs, no other is started.
        """
        if self._thread is not None and self._thread.is_alive():
            return "an earlier message hangs"
        loop = asyncio.get_running_loop()
        result: asyncio.Future[str] = loop.create_future()

        def finish(problem: str) -> None:
            if not result.done():
                result.set_result(problem)

        def work() -> None:
            try:
                was_taken = self.receiver.send(message.title, message.body)
                problem = "" if was_taken else "it was not taken, or there is no connection"
            except Exception as error:  # noqa: BLE001  of any of Apprise's services; its text may be private
                problem = f"Apprise failed ({type(error).__name__})"
            # The gateway may have stopped meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, problem)

        # A daemon, so that a receiver that hangs does not keep the process from ending.
        self._thread = threading.Thread(target=work, name="alerts", daemon=True)
        self._thread.start()
        try:
            return await asyncio.wait_for(result, TIMEOUT)
        except TimeoutError:
            return f"no answer within {TIMEOUT:g} s"
