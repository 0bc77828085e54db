"""Sphinx settings: `python -m sphinx -W docs docs/_build`, without any network."""

import os
import shutil
from pathlib import Path

import aida_tools

HERE = Path(__file__).resolve().parent
# Sphinx reads only what lies below this folder; the notebooks' own place is the top of the repository.
shutil.rmtree(HERE / "tutorials", ignore_errors=True)
shutil.copytree(HERE.parent / "notebooks", HERE / "tutorials", ignore=shutil.ignore_patterns(".*", "*.ipynb", "*.py"))

project = "aida_tools"
author = "The aida_tools developers"
copyright = author
release = version = aida_tools.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "furo"
html_title = f"aida_tools {release}"
html_show_copyright = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
# The test run executes the notebooks. With AIDA_RESULTS (a folder such as results/sample) they are shown with outputs.
nb_execution_mode = "force" if "AIDA_RESULTS" in os.environ else "off"
nb_execution_timeout = 120
nb_execution_raise_on_error = True

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
