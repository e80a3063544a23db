"""The documentation site: `nox -s docs` builds it into `site/`."""

import importlib.metadata

project = "botsession"
author = "the botsession authors"
copyright = author  # noqa: A001 - Sphinx wants this name
release = importlib.metadata.version("botsession-core")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
exclude_patterns = ["**/.pytest_cache"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
default_role = "code"

html_theme = "furo"
html_title = f"botsession {release}"
