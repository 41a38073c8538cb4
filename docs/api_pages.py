"""Write what the code says about the plugin API into pages of the documentation: `make reference`.

A page holds marks in HTML comments, and the text between them is generated::

    <!-- api gatepost.model -->                    every public name of the module, each with a heading
    <!-- api gatepost.wire -open_session -->       all but these
    <!-- api gatepost.hookspecs EmailSender -->    this name, without a heading
    <!-- /api -->                                  the end of a generated part

Signatures, docstrings and the texts below attributes are read from the source; no code is imported.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent
CORE = DOCS.parent / "core"

_PART = re.compile(
    r"(?P<start><!-- api (?P<module>[\w.]+)(?P<names>[^>]*) -->\n).*?(?P<end><!-- /api -->)", re.DOTALL
)

_LINE = 80
"""Characters of a signature or a value that are shown in one line."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


class Attribute(NamedTuple):
    """A name with a value, and the text below it."""

    name: str
    type: str
    default: str
    text: str


def pages() -> list[Path]:
    """Return the pages that have a generated part."""
    found = (page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts)
    return [page for page in found if _PART.search(page.read_text("utf-8"))]


def generate(text: str) -> str:
    """Return a page's text with every generated part as the code has it now."""
    return _PART.sub(
        lambda part: part["start"] + _api(part["module"], part["names"].split()) + part["end"], text
    )


def _api(module: str, words: Sequence[str]) -> str:
    """Return the generated part for a module and the names in a mark."""
    excluded = {word[1:] for word in words if word.startswith("-")}
    chosen = [word for word in words if word[1:] not in excluded]
    names = chosen or [name for name in public_names(module) if name not in excluded]
    lines: list[str] = []
    for name in names:
        if name == "__doc__":
            lines += ["", *markdown(_doc(_tree(module)).partition("\n\n")[2])]
            continue
        if len(names) > 1:
            lines += ["", f"### {name}"]
        lines += ["", *described(name, find(module, name))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*lines, "", ""]))


def _tree(module: str) -> ast.Module:
    path = CORE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text("utf-8"))


def public_names(module: str) -> list[str]:
    """Return the names in ``__all__``; without it, the public classes and functions, and constants with a text."""
    tree = _tree(module)
    for node in tree.body:
        if isinstance(node, ast.Assign) and _names(node) == ["__all__"]:
            return list(ast.literal_eval(node.value))
    names: list[str] = []
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and _text_of(following):
            names += _names(node)
        elif isinstance(node, ast.ImportFrom):
            # `import X as X` says that the name belongs to the module's own.
            names += [alias.name for alias in node.names if alias.name == alias.asname]
    return [name for name in names if not name.startswith("_")]


def find(module: str, name: str) -> tuple[Definition, str]:
    """Return the definition of a name and the text below it, where it is a constant; follows imports.

    Raises LookupError where the module has no such name.
    """
    tree = _tree(module)
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, Definition) and name in _names(node):
            return node, _text_of(following)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if name in {alias.name, alias.asname}:
                    return find(node.module, alias.name)
    raise LookupError(f"{module} has no {name}")


def _names(node: Definition) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    return [node.name]


