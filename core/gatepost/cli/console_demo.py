"""``gatepost demo --console``: runs the demo of the console until it is interrupted."""

import asyncio
import signal

from rich.console import Console

from gatepost.cli.common import fail
from gatepost.config import console_faults, settings
from gatepost.demo import display
from gatepost.observe import logs

_POLL_INTERVAL = 0.5
"""Seconds between two looks whether the gateway still runs."""


def stop_on_sigterm() -> None:
    """Cancel the current task on SIGTERM, so that the gateway is stopped and the folder removed."""
    task = asyncio.current_task()
    assert task is not None, "runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def run(console: Console, *, ends: bool) -> int:
    """Run the demo until it is interrupted, with ``ends`` until everything is there; return the exit code."""
    for fault in console_faults.console_faults(settings.Console(listen="127.0.0.1:0"), ()):
        fail(fault.problem)
    from gatepost.demo.console_environment import run_console_environment  # noqa: PLC0415  the extra is there
    from gatepost.demo.sample_day.operators import OPERATOR, VIEWER  # noqa: PLC0415

    stop_on_sigterm()
    # The sample day has failures, of which the log would tell.
    logs.configure("critical", logs.resolve_format("auto"))
    console.print("Writing a day of traffic of three brands …", style="dim")
    async with run_console_environment() as environment:
        console.print("\nThe console is at\n")
        console.print(f"  {environment.url}", style="bold", soft_wrap=True)
        console.print(f"\n  {OPERATOR:9} operator: may change everything", markup=False)
        console.print(f"  {VIEWER:9} viewer: may look", markup=False)
        console.print(f"  password  {environment.password}", markup=False)
        console.print(
            f"\nCommands work too: {display.gatepost_command()} status --config {environment.gateway.config}",
            markup=False,
            soft_wrap=True,
        )
        console.print("More messages come as long as this runs; Ctrl-C ends.", style="dim")
        while not ends:
            if not environment.gateway.running:
                raise RuntimeError(f"the gateway has ended; its log:\n{environment.gateway.log.read_text()}")
            try:
                await asyncio.sleep(_POLL_INTERVAL)
            except asyncio.CancelledError:
                console.print("Ending …", style="dim")
                break
    return 0
