"""How the documentation is built: `make docs`."""

from importlib.metadata import version as installed

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
