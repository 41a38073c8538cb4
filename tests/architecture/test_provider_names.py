"""The core knows no provider: no plugin of this repository is named in its code or in its file names."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
CORE = REPO / "core" / "gatepost"
KINDS = sorted(
    name
    for project in REPO.glob("plugins/*/pyproject.toml")
    for name in tomllib.loads(project.read_text())["project"]["entry-points"]["gatepost"]
    # The names of the protocol and of the language, which the core speaks itself.
    if name not in {"http", "sql"}
)

ALLOWED = {
    # The demo's example configuration has a contact source and a provider without an account.
    ("demo/environment.py", "csv"),
    ("demo/environment.py", "sandbox"),
    # A file format, not the plugin: the demo writes a sample file and shows lines of it.
    ("demo/display.py", "csv"),
    # The same format, as which `gatepost stats` prints a table.
    ("cli/stats.py", "csv"),
    ("outbox/statistics_table.py", "csv"),
    ("console/stats_page.py", "csv"),
    # The example command that `gatepost plugins` prints when no plugin is installed.
    ("cli/plugins.py", "csv"),
    # The protocol, not the plugin: the codes of a mail server.
    ("plugin_host/sanitize.py", "smtp"),
}


def words(module: ast.Module) -> Iterator[str]:
    """Yield every name and every string of a module; docstrings may name a provider as a source."""
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        else:
            yield from (value for _, value in ast.iter_fields(node) if isinstance(value, str))


def kinds_in(word: str) -> list[str]:
    """Return the kinds that a text names as a word, or as a part of a name in snake case or camel case."""
    begin, end = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))", r"(?![a-z]|(?<=[A-Z])[A-Z])"
    return [kind for kind in KINDS if re.search(f"{begin}(?i:{kind}){end}", word)]


def mentions() -> set[tuple[str, str]]:
    """Return every pair of a module of the core and a plugin that its code names."""
    return {
        (name, kind)
        for file in CORE.rglob("*.py")
        for name in [str(file.relative_to(CORE))]
        for word in [name, *words(ast.parse(file.read_text()))]
        for kind in kinds_in(word)
    }


@pytest.mark.parametrize(
    "name",
    ["sendgrid", "gatepost_sendgrid", "SENDGRID_KEY", "SendGridEmulator", "aSendGrid", "to sendgrid/mail.py"],
)
def test_a_planted_name_is_found(name):
    assert kinds_in(name) == ["sendgrid"]


@pytest.mark.parametrize(
    "name", ["addresses", "ADDRESSES", "_ON_ADDRESSES", "Processes", "sesame", "MAX_SESSION"]
)
def test_a_part_of_another_word_is_no_name(name):
    assert kinds_in(name) == []


def test_the_core_names_no_provider():
    assert mentions() == ALLOWED
