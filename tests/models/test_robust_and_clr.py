"""Cluster-robust errors against clubSandwich, log-ratios against limma and crumblr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.design.formula import parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.models.betabinomial import fit_betabinomial, fit_one
from aida_tools.models.by_batch import fit_by_batch
from aida_tools.models.clr import fit_clr, fit_two_class, log_ratios
from aida_tools.models.cluster import cluster_pieces, fit_cluster, jackknife
from aida_tools.models.data import Data
from aida_tools.models.linear import least_squares

ORACLES = Path(__file__).parents[1] / "oracles"


def oracle(name: str) -> pd.DataFrame:
    return pd.read_csv(ORACLES / name, sep="\t", comment="#")


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    return pd.read_csv(ORACLES / "betabinomial_data.tsv", sep="\t")


@pytest.fixture(scope="module")
def data(cohort: pd.DataFrame) -> Data:
    design = build_design(parse_formula("~ population + age + sex", cohort.columns), cohort).matrix
    codes = pd.factorize(cohort["batch"])[0]
    return Data(cohort[["common"]].to_numpy(float), cohort["n_common"].to_numpy(float), design, codes)


def test_jackknife_agrees_with_clubsandwich(data: Data) -> None:
    counts, x = data.counts[:, 0], data.design
    y = np.log((counts + 0.5) / (data.totals - counts + 0.5))
    residual = y - x @ least_squares(y, x).coef
    batches = [data.codes == g for g in range(16)]
    robust = jackknife(np.array([x[b].T @ residual[b] for b in batches]), np.array([x[b].T @ x[b] for b in batches]))
    want = oracle("cluster.tsv")
    weights = np.vstack([np.eye(6), [0, -1, 1, 0, 0, 0]])
    np.testing.assert_allclose(np.sqrt(np.diag(weights @ robust.cov @ weights.T)), want["std_error"], rtol=1e-9)
    np.testing.assert_allclose([robust.df(w) for w in weights], want["df"], rtol=1e-9)


def test_pieces_add_up_to_the_score_and_the_information(data: Data) -> None:
    counts = data.counts[:, 0].copy()
    fit = fit_one(counts, data.totals, data.design)
    scores, information = cluster_pieces(counts, data.totals, data, fit)
    np.testing.assert_allclose(scores.sum(axis=0), 0, atol=1e-4)
    # All but what the estimated precision adds.
    error = np.sqrt(np.diag(np.linalg.inv(information.sum(axis=0))))
    np.testing.assert_allclose(error, np.sqrt(np.diag(fit.cov)), rtol=0.02)


def test_leaving_a_batch_out_moves_the_estimate_as_the_jackknife_says(data: Data) -> None:
    counts = data.counts[:, 0].copy()
    fit = fit_one(counts, data.totals, data.design)
    scores, information = cluster_pieces(counts, data.totals, data, fit)
    step = np.linalg.solve(information.sum(axis=0) - information[3], scores[3])
    kept = data.codes != 3
    without = fit_one(counts[kept], data.totals[kept], data.design[kept])
    moved = fit.coef - without.coef
    assert np.corrcoef(step, moved)[0, 1] > 0.99
    np.testing.assert_allclose(np.linalg.norm(step), np.linalg.norm(moved), rtol=0.15)


def test_clustered_errors_are_wider_where_batches_differ(data: Data) -> None:
    """C and D have batches of their own: the batch SD of 0.3 widens their contrast, and not that of A and B."""
    robust, plain = fit_cluster(data)[0], fit_betabinomial(data)[0]
    np.testing.assert_array_equal(robust.coef, plain.coef)
    between, inside = np.eye(6)[2] - np.eye(6)[3], np.eye(6)[1]
    assert robust.contrast(between).std_error > 1.3 * plain.contrast(between).std_error
    assert robust.contrast(inside).std_error < 1.2 * plain.contrast(inside).std_error
    assert robust.contrast(between).df < 12


def test_a_population_in_one_batch_has_no_error_and_spares_the_others(data: Data) -> None:
    one = np.where(data.design[:, 3] == 1, 15, data.codes)
    one = np.unique(one, return_inverse=True)[1]
    fit = fit_cluster(Data(data.counts, data.totals, data.design, one))[0]
    assert fit.contrast(np.eye(6)[3]).df == 0
    assert fit.contrast(np.eye(6)[3] - np.eye(6)[2]).df == 0
    others = fit_cluster(data)[0]
    for weights in (np.eye(6)[1], np.eye(6)[2], np.eye(6)[4]):
        assert fit.contrast(weights).df > 4
        assert fit.contrast(weights).std_error == pytest.approx(others.contrast(weights).std_error, rel=0.15)
    assert fit_cluster(Data(data.counts, data.totals, data.design))[0].status == "too-few"


def test_a_type_without_overdispersion_has_clustered_errors(data: Data) -> None:
    """Binomial counts: the precision is at its bound and must not make the rest singular."""
    rng = np.random.default_rng(8)
    counts = rng.binomial(data.totals.astype(int), 0.08).astype(float)
    mean = counts.sum() / data.totals.sum()
    counts = np.round(0.3 * counts + 0.7 * mean * data.totals)
    fit = fit_cluster(Data(counts[:, None], data.totals, data.design, data.codes))[0]
    assert fit.precision > 1e6
    for weights in np.eye(6):
        assert fit.contrast(weights).df > 3
        assert 0 < fit.contrast(weights).std_error < 1


def test_batches_as_columns_divide_by_n_minus_p(data: Data) -> None:
    by_batch, plain = fit_by_batch(data)[0], fit_betabinomial(data)[0]
    np.testing.assert_allclose(by_batch.cov, plain.cov * 240 / 234)


@pytest.mark.parametrize(("model", "fit"), [("clr", fit_clr), ("clr-2class", fit_two_class)])
def test_log_ratios_agree_with_limma_on_crumblrs_recipe(shared: Path, model: str, fit) -> None:
    table = pd.read_csv(shared / "oracles" / "kang_ifn_counts.tsv", sep="\t", index_col=0)
    samples = pd.DataFrame({"population": table.index.str[:4], "donor_id": table.index.str[4:]})
    design = build_design(parse_formula("~ population + donor_id", samples.columns), samples).matrix
    counts = table.to_numpy(float)
    stimulated = np.eye(design.shape[1])[1]
    got = [f.contrast(stimulated) for f in fit(Data(counts, counts.sum(axis=1), design))]
    want = oracle("clr.tsv").query("model == @model").set_index("cell_type").loc[table.columns]
    np.testing.assert_allclose([g.value for g in got], want["estimate"], rtol=1e-8)
    np.testing.assert_allclose([g.value / g.std_error for g in got], want["t"], rtol=1e-8)
    if model == "clr":
        # crumblr's own published numbers for CD8 T, monocytes and CD4 T.
        published = want.loc[["CD8 T cells", "CD14+ Monocytes", "CD4 T cells"], "t"]
        np.testing.assert_allclose(published, [-4.0787416, -3.1226341, -2.2318104], rtol=1e-7)


def test_log_ratios_are_centred_and_weights_capped() -> None:
    rng = np.random.default_rng(0)
    ratios, weights = log_ratios(rng.poisson(40, (50, 6)).astype(float) * rng.integers(1, 40, (50, 1)))
    np.testing.assert_allclose(ratios.sum(axis=1), 0, atol=1e-10)
    assert weights.max() == 5
    np.testing.assert_allclose(np.quantile(weights, 0.05, axis=0), 1)
