"""Sample the gateway while it accepts and drains, and print the share of its CPU by part as a Markdown table.

A part is a package of the core, a plugin or a library, with the C code and the work of the kernel that it calls. py-spy
takes the samples: it needs to be root, or ``sysctl kernel.yama.ptrace_scope=0``. Run it on a machine that does nothing else.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import accept
import drain
import parts
import whole_way
from load import put_load
from machine import describe_machine

RATE = 200
"""Samples a second."""


class Profile(NamedTuple):
    """Where the CPU went."""

    shares: dict[str, float]
    kernel: float
    """The part of all CPU that the kernel used."""


class Sampler:
    """Samples a process while a block runs; ``profile`` is the result."""

    profile: Profile

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Sample this process."""
        with TemporaryDirectory() as folder:
            output = Path(folder) / "samples"
            command = [
                Path(sys.executable).with_name("py-spy"),
                "record",
                "--pid",
                str(pid),
                "--rate",
                str(RATE),
            ]
            command += ["--format", "raw", "--threads", "--full-filenames", "--nolineno", "--output", output]
            with (Path(folder) / "log").open("w+") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)
                before, kernel_before = _thread_cpu(pid), _user_and_kernel(pid)
                yield
                after, kernel_after = _thread_cpu(pid), _user_and_kernel(pid)
                process.send_signal(signal.SIGINT)
                process.wait()
                if not output.exists():
                    raise RuntimeError(f"py-spy took no samples:\n{log.seek(0) or log.read()}")
            samples = parts.parse(output.read_text())
        used = {thread: cpu - before.get(thread, 0.0) for thread, cpu in after.items()}
        user, kernel = (now - then for now, then in zip(kernel_after, kernel_before, strict=True))
        self.profile = Profile(parts.shares(samples, used), kernel / (user + kernel))


def _thread_cpu(pid: int) -> dict[int, float]:
    """Return the CPU of each thread so far, in nanoseconds."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(thread.name)] = float((thread / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended.
    return found


def _user_and_kernel(pid: int) -> tuple[int, int]:
    """Return the CPU of the process so far outside of the kernel and in it, in ticks (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def _accept(watch: drain.Watch, seconds: float) -> None:
    with ExitStack() as stack:
        gateway = accept.start_gateway(stack)
        put_load(gateway.url, accept.CONNECTIONS, 2.0, "warm-up")
        with watch(gateway.pid):
            put_load(gateway.url, accept.CONNECTIONS, seconds, "run")


def _works(seconds: float, count: int) -> dict[str, Callable[[drain.Watch], object]]:
    http, smtp = drain.HTTP_PROVIDER, drain.SMTP_PROVIDER
    return {
        "accept": lambda watch: _accept(watch, seconds),
        "drain, HTTP": lambda watch: drain.measure(http, count, watch=watch),
        "drain, HTTP, with callbacks": lambda watch: drain.measure(http, count, callbacks=True, watch=watch),
        "drain, SMTP": lambda watch: drain.measure(smtp, count, watch=watch),
        "whole way": lambda watch: whole_way.of_gateway(count, watch),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of load in accept")
    parser.add_argument("--messages", type=int, default=30_000, help="messages in each of the others")
    arguments = parser.parse_args()
    profiles = {}
    for name, work in _works(arguments.seconds, arguments.messages).items():
        print(f"{name} …", file=sys.stderr, flush=True)
        sampler = Sampler()
        work(sampler.watching)
        profiles[name] = sampler.profile
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()), end=":\n\n")
    columns = {name: profile.shares for name, profile in profiles.items()}
    print(*parts.table(columns, {name: profile.kernel for name, profile in profiles.items()}), sep="\n")


if __name__ == "__main__":
    main()
