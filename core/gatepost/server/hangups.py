"""SIGHUP during a start: it waits until there is a handler for it, because without one it ends the process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def hold_back() -> None:
    """Keep SIGHUP back until ``let_through``, in this process and in those that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def let_through() -> None:
    """Deliver SIGHUP from now on, and at once where one was kept back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


@contextmanager
def held() -> Iterator[None]:
    """Keep SIGHUP back in the block. A process that is started in it keeps it back until its own ``let_through``."""
    hold_back()
    try:
        yield
    finally:
        let_through()
