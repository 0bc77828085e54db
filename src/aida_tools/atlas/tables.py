"""What `atlas` writes beside the sketch itself: the cells to draw, and how they were chosen."""

from __future__ import annotations

from aida_tools.core.schema import Table, declare, number, text

SKETCH = declare(
    Table(
        "sketch",
        step="atlas",
        open="`expr:GENE`, log-normalised expression of a marker gene",
        what="a cell to draw, in random order",
        columns=(
            number("x", "first coordinate of the map", empty=False),
            number("y", "second coordinate of the map", empty=False),
            text("cell_type", "by the first annotator"),
            text("site"),
            text("batch"),
        ),
    )
)
SKETCH_ABOUT = declare(
    Table(
        "sketch_about",
        step="atlas",
        what="a fact about how the cells were chosen and placed",
        columns=(text("key", empty=False, unique=True), text("value")),
    )
)
