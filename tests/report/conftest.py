"""A made-up comparison with its figures and its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from aida_tools.claims.tables import CLAIMS
from aida_tools.core.schema import write_tsv
from aida_tools.figures.run import draw_figures
from aida_tools.report.run import write_report
from aida_tools.robustness.tables import SITE_BOUND
from aida_tools.rooms import load
from tests.figures import made_extra, made_labels
from tests.figures.made_compare import light_pictures, write_compare

SAID = pd.DataFrame(
    [
        ["Koreans have the lowest share.", "supported, but population and site cannot be told apart", "One contrast."],
        ["<b>Bold</b> claims are made.", "not supported", "None of 2 contrasts shows it."],
        ["It makes people ill.", "not testable with these data", "Nobody was followed up."],
    ],
    columns=["statement", "verdict", "evidence"],
).assign(claim=list("abc"), source="A newspaper, https://example.org/a")
load("section")
SCRIPT = "<script>alert('donor')</script>"


def _write_page(root: Path, folder: Path) -> None:
    compared = write_compare(folder / "compare", rename={"SG_HEL_H003": SCRIPT})
    later = folder / "later"
    later.mkdir()
    for table, rows in ((CLAIMS, SAID), (SITE_BOUND, made_extra.site_bound())):
        table.write(table.frame(rows), later)
    for name, rows in made_labels.tables().items():
        write_tsv(rows, later / f"{name}.tsv")
    with light_pictures():
        draw_figures(compared, root / "config" / "populations.tsv", folder / "figures", also=[later])
    write_report(compared, folder / "figures", folder, also=[later])


@pytest.fixture(scope="session")
def page(root: Path, once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Return the report of a synthetic cohort in which one donor has a hostile name. To be read, not written into."""
    return once("report", lambda folder: _write_page(root, folder)) / "report.html"
