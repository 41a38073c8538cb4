"""``gatepost serve``."""

import asyncio
import sys
from pathlib import Path
from typing import Literal

import rich_click as click

from gatepost import logs, server
from gatepost.app import load
from gatepost.cli.common import config_option, faults_shown
from gatepost.settings import locate


@click.command()
@config_option
def command(config: Path | None) -> None:
    """Run the gateway until it is told to stop (SIGTERM, or Ctrl-C).

    It then takes nothing new, finishes what it holds within 12 seconds and ends with exit code 0.
    """
    path = locate(config)
    # Before the plugins are made, who keep their loggers.
    logs.configure("warning", _form("auto"))
    with faults_shown(path):
        read, made = load(path)
        logs.configure(read.logs.level, _form(read.logs.format))
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            sys.exit(runner.run(server.serve(read, made)))


def _form(wanted: Literal["auto", "json", "console"]) -> Literal["json", "console"]:
    if wanted == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return wanted


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415  not there on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
