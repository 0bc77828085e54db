"""Shares without counts, as flow cytometry gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from aida_tools.compare.run import compare_tables
from aida_tools.compare.step import Options
from aida_tools.core.errors import AidaError

from .made import make_cohort


@pytest.fixture
def flow() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shares of CD4 T in percent; two of them were not measured."""
    samples, counts = make_cohort(controls=False)
    wide = counts.pivot(index="sample_id", columns="cell_type", values="n_cells").loc[samples["sample_id"]]
    cd4 = wide[["Treg", "CD4_naive", "CD4_memory"]]
    percent = (100 * cd4.div(cd4.sum(axis=1), axis=0)).round(3)
    percent.iloc[3, 0] = np.nan
    percent.iloc[7, 0] = np.nan
    table = percent.rename_axis(columns="cell_type").stack().rename("percent").reset_index().assign(denominator="CD4_T")
    return samples.drop(columns="n_cells").astype({"age": str}), table.astype({"percent": str})


def test_fractional_logit_agrees_with_statsmodels(flow: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, percent = flow
    tables, record = compare_tables(percent, samples, options=Options())
    assert record["models"] == ["log10-ols", "quasi-share"]
    assert not record["has_counts"]
    estimates = tables["estimates"]
    got = estimates.query(
        "model == 'quasi-share' and cell_type == 'Treg' and contrast == 'population: SG_Chinese - SG_Malay'"
    ).iloc[0]
    assert (got["denominator"], got["status"]) == ("CD4_T", "within-site")
    wide = percent.astype({"percent": float}).pivot(index="sample_id", columns="cell_type", values="percent")
    share = (wide["Treg"] / 100).reindex(samples["sample_id"]).to_numpy()
    levels = sorted(samples["population"].unique())
    x = np.column_stack(
        [*[samples["population"] == p for p in levels], samples["age"].astype(float), samples["sex"] == "male"]
    ).astype(float)
    seen = ~np.isnan(share)
    fit = sm.GLM(share[seen], x[seen], family=sm.families.Binomial()).fit(scale="X2", tol=1e-12)
    weights = np.zeros(x.shape[1])
    weights[[levels.index("SG_Chinese"), levels.index("SG_Malay")]] = 1, -1
    assert got["estimate"] == pytest.approx(weights @ fit.params, rel=1e-6)
    assert got["std_error"] == pytest.approx(np.sqrt(weights @ fit.cov_params() @ weights), rel=1e-6)
    assert got["n_samples_a"] + got["n_samples_b"] == 60 - 2
    shares = tables["shares"].query("cell_type == 'Treg'")
    assert shares["included"].sum() == len(samples) - 2
    assert shares["n"].isna().all()


def test_a_model_of_counts_is_refused(flow: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, percent = flow
    with pytest.raises(AidaError, match="needs numbers of cells"):
        compare_tables(percent, samples, options=Options(models=("betabinomial",)))
    with pytest.raises(AidaError, match="denominators are fixed"):
        compare_tables(percent, samples, options=Options(denominators=("all",)))


@pytest.mark.parametrize("value", ["101", "-1", "many"])
def test_a_share_out_of_range_is_named(flow: tuple[pd.DataFrame, pd.DataFrame], value: str) -> None:
    samples, percent = flow
    percent.loc[4, "percent"] = value
    with pytest.raises(AidaError, match=f"column 'percent', row 5: value '{value}' must be a number from 0 to 100"):
        compare_tables(percent, samples)


def test_a_repeated_share_and_a_missing_column_are_named(
    flow: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    samples, percent = flow
    with pytest.raises(AidaError, match="repeats sample_id"):
        compare_tables(pd.concat([percent, percent.iloc[[0]]]), samples)
    with pytest.raises(AidaError, match="column 'cell_type' is missing"):
        compare_tables(percent.drop(columns="cell_type"), samples)
