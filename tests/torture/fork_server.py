"""A process that starts gateways without the seconds that Python needs to import their modules.

It imports all modules once and then forks. Each child runs ``gatepost serve`` on a configuration, in its own
process, which can be killed, stopped and continued like any other.

Commands come on stdin, one JSON object per line; the answer to each is the child's process id. The keys:

- ``config``, ``log``: the paths of the configuration and of the log file.
- ``constants``: constants to replace in this child, by ``module:name``, so that tests need not wait for a lease
  of 45 s.
- ``planted_defect``: the name of a function in ``torture.planted_defects`` to call.
- ``environment``: variables to add to the environment.
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

MODULES = (
    "aiohttp",
    "alembic.command",
    "asyncpg",
    "email_validator",
    "gatepost.cli.serve",
    "gatepost_csv",
    "gatepost_http",
    "gatepost_sendgrid",
    "gatepost_smtp",
    "phonenumbers",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvloop",
)

EXIT_CODE_OF_ERROR = 70
"""EX_SOFTWARE of sysexits.h: the gateway raised an exception."""


def main() -> None:
    """Obey commands until stdin ends; then kill all children."""
    for name in MODULES:
        importlib.import_module(name)
    from gatepost.plugin_host import discovery  # noqa: PLC0415  imported above already

    # Reading the metadata of all installed distributions takes longer than the rest of a start.
    discovery.load = functools.cache(discovery.load)
    for kind in ("csv", "http", "sendgrid", "smtp"):
        discovery.load(kind)
    gc.freeze()
    # The kernel removes ended children, because this process never waits for them.
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
        # The number of an ended child is free again, but the kernel does not reuse it so soon.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _serve(command: dict) -> None:
    code = EXIT_CODE_OF_ERROR
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A bench that was started by ``nohup`` ignores it, and so would a gateway, which then can't be reloaded.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.environ.update(command.get("environment", {}))
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for constant, value in command.get("constants", {}).items():
            module, _, name = constant.partition(":")
            assert hasattr(importlib.import_module(module), name), constant
            setattr(importlib.import_module(module), name, value)
        if command.get("planted_defect"):
            getattr(importlib.import_module("torture.planted_defects"), command["planted_defect"])()
        from gatepost.cli.serve import command as serve  # noqa: PLC0415  the parent must not run it

        serve.main(["--config", command["config"]], standalone_mode=False)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  a child must never return into the parent's loop
        importlib.import_module("traceback").print_exc()
    finally:
        sys.stderr.flush()
        Path(f"{command['log']}.{os.getpid()}.code").write_text(str(code))
        os._exit(code)


if __name__ == "__main__":
    main()
