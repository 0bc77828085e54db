"""The step `claims` and its options."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from aida_tools.core.defaults import default_file
from aida_tools.core.options import option, options
from aida_tools.core.steps import Step, register


@options
class Options:
    """The published statements to test."""

    claims: Path = option(
        default=partial(default_file, "claims.yaml"),
        help="File of published statements.",
        metavar="FILE",
        shown="config/claims.yaml, or the package's",
    )


STEP = register(
    Step(
        name="claims",
        help="Test published statements on COMPARE_DIR: supported, not supported, or not testable, and why.",
        options=Options,
        run="aida_tools.claims.run:check_claims",
        files=("claims",),
    )
)
