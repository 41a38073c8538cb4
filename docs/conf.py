"""How the documentation is built: `make docs`."""

from importlib.metadata import version as installed
from typing import Any

project = "Gatepost"
author = "The Gatepost authors"
project_copyright = author
version = release = installed("gatepost")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "furo"
html_title = f"Gatepost {release}"
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The plugin contract is read in the order in which it was written.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _name_the_separator)


def _name_the_separator(_app, _what, _name, _obj, _options, lines: list[str]) -> None:
    # reStructuredText has no literal that ends with a blank.
    lines[:] = [line.replace("``, ``", "a comma and a blank") for line in lines]
