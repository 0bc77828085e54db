"""A made-up comparison with its figures and its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from aida_tools.figures.run import draw_figures
from aida_tools.report.run import write_report
from tests.figures.made_compare import write_compare

SCRIPT = "<script>alert('donor')</script>"


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Return the report of a synthetic cohort in which one donor has a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    compared = write_compare(folder / "compare", rename={"SG_HEL_H003": SCRIPT})
    draw_figures(compared, root / "config" / "populations.tsv", folder / "figures")
    return write_report(compared, folder / "figures", folder)
