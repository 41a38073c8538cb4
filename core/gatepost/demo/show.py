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

from gatepost.demo.play import Shown
from gatepost.demo.scenes import PEOPLE
from gatepost.demo.stage import AUTHORIZATION, Stage
from gatepost.model import Channel, Status

_IN, _OUT, _ADDRESS, _DIM, _BAD = "cyan", "green", "bold magenta", "dim", "bold red"


def short(identity: str) -> str:
    """The end of an id, which is what differs."""
    return f"…{identity[-6:]}"


def columns(stage: Stage, shown: Sequence[Shown]) -> Table:
    """The whole way of every message, side by side."""
    table = Table(box=box.ROUNDED, show_lines=True, expand=True, header_style="bold", padding=(0, 1))
    table.add_column("Outside: what Smartico saw", ratio=1, overflow="fold")
    table.add_column("Inside: what really happened", ratio=1, overflow="fold")
    for number, one in enumerate(shown, 1):
        table.add_row(_outside(number, one), _inside(stage, number, one, shown))
    return table


def _outside(number: int, one: Shown) -> Text:
    scene = one.scene
    text = Text.assemble((f"{number}. {scene.title}\n", "bold"))
    field = "email_uid" if scene.channel is Channel.EMAIL else "im_uid"
    text.append(f"→ POST /{scene.channel}\n", _IN)
    text.append(f"  user {scene.fields['ext_user_id']}, {field} {scene.uid}\n")
    text.append(f"← error_code {one.answer['error_code']}", _OUT)
    text.append(f", id {short(one.id)}" if one.id else f": {one.answer.get('error_message', '')}")
    if one.callbacks:
        text.append("\n← callbacks ", _OUT)
        text.append(", ".join(one.callbacks))
    for problem in one.problems:
        text.append(f"\n✗ {problem}", _BAD)
    return text


def _inside(stage: Stage, number: int, one: Shown, shown: Sequence[Shown]) -> Text:
    user = one.scene.fields["ext_user_id"]
    if one.scene.code:
        return Text(f"contacts.csv has no {user}:\nnothing is stored, nothing is sent")
    first = next(n for n, other in enumerate(shown, 1) if other.id == one.id)
    if first != number:
        return Text(f"the uid of {first}: the same message, the same id, and the mailbox still has it once")
    person = next(person for person in PEOPLE if person.ext_user_id == user)
    address = person.email if one.scene.channel is Channel.EMAIL else person.phone
    text = Text.assemble("contacts.csv: ", f"{user} is\n  ", (address, _ADDRESS), "\n")
    text.append(f"sent through {stage.routes[one.scene.channel]}\n")
    where = "mailbox" if one.scene.channel is Channel.EMAIL else "handset"
    if Status.FAILED in one.callbacks:
        where = "came back"
    for arrived in one.arrived:
        text.append(f"{where}: “{arrived.says}” to ")
        text.append(arrived.to, _ADDRESS)
    if not one.arrived:
        text.append(f"{where}: nothing", _BAD)
    return text


def verdict(console: Console, shown: Sequence[Shown], found: Sequence[str]) -> bool:
    """Say in a line or two whether everything went as it should; returns whether it did."""
    good = sum(not one.problems for one in shown)
    searched = 2 * len(PEOPLE)
    if found:
        console.print(f"✗ An address or number stands in: {', '.join(found)}", style=_BAD)
    else:
        console.print(
            f"✓ The {searched} addresses and numbers: none of them in what Smartico heard, "
            "the database, the log.",
            style=_OUT,
        )
    if good == len(shown):
        console.print(f"✓ All {good} requests went as they should.", style=_OUT)
    else:
        console.print(
            f"✗ {len(shown) - good} of {len(shown)} requests did not go as they should:", style=_BAD
        )
        for number, one in enumerate(shown, 1):
            for problem in one.problems:
                console.print(f"  {number}. {one.scene.title}: {problem}", style=_BAD, markup=False)
    return good == len(shown) and not found


def invitation(console: Console, stage: Stage) -> None:
    """How to go on by hand."""
    console.rule("Now you")
    console.print(
        "The gateway stays up. Send something from another terminal; the same email_uid again is the "
        "same message again:\n"
    )
    console.print(request(stage), style="bold", markup=False, highlight=False, soft_wrap=True)
    known = ", ".join(person.ext_user_id for person in PEOPLE)
    console.print(f"\nUsers: {known}. To see what became of messages:\n", markup=False, highlight=False)
    look = f"{typed()} messages list --config {stage.gateway.config}"
    console.print(look, style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print("\nCallbacks and mail as they come; Ctrl-C ends.\n", style=_DIM)


def typed() -> str:
    """How ``gatepost`` can be typed here: after `make run` it is not on the PATH."""
    beside = Path(sys.executable).with_name("gatepost")
    if shutil.which("gatepost") == str(beside):
        return "gatepost"
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m gatepost"


def request(stage: Stage) -> str:
    """A command that sends an email through the gateway."""
    return f"""\
curl {stage.gateway.url}/email \\
  -H 'Authorization: {AUTHORIZATION}' -H 'Content-Type: application/json' \\
  -d '{{"ext_user_id": "hhu1001", "email_uid": "try-1",
       "from_email_address": "noreply@amazing.example",
       "subject": "Hello", "body": "<p>Hello there</p>"}}'"""
