"""A watchdog thread that notices when the event loop is blocked, and samples whose code blocks it.

C code that does not release the interpreter stops this thread too. Then the sample is taken when the thread runs
again, which is usually right after that call. The CPU time that the process used meanwhile shows whether such a call
computed, or the machine had no time for the process. A C call that only waits looks like the latter.
"""

import asyncio
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

BLOCKED_AFTER = 1.0
"""Seconds without an answer after which the loop counts as blocked."""

PROBE_INTERVAL = 0.25
"""Seconds between two probes of the loop."""

_WAITING_MODULES = frozenset({"threading", "queue", "selectors", "concurrent.futures.thread"})
"""Modules in which a thread only waits for work."""


class Sample(NamedTuple):
    """What the process did while the loop was blocked."""

    seconds: float
    """How long the loop had been blocked."""
    task: str
    """The name of the running task; empty when no task ran."""
    owner: str
    """The owner of the code that ran; empty when it is not code of one of the known owners."""
    location: str
    """The file, the line and the function in that code."""
    stalled: bool = False
    """Whether the whole process stood still, and this was noticed only afterwards."""
    cpu: float = 0.0
    """Seconds of CPU that the process used meanwhile; only when it was stalled."""
    other_threads: Sequence[str] = ()
    """Where the other threads were, except those that wait for work; only when the process was stalled."""


@contextmanager
def watch(
    loop: asyncio.AbstractEventLoop,
    owners: Mapping[str, str],
    report: Callable[[Sample], None],
    on_probe: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Watch ``loop`` while the block runs, which must run in the loop's own thread.

    ``report`` is called once for each time that the loop is blocked: after BLOCKED_AFTER seconds while it still
    is, or afterwards when the whole process was stalled. ``on_probe`` is called with every probe. Both run
    in the watchdog's thread. ``owners`` names the owner of each known top-level package.
    """
    ended = threading.Event()
    watchdog = _Watchdog(loop, threading.get_ident(), owners, report)
    thread = threading.Thread(target=watchdog.run, args=(on_probe, ended), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


class _Watchdog:
    """The code that runs in the watchdog's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        loop_thread: int,
        owners: Mapping[str, str],
        report: Callable[[Sample], None],
    ) -> None:
        self._loop = loop
        self._loop_thread = loop_thread
        self._owners = owners
        self._report = report

    def run(self, on_probe: Callable[[], None], ended: threading.Event) -> None:
        """Probe the loop every PROBE_INTERVAL seconds until ``ended`` is set or the loop is closed."""
        answered = threading.Event()
        answered.set()
        probed_at, reported = 0.0, False
        began, cpu = time.monotonic(), time.process_time()
        while not ended.wait(PROBE_INTERVAL):
            now = time.monotonic()
            delay = now - began - PROBE_INTERVAL
            if delay > BLOCKED_AFTER:
                self._report_stall(delay, time.process_time() - cpu)
            if delay > PROBE_INTERVAL:
                # This thread itself did not run in time, so the delay of the loop is unknown.
                probed_at = now
            began, cpu = now, time.process_time()
            on_probe()
            if answered.is_set():
                answered.clear()
                probed_at, reported = now, False
                try:
                    self._loop.call_soon_threadsafe(answered.set)
                except RuntimeError:
                    return
            elif now - probed_at > BLOCKED_AFTER and not reported:
                reported = True
                if (sample := self._sample(now - probed_at)) is not None:
                    self._report(sample)

    def _report_stall(self, seconds: float, cpu: float) -> None:
        sample = self._sample(seconds)
        if sample is not None:
            others = _other_threads(self._loop_thread)
            self._report(sample._replace(stalled=True, cpu=cpu, other_threads=others))

    def _sample(self, seconds: float) -> Sample | None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  the only way to see another thread
        if frame is None:
            return None
        task = asyncio.current_task(self._loop)
        owner, location = _owner(frame, self._owners)
        return Sample(seconds, task.get_name() if task else "", owner, location)


def _other_threads(loop_thread: int) -> list[str]:
    """Return where the threads are, except the loop's, this one and those that wait for work."""
    this_thread = threading.get_ident()
    locations = []
    for thread, innermost in sys._current_frames().items():  # noqa: SLF001  as above
        frame: types.FrameType | None = innermost
        while frame is not None and str(frame.f_globals.get("__name__", "")) in _WAITING_MODULES:
            frame = frame.f_back
        if frame is not None and thread not in {this_thread, loop_thread}:
            locations.append(_location(frame))
    return locations


def _owner(innermost: types.FrameType, owners: Mapping[str, str]) -> tuple[str, str]:
    """Return the owner and the location of the innermost frame with an owner, or else of the innermost of all."""
    frame: types.FrameType | None = innermost
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in owners:
            return owners[package], _location(frame)
        frame = frame.f_back
    return "", _location(innermost)


def _location(frame: types.FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
