"""A made-up comparison with its figures and its page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from aida_tools.figures import run
from aida_tools.figures.run import draw_figures
from aida_tools.report.run import write_report
from aida_tools.tables import write_tsv
from tests.figures import made_extra, made_labels
from tests.figures.made_compare import write_compare

CLAIMS = pd.DataFrame(
    [
        ["Koreans have the lowest share.", "supported, but population and site cannot be told apart", "One contrast."],
        ["<b>Bold</b> claims are made.", "not supported", "None of 2 contrasts shows it."],
        ["It makes people ill.", "not testable with these data", "Nobody was followed up."],
    ],
    columns=["statement", "verdict", "evidence"],
).assign(source="A newspaper, https://example.org/a")
SCRIPT = "<script>alert('donor')</script>"


def _save_for_the_page(figure: Figure, table: pd.DataFrame, stem: Path) -> list[Path]:
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    for path in paths:
        figure.savefig(path, dpi=40)
    return paths


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Return the report of a synthetic cohort in which one donor has a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    compared = write_compare(folder / "compare", rename={"SG_HEL_H003": SCRIPT})
    later = folder / "later"
    later.mkdir()
    write_tsv(CLAIMS, later / "claims.tsv")
    write_tsv(made_extra.site_bound(), later / "site_bound.tsv")
    for name, table in made_labels.tables().items():
        write_tsv(table, later / f"{name}.tsv")
    with pytest.MonkeyPatch.context() as patch:
        # The page shows SVG and PNG only; PDF takes most of the time.
        patch.setattr(run, "save", _save_for_the_page)
        draw_figures(compared, root / "config" / "populations.tsv", folder / "figures", also=[later])
    return write_report(compared, folder / "figures", folder, also=[later])
