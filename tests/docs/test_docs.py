"""The documentation is true and complete: its code runs, its configuration is valid, and its paths exist."""

import importlib.util
import re
import tomllib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest
from sybil import Sybil
from sybil.example import Example
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

from gatepost import hookspecs
from gatepost.config import settings
from gatepost.config.routes import Route
from gatepost.config.toml_file import read_settings
from gatepost.model import Status
from gatepost.routing.rule_faults import rule_faults
from gatepost.testing import suites
from gatepost.testing.conformance import registry

REPO = Path(__file__).parents[2]
DOCS = REPO / "docs"
PAGES = [
    *(page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts),
    *sorted(REPO.glob("*.md")),
    *sorted(REPO.glob("plugins/*/README.md")),
    *sorted(REPO.glob("plugin_template/*/README.md")),
]

SOME_CLIENT = """
[clients.some]
authorization = ["some"]
"""


def read_config(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a TOML block as the gateway reads its file, with the plugins that it names.

    The environment variables and files that the block refers to are provided, and a client is added to a block
    without one. A part of a pyproject.toml is only parsed.
    """
    tables = tomllib.loads(text)
    if "project" in tables:
        return
    for name in re.findall(r'"env:(\w+)"', text):
        monkeypatch.setenv(name, f"the value of {name}")
    text = re.sub(r'"file:[^"]+"', '"the content of a file"', text)
    file = folder / "gatepost.toml"
    file.write_text(text if "clients" in tables else text + SOME_CLIENT)
    found, faults = read_settings(file, settings_type)
    assert [str(fault) for fault in faults] == []
    assert found is not None
    assert [str(fault) for fault in rule_faults(found, ())] == []


def settings_type(kind: str) -> type[msgspec.Struct]:
    (plugin,) = entry_points(group="gatepost", name=kind)
    return plugin.load().settings_type


def shown(page: Path) -> str:
    return str(page.relative_to(REPO))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_the_code_on_a_page_works(page, tmp_path, monkeypatch):
    def evaluate_toml(example: Example) -> None:
        read_config(example.parsed, tmp_path, monkeypatch)

    toml = CodeBlockParser(language="toml", evaluator=evaluate_toml)
    sybil = Sybil(parsers=[PythonCodeBlockParser(), toml])

    for example in sybil.parse(page).examples():
        example.evaluate()


@cache
def headings(page: Path) -> set[str]:
    """Return the headings of a page and of the pages that it includes."""
    text = page.read_text()
    included = re.findall(r"^```\{include\} (.+)$", text, re.MULTILINE)
    own = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {*own, *(heading for name in included for heading in headings(page.parent / name))}


@pytest.mark.parametrize("hook", hookspecs.HOOKS)
def test_every_hook_has_a_heading(hook):
    assert hook in headings(DOCS / "reference" / "hooks.md")


@pytest.mark.parametrize("hook", hookspecs.HOOKS)
def test_every_hook_has_checks_in_the_conformance_kit(hook):
    assert hook in {suite.hook for suite in suites.SUITES}
    assert registry.checks_of(registry.GROUPS[hook])


def test_the_whole_file_shows_every_key():
    page = (DOCS / "reference" / "settings.md").read_text()
    block = page.partition("```toml\n")[2].partition("```")[0]
    # Keys that come in pairs and have no default are commented out there.
    tables = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", block, flags=re.MULTILINE))

    for name, struct in settings.SECTIONS.items():
        assert tables[name].keys() == set(struct.__struct_fields__), name
    assert tables["clients"]["smartico"].keys() == set(settings.Client.__struct_fields__)
    assert set(settings.CORE_KEYS) <= {key for table in tables["plugins"].values() for key in table}


def test_every_key_is_described():
    page = (DOCS / "reference" / "settings.md").read_text()
    described = {
        key
        for keys in re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", keys)
    }

    structs = [*settings.SECTIONS.values(), settings.Client, Route]
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
    # The code builds some names from two parts, such as send_ and the result.
    built = {f"send_{word}" for word in ("unavailable", "rejected", "uncertain")}
    built |= {"callback_retry", "callback_dead", "logging_restored"}
    plugins = "".join(path.read_text() for path in (REPO / "plugins").glob("*/gatepost_*/*.py"))
    assert {event for event in described - built if f'"{event}' not in code + plugins} == set()


def test_links_between_pages_lead_somewhere():
    """Each link leads to a file and a heading, for readers of the repository too."""
    broken = [
        f"{shown(page)}: {target}#{anchor}"
        for page in PAGES
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", page.read_text())
        if not (page.parent / target).exists()
        or (anchor and anchor not in anchors(page.parent / target if target else page))
    ]
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings: the form of GitHub and MyST, and that of docutils."""
    words = [heading.lower() for heading in headings(page)]
    usual = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in words}
    return usual | {re.sub(r"[^a-z0-9]+", "-", heading).strip("-") for heading in words}


def imported(file: Path):
    """Import a module from the folder of the documentation, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"docs_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_demo_is_up_to_date():
    picture = imported(DOCS / "demo_picture.py")

    assert picture.FILE.read_text() == picture.picture(), "run .venv/bin/python docs/demo_picture.py"


def test_every_package_of_the_core_is_in_the_table_of_layers():
    conf = imported(DOCS / "conf.py")
    listed = set(re.findall(r"\| `([\w.]+)/?` \|", "\n".join(conf.layers())))

    packages = {path.parent.name for path in conf.CORE.glob("*/__init__.py")}
    modules = {path.name for path in conf.CORE.glob("*.py")} - {"__init__.py"}
    assert listed == packages | modules


@pytest.mark.parametrize(
    "folder",
    [REPO / "core/gatepost", *sorted(REPO.glob("plugins/*/gatepost_*"))],
    ids=shown,
)
def test_every_module_has_a_line_in_the_generated_lists(folder):
    listed = "\n".join(imported(DOCS / "conf.py").tree(folder))
    modules = {path.name for path in [*folder.glob("*.py"), *folder.glob("*/*.py")]}

    assert {name for name in modules if f"`{name}`: " not in listed} <= {"__init__.py", "__main__.py"}


# What looks like a path: it has a slash inside, or the ending of a file.
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|toml|md))`")
GUIDES = [DOCS / "onboarding.md", DOCS / "explanation/design.md", REPO / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", sorted({path for page in GUIDES for path in PATH.findall(page.read_text())}))
def test_the_files_that_contributors_are_sent_to_exist(path):
    assert (REPO / path).exists() or (REPO / "core/gatepost" / path).exists()
