"""``gatepost demo``."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from datetime import datetime

import aiohttp
import rich_click as click
from rich.console import Console

from gatepost.cli.common import fail
from gatepost.demo import play, show
from gatepost.demo.stage import ProviderName, Stage, built
from gatepost.plugin_host import discovery

_LOOK = 0.1
"""Seconds between two looks at what has come."""


@click.command()
@click.option("--exit", "ends", is_flag=True, help="End at once; exit code 0 only if everything arrived.")
@click.option(
    "--provider",
    type=click.Choice(["sandbox", "sendgrid", "vonage"]),
    default="sandbox",
    show_default=True,
    help="Who sends: a folder on this machine, or an emulated provider behind the real plugin.",
)
def command(ends: bool, provider: ProviderName) -> None:
    """See a whole gateway at work on this machine, without any account.

    Starts a real gateway with a sample CSV between a stand-in for Smartico and a provider that never
    leaves this machine, sends a handful of messages and shows what each side saw of them. Then it stays
    up, with a request to try by hand.
    """
    console = Console()
    lacking = sorted({"csv", "sandbox", provider} - discovery.installed().keys())
    if lacking:
        folders = " ".join(f"./plugins/{name}" for name in lacking)
        fail(f"the demo needs plugins that are not installed; from your checkout: pip install {folders}")
    try:
        sys.exit(asyncio.run(_run(console, provider, ends=ends)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("interrupted before everything had arrived")
    except (RuntimeError, AssertionError, aiohttp.ClientError) as error:
        # The gateway did not start, ended, or answered what the contract does not have.
        fail(str(error))


async def _run(console: Console, provider: ProviderName, *, ends: bool) -> int:
    task = asyncio.current_task()
    assert task is not None, "runs in a task"
    # So that also then the gateway is ended and the folder taken away.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    console.print("Starting a gateway …", style="dim")
    async with built(provider) as stage:
        console.print("Smartico asks it to send …", style="dim")
        shown = await play.play(stage)
        console.print(show.columns(stage, shown))
        good = show.verdict(console, shown, play.leaks(stage, shown))
        if not ends:
            show.invitation(console, stage)
            await _follow(console, stage)
        return 0 if good else 1


async def _follow(console: Console, stage: Stage) -> None:
    """Show what comes until somebody ends it. Raises RuntimeError when the gateway ends before."""
    for lines in _news(stage):
        for line in lines:
            now = datetime.now().astimezone()
            console.print(f"{now:%H:%M:%S}  {line}", markup=False, highlight=False, soft_wrap=True)
        if not stage.gateway.running:
            raise RuntimeError(f"the gateway has ended; its log:\n{stage.gateway.log.read_text()}")
        try:
            await asyncio.sleep(_LOOK)
        except asyncio.CancelledError:
            console.print("Ending …", style="dim")
            return


def _news(stage: Stage) -> Iterator[list[str]]:
    """What has come since the last time; nothing of what was there at the first."""
    calls = len(stage.smartico.callbacks)
    seen = [len(mailbox.arrived()) for mailbox in stage.mailboxes]
    while True:
        lines = []
        for number, mailbox in enumerate(stage.mailboxes):
            arrived = mailbox.arrived()
            if len(arrived) > seen[number]:
                known = seen[number]
                seen[number] = len(arrived)
                lines += [f"inside   {one.to} gets “{one.says}”" for one in arrived[known:]]
        heard = stage.smartico.callbacks[calls:]
        calls += len(heard)
        lines += [f"outside  callback {call.ext_message_id} {call.status}" for call in heard]
        yield lines
