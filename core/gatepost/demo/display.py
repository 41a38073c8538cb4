"""What the demo prints: on the left what Smartico saw, on the right what happened inside."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatepost.demo.environment import AUTHORIZATION, DemoEnvironment
from gatepost.demo.requests import USERS
from gatepost.demo.run import Result
from gatepost.model import Channel, Status

_IN, _OUT, _ADDRESS, _DIM, _BAD = "cyan", "green", "bold magenta", "dim", "bold red"


def short_id(message_id: str) -> str:
    """Return the end of an id; ids made at the same time differ only there."""
    return f"…{message_id[-6:]}"


def results_table(environment: DemoEnvironment, results: Sequence[Result]) -> Table:
    """Return a table with a row for each request: outside on the left, inside on the right."""
    table = Table(box=box.ROUNDED, show_lines=True, expand=True, header_style="bold", padding=(0, 1))
    table.add_column("Outside: what Smartico saw", ratio=1, overflow="fold")
    table.add_column("Inside: what really happened", ratio=1, overflow="fold")
    for number, result in enumerate(results, 1):
        table.add_row(_outside(number, result), _inside(environment, number, result, results))
    return table


def _outside(number: int, result: Result) -> Text:
    request = result.request
    text = Text.assemble((f"{number}. {request.title}\n", "bold"))
    field = "email_uid" if request.channel is Channel.EMAIL else "im_uid"
    text.append(f"→ POST /{request.channel}\n", _IN)
    text.append(f"  user {request.fields['ext_user_id']}, {field} {request.uid}\n")
    text.append(f"← error_code {result.answer['error_code']}", _OUT)
    text.append(f", id {short_id(result.id)}" if result.id else f": {result.answer.get('error_message', '')}")
    if result.callbacks:
        text.append("\n← callbacks ", _OUT)
        text.append(", ".join(result.callbacks))
    for problem in result.problems:
        text.append(f"\n✗ {problem}", _BAD)
    return text


def _inside(environment: DemoEnvironment, number: int, result: Result, results: Sequence[Result]) -> Text:
    request = result.request
    user = request.fields["ext_user_id"]
    if request.code:
        return Text(f"contacts.csv has no {user}:\nnothing is stored, nothing is sent")
    first = next(n for n, other in enumerate(results, 1) if other.id == result.id)
    if first != number:
        return Text(f"the uid of {first}: the same message, the same id, and still one copy in the mailbox")
    text = Text.assemble("contacts.csv: ", f"{user} is\n  ", (request.recipient, _ADDRESS), "\n")
    text.append(f"sent through {environment.routes[request.channel]}\n")
    where = "mailbox" if request.channel is Channel.EMAIL else "handset"
    if Status.FAILED in result.callbacks:
        where = "bounced"
    for arrival in result.arrivals:
        text.append(f"{where}: “{arrival.text}” to ")
        text.append(arrival.recipient, _ADDRESS)
    if not result.arrivals:
        text.append(f"{where}: nothing", _BAD)
    return text


def print_verdict(console: Console, results: Sequence[Result], leaks: Sequence[str]) -> bool:
    """Print in a line or two whether all results are as they must be; return whether they are."""
    good = sum(not result.problems for result in results)
    searched = 2 * len(USERS)
    if leaks:
        console.print(f"✗ An address or number is in: {', '.join(leaks)}", style=_BAD)
    else:
        console.print(
            f"✓ None of the {searched} addresses and numbers is in what Smartico received, "
            "the database or the log.",
            style=_OUT,
        )
    if good == len(results):
        console.print(f"✓ All {good} requests went as they should.", style=_OUT)
    else:
        console.print(
            f"✗ {len(results) - good} of {len(results)} requests did not go as they should:", style=_BAD
        )
        for number, result in enumerate(results, 1):
            for problem in result.problems:
                console.print(f"  {number}. {result.request.title}: {problem}", style=_BAD, markup=False)
    return good == len(results) and not leaks


def print_instructions(console: Console, environment: DemoEnvironment) -> None:
    """Print how to send a message by hand."""
    console.rule("Now you")
    console.print(
        "The gateway keeps running. Send a message from another terminal; a second request with the "
        "same email_uid is the same message:\n"
    )
    console.print(_curl_command(environment), style="bold", markup=False, soft_wrap=True)
    known = ", ".join(user.ext_user_id for user in USERS)
    console.print(f"\nUsers: {known}. To see what became of messages:\n", markup=False)
    command = f"{gatepost_command()} messages list --config {environment.gateway.config}"
    console.print(command, style="bold", markup=False, soft_wrap=True)
    console.print("\nCallbacks and messages are shown as they come; Ctrl-C ends.\n", style=_DIM)


def gatepost_command() -> str:
    """Return how to call ``gatepost`` here: after `make run` it is not on the PATH."""
    beside = Path(sys.executable).with_name("gatepost")
    if shutil.which("gatepost") == str(beside):
        return "gatepost"
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m gatepost"


def _curl_command(environment: DemoEnvironment) -> str:
    """Return a command that sends an email through the gateway."""
    return f"""\
curl {environment.gateway.url}/email \\
  -H 'Authorization: {AUTHORIZATION}' -H 'Content-Type: application/json' \\
  -d '{{"ext_user_id": "hhu1001", "email_uid": "try-1",
       "from_email_address": "noreply@amazing.example",
       "subject": "Hello", "body": "<p>Hello there</p>"}}'"""
