"""A provider that drops repeats with the same key for some seconds, and loses answers."""

import hashlib
import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from aiohttp import web

from gatepost.testing import emulator
from gatepost.testing.report_sender import TakenMessage
from torture.provider import Provider
from torture.replay_oracle import Request

_LOSSES: tuple[Callable[[], emulator.Failure], ...] = (
    lambda: emulator.close_after_body(taken=True),
    lambda: emulator.close_after_body(taken=True),
    lambda: emulator.close_after_body(taken=False),
    lambda: emulator.hang(taken=True),
    emulator.stall,
    lambda: emulator.answer(503),
)
"""How requests fail: most in a way that leaves open whether the message was taken."""

_current: ContextVar[Request] = ContextVar("current_request")


class ReplayProvider(Provider):
    """A provider without reports, called through the plugin ``http``, with a key in a header of each request."""

    def __init__(self, rng: random.Random, *, window: float, losses: float, max_delay: float) -> None:
        """``window``: seconds for which repeats are dropped; ``losses``: the part of the requests that fail."""
        super().__init__(rng, reports=False, max_delay=max_delay)
        self.window = window
        self.seen: list[Request] = []
        """Every request that arrived, also one that failed."""
        self.dropped = 0
        """Repeats that were answered like the message before, and not taken again."""
        self._taken_at: dict[str, float] = {}
        self.next_failure = lambda: rng.choice(_LOSSES)() if rng.random() < losses else emulator.NO_FAILURE

    def plugin_table(self, replica: int) -> Mapping[str, object]:
        return {
            "use": "http",
            "channel": "email",
            "base_url": self.base_url,
            "bearer": self.api_key,
            "replay_safe": self.window,
            "request": {
                "path": "/v3/mail/send",
                "headers": {
                    "Idempotency-Key": "{idempotency_key}",
                    "X-Message": "{id}",
                    "X-Replica": str(replica),
                },
                "json": {
                    "personalizations": [
                        {"to": [{"email": "{recipient}"}], "custom_args": {"gp_id": "{id}"}}
                    ],
                    "from": {"email": "{sender}"},
                    "subject": "{subject}",
                    "content": [{"type": "text/html", "value": "{html}"}],
                },
            },
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = request.headers
        seen = Request(
            time.monotonic(), headers["X-Message"], headers["Idempotency-Key"], int(headers["X-Replica"])
        )
        self.seen.append(seen)
        _current.set(seen)
        return await super().handle(request)

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        _current.get().body = hashlib.sha256(body).digest()
        return await super().answer_to(request, body)

    async def take(self, taken: TakenMessage) -> None:
        request = _current.get()
        now = time.monotonic()
        if now - self._taken_at.get(request.key, -self.window) < self.window:
            self.dropped += 1
            return
        self._taken_at[request.key] = request.taken_at = now
        await super().take(taken)