def _text_of(node: ast.stmt | None) -> str:
    """Return the text of an expression that is a string; empty for any other statement."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return ast.get_docstring(ast.Module(body=[node], type_ignores=[])) or ""
    return ""


def _doc(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return ast.get_docstring(node) or ""


def described(name: str, definition: tuple[Definition, str]) -> Iterator[str]:
    """Yield the lines about one name, in Markdown."""
    node, text = definition
    if isinstance(node, ast.ClassDef):
        yield from _class(node)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _function(node)
    else:
        value = node.value
        # A long value is for the reader of the code.
        shown = _value(value) if value and len(_value(value)) <= _LINE else "..."
        yield from ("```py", f"{name} = {shown}", "```", "")
        yield from markdown(text)


def _class(node: ast.ClassDef) -> Iterator[str]:
    yield from ("```py", *_class_line(node), "```", "", *markdown(_doc(node)), "")
    yield from _table(list(_attributes(node)))
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) or method.name.startswith("_"):
            continue
        yield from ("", *_function(method))


def _class_line(node: ast.ClassDef) -> Iterator[str]:
    """Yield the line that begins the class, or the call that creates an instance, if it has a constructor of its own."""
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield f"class {node.name}({bases})" if bases else f"class {node.name}"
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            yield from f"{node.name}{_call(method)}".splitlines()


def _call(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the arguments in parentheses, without ``self``; one to a line where one line would be too long."""
    args = node.args
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults
    shown = [
        _argument(*pair) for pair in zip(plain, defaults, strict=True) if pair[0].arg not in {"self", "cls"}
    ]
    if args.vararg or args.kwonlyargs:
        shown.append(f"*{_argument(args.vararg, None)}" if args.vararg else "*")
    shown += [_argument(*pair) for pair in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if args.kwarg:
        shown.append(f"**{_argument(args.kwarg, None)}")
    line = f"({', '.join(shown)})"
    return line if len(line) <= _LINE else "(\n" + "".join(f"    {one},\n" for one in shown) + ")"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{kind}{f' = {_value(default)}' if default else ''}"


def _value(node: ast.expr) -> str:
    """Return an expression as the code has it, with the quotes of the formatter."""
    return re.sub(r"'([^'\"]*)'", r'"\1"', ast.unparse(node))


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    decorators = [f"@{ast.unparse(decorator)}" for decorator in node.decorator_list]
    shown = [line for line in decorators if not line.startswith("@_")]
    yield from ("```py", *shown, *f"{keyword} {node.name}{_call(node)}{returns}".splitlines(), "```", "")
    yield from markdown(_doc(node))


def _attributes(node: ast.ClassDef) -> Iterator[Attribute]:
    """Yield the attributes of a class, and those that its constructor sets and describes."""
    bodies = [node.body]
    bodies += [
        part.body for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"
    ]
    for body in bodies:
        for part, following in zip(body, [*body[1:], None], strict=True):
            if not isinstance(part, ast.Assign | ast.AnnAssign):
                continue
            target = part.targets[0] if isinstance(part, ast.Assign) else part.target
            own = isinstance(target, ast.Attribute) and ast.unparse(target).startswith("self.")
            name = target.attr if isinstance(target, ast.Attribute) and own else ast.unparse(target)
            text = _text_of(following)
            if name.startswith("_") or (own and not text):
                continue
            kind = ast.unparse(part.annotation) if isinstance(part, ast.AnnAssign) else ""
            default = _value(part.value) if part.value and not own else ""
            yield Attribute(name, re.sub(r"^ClassVar\[(.*)\]$", r"\1", kind), default, text)


def _table(attributes: Sequence[Attribute]) -> Iterator[str]:
    if not attributes:
        return
    typed = any(attribute.type for attribute in attributes)
    yield "| name | type | default | |" if typed else "| name | value | |"
    yield "| --- | --- | --- | --- |" if typed else "| --- | --- | --- |"
    for name, kind, default, text in attributes:
        cells = [name, kind, default] if typed else [name, default]
        shown = [f"`{cell}`" if cell and not cell.startswith("_") else "" for cell in cells]
        yield "| " + " | ".join([*shown, " ".join(markdown(text))]).replace(" | None", " \\| None") + " |"


def markdown(text: str) -> Iterator[str]:
    """Yield the lines of a docstring in Markdown: code in single backticks, and blocks after `::` in fences."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.endswith("::"):
            yield re.sub(r"``(.+?)``", r"`\1`", line)
            continue
        if line != "::":
            yield re.sub(r"``(.+?)``", r"`\1`", line[:-1])
        block = []
        while at < len(lines) and (not lines[at] or lines[at].startswith("    ")):
            block.append(lines[at].removeprefix("    "))
            at += 1
        code = "\n".join(block).strip("\n")
        yield from ("", f"```{'toml' if code.startswith('[') else 'py'}", *code.splitlines(), "```", "")


def main() -> None:
    """Write every page anew."""
    for page in pages():
        page.write_text(generate(page.read_text("utf-8")), "utf-8")
        sys.stdout.write(f"{page.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
