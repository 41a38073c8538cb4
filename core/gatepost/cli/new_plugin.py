"""``gatepost new-plugin``: creates a plugin that works, to be adapted to a provider."""

import ast
import importlib.metadata
import keyword
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path

import rich_click as click

from gatepost.cli.common import fail
from gatepost.cli.plugin_files import Names, Template, template, write
from gatepost.model import Channel
from gatepost.plugin_host import discovery

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_NAME_LENGTH = 40


@click.command()
@click.argument("name")
@click.option(
    "--channels", help="What the plugin sends: email, sms or email,sms (the default, without --contacts)."
)
@click.option("--contacts", is_flag=True, help="The plugin is a contact source.")
@click.option(
    "--transport",
    type=click.Choice(["http", "tcp", "sql"]),
    default="http",
    show_default=True,
    help="What it talks to: an HTTP API; a TCP server with a protocol of its own (only to send); "
    "a SQL database (only for contacts).",
)
def command(name: str, channels: str | None, contacts: bool, transport: str) -> None:
    """Create a plugin: a git repository NAME with working code, its tests, and an emulator of its provider."""
    contacts = contacts or transport == "sql"
    chosen = _channels(channels, contacts=contacts)
    if transport == "tcp" and contacts:
        raise click.UsageError("--transport tcp only sends: leave --contacts out")
    if transport == "sql" and chosen:
        raise click.UsageError("--transport sql only finds contacts: leave --channels out")
    names = Names(name, name.removeprefix("gatepost-"))
    folder = Path(name)
    source = template(transport)
    if problem := next(_problems(names, folder, source), ""):
        fail(problem)
    parts = {*chosen, *(["send"] if chosen else []), *(["contacts"] if contacts else [])}
    write(source, folder, names, parts)
    _explain(folder, names, _begin_repository(folder))


def _channels(text: str | None, *, contacts: bool) -> Collection[str]:
    """Return the channels that ``--channels`` names. Raises UsageError where there is no such channel, or nothing to do."""
    if text is None:
        text = "" if contacts else ",".join(Channel)
    chosen = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := sorted(set(chosen) - set(Channel)):
        raise click.UsageError(
            f"--channels: there is no channel {', '.join(unknown)}; there are email and sms"
        )
    if not (chosen or contacts):
        raise click.UsageError(
            "--channels is empty: name a channel, or make a contact source with --contacts"
        )
    return chosen


def _explain(folder: Path, names: Names, git_problem: str) -> None:
    if git_problem:
        click.echo(f"{git_problem}\n", err=True)
    click.echo(f"{folder}/ is a working plugin for an imaginary provider. Try it:\n")
    click.echo(f"  cd {folder}\n  pip install -e '.[test]'\n  pytest\n  gatepost plugins\n")
    emulator = folder / names.module / "testing.py"
    first = f"{names.module}/testing.py, the emulator of the provider" if emulator.exists() else "README.md"
    click.echo(f"Then adapt it to your provider. Begin with {first}.")


def _begin_repository(folder: Path) -> str:
    """Make the folder a git repository with every file staged; return why it is none, or an empty text.

    In a folder that belongs to a repository already, nothing is changed.
    """
    try:
        if _git(folder, "rev-parse", "--is-inside-work-tree"):
            for command in (("init", "--quiet"), ("add", "--all")):
                if error := _git(folder, *command):
                    return f"git can't make {folder}/ a repository: {error}"
    except OSError:
        return f"git is not installed, so {folder}/ is not a repository yet"
    return ""


def _git(folder: Path, *arguments: str) -> str:
    """Run git in the folder; return what it says when it fails, and an empty text when it does not."""
    ended = subprocess.run(  # noqa: S603  no shell, and no argument of the user's
        ["git", "-C", str(folder), *arguments],  # noqa: S607  the git on the PATH is the user's
        capture_output=True,
        text=True,
        check=False,
    )
    return (ended.stderr.strip() or "it failed") if ended.returncode else ""


def _problems(names: Names, folder: Path, source: Template) -> Iterator[str]:
    """Yield why a plugin of this name can't be created here; nothing when it can."""
    name = names.distribution
    if not source.folder.is_dir():
        yield f"this installation of Gatepost lacks its template ({source.folder}): install Gatepost again"
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(names.use) or len(name) > _MAX_NAME_LENGTH:
        yield f"{name!r} can't be a plugin's name: use lower-case letters, digits and single dashes, as in acme-sms"
    if keyword.iskeyword(names.module) or keyword.iskeyword(names.type) or names.type in _types(source):
        yield f"{name!r} can't be a plugin's name: Python or Gatepost uses it already"
    if folder.exists() or folder.is_symlink():
        yield f"{folder} exists already; nothing was changed"
    if taken := discovery.installed().get(names.use):
        owner = taken.dist.name if taken.dist else "?"
        yield f"a plugin {names.use} is installed already (by {owner}): choose another name"
    if any(True for _ in importlib.metadata.distributions(name=name)):
        yield f"a distribution {name} is installed already: choose another name"
    if names.module in sys.stdlib_module_names or find_spec(names.module) is not None:
        yield f"a module {names.module} is installed already: choose another name"


def _types(source: Template) -> set[str]:
    """Return the names that the template's code uses for something else."""
    found: set[str] = set()
    for file in source.folder.glob("*/*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.alias | ast.ClassDef):
                found.add(node.name)
    return found - {source.names.type}
