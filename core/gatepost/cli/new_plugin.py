"""``gatepost new-plugin``: the template once more, under another name and with the parts that are wanted."""

import ast
import importlib.metadata
import keyword
import re
import sys
import tempfile
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import rich_click as click

from gatepost.cli.common import fail
from gatepost.model import Channel
from gatepost.plugin_host import discovery

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40

# A line of its own that begins or ends a part, and a line that is one as a whole.
_EDGE = re.compile(r"\s*(?:#|<!--) <(/?)(\w+)>(?: -->)?\n?")
_SINGLE = re.compile(r"\s+# <(\w+)>(?=\n?\Z)")

_WORD = re.compile(r"gatepost[-_]example|(?<=_)example|example(?=_)|example|Example|EXAMPLE")

_MODULES = {"users.py": "contacts", "messages.py": "send", "reports.py": "send"}
"""Modules that are one part as a whole."""


class Names(NamedTuple):
    """What a plugin is called, in all the places where it has a name."""

    distribution: str
    """What pip installs: ``acme-sms``."""
    use: str
    """What `use` says: the same, without a leading ``gatepost-``."""

    @property
    def module(self) -> str:
        return self.distribution.replace("-", "_")

    @property
    def type(self) -> str:
        return "".join(part.capitalize() for part in self.use.split("-"))

    def put_in(self, text: str) -> str:
        """``text`` with these names where the template's were."""
        snake = self.use.replace("-", "_")
        words = {
            "gatepost_example": self.module,
            "gatepost-example": self.distribution,
            "Example": self.type,
            "EXAMPLE": snake.upper(),
        }

        def word(found: re.Match[str]) -> str:
            inside = found.string[found.start() - 1 : found.start()] == "_"
            return words.get(found[0]) or (
                snake if inside or found.string[found.end() :][:1] == "_" else self.use
            )

        return _WORD.sub(word, text)


@click.command()
@click.argument("name")
@click.option("--channels", help="What it sends: email, sms or email,sms (the default, without --contacts).")
@click.option("--contacts", is_flag=True, help="It knows users.")
def command(name: str, channels: str | None, contacts: bool) -> None:
    """Begin a plugin: a folder NAME with code that works, its tests, and a provider to try it on."""
    if channels is None:
        channels = "" if contacts else ",".join(Channel)
    sent = [part.strip() for part in channels.split(",") if part.strip()]
    if strange := sorted(set(sent) - set(Channel)):
        raise click.UsageError(
            f"--channels: there is no channel {', '.join(strange)}; there are email and sms"
        )
    if not (sent or contacts):
        raise click.UsageError("--channels is empty: a plugin sends something, or knows users (--contacts)")
    names = Names(name, name.removeprefix("gatepost-"))
    folder = Path(name)
    template = template_folder()
    if problem := next(_problems(names, folder, template), ""):
        fail(problem)
    write(
        template,
        folder,
        names,
        parts={*sent, *(["send"] if sent else []), *(["contacts"] if contacts else [])},
    )
    click.echo(f"{name}/ holds a plugin that works, for a provider that does not exist. Try it:\n")
    click.echo(f"  cd {name}\n  pip install -e '.[test]'\n  pytest\n  gatepost plugins\n")
    click.echo("Then make it your provider's: first tests/conftest.py, which plays the provider.")


def template_folder() -> Path:
    """The template: packed with an installed Gatepost, beside it in a checkout."""
    package = Path(__file__).parents[1]
    packed = package / "_template"
    return packed if packed.is_dir() else package.parents[1] / "plugin_template"


def _problems(names: Names, folder: Path, template: Path) -> Iterator[str]:
    """Why there can't be a new plugin of this name here; nothing when there can."""
    name = names.distribution
    if not template.is_dir():
        yield f"this installation of Gatepost lacks its template ({template}): install it anew"
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(names.use) or len(name) > _LONGEST:
        yield f"{name!r} is no name for a plugin: small letters, digits and single dashes, as in acme-sms"
    if keyword.iskeyword(names.module) or keyword.iskeyword(names.type) or names.type in _types(template):
        yield f"{name!r} is no name for a plugin: Python or Gatepost has something of that name already"
    if folder.exists() or folder.is_symlink():
        yield f"{folder} exists already; nothing was touched"
    if taken := discovery.installed().get(names.use):
        owner = taken.dist.name if taken.dist else "?"
        yield f"a plugin {names.use} is installed already (by {owner}): choose another name"
    if any(True for _ in importlib.metadata.distributions(name=name)):
        yield f"a distribution {name} is installed already: choose another name"
    if names.module in sys.stdlib_module_names or find_spec(names.module) is not None:
        yield f"a module {names.module} is installed already: choose another name"


def _types(template: Path) -> set[str]:
    """Names that the template's code uses for something else."""
    found: set[str] = set()
    for file in template.glob("*/*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.alias | ast.ClassDef):
                found.add(node.name)
    return found - {"Example"}


def write(template: Path, folder: Path, names: Names, parts: Collection[str]) -> None:
    """Write the plugin, whole or not at all; the folder must not exist."""
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".new-plugin-") as draft:
        root = Path(draft) / "plugin"
        for file in _files(template):
            if _MODULES.get(file.name, "send") not in parts and file.name in _MODULES:
                continue
            target = root / names.put_in(str(file))
            target.parent.mkdir(parents=True, exist_ok=True)
            text = render((template / file).read_text("utf-8"), parts)
            target.write_text(names.put_in(text), "utf-8")
        # In one step; it fails where somebody else has made the folder meanwhile.
        root.rename(folder)


def _files(template: Path) -> Iterator[Path]:
    """The template's own files, and nothing that working in it has left there."""
    for pattern in ("*.toml", "*.md", ".github/**/*.yml", "gatepost_example/*", "tests/*.py"):
        yield from (file.relative_to(template) for file in sorted(template.glob(pattern)) if file.is_file())


def render(text: str, parts: Collection[str]) -> str:
    """``text`` with these parts and without the others; without the marks of either."""
    left: list[str] = []
    closed: list[str] = []
    for line in text.splitlines(keepends=True):
        edge, single = _EDGE.fullmatch(line), _SINGLE.search(line)
        if edge and edge[1]:
            closed = [part for part in closed if part != edge[2]]
        elif edge:
            closed += [edge[2]] if edge[2] not in parts else []
        elif not closed and not (single and single[1] not in parts):
            left.append(_SINGLE.sub("", line))
    return re.sub(r"\n{4,}", "\n\n\n", "".join(left)).rstrip("\n") + "\n" if left else ""
