"""Misleading names that were replaced do not return: identifiers, columns, keys, log events and file names."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).parents[2]

REPLACED = {
    "asked": "the word for what was asked",
    "at_once": "what it limits, such as MAX_CALLS",
    "batches": "GroupCommit",
    "beasts": "misbehaving_plugins",
    "bugs": "planted_faults",
    "caller": "the callback client, or the client's address",
    "callers": "client_names",
    "condition": "BreakerSnapshot",
    "floor": "Watermark",
    "hastened": "CallbackRetry",
    "kept": "the word for what is stored or cached",
    "late": "Deferred",
    "look": "what it does, or the interval that it measures",
    "made": "instances, or the word for what was built",
    "many_writers": "PostgresDatabase",
    "most": "what it limits, such as SWEEP_BATCH",
    "once_per_minute": "LogThrottle",
    "one_writer": "SqliteDatabase",
    "outcome_twice": "LookupResult, SendResult",
    "pace": "Throttle",
    "patience": "the time that it measures",
    "reach": "ClaimProgress",
    "read": "settings",
    "remembered": "ContactCache",
    "rooms": "Services",
    "told": "callback_state, acknowledged",
    "telling": "callback_state",
    "unasked": "none",
    "world": "what it holds, such as a deployment",
    "zoo": "misbehaving_plugins",
    "zygote": "fork_server",
}
"""Each misleading word in snake case, and the word that replaced it."""

METHODS_OF_OTHERS = {"read", "Condition"}
"""Names of other libraries: allowed as an attribute, but not as a name that this code gives."""


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every name in the code with its line, and every string that is a name as a whole."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield getattr(node, "lineno", 0) or node.value.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.Attribute(attr=name) if name not in METHODS_OF_OTHERS:
                yield node.lineno, name
            case ast.alias(name=name, asname=alias):
                yield node.lineno, alias or name.rpartition(".")[2]
            case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z_]+", text):
                yield node.lineno, text
            case _:
                pass


def replaced(name: str) -> str:
    """Return the word of REPLACED that this name is, in snake or camel case; empty if there is none."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
    return snake if snake in REPLACED else ""


def python_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=REPO, capture_output=True, text=True, check=True
    ).stdout.split()
    return [REPO / name for name in listed if (REPO / name).exists()]
