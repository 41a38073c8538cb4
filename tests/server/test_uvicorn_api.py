"""uvicorn has all the undocumented parts that the gateway uses, and the gateway uses no others."""

import ast
import inspect
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import gatepost
from gatepost.server import uvicorn_api
from gatepost.server.uvicorn_api import (
    ATTRIBUTES,
    SIGNATURES,
    Config,
    Server,
    ServerState,
)

CORE = Path(gatepost.__file__).parent
API = Path(uvicorn_api.__file__)

MISSING = object()

NAMES_ELSEWHERE = {"host", "port", "reload", "run"}
"""Attributes of uvicorn that are not used; attributes of our own classes have the same names."""


async def application(_scope, _receive, _send):
    pass


@pytest.fixture
async def instances():
    """An instance of each class, in a state in which the gateway uses it."""
    server = Server(Config(application, lifespan="off", ws="none", log_config=None))
    server.should_exit = True
    await server.serve(sockets=[])
    return {
        ServerState: server.server_state,
        Server: server,
        Config: server.config,
    }


def signature(function):
    """The signature without annotations, after ``async`` for a coroutine function."""
    found = inspect.signature(function)
    parameters = [one.replace(annotation=one.empty) for one in found.parameters.values()]
    plain = str(found.replace(parameters=parameters, return_annotation=found.empty))
    return f"async {plain}" if inspect.iscoroutinefunction(function) else plain


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        pytest.param(kind, method, id=f"{kind.__name__}.{method}")
        for kind, methods in SIGNATURES.items()
        for method in methods
    ],
)
def test_each_method_has_the_listed_signature(kind, method):
    assert signature(getattr(kind, method)) == SIGNATURES[kind][method]


async def test_each_attribute_has_the_listed_type(instances):
    wrong = [
        f"{kind.__name__}.{name}"
        for kind, attributes in ATTRIBUTES.items()
        for name, expected in attributes.items()
        if not isinstance(getattr(instances[kind], name, MISSING), expected)
    ]
    assert wrong == []


async def test_no_other_attribute_is_used(instances):
    listed = {name for table in (SIGNATURES, ATTRIBUTES) for names in table.values() for name in names}
    known = {
        name
        for kind, instance in instances.items()
        for name in [*vars(instance), *vars(kind)]
        if not hasattr(object, name)
    }
    used = {
        node.attr
        for path in API.parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert used & known - listed == NAMES_ELSEWHERE


def test_the_version_of_uvicorn_has_an_upper_bound():
    (uvicorn,) = (one for one in map(Requirement, requires("gatepost")) if one.name == "uvicorn")

    assert not uvicorn.specifier.contains("999")


def test_no_other_module_imports_uvicorn():
    importing = {
        path
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in [
            *([alias.name for alias in node.names] if isinstance(node, ast.Import) else []),
            *([node.module or ""] if isinstance(node, ast.ImportFrom) else []),
        ]
        if name.partition(".")[0] == "uvicorn"
    }
    assert importing == {API}
