"""Notices that the event loop is held, and by whom: a blocking call in a plugin stops everybody.

C code that does not let go of the interpreter stops this thread too. It can only say so afterwards, and where
everybody was when it ran again, which is mostly right behind that call. The CPU that the process used meanwhile tells
such a call from a machine that had no time for the process; only one that merely waits looks the same.
"""

import asyncio
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

LATE = 1.0
"""Seconds that the loop may take to answer."""

EVERY = 0.25
"""Seconds between two questions."""


_WAITING = frozenset({"threading", "queue", "selectors", "concurrent.futures.thread"})
"""Modules in which a thread is only to wait for work."""


class Held(NamedTuple):
    """The loop has not answered for a while."""

    seconds: float
    task: str
    """The name of the task that runs; empty where it is none."""
    owner: str
    """Whose code runs: one of the owners that are known; empty where it is nobody's in particular."""
    place: str
    """Where in that code."""
    frozen: bool = False
    """Nothing of the process ran for that time, and this was noticed afterwards."""
    cpu: float = 0.0
    """Seconds of CPU that the process used meanwhile, where it was frozen."""
    others: Sequence[str] = ()
    """Where the other threads were, those that wait for work left out, where it was frozen."""


@contextmanager
def watching(
    loop: asyncio.AbstractEventLoop,
    owners: Mapping[str, str],
    tell: Callable[[Held], None],
    also: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Call ``tell`` whenever ``loop`` has been held for LATE seconds, once each time, while it is held.

    Afterwards where the whole process was.

    ``owners`` has the names of packages and whose they are. ``tell`` and ``also``, which is called with
    every question, run in a thread of their own. To be entered in the loop's own thread.
    """
    ended = threading.Event()
    watcher = threading.Thread(
        target=_watch,
        args=(loop, threading.get_ident(), owners, tell, also, ended),
        name="watchdog",
        daemon=True,
    )
    watcher.start()
    try:
        yield
    finally:
        ended.set()


def _watch(
    loop: asyncio.AbstractEventLoop,
    thread: int,
    owners: Mapping[str, str],
    tell: Callable[[Held], None],
    also: Callable[[], None],
    ended: threading.Event,
) -> None:
    answered = threading.Event()
    asked, told = 0.0, False
    answered.set()
    began, cpu = time.monotonic(), time.process_time()
    while not ended.wait(EVERY):
        now = time.monotonic()
        late = now - began - EVERY
        if late > LATE:
            used = time.process_time() - cpu
            held = _sample(loop, thread, owners, late)
            if held is not None:
                tell(held._replace(frozen=True, cpu=used, others=_others(thread)))
        if late > EVERY:
            # This thread was late itself, so the loop's delay is unknown.
            asked = now
        began, cpu = now, time.process_time()
        also()
        if answered.is_set():
            answered.clear()
            asked, told = now, False
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return
        elif now - asked > LATE and not told:
            told = True
            held = _sample(loop, thread, owners, now - asked)
            if held is not None:
                tell(held)


def _sample(
    loop: asyncio.AbstractEventLoop, thread: int, owners: Mapping[str, str], seconds: float
) -> Held | None:
    frame = sys._current_frames().get(thread)  # noqa: SLF001  the only way to see what another thread does
    if frame is None:
        return None
    task = asyncio.current_task(loop)
    owner, place = _owner(frame, owners)
    return Held(seconds, task.get_name() if task else "", owner, place)


def _others(loops: int) -> list[str]:
    """Where the threads are besides the loop's and this one."""
    mine = threading.get_ident()
    places = []
    for thread, frame in sys._current_frames().items():  # noqa: SLF001  as above
        at: types.FrameType | None = frame
        while at is not None and str(at.f_globals.get("__name__", "")) in _WAITING:
            at = at.f_back
        if at is not None and thread not in {mine, loops}:
            places.append(_place(at))
    return places


def _owner(frame: types.FrameType, owners: Mapping[str, str]) -> tuple[str, str]:
    """The innermost code that is somebody's, or else the innermost of all."""
    innermost = _place(frame)
    at: types.FrameType | None = frame
    while at is not None:
        package = str(at.f_globals.get("__name__", "")).partition(".")[0]
        if package in owners:
            return owners[package], _place(at)
        at = at.f_back
    return "", innermost


def _place(frame: types.FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
