"""``gatepost demo``: runs the demo in the terminal."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime

import aiohttp
import rich_click as click
from rich.console import Console

from gatepost.cli import console_demo
from gatepost.cli.common import fail, printable
from gatepost.demo import display, run
from gatepost.demo.environment import CONTACT_SOURCE, DEFAULT_PROVIDER, DemoEnvironment, run_environment
from gatepost.errors import ConfigError
from gatepost.plugin_host import discovery
from gatepost.testing import emulators

_POLL_INTERVAL = 0.1
"""Seconds between two looks for callbacks and messages that have come."""


@click.command()
@click.option(
    "--exit", "ends", is_flag=True, help="End after the messages; exit code 0 only if everything arrived."
)
@click.option(
    "--provider",
    default=DEFAULT_PROVIDER,
    show_default=True,
    metavar="NAME",
    help="The plugin that sends; it must have an emulator of its provider.",
)
@click.option(
    "--console", "shows_console", is_flag=True, help="Show the console with a day of traffic of three brands."
)
def command(ends: bool, provider: str, shows_console: bool) -> None:
    """Run a complete gateway on this machine, without any account.

    The command starts a real gateway with a sample CSV file, a stand-in for Smartico, and a provider that
    runs only on this machine. It sends some messages and shows what each side saw. Then it keeps running
    and prints a request that you can try by hand.

    With --console the gateway has three brands, a day of traffic with an outage in it, and the console, in which you can
    look at it and change it while more messages come.
    """
    if shows_console and provider != DEFAULT_PROVIDER:
        raise click.UsageError("--console and --provider don't go together")
    console = Console(highlight=False)
    _check_installed(provider)
    run_demo = console_demo.run(console, ends=ends) if shows_console else _run(console, provider, ends=ends)
    try:
        sys.exit(asyncio.run(run_demo))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("interrupted before everything had arrived")
    except ConfigError as error:
        fail(f"{provider}: {error}")
    except (RuntimeError, AssertionError, aiohttp.ClientError) as error:
        # The gateway did not start, ended, or gave an answer that the contract does not have.
        fail(str(error))


def _check_installed(provider: str) -> None:
    """End the command where a plugin is missing, or has no emulator."""
    installed = discovery.installed()
    offered = ", ".join(sorted(emulators.installed())) or "none"
    missing = sorted({CONTACT_SOURCE, DEFAULT_PROVIDER, provider} - installed.keys())
    if missing:
        folders = printable(" ".join(f"./plugins/{name}" for name in missing))
        fail(
            f"the demo needs plugins that are not installed; from your checkout: pip install {folders} "
            f"(installed plugins with an emulator: {offered})"
        )
    if provider not in emulators.installed():
        fail(
            f"--provider: {provider} has no emulator (an entry point gatepost.emulators); there are: {offered}"
        )


async def _run(console: Console, provider: str, *, ends: bool) -> int:
    console_demo.stop_on_sigterm()
    console.print("Starting a gateway …", style="dim")
    async with run_environment(provider) as environment:
        console.print("Smartico asks it to send …", style="dim")
        results = await run.send_all(environment)
        console.print(display.results_table(environment, results))
        good = display.print_verdict(console, results, run.find_leaks(environment, results))
        if not ends:
            display.print_instructions(console, environment)
            await _follow(console, environment)
        return 0 if good else 1


async def _follow(console: Console, environment: DemoEnvironment) -> None:
    """Show what comes until the command is interrupted. Raises RuntimeError where the gateway ends before."""
    for lines in _new_lines(environment):
        for line in lines:
            now = datetime.now().astimezone()
            console.print(f"{now:%H:%M:%S}  {line}", markup=False, soft_wrap=True)
        if not environment.gateway.running:
            raise RuntimeError(f"the gateway has ended; its log:\n{environment.gateway.log.read_text()}")
        try:
            await asyncio.sleep(_POLL_INTERVAL)
        except asyncio.CancelledError:
            console.print("Ending …", style="dim")
            return


def _new_lines(environment: DemoEnvironment) -> Iterator[list[str]]:
    """Yield a line for each message and callback since the last time; the first time yields none."""
    callbacks = len(environment.smartico.callbacks)
    seen = [len(provider.arrivals()) for provider in environment.providers]
    while True:
        lines = []
        for number, provider in enumerate(environment.providers):
            arrivals = provider.arrivals()
            lines += [f"inside   {one.recipient} gets “{one.text}”" for one in arrivals[seen[number] :]]
            seen[number] = len(arrivals)
        new = environment.smartico.callbacks[callbacks:]
        callbacks += len(new)
        lines += [f"outside  callback {callback.ext_message_id} {callback.status}" for callback in new]
        yield lines
