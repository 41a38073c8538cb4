"""``gatepost new-plugin``: copies the template under another name, with the parts that are wanted."""

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
_MAX_NAME_LENGTH = 40

# A line that begins or ends an optional part, and the mark at the end of a line that is an optional part by itself.
_PART_EDGE = re.compile(r"\s*(?:#|<!--) <(/?)(\w+)>(?: -->)?\n?")
_LINE_MARK = re.compile(r"\s+# <(\w+)>(?=\n?\Z)")

_WORD = re.compile(r"gatepost[-_]example|(?<=_)example|example(?=_)|example|Example|EXAMPLE")

_MODULES = {"users.py": "contacts", "messages.py": "send", "reports.py": "send"}
"""Modules that belong to one optional part."""


class Names(NamedTuple):
    """The names of a plugin in all places where it has one."""

    distribution: str
    """The name for pip: ``acme-sms``."""
    use: str
    """The name in `use`: the same, without a leading ``gatepost-``."""

    @property
    def module(self) -> str:
        return self.distribution.replace("-", "_")

    @property
    def type(self) -> str:
        return "".join(part.capitalize() for part in self.use.split("-"))

    def replace_in(self, text: str) -> str:
        """Replace the names of the template in ``text`` by these."""
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
@click.option(
    "--channels", help="What the plugin sends: email, sms or email,sms (the default, without --contacts)."
)
@click.option("--contacts", is_flag=True, help="The plugin is a contact source.")
def command(name: str, channels: str | None, contacts: bool) -> None:
    """Create a plugin: a folder NAME with working code, its tests, and an emulated provider."""
    if channels is None:
        channels = "" if contacts else ",".join(Channel)
    chosen = [part.strip() for part in channels.split(",") if part.strip()]
    if unknown := sorted(set(chosen) - set(Channel)):
        raise click.UsageError(
            f"--channels: there is no channel {', '.join(unknown)}; there are email and sms"
        )
    if not (chosen or contacts):
        raise click.UsageError(
            "--channels is empty: name a channel, or make a contact source with --contacts"
        )
    names = Names(name, name.removeprefix("gatepost-"))
    folder = Path(name)
    template = template_folder()
    if problem := next(_problems(names, folder, template), ""):
        fail(problem)
    write(
        template,
        folder,
        names,
        parts={*chosen, *(["send"] if chosen else []), *(["contacts"] if contacts else [])},
    )
    click.echo(f"{name}/ is a working plugin for an imaginary provider. Try it:\n")
    click.echo(f"  cd {name}\n  pip install -e '.[test]'\n  pytest\n  gatepost plugins\n")
    click.echo("Then adapt it to your provider. Begin with tests/conftest.py, which emulates the provider.")


def template_folder() -> Path:
    """Return the folder of the template: a part of an installed Gatepost, or of a checkout."""
    package = Path(__file__).parents[1]
    packed = package / "_template"
    return packed if packed.is_dir() else package.parents[1] / "plugin_template"


def _problems(names: Names, folder: Path, template: Path) -> Iterator[str]:
    """Yield why a plugin of this name can't be created here; nothing when it can."""
    name = names.distribution
    if not template.is_dir():
        yield f"this installation of Gatepost lacks its template ({template}): install Gatepost again"
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(names.use) or len(name) > _MAX_NAME_LENGTH:
        yield f"{name!r} can't be a plugin's name: use lower-case letters, digits and single dashes, as in acme-sms"
    if keyword.iskeyword(names.module) or keyword.iskeyword(names.type) or names.type in _types(template):
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


def _types(template: Path) -> set[str]:
    """Return the names that the template's code uses for something else."""
    found: set[str] = set()
    for file in template.glob("*/*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.alias | ast.ClassDef):
                found.add(node.name)
    return found - {"Example"}


def write(template: Path, folder: Path, names: Names, parts: Collection[str]) -> None:
    """Write the plugin as a whole or not at all; the folder must not exist."""
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".new-plugin-") as draft:
        root = Path(draft) / "plugin"
        for file in _files(template):
            if _MODULES.get(file.name, "send") not in parts and file.name in _MODULES:
                continue
            target = root / names.replace_in(str(file))
            target.parent.mkdir(parents=True, exist_ok=True)
            text = render((template / file).read_text("utf-8"), parts)
            target.write_text(names.replace_in(text), "utf-8")
        # In one step, which fails when the folder has been created meanwhile.
        root.rename(folder)


def _files(template: Path) -> Iterator[Path]:
    """Yield the template's own files, and no caches or other files that work in it has left there."""
    for pattern in ("*.toml", "*.md", ".github/**/*.yml", "gatepost_example/*", "tests/*.py"):
        yield from (file.relative_to(template) for file in sorted(template.glob(pattern)) if file.is_file())


def render(text: str, parts: Collection[str]) -> str:
    """Return ``text`` with these optional parts and without the others; all marks are removed."""
    lines: list[str] = []
    closed: list[str] = []
    for line in text.splitlines(keepends=True):
        edge, mark = _PART_EDGE.fullmatch(line), _LINE_MARK.search(line)
        if edge and edge[1]:
            closed = [part for part in closed if part != edge[2]]
        elif edge:
            closed += [edge[2]] if edge[2] not in parts else []
        elif not closed and not (mark and mark[1] not in parts):
            lines.append(_LINE_MARK.sub("", line))
    return re.sub(r"\n{4,}", "\n\n\n", "".join(lines)).rstrip("\n") + "\n" if lines else ""
