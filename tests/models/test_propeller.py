"""propeller and empirical Bayes against limma (tests/oracles/propeller.R)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.models.data import Data
from aida_tools.models.ebayes import squeeze, trigamma_inverse
from aida_tools.models.propeller import fit_asin, fit_logit

ORACLES = Path(__file__).parents[1] / "oracles"


def oracle(name: str) -> pd.DataFrame:
    return pd.read_csv(ORACLES / name, sep="\t", comment="#")


def data_of(name: str, *, robust: bool) -> tuple[Data, list[str]]:
    long = oracle("propeller_counts.tsv").query("set == @name")
    wide = long.pivot(index=["sample", "group", "age"], columns="type", values="n")
    samples = wide.index.to_frame(index=False)
    columns = [np.ones(len(wide)), *[(samples["group"] == g).to_numpy(float) for g in ("b", "c")]]
    design = np.column_stack([*columns, samples["age"]]) if name == "many" else np.column_stack(columns[:2])
    counts = wide.to_numpy(float)
    return Data(counts, counts.sum(axis=1), design, robust=robust), list(wide.columns)


@pytest.mark.parametrize("name", ["speckle", "many"])
@pytest.mark.parametrize("transform", ["logit", "asin"])
@pytest.mark.parametrize("robust", [True, False])
def test_agrees_with_limma(name: str, transform: str, robust: bool) -> None:
    data, types = data_of(name, robust=robust)
    fits = {"logit": fit_logit, "asin": fit_asin}[transform](data)
    want = oracle("propeller.tsv").query("set == @name and transform == @transform and robust == @robust")
    want = want.set_index("type").loc[types]
    group_b = np.eye(data.design.shape[1])[1]
    got = [fit.contrast(group_b) for fit in fits]
    np.testing.assert_allclose([g.value for g in got], want["estimate"], rtol=1e-8)
    np.testing.assert_allclose([g.value / g.std_error for g in got], want["t"], rtol=1e-6)
    np.testing.assert_allclose([g.df for g in got], want["df"], rtol=1e-6)


def test_the_published_speckle_numbers() -> None:
    """The numbers of speckle's own tests: see docs/design/statistics.md."""
    data, _ = data_of("speckle", robust=False)
    t = [e.value / e.std_error for e in (fit.contrast(np.array([0.0, -1.0])) for fit in fit_asin(data))]
    np.testing.assert_allclose(t, [3.0817862, -0.7954297, -2.8302040], rtol=1e-6)
    data, _ = data_of("speckle", robust=True)
    t = [e.value / e.std_error for e in (fit.contrast(np.array([0.0, -1.0])) for fit in fit_logit(data))]
    np.testing.assert_allclose(t, [2.6088578, -0.6949368, -2.9701280], rtol=1e-6)


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize("name", ["equal", "outlier", "spread", "spread_outlier", "even_outlier", "three"])
def test_variances_are_squeezed_as_limma_does(name: str, robust: bool) -> None:
    want = oracle("squeeze.tsv").query("set == @name and robust == @robust")
    got = squeeze(want["variance"].to_numpy(), 8.0, robust=robust)
    np.testing.assert_allclose(got.variance, want["posterior"], rtol=1e-6)
    np.testing.assert_allclose(got.prior.df, want["prior_df"], rtol=1e-5)
    np.testing.assert_allclose(got.prior.scale, want["prior_scale"], rtol=1e-6)


def test_one_variance_has_nothing_to_borrow_from() -> None:
    got = squeeze(np.array([2.0]), 5.0, robust=True)
    assert got.variance == [2.0]
    assert got.df == [5.0]


@pytest.mark.parametrize("y", [1e-3, 0.3, 1.0, 17.0, 1e5])
def test_trigamma_inverse(y: float) -> None:
    from scipy.special import polygamma

    assert trigamma_inverse(float(polygamma(1, y))) == pytest.approx(y, rel=1e-6)
