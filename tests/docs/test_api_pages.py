"""The pages about the plugin API say what the code says: `make reference` writes them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"

_spec = importlib.util.spec_from_file_location("docs_api_pages", DOCS / "api_pages.py")
api_pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_pages)


@pytest.mark.parametrize("page", api_pages.pages(), ids=lambda page: page.name)
def test_a_generated_page_is_up_to_date(page):
    assert page.read_text() == api_pages.generate(page.read_text()), "run make reference"


def test_the_pages_of_the_plugin_api_are_generated():
    assert {"hooks.md", "plugin-api.md", "emulator.md"} <= {page.name for page in api_pages.pages()}


def test_a_page_without_its_generated_parts_gets_them_back():
    page = DOCS / "reference" / "hooks.md"
    emptied = re.sub(r"(<!-- api [^>]+ -->\n).*?(<!-- /api -->)", r"\1\2", page.read_text(), flags=re.DOTALL)

    assert "self, message" not in emptied
    assert api_pages.generate(emptied) == page.read_text()


@pytest.mark.parametrize("name", ["Email", "Context", "hookimpl", "nothing"])
def test_a_name_is_found_where_it_is_defined_and_nowhere_else(name):
    if name == "nothing":
        with pytest.raises(LookupError, match=r"gatepost\.hookspecs has no nothing"):
            api_pages.find("gatepost.hookspecs", name)
    else:
        assert api_pages.find("gatepost.hookspecs", name)


def test_a_signature_shows_that_any_keyword_may_be_given():
    (mark, end) = ("<!-- api gatepost.wire key_faults -->\n", "<!-- /api -->")

    assert "def key_faults(**secrets: Secret | None) -> Iterator[Fault]" in api_pages.generate(mark + end)


def test_a_docstring_becomes_markdown():
    text = "Send ``it``::\n\n    plugin.send()\n\n    again()\n\nor::\n\n    [toml]"

    assert "\n".join(api_pages.markdown(text)).split("\n") == [
        *("Send `it`:", "", "```py", "plugin.send()", "", "again()", "```", "", "or:", ""),
        *("```toml", "[toml]", "```", ""),
    ]


def test_generating_imports_nothing_of_gatepost(tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(DOCS)!r}); import api_pages; "
        "[api_pages.generate(page.read_text()) for page in api_pages.pages()]; "
        "print([name for name in sys.modules if name.startswith('gatepost')])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert shown.stdout == "[]\n"
