"""The check of how a signature is compared: a plain comparison takes the longer, the more of it is right."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.webhook_checks import events_of, send_and_report, signed
from gatepost.testing.webhook_requests import replace_request

_MIN_LENGTH = 16
"""Characters of the shortest value that can be a signature or a token."""
_VERIFIERS = ("compare_digest", "verify", "verify_signature", "open")
"""Names of the functions in C that compare in constant time or verify a public key's signature."""


class _CountedText(str):
    """A header's value that counts plain comparisons with an equal text of some length."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        equal = str.__eq__(self, other) if isinstance(other, str) else False
        if equal is True and len(self) >= _MIN_LENGTH:
            _CountedText.compared += 1
        return equal is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


@check(Group.WEBHOOKS)
async def constant_time(harness: Harness) -> None:
    """Compare signatures and tokens with hmac.compare_digest, or verify them with a library.

    Call hmac.compare_digest, or a library's verify: the time of a plain `==` tells how much of a guess was
    right.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        genuine = signed(harness, request)
        headers = {name: _CountedText(value) for name, value in genuine.headers.items()}
        _CountedText.compared = 0
        with _verifiers_called() as called:
            outcome = await running.parse(replace_request(genuine, headers=headers))
        assert events_of(outcome), "a genuine report has no events"
    assert not _CountedText.compared, "a header is compared with `==`: use hmac.compare_digest"
    assert called, "it calls neither hmac.compare_digest nor a library that verifies: use hmac.compare_digest"


@contextmanager
def _verifiers_called() -> Iterator[set[str]]:
    """Yield the names of the verifying functions that are called while the block runs, in new threads too."""
    called: set[str] = set()

    def profile(_frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and getattr(function, "__name__", "") in _VERIFIERS:
            called.add(function.__name__)

    before = sys.getprofile()
    # Threads that run already have no profile function.
    executor = ThreadPoolExecutor(2)
    loop = asyncio.get_running_loop()
    default = getattr(loop, "_default_executor", None)
    loop.set_default_executor(executor)
    set_in_threads: Any = threading.setprofile
    set_in_threads(profile)
    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(before)
        # typeshed forgets that None switches it off.
        set_in_threads(None)
        executor.shutdown()
        setattr(loop, "_default_executor", default)  # noqa: B010
