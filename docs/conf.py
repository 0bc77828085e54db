"""Sphinx settings of `make docs`, which needs no network."""

import os
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import aida_tools

HERE = Path(__file__).resolve().parent
# Sphinx reads only what lies below this folder; the notebooks' own place is the top of the repository.
NOTEBOOKS = shutil.ignore_patterns(".*", "*.ipynb", "*.py")
shutil.copytree(HERE.parent / "notebooks", HERE / "tutorials", ignore=NOTEBOOKS, dirs_exist_ok=True)

project = "aida_tools"
author = "aida_tools developers"
copyright = author
release = version = aida_tools.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns = ["_build"]
default_role = "code"

html_theme = "furo"
html_title = f"aida_tools {release}"
html_show_copyright = False
# Formulas as MathML, which browsers draw by themselves: no script from elsewhere.
html_math_renderer = "mathml"

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


_PROSE: dict[str, list[str]] = {}


def take_prose(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Set a Returns section of plain prose aside: napoleon would take each of its lines for a value of its own."""
    if "Returns" not in lines:
        return
    start = lines.index("Returns")
    end = next((i for i in range(start + 2, len(lines) - 1) if lines[i + 1].startswith("---")), len(lines))
    text = [line for line in lines[start + 2 : end] if line]
    if not any(line.startswith(" ") for line in text):
        _PROSE[name] = text
        del lines[start:end]


def put_prose(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put it back as one field, before the examples."""
    if name in _PROSE:
        first, *rest = _PROSE.pop(name)
        end = next((i for i, line in enumerate(lines) if line.startswith(".. rubric::")), len(lines))
        lines[end:end] = [f":returns: {first}", *(f"    {line}" for line in rest), ""]


def plain_paths(app: Sphinx, context: object, lines: list[str]) -> None:
    """Show the default of a path as it is typed."""
    lines[:] = [re.sub(r"\w+Path\('([^']*)'\)", r"\1", line) for line in lines]


def inline_formula(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def formula_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    writer.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (inline_formula, None), (formula_block, None))
    # Before and after napoleon, whose priority is 500.
    app.connect("autodoc-process-docstring", take_prose, priority=400)
    app.connect("autodoc-process-docstring", put_prose, priority=600)
    app.connect("sphinx-click-process-options", plain_paths)
