"""Starts gateways without the seconds that Python takes to import them.

It imports everything once, then forks: each child runs ``gatepost serve`` on a configuration, in a process of
its own, which may be killed, stopped and woken like any other. Orders come on stdin, one JSON object a line;
each is answered with the child's process id. ``set`` in an order replaces constants in that child alone, so
that a lease of 45 s need not be waited out; ``plant`` names a bug from ``torture.planted_faults``.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path

WANTED = (
    "aiohttp",
    "alembic.command",
    "asyncpg",
    "email_validator",
    "gatepost.cli.serve",
    "gatepost_csv",
    "gatepost_sendgrid",
    "phonenumbers",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvloop",
)


def main() -> None:
    """Take orders until stdin ends; then end every child."""
    for name in WANTED:
        importlib.import_module(name)
    from gatepost.plugin_host import discovery  # noqa: PLC0415  by now it costs nothing

    # To read the metadata of all that is installed takes longer than the rest of a start.
    discovery.load = functools.cache(discovery.load)
    for kind in ("csv", "sendgrid"):
        discovery.load(kind)
    gc.freeze()
    # Nobody waits for the children: the kernel buries them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children = []
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _serve(json.loads(line))
        children.append(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in children:
        # One that has ended leaves its number free, but not for long enough to be given out again.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _serve(order: dict) -> None:
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.update(order.get("environment", {}))
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for place, value in order.get("set", {}).items():
            module, _, name = place.partition(":")
            assert hasattr(importlib.import_module(module), name), place
            setattr(importlib.import_module(module), name, value)
        if order.get("plant"):
            getattr(importlib.import_module("torture.planted_faults"), order["plant"])()
        from gatepost.cli.serve import command  # noqa: PLC0415  the parent must not run it

        command.main(["--config", order["config"]], standalone_mode=False)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  a child must never return into the parent's loop
        importlib.import_module("traceback").print_exc()
    finally:
        sys.stderr.flush()
        Path(f"{order['log']}.{os.getpid()}.code").write_text(str(code))
        os._exit(code)


if __name__ == "__main__":
    main()
