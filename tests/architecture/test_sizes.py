"""Modules, functions and classes stay small, as CONTRIBUTING.md says; a large class says why it is large."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
MODULES = [
    path
    for folder in ("core/gatepost", "plugins/*/gatepost_*", "plugin_template/*/gatepost_*")
    for package in REPO.glob(folder)
    for path in sorted(package.rglob("*.py"))
]

MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40
MAX_METHODS = 15


def oversized(source: str) -> Iterator[str]:
    """Yield what is too large in a module: the module, a function, or a class whose docstring is one line."""
    if (lines := source.count("\n")) > MAX_MODULE_LINES:
        yield f"the module has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield f"{node.name} has {lines} lines"
            case ast.ClassDef():
                methods = sum(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in node.body)
                if methods > MAX_METHODS and "\n" not in (ast.get_docstring(node) or ""):
                    yield f"{node.name} has {methods} methods, and its docstring does not say why"
            case _:
                pass


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPO)))
def test_modules_functions_and_classes_are_small(path):
    assert list(oversized(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "one = 1\n" * 301,
        "def one():\n" + "    two = 1\n" * 40,
        'class One:\n    """A class."""\n' + "".join(f"    def m{n}(self): ...\n" for n in range(16)),
    ],
)
def test_what_is_too_large_is_found(source):
    assert len(list(oversized(source))) == 1
