"""What ``gatepost new-plugin`` writes: a template under other names, with the parts that were chosen."""

import re
import tempfile
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

# A line that begins or ends an optional part, and the mark at the end of a line that is an optional part by itself.
_PART_EDGE = re.compile(r"\s*(?:#|<!--) <(/?)(\w+)>(?: -->)?\n?")
_LINE_MARK = re.compile(r"\s+# <(\w+)>(?=\n?\Z)")

_MODULES = {"users.py": "contacts", "messages.py": "send", "reports.py": "send"}
"""Modules that belong to one optional part."""

_SHARED = "shared"
"""The folder of what all templates have."""

_YEAR = "(c) YEAR"
"""What the licence of the template has instead of the year."""


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

    @property
    def variable(self) -> str:
        return self.use.replace("-", "_")


class Template(NamedTuple):
    """A folder with a plugin that works, beside the folder of what all templates have."""

    folder: Path

    @property
    def names(self) -> Names:
        """The names of the template's own plugin."""
        use = {"http": "example"}.get(self.folder.name, f"example-{self.folder.name}")
        return Names(f"gatepost-{use}", use)

    def files(self) -> Iterator[tuple[Path, Path]]:
        """Yield each file and its path in a plugin; no caches, and nothing that work in it has left there."""
        own = ("*.toml", "*.md", f"{self.names.module}/*", "tests/*.py")
        for root, patterns in {
            self.folder: own,
            self.folder.with_name(_SHARED): ("[!_]*", ".github/**/*"),
        }.items():
            for pattern in patterns:
                for file in sorted(root.glob(pattern)):
                    if file.is_file():
                        yield file, file.relative_to(root)


def template(transport: str) -> Template:
    """Return the template for a transport: in an installed Gatepost, or in a checkout."""
    package = Path(__file__).parents[1]
    packed = package / "_templates"
    folder = packed if packed.is_dir() else package.parents[1] / "plugin_template"
    return Template(folder / transport)


def write(source: Template, folder: Path, names: Names, parts: Collection[str]) -> None:
    """Write the plugin as a whole or not at all; the folder must not exist."""
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".new-plugin-") as draft:
        root = Path(draft) / "plugin"
        for file, path in source.files():
            if _MODULES.get(file.name, "") in {"", *parts}:
                target = root / rename(str(path), source.names, names)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = rename(render(file.read_text("utf-8"), parts), source.names, names)
                target.write_text(text.replace(_YEAR, f"(c) {datetime.now(UTC).year}"), "utf-8")
        # In one step, which fails when the folder has been created meanwhile.
        root.rename(folder)


def rename(text: str, old: Names, new: Names) -> str:
    """Replace a template's names in ``text`` by those of the new plugin."""
    words = {
        old.module: new.module,
        old.distribution: new.distribution,
        old.type: new.type,
        old.variable.upper(): new.variable.upper(),
    }
    # In a name with underscores `example` is a part of a variable; elsewhere it is what `use` says.
    pattern = "|".join([*words, rf"(?<=_){old.variable}|{old.variable}(?=_)", old.use])

    def replacement(found: re.Match[str]) -> str:
        inside = "_" in {text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]}
        return words.get(found[0]) or (new.variable if inside else new.use)

    return re.sub(pattern, replacement, text)


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
