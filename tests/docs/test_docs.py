"""What the documentation shows is true: its code runs, its configuration can be read, nothing is left out."""

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pluggy
import pytest
from sybil import Sybil
from sybil.example import Example
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

from gatepost import hookspecs
from gatepost.config import settings
from gatepost.config.toml_file import read_settings
from gatepost.model import Status

REPO = Path(__file__).parents[2]
DOCS = REPO / "docs"
PAGES = [
    *(page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts),
    *sorted(REPO.glob("*.md")),
    *sorted(REPO.glob("plugins/*/README.md")),
    *sorted(REPO.glob("plugin_template/README.md")),
]

SOME_CLIENT = """
[clients.some]
authorization = ["some"]
"""


def read_config(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a TOML block as the gateway reads its file, with the plugins that it names.

    What it wants from the environment and from files is there; a caller that it leaves out is added.
    A part of a pyproject.toml only has to be TOML.
    """
    tables = tomllib.loads(text)
    if "project" in tables:
        return
    for name in re.findall(r'"env:(\w+)"', text):
        monkeypatch.setenv(name, f"the value of {name}")
    text = re.sub(r'"file:[^"]+"', '"the content of a file"', text)
    file = folder / "gatepost.toml"
    file.write_text(text if "clients" in tables else text + SOME_CLIENT)
    _, faults = read_settings(file, settings_type)
    assert [str(fault) for fault in faults] == []


def settings_type(kind: str) -> type[msgspec.Struct]:
    (plugin,) = entry_points(group="gatepost", name=kind)
    return plugin.load().settings_type


def shown(page: Path) -> str:
    return str(page.relative_to(REPO))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_what_a_page_shows_works(page, tmp_path, monkeypatch):
    def evaluate_toml(example: Example) -> None:
        read_config(example.parsed, tmp_path, monkeypatch)

    toml = CodeBlockParser(language="toml", evaluator=evaluate_toml)
    sybil = Sybil(parsers=[PythonCodeBlockParser(), toml])

    for example in sybil.parse(page).examples():
        example.evaluate()


def headings(page: Path) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE))


def hooks() -> list[str]:
    """The names that pluggy would know as hooks."""
    marked = pluggy.PluginManager(hookspecs.PROJECT)
    marked.add_hookspecs(hookspecs.Hooks)
    return sorted(name for name in vars(marked.hook) if not name.startswith("_"))


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_has_a_heading(hook):
    assert hook in headings(DOCS / "reference" / "hooks.md")


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_has_a_test_that_calls_it(hook):
    # A plugin's own hook, or the guarded call that stands around it.
    guarded = {"send_email": "send", "send_sms": "send", "lifespan": "living"}.get(hook, hook)
    called = re.compile(rf"\.({hook}|{guarded})\(")
    tests = (path for folder in ("tests", "plugins") for path in (REPO / folder).rglob("test_*.py"))

    assert any(called.search(path.read_text()) for path in tests)


def test_the_whole_file_shows_every_key():
    page = (DOCS / "reference" / "settings.md").read_text()
    block = page.partition("```toml\n")[2].partition("```")[0]
    # Keys that come in pairs with a default of none stand there as comments.
    tables = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", block, flags=re.MULTILINE))

    for name, struct in settings.SECTIONS.items():
        assert tables[name].keys() == set(struct.__struct_fields__), name
    assert tables["clients"]["smartico"].keys() == set(settings.Client.__struct_fields__)
    assert set(settings.CORE_KEYS) <= tables["plugins"]["sendgrid-main"].keys()


def test_every_key_is_described():
    page = (DOCS / "reference" / "settings.md").read_text()
    described = {
        key
        for keys in re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", keys)
    }

    structs = [*settings.SECTIONS.values(), settings.Client]
    keys = {key for struct in structs for key in struct.__struct_fields__} | set(settings.CORE_KEYS)
    assert keys - described == set()


@pytest.mark.parametrize("status", Status)
def test_every_status_is_described(status):
    page = (DOCS / "reference" / "contract.md").read_text()

    assert re.search(rf"^\| `{status}` \|", page, re.MULTILINE)


def test_the_log_says_what_the_page_says_and_nothing_else():
    page = (DOCS / "reference" / "errors.md").read_text().partition("## What the log says")[2]
    rows = re.findall(r"^\| (`.+?`)(?: as an error)? \|", page, re.MULTILINE)
    described = {event for row in rows for event in re.findall(r"`([^`]+)`", row)}
    infos = set(re.findall(r"`([^`]+)`", page.partition("### Infos")[2]))
    code = "".join(path.read_text() for path in (REPO / "core").rglob("*.py"))
    written = set(re.findall(r"_log\.(?:\w+)\(\s*\"([^\"]+)\"", code))

    assert written - described - infos == set()
    # Some are put together: send_ and the outcome, callback_ and what came of it.
    made = {f"send_{word}" for word in ("unavailable", "rejected", "uncertain")}
    made |= {"callback_retry", "callback_dead", "logging_mended"}
    plugins = "".join(path.read_text() for path in (REPO / "plugins").glob("*/gatepost_*/*.py"))
    assert {event for event in described - made if f'"{event}' not in code + plugins} == set()


def test_links_between_pages_lead_somewhere():
    """Links between pages lead to a file, for those who read them in the repository."""
    broken = [
        f"{shown(page)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
