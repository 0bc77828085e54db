"""Variance components against lme4, a dense restricted likelihood in R, and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.robustness import reml

ORACLES = Path(__file__).parents[1] / "oracles"
EQUAL_VARIANCE = 0.05


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_csv(ORACLES / "reml_data.tsv", sep="\t")


@pytest.fixture(scope="module")
def oracle() -> pd.Series:
    table = pd.read_csv(ORACLES / "reml.tsv", sep="\t", comment="#")
    return table.set_index(["case", "name"])["value"]


def arrays(data: pd.DataFrame, case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    y, v = data["y"].to_numpy(), data["v"].to_numpy()
    v = np.full(len(y), EQUAL_VARIANCE) if case.startswith("equal") else v
    codes = {c: pd.factorize(data[c])[0] for c in ("site", "batch", "sample")}
    columns = [np.ones(len(y))]
    if case.endswith("fixed_sites"):
        columns += [(data["site"] == s).to_numpy(float) for s in ("KR", "SG", "TH")]
        del codes["site"]
    return y, v, np.column_stack([*columns, data["age"]]), list(codes.values())


@pytest.mark.parametrize("case", ["equal", "equal_fixed_sites", "unequal"])
def test_components_agree_with_r(data: pd.DataFrame, oracle: pd.Series, case: str) -> None:
    y, v, x, groups = arrays(data, case)
    found = reml.fit(y, v, x, groups)
    names = ["batch", "sample"] if case.endswith("fixed_sites") else ["site", "batch", "sample"]
    want = oracle[case]
    np.testing.assert_allclose(found.coef, [want[f"coef{i + 1}"] for i in range(x.shape[1])], rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov)), [want[f"se{i + 1}"] for i in range(x.shape[1])], rtol=1e-4)
    np.testing.assert_allclose(found.sd, [want[f"sd_{n}"] for n in names], atol=1e-4)
    assert found.loglik == pytest.approx(want["loglik"], abs=1e-6)


def test_profile_interval_agrees_with_r(data: pd.DataFrame, oracle: pd.Series) -> None:
    y, v, x, groups = arrays(data, "unequal")
    low, high = reml.profile_interval(y, v, x, groups, 1)
    want = oracle["unequal_batch_profile"]
    assert (low, high) == pytest.approx((want["ci_low"], want["ci_high"]), abs=2e-3)


def test_balanced_batches_have_the_anova_estimate() -> None:
    rng = np.random.default_rng(3)
    batches = np.repeat(np.arange(12), 10)
    y = rng.normal(0, 0.4, 120) + rng.normal(0, 0.3, 12)[batches]
    found = reml.fit(y, np.full(120, 0.01), np.ones((120, 1)), [batches, np.arange(120)])
    means = y.reshape(12, 10).mean(axis=1)
    within = np.sum((y - means[batches]) ** 2) / (120 - 12)
    between = 10 * np.var(means, ddof=1)
    assert found.sd[0] ** 2 == pytest.approx((between - within) / 10, rel=1e-4)
    assert found.sd[1] ** 2 == pytest.approx(within - 0.01, rel=1e-4)


def test_projection_is_the_dense_one(data: pd.DataFrame) -> None:
    y, v, x, groups = arrays(data, "unequal")
    found = reml.fit(y, v, x, groups)
    dense = np.diag(v) + sum(s**2 * (g[:, None] == g) for s, g in zip(found.sd, groups, strict=True))
    inverse = np.linalg.inv(dense)
    p = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    np.testing.assert_allclose(found.project(np.eye(len(y))), p, atol=1e-9)
    np.testing.assert_allclose(found.diagonal, np.diag(p), atol=1e-9)


def test_two_levels_leave_the_upper_limit_open() -> None:
    y = np.array([0.0, 0.1, 1.0, 1.1])
    groups = [np.array([0, 0, 1, 1]), np.arange(4)]
    low, high = reml.profile_interval(y, np.full(4, 0.01), np.ones((4, 1)), groups, 0)
    assert low > 0
    assert high == reml.MAX_SD


def test_no_spread_beyond_the_known_errors_is_zero() -> None:
    y = np.array([0.0, 0.01, -0.01, 0.02, 0.0, -0.02])
    found = reml.fit(y, np.full(6, 0.1), np.ones((6, 1)), [np.array([0, 0, 0, 1, 1, 1]), np.arange(6)])
    np.testing.assert_allclose(found.sd, 0, atol=1e-6)
    assert found.cov[0, 0] == pytest.approx(0.1 / 6)
