"""Permutation tests of the contrasts, and what 5 % means in these data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.matrix import build_design
from aida_tools.design.questions import batch_codes
from aida_tools.design.sites import side_masks
from aida_tools.results.refit import Comparison
from aida_tools.robustness import reml
from aida_tools.robustness.permute import Null, count_arrangements, permutation_test
from aida_tools.robustness.tables import PERMUTATION, PERMUTATION_NULL

TESTS = ("mixed-logit", "ols-logit", "ols-log10")
_BATCHES, _DONORS, _SAMPLES = "batches between sites", "donors within batches", "samples within donors"
_ALONE = "samples between sides"
_BIN = 0.25


class _Sides(NamedTuple):
    """The samples of a contrast: which are on side a, their batches, what their shares are adjusted for."""

    samples: pd.DataFrame
    counts: np.ndarray
    totals: np.ndarray
    on_a: np.ndarray
    batches: np.ndarray
    nuisance: np.ndarray


def _sides(compared: Comparison, contrast: Contrast, counts: Denominator) -> _Sides:
    samples, focus = compared.selection.samples, counts.types.index(compared.options["focus"])
    on_a, on_b = side_masks(contrast, samples)
    keep = (on_a | on_b) & (counts.totals > 0)
    frame = samples[keep].reset_index(drop=True)
    codes = batch_codes(frame)
    batches = np.arange(len(frame)) if codes is None else codes
    nuisance = build_design(compared.selection.formula.without([contrast.column]), frame).matrix
    return _Sides(frame, counts.counts[keep, focus], counts.totals[keep], on_a[keep], batches, nuisance)


def _scheme(sides: _Sides) -> tuple[str, np.ndarray, np.ndarray] | str:
    """Return the scheme, its labels and its blocks; or why nothing can be exchanged."""
    donors, _ = pd.factorize(sides.samples["donor_id"])
    paired = np.intersect1d(donors[sides.on_a], donors[~sides.on_a])
    if len(paired):
        return _SAMPLES, sides.on_a, donors
    n_batches = sides.batches.max() + 1
    size = np.bincount(sides.batches, minlength=n_batches)
    of_a = np.bincount(sides.batches, weights=sides.on_a, minlength=n_batches)
    mixed = (of_a > 0) & (of_a < size)
    if not mixed.any():
        name = _BATCHES if n_batches < len(sides.batches) else _ALONE
        return name, of_a > 0, np.zeros(n_batches, int)
    if sides.samples["site"].nunique() > 1:
        return "some batches hold both sides and others one: neither batches nor donors can be exchanged freely"
    return _DONORS, sides.on_a, sides.batches


def _response(test: str, counts: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return response, known variance, and which samples a test uses."""
    if test == "ols-log10":
        used = counts > 0
        return np.log10(counts[used] / totals[used]), np.ones(int(used.sum())), used
    response, variance = reml.empirical_logits(counts, totals)
    return response, variance if test == "mixed-logit" else np.ones(len(counts)), np.ones(len(counts), bool)


def _test(
    test: str, sides: _Sides, scheme: tuple[str, np.ndarray, np.ndarray], m: int, rng: np.random.Generator
) -> Null | str:
    """Run one test; return its null, or why there is none."""
    name, labels, blocks = scheme
    response, variance, used = _response(test, sides.counts, sides.totals)
    nuisance = sides.nuisance[used]
    n, p = nuisance.shape
    batches, alone = sides.batches[used], np.arange(n)
    if n - p - 1 < 1 or np.linalg.matrix_rank(nuisance) < p:
        return f"{n} samples are too few"
    groups = [] if test != "mixed-logit" else [batches, alone] if len(np.unique(batches)) < n else [alone]
    # The covariance of the null model does not depend on the labels, so that weighting keeps the test exact.
    found = reml.fit(response, variance, nuisance, groups)
    weighted = found.project(response)
    if name in (_DONORS, _SAMPLES):
        labels, blocks = labels[used], blocks[used]
        score, information = weighted, found.project(np.eye(n))
    else:
        units = (sides.batches[used, None] == np.arange(len(labels))).astype(float)
        score, information = units.T @ weighted, units.T @ found.project(units)
    if count_arrangements(labels, blocks) < 2:
        return "there is only one arrangement of the labels"
    return permutation_test(
        labels,
        blocks,
        score,
        information,
        total=float(response @ weighted),
        df=float(n - p - 1),
        permutations=m,
        rng=rng,
    )


def _histogram(permuted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = _BIN * np.arange(np.floor(permuted.min() / _BIN), np.floor(permuted.max() / _BIN) + 2)
    return edges, np.histogram(permuted, edges)[0]


def permutation_tables(compared: Comparison, *, permutations: int, seed: int) -> dict[str, pd.DataFrame]:
    """Return `permutation` and `permutation_null`.

    Parameters
    ----------
    compared
        The comparison.
    permutations
        How many random permutations; all of them where there are no more than that.
    seed
        Seed of the permutations.
    """
    counts = compared.chosen(compared.primary, compared.selection)
    rows: list[dict[str, Any]] = []
    nulls: list[pd.DataFrame] = []
    reported = zip(compared.contrasts, compared.estimates["status"], compared.estimates["df"], strict=True)
    for index, (contrast, status, reported_df) in enumerate(reported):
        sides = _sides(compared, contrast, counts)
        told = status if status in ("within-site", "between-site") else "permuted"
        row: dict[str, Any] = {"contrast": str(contrast), "status": told}
        scheme = "one side has no sample" if sides.on_a.all() or not sides.on_a.any() else _scheme(sides)
        for test in TESTS:
            rows.append(row | {"test": test})
            if isinstance(scheme, str):
                rows[-1] |= {"status": "not-permutable", "note": scheme}
                continue
            labels = scheme[1]
            rows[-1] |= {"scheme": scheme[0], "n_units_a": labels.sum(), "n_units_b": (~labels).sum()}
            found = _test(test, sides, scheme, permutations, np.random.default_rng([seed, index]))
            if isinstance(found, str):
                rows[-1] |= {"status": "not-permutable", "note": found}
                continue
            null = found
            # The mixed test has the degrees of freedom of the reported one, the others those of their samples.
            own = reported_df if test == "mixed-logit" else null.df
            critical = float(stats.t.ppf(0.975, own)) if own > 0 else np.nan
            few = null.exact and null.p_min > 0.05
            rows[-1] |= {
                "n_distinct": f"{null.n_distinct:.3g}" if null.n_distinct > 10**9 else str(null.n_distinct),
                "n_permutations": len(null.permuted),
                "exact": null.exact,
                "statistic": null.statistic,
                "estimate": null.estimate,
                "p_value": null.p_value,
                "p_min": null.p_min,
                "critical": critical,
                "rejection_rate": np.nan if np.isnan(critical) else float((np.abs(null.permuted) > critical).mean()),
                "note": f"no labels could give p below {null.p_min:.2g}: too few units to permute" if few else None,
            }
            edges, n = _histogram(null.permuted)
            keys = {"contrast": str(contrast), "test": test}
            nulls.append(pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:], "n": n}).assign(**keys))
    return {
        "permutation": PERMUTATION.frame(rows),
        "permutation_null": PERMUTATION_NULL.frame(pd.concat(nulls, ignore_index=True) if nulls else ()),
    }
