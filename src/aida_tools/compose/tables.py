"""What `counts` writes beside the contracts of the core: the cells that it does not count."""

from __future__ import annotations

from aida_tools.core.schema import Table, declare, share, text, whole

UNCOUNTED = declare(
    Table(
        "uncounted",
        step="counts",
        what="a reason for which cells of an annotator are in no count",
        columns=(
            text("annotator", "who labelled the cells", empty=False),
            text("reason", "why they are not counted", empty=False),
            whole("n_cells", "cells that are not counted for this reason", unit="cells", empty=False),
            share("share", "these cells of all cells", empty=False),
        ),
        title="Cells that are in no count",
        section="measured",
        note="Cells of the primary annotator without a counted cell type are in no denominator. All other cells are "
        "counted.",
        shown=("reason", "n_cells", "share"),
    )
)
