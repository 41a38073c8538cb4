"""Names that mislead were replaced; these tests keep them out of code, columns, keys, log events and file names."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]

EVERYWHERE = {
    "AT_ONCE": "what it limits, such as MAX_CALLS",
    "Batches": "GroupCommit",
    "Caller": "CallbackClient",
    "Floor": "Watermark",
    "LOOK": "the interval that it measures, such as FULL_SCAN_INTERVAL",
    "Late": "Deferred",
    "MOST": "what it limits, such as SWEEP_BATCH",
    "ManyWriters": "PostgresDatabase",
    "OncePerMinute": "LogThrottle",
    "OneWriter": "SqliteDatabase",
    "Outcome": "LookupResult or SendResult",
    "PATIENCE": "the timeout that it measures",
    "Pace": "Throttle",
    "Reach": "ClaimProgress",
    "Remembered": "ContactCache",
    "Rooms": "Services",
    "Telling": "CallbackState",
    "World": "what it holds, such as Deployment",
    "Zoo": "what it holds, such as misbehaving plugins",
    "asked": "the word for what was asked",
    "beasts": "misbehaving_plugins",
    "bugs": "planted_defects",
    "caller": "the client address, or the callback client",
    "callers": "client_names",
    "hastened": "callbacks_retried",
    "kept": "the word for what is stored or cached",
    "made": "the word for what was built, such as instances",
    "patience": "the timeout that it measures",
    "rooms": "services",
    "telling": "callback_state",
    "told": "acknowledged, or the word for what was reported",
    "unasked": "none",
    "world": "what it holds, such as deployment",
    "zoo": "what it holds, such as misbehaving plugins",
    "zygote": "fork_server",
}
"""Names that are used nowhere, and what is used in their place."""

AS_A_VARIABLE_OF_THE_CORE = {"most": "limit", "read": "settings"}
"""Names that the core gives to no variable and no parameter; as a method of a file ``read`` is fine."""

AS_A_CLASS_OF_THE_CORE = {"Condition": "BreakerSnapshot", "Health": "BreakerState, or what it checks"}

TEXT_NAME = re.compile(r"[A-Za-z_]+")
"""A text that is a name as a whole: a column, a key, a log event, a label."""

COLUMN = re.compile(r"\b(telling|told)\b(?=\s*(?:=|IN\b|,|FROM\b))")
"""A column in SQL that was renamed."""


def listed(pattern: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", pattern], cwd=REPO, capture_output=True, text=True, check=True
    ).stdout.split()
    return [path for name in listed_names(listing) if (path := REPO / name).exists()]


def listed_names(listing: list[str]) -> Iterator[str]:
    """Yield the files whose names are looked at: not this one, which holds the list."""
    return (name for name in listing if not name.endswith(Path(__file__).name))


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each name that the code gives or uses, and each text that is a name, with its line."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case (
                ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name))
            ):
                yield line, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield line, name
            case ast.alias(name=path, asname=alias):
                yield from ((line, name) for name in [*path.split("."), *([alias] if alias else [])])
            case ast.ImportFrom(module=str(path)):
                yield from ((line, name) for name in path.split("."))
            case ast.Constant(value=str(text)) if TEXT_NAME.fullmatch(text):
                yield line, text
            case ast.Constant(value=str(text)) if COLUMN.search(text) and "statuses" in text.lower():
                yield line, "telling"
            case _:
                pass


def misleading(path: Path, tree: ast.AST) -> list[str]:
    """Return where the code uses a replaced name, and what to use instead."""
    found = [
        (line, name, EVERYWHERE[bare])
        for line, name in names(tree)
        if (bare := name.strip("_")) in EVERYWHERE
    ]
    if path.is_relative_to(REPO / "core"):
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) if (
                    name in AS_A_VARIABLE_OF_THE_CORE
                ):
                    found.append((node.lineno, name, AS_A_VARIABLE_OF_THE_CORE[name]))
                case ast.ClassDef(name=name) if name in AS_A_CLASS_OF_THE_CORE:
                    found.append((node.lineno, name, AS_A_CLASS_OF_THE_CORE[name]))
                case _:
                    pass
    return [f"{path.relative_to(REPO)}:{line}: {name}: use {instead}" for line, name, instead in found]


def test_no_replaced_name_is_used():
    found = [text for path in listed("*.py") for text in misleading(path, ast.parse(path.read_text()))]

    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "told = 1",
        "def told(): ...",
        "def one(told): ...",
        "one(told=1)",
        "one.told",
        "import told",
        "from one import two as told",
        "import told.one",
        "from one.told import two",
        "try: ...\nexcept ValueError as told: ...",
        "match 1:\n    case told: ...",
        "class Telling: ...",
        "MOST = 1",
        "_MOST = 1",
        'row["telling"]',
        '_log.info("hastened")',
        "sql = \"UPDATE statuses SET telling = 'dead'\"",
        'sql = "SELECT telling FROM statuses"',
    ],
)
def test_a_planted_name_is_found(code):
    assert misleading(REPO / "tests" / "example.py", ast.parse(code))


@pytest.mark.parametrize("code", ["read = 1", "def one(most): ...", "class Health: ..."])
def test_a_name_is_found_that_only_the_core_must_not_use(code):
    assert misleading(REPO / "core" / "example.py", ast.parse(code))
    assert not misleading(REPO / "tests" / "example.py", ast.parse(code))


def is_replaced(name: str) -> bool:
    return name in EVERYWHERE or name.startswith("test_way_") or "zoo" in name


def test_no_file_and_no_folder_has_a_replaced_name():
    found = [
        str(path.relative_to(REPO))
        for path in listed("*")
        if any(is_replaced(name.partition(".")[0]) for name in path.relative_to(REPO).parts)
    ]

    assert found == []
