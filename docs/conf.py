"""How the documentation is built: `make docs`.

Two directives write tables that would otherwise be maintained by hand: `layers` (who may import whom) and `tree`
(what a folder of the code holds). They read pyproject.toml and the first line of each module's docstring.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

REPO = Path(__file__).parents[1]
CORE = REPO / "core" / "gatepost"

project = "Gatepost"
author = "The Gatepost authors"
project_copyright = author
version = release = installed_version("gatepost")

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "furo"
html_title = f"Gatepost {release}"
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3


def summary(path: Path) -> str:
    """Return the first line of the docstring of a module, or of a package's ``__init__``."""
    source = path / "__init__.py" if path.is_dir() else path
    docstring = ast.get_docstring(ast.parse(source.read_text())) or ""
    if not docstring:
        raise ValueError(f"{source.relative_to(REPO)} has no docstring to show in the documentation")
    return docstring.splitlines()[0]


def layers() -> Iterator[str]:
    """Yield the table of who may import whom, in Markdown, from import-linter's contract about layers."""
    contracts = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    yield from ("| layer | package or module | what it holds |", "| --- | --- | --- |")
    for number, layer in enumerate(contract["layers"], 1):
        label = f"{number}, apart" if "|" in layer else str(number)
        for name in re.findall(r"\w+", layer):
            is_package = (CORE / name).is_dir()
            shown = f"{name}/" if is_package else f"{name}.py"
            yield f"| {label} | `{shown}` | {summary(CORE / shown)} |"
            label = ""


def tree(folder: Path, indent: str = "") -> Iterator[str]:
    """Yield the packages and modules below a folder as a list in Markdown; of nested packages their line only."""
    for path in sorted(folder.iterdir(), key=lambda path: (not path.is_dir(), path.name)):
        is_package = (path / "__init__.py").exists()
        if is_package or (path.suffix == ".py" and not path.name.startswith("__")):
            yield f"{indent}- `{path.name}{'/' if is_package else ''}`: {summary(path)}"
            if is_package and not indent:
                yield from tree(path, indent="  ")


class Layers(SphinxDirective):
    """Who may import whom."""

    def run(self):
        return self.parse_text_to_nodes("\n".join(layers()))


class Tree(SphinxDirective):
    """What folders of the code hold; each argument is the path of one in the repository."""

    required_arguments = 1
    optional_arguments = 30

    def run(self):
        lines = [line for folder in self.arguments for line in tree(REPO / folder)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    app.add_directive("layers", Layers)
    app.add_directive("tree", Tree)
