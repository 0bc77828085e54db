"""The figure of labelling error shows every estimate where the table has it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aida_tools.agreement.figures.errors import errors_table, label_errors
from aida_tools.figures.run import plates
from aida_tools.figures.style import SINGLE, Palette
from aida_tools.results.results import Results
from tests.figures import made_extra
from tests.figures.made_compare import beside
from tests.figures.test_figures_drawn import outside, overlaps, words


def made() -> pd.DataFrame:
    """Rates, sensitivity and specificity of `gate` beside `author`; two sites and ten depths; one level without."""
    levels = {"all": ["all"], "site": ["KR", "SG"], "depth": [str(d) for d in range(1, 11)], "donor": ["d1"]}
    about = [("author", None, "rate"), ("gate", None, "rate")]
    about += [("author", "gate", m) for m in ("sensitivity", "specificity", "kappa")]
    rows = []
    for within in ("all", "CD4_T"):
        for k, (a, b, measure) in enumerate(about):
            for stratum, names in levels.items():
                for i, level in enumerate(names):
                    p = 0.1 * (k + 1) + 0.01 * i + 0.2 * (within == "all")
                    interval = {"ci_low": p - 0.02, "ci_high": p + 0.02}
                    donor = {"donor_ci_low": p - 0.05, "donor_ci_high": p + 0.05}
                    if level == "SG":
                        donor = dict.fromkeys(donor, np.nan)
                    if level == "10":
                        p, interval, donor = np.nan, dict.fromkeys(interval, np.nan), dict.fromkeys(donor, np.nan)
                    keys = {"annotator_a": a, "annotator_b": b, "within": within, "measure": measure, "n_cells": 50}
                    rows.append({**keys, "stratum": stratum, "level": level, "estimate": p, **interval, **donor})
    return pd.DataFrame(rows)


def test_the_interval_between_donors_comes_first() -> None:
    table = errors_table(made(), within="CD4_T")
    assert set(table["within"]) == {"CD4_T"}
    assert set(table["measure"]) == {"rate", "sensitivity", "specificity"}
    assert set(table["stratum"]) == {"all", "site", "depth"}
    half = (table["high"] - table["low"]) / 2
    np.testing.assert_allclose(half, np.where(table["level"] == "SG", 0.02, 0.05))
    np.testing.assert_array_equal(table["between"], table["level"] != "SG")
    assert set(errors_table(made(), within="T")["within"]) == {"all"}


def test_every_estimate_is_drawn_at_its_level() -> None:
    figure = label_errors(errors_table(made(), within="CD4_T"), focus="Treg")
    assert len(figure.axes) == 6
    sensitivity = figure.axes[4]
    drawn = {line.get_gid(): line for line in sensitivity.lines if len(line.get_xdata()) == 9}
    np.testing.assert_allclose(drawn["estimate"].get_ydata(), 0.3 + 0.01 * np.arange(9))
    np.testing.assert_allclose(np.round(np.asarray(drawn["estimate"].get_xdata(), float)), np.arange(9))
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["KR", "SG"]
    shares = [y for line in figure.axes[0].lines if line.get_gid() == "estimate" for y in np.asarray(line.get_ydata())]
    np.testing.assert_allclose(shares, [0.1, 0.11, 0.2, 0.21])
    assert "Treg share" in words(figure)


@pytest.mark.parametrize("width", [SINGLE, 183.0])
def test_nothing_lies_outside_or_over_another(width: float) -> None:
    figure = label_errors(errors_table(made(), within="all"), focus="Treg", width=width, synthetic=True)
    assert overlaps(figure) == []
    assert outside(figure) == []


def test_batches_stand_in_for_a_single_site() -> None:
    table = made().replace({"level": {"KR": "1k_PBMC_v2_filtered", "SG": "5prime_PBMC"}, "stratum": {"site": "batch"}})
    drawn = errors_table(table, within="CD4_T")
    assert set(drawn["stratum"]) == {"all", "batch", "depth"}
    figure = label_errors(drawn, focus="Treg")
    assert figure.axes[0].get_xlabel() == "batch"
    assert overlaps(figure) == []
    # With two sites the batches are left to the table.
    both = pd.concat([made(), table.query("stratum == 'batch'")])
    assert set(errors_table(both, within="CD4_T")["stratum"]) == {"all", "site", "depth"}


def test_unresolved_cells_have_a_column_where_there_are_any() -> None:
    rows = made().query("measure == 'rate' and within == 'all'").assign(measure="unresolved", annotator_b=None)
    drawn = errors_table(made(), within="CD4_T", unresolved=rows)
    own = drawn[drawn["measure"] == "unresolved"]
    assert set(own["annotator"]) == {"author", "gate"}
    assert set(own["stratum"]) == {"all", "site", "depth"}
    figure = label_errors(drawn, focus="Treg")
    assert len(figure.axes) == 8
    assert "Unresolved" in words(figure)
    assert overlaps(figure) == []
    assert outside(figure) == []
    none = errors_table(made(), within="CD4_T", unresolved=rows.assign(estimate=0.0))
    assert "unresolved" not in set(none["measure"])


def test_fewer_tables_make_fewer_panels() -> None:
    table = errors_table(made(), within="all")
    assert len(label_errors(table.query("stratum != 'depth'"), focus="Treg").axes) == 3
    assert len(label_errors(table.query("measure == 'rate'"), focus="Treg").axes) == 2
    assert words(label_errors(table.query("stratum == 'all'"), focus="Treg")).strip().endswith(".")


def test_the_step_gives_two_figures(results: Results, palette: Palette) -> None:
    extra = {"agreement": made(), "confusion": made_extra.agreement()}
    found = plates(beside(results, extra), palette)
    assert "gate has a sensitivity of 30.0 % (25.0 to 35.0)" in found["label_errors"].alt
    assert "measured against author" in found["label_errors"].caption
    assert "depth" not in found["annotation"].caption


def test_ticks_of_a_narrow_range_are_told_apart() -> None:
    table = errors_table(made(), within="CD4_T").query("measure == 'specificity' or measure == 'rate'")
    near = 0.9975 + (table["estimate"] - table["estimate"].mean()) / 1000
    table = table.assign(estimate=near, low=near - 1e-4, high=near + 1e-4)
    figure = label_errors(table, focus="Treg")
    figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [t.get_text() for t in axes.get_yticklabels()]
        assert len(set(labels)) == len(labels)
