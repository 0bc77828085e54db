"""The options of `aida-tools agreement`."""

from __future__ import annotations

from aida_tools.core.names import FOCUS
from aida_tools.core.options import option, options


@options
class Options:
    """What to look at when annotators are compared with each other."""

    truth: str | None = option(
        default=None,
        help="Annotator taken for the truth, against which the others are measured; default: author, else the first.",
        metavar="ANNOTATOR",
    )
    focus: str = option(default=FOCUS, help="Cell type in question.", metavar="TYPE")
    within: tuple[str, ...] = option(
        default=(),
        help="Sets of cell types to look inside as well, such as CD4_T; default in a run: the primary denominator that "
        "it names.",
        flag="--within",
        metavar="NAME",
    )
    unresolved: tuple[str, ...] = option(
        default=(),
        help="Types of cells that were not resolved further, which tell nothing of error; default: the unresolved "
        "labels of the cohort file. `unresolved` and what ends in `_unresolved` are always among them.",
        flag="--unresolved",
        metavar="TYPE",
    )
