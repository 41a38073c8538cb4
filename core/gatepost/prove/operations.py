"""What operators read of a gateway and do with it: pages, the admin socket, commands."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from gatepost.prove.canaries import Person
from gatepost.prove.client import GatewayClient
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.private_copy import CONSOLE_USER
from gatepost.testing.process import GatewayProcess

_PAGES = ("/metrics", "/health/ready", "/health/live")
_COMMANDS = (
    *("status", "messages list --limit 500 --json", "audit list --json", "suppress list", "plugins"),
    *("messages list --refused", "messages list --refused --json"),
    "stats --by client,route,plugin,country,status",
    *("check --route email --from a@brand.example", "check --route sms --from Prove"),
)
_SHOWN = 5
"""One message in so many is shown."""
_PROGRAM = """
import sys
from click import ClickException
from gatepost.cli import main
for line in sys.stdin:
    try:
        main(line.split(), standalone_mode=False)
    except SystemExit:
        pass
    except ClickException as error:
        print("not run:", line.strip(), error.format_message(), file=sys.stderr)
"""
"""Runs a command for each line: the start of Python takes longer than all of them."""


async def operate(
    gateway: GatewayClient, folder: Path, process: GatewayProcess, person: Person, outcomes: Outcomes
) -> None:
    """Read every page, ask the admin socket, and run commands; ``outputs`` of the gateway's client gets the answers."""
    for path in (*_PAGES, f"/nothing/{person.email}", f"/webhooks/{person.email}"):
        await gateway.get(path)
    outcomes.done("pages", ", ".join(_PAGES))
    await _ask_admin(gateway, folder, person, outcomes)
    outputs = gateway.outputs.setdefault("output of commands", [])
    # That user is suppressed by now, so that there is something to hand out, and then to erase.
    user = f"{person.user} --client {next(iter(gateway.clients))}"
    shown = [f"messages show {identity}" for identity in gateway.ids[::_SHOWN]]
    commands = [
        *_COMMANDS,
        *shown,
        f"contact {user}",
        f"contact {user} --json",
        f"export {user}",
        f"forget {user} --yes",
        "audit list",
    ]
    outputs += await asyncio.to_thread(_run_commands, process, commands)
    for command in commands:
        words = "gatepost messages show ID" if command.startswith("messages show") else f"gatepost {command}"
        if f"not run: {command} ".encode() in outputs[-1]:
            outcomes.missing("commands", words, "the command refused its options")
        else:
            outcomes.done("commands", words)


async def _ask_admin(gateway: GatewayClient, folder: Path, person: Person, outcomes: Outcomes) -> None:
    found = await asyncio.to_thread(lambda: sorted(folder.glob("*.sock")))
    if not found:
        outcomes.missing("admin socket", "every operation", "the gateway has none: the log says why")
        return
    outputs = gateway.outputs.setdefault("answers of the admin socket", [])
    client = next(iter(gateway.clients))
    # The reasons hold an address on purpose, and are refused.
    requests: list[tuple[str, dict[str, Any]]] = [
        ("status", {}),
        ("resting-instances", {"channel": "email"}),
        ("resting-instances", {"channel": "sms"}),
        ("contact", {"client": client, "ext_user_id": person.user}),
        ("suppress-add", {"client": client, "ext_user_id": person.user, "reason": person.private_text}),
        ("suppress-add", {"client": client, "ext_user_id": person.user, "reason": "asked by phone"}),
        ("pause", {"client": client, "reason": f"complaint of {person.email}"}),
        ("console-user-put", {"user": {"name": CONSOLE_USER, "role": "operator"}}),
        ("retry", {"ids": [person.email]}),
    ]
    connector = aiohttp.UnixConnector(path=str(found[0]))
    async with aiohttp.ClientSession(connector=connector) as session:
        for operation, body in requests:
            async with session.post(
                f"http://gateway/{operation}", data=msgspec.json.encode(body)
            ) as response:
                outputs.append(await response.read())
            outcomes.done("admin socket", f"{operation}: answered with {response.status}")


def _run_commands(process: GatewayProcess, commands: Sequence[str]) -> list[bytes]:
    done = subprocess.run(  # noqa: S603  our own commands with a file that the run has written
        [sys.executable, "-c", _PROGRAM],
        input="\n".join(commands).encode(),
        capture_output=True,
        env={**process.environment, "COLUMNS": "200", "GATEPOST_CONFIG": str(process.config)},
        check=False,
    )
    return [done.stdout, done.stderr]
