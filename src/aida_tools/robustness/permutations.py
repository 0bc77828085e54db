"""Permutation tests of the contrasts, and what 5 % means in these data."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from aida_tools.core.names import ESTIMATED
from aida_tools.design.contrasts import REST, Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.matrix import build_design, independent_columns
from aida_tools.design.questions import batch_codes
from aida_tools.design.sites import Places, side_masks
from aida_tools.results.refit import Comparison
from aida_tools.robustness import reml
from aida_tools.robustness.permute import Null, count_arrangements, curvature, permutation_test
from aida_tools.robustness.tables import PERMUTATION, PERMUTATION_NULL

TESTS = ("mixed-logit", "ols-logit", "ols-log10")
#: The level that a p-value must be able to reach before a test can say anything.
LEVEL = 0.05
_BIN = 0.25
#: How the schemes end in which the labels of a side change sites, so that a site effect goes with them.
_BLIND = ("between sites", "between unrecorded sites")


class Permuted(NamedTuple):
    """What a permutation test says: its p-value, the smallest one its design allows, and what was exchanged.

    The estimate is that of the linear companion: a difference of logits.
    """

    estimate: float
    p_value: float
    p_min: float
    scheme: str


class _Sides(NamedTuple):
    """The samples of a contrast: which are on side a, their batches and sites, what their shares are adjusted for.

    `site` is None where not recorded; `adjusted` tells whether the adjustment takes up any effect of a site.
    """

    samples: pd.DataFrame
    counts: np.ndarray
    totals: np.ndarray
    on_a: np.ndarray
    batches: np.ndarray
    site: np.ndarray
    nuisance: np.ndarray
    adjusted: bool


class _Scheme(NamedTuple):
    """What is exchanged, in words; the labels of the units and the blocks they are exchanged in.

    The units are the samples, or their batches if `of_batches`.
    """

    words: str
    labels: np.ndarray
    blocks: np.ndarray
    of_batches: bool


def blind(scheme: str) -> bool:
    """Tell whether a scheme, by its words, moves labels between sites, so that it cannot see what a site adds."""
    return scheme.endswith(_BLIND)


def _sides(compared: Comparison, contrast: Contrast, counts: Denominator, cell_type: str) -> _Sides:
    samples, formula = compared.selection.samples, compared.selection.formula
    on_a, on_b = side_masks(contrast, samples)
    keep = (on_a | on_b) & (counts.totals > 0)
    if "donor_id" not in formula.variables:
        # Two samples of a donor are not exchangeable with those of two people: the larger one stands for both.
        seen = samples[["donor_id", "n_cells"]].assign(on_a=on_a)[keep].sort_values("n_cells", ascending=False)
        keep[seen.index[seen.duplicated(["donor_id", "on_a"])]] = False
    frame = samples[keep].reset_index(drop=True)
    codes = batch_codes(frame)
    batches = np.arange(len(frame)) if codes is None else codes
    places, design = Places(frame), build_design(formula.without([contrast.column]), frame)
    nuisance, adjusted = design.matrix, None not in places.site and design.spans(places.of_site)
    shared = np.empty(0) if None in places.site else _both(places.site, on_a[keep])
    if not adjusted and len(shared) and (contrast.b != REST or len(shared) == len(places.sites)):
        # As in the reported analysis: a site's effect is taken out of a contrast that can be estimated without it.
        columns = np.hstack([nuisance, places.of_site])
        nuisance, adjusted = columns[:, independent_columns(columns)[0]], True
    chosen = counts.counts[keep, counts.types.index(cell_type)]
    return _Sides(frame, chosen, counts.totals[keep], on_a[keep], batches, places.site, nuisance, adjusted)


def _both(codes: np.ndarray, on_a: np.ndarray) -> np.ndarray:
    """Return what stands on both sides."""
    return np.intersect1d(codes[on_a], codes[~on_a])


def _scheme(sides: _Sides) -> _Scheme | str:
    """Choose what can be exchanged if the sides do not differ; or say why nothing can."""
    on_a, batches = sides.on_a, sides.batches
    if on_a.all() or not on_a.any():
        return "one side has no sample"
    donors, _ = pd.factorize(sides.samples["donor_id"])
    sites, names = pd.factorize(sides.site)
    if len(paired := _both(donors, on_a)):
        if not np.isin(donors, paired).all():
            return "some donors are on both sides and others on one: neither donors nor samples can be exchanged freely"
        at_one = pd.Series(sites).groupby(donors).nunique().max() == 1
        return _Scheme("samples within donors" if at_one else "samples of a donor between sites", on_a, donors, False)
    n_batches = int(batches.max()) + 1
    if len(mixed := _both(batches, on_a)):
        if len(mixed) < n_batches and len(names) > 1 and not sides.adjusted:
            return "some batches hold both sides and others one: neither batches nor donors can be exchanged freely"
        return _Scheme("donors within batches", on_a, batches, False)
    unit = "batches" if n_batches < len(batches) else "samples"
    first = np.unique(batches, return_index=True)[1]
    labels, at = on_a[first], sites[first]
    if (sites < 0).any():
        return _Scheme(f"{unit} between unrecorded sites", labels, np.zeros(n_batches, int), True)
    shared = _both(sites, on_a)
    if len(names) > 1 and (len(shared) == len(names) or (len(shared) and sides.adjusted)):
        return _Scheme(f"{unit} within sites", labels, at, True)
    where = "sites" if len(names) > 1 else "sides"
    return _Scheme(f"{unit} between {where}", labels, np.zeros(n_batches, int), True)


def _response(test: str, counts: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return response, known variance, and which samples a test uses."""
    if test == "ols-log10":
        used = counts > 0
        return np.log10(counts[used] / totals[used]), np.ones(int(used.sum())), used
    response, variance = reml.empirical_logits(counts, totals)
    return response, variance if test == "mixed-logit" else np.ones(len(counts)), np.ones(len(counts), bool)


def _test(test: str, sides: _Sides, scheme: _Scheme, m: int, rng: np.random.Generator) -> Null | str:
    """Run one test; return its null, or why there is none."""
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
    labels, blocks = scheme.labels, scheme.blocks
    if scheme.of_batches:
        units = (batches[:, None] == np.arange(len(labels))).astype(float)
        score, information = units.T @ weighted, units.T @ found.project(units)
    else:
        labels, blocks = labels[used], blocks[used]
        score, information = weighted, found.project(np.eye(n))
    if count_arrangements(labels, blocks) < 2:
        return "there is only one arrangement of the labels"
    if not curvature(labels[None, :].astype(float), information)[0]:
        return "the other terms of the formula leave no difference between the sides"
    total, df = float(response @ weighted), float(n - p - 1)
    return permutation_test(labels, blocks, score, information, total=total, df=df, permutations=m, rng=rng)


def _rng(seed: int, contrast: Contrast) -> np.random.Generator:
    """Return the random numbers of a contrast: the same ones whichever others are asked beside it."""
    return np.random.default_rng([seed, zlib.crc32(str(contrast).encode())])


def permutation_p(
    compared: Comparison,
    contrast: Contrast,
    *,
    denominator: Denominator,
    cell_type: str,
    permutations: int,
    seed: int,
) -> Permuted | str:
    """Test a contrast by permutation, with the linear companion of the primary model (`mixed-logit`).

    Parameters
    ----------
    compared
        The comparison; its formula and its samples are taken.
    contrast
        Two sides of any column of the samples.
    denominator
        Counts of all samples of the comparison.
    cell_type
        One of its types.
    permutations
        How many; fewer if there are not that many different ones.
    seed
        Seed; the same one gives the row of the contrast in `permutation.tsv`.

    Returns
    -------
    The estimate, its p-value, the smallest one possible and the scheme (see `blind`); or in words why nothing can be
    permuted.
    """
    if not contrast.a:
        return "a number has no sides to exchange"
    sides = _sides(compared, contrast, compared.chosen(denominator, compared.selection), cell_type)
    scheme = _scheme(sides)
    if isinstance(scheme, str):
        return scheme
    found = _test(TESTS[0], sides, scheme, permutations, _rng(seed, contrast))
    return found if isinstance(found, str) else Permuted(found.estimate, found.p_value, found.p_min, scheme.words)


def out_of_reach(p_min: float) -> bool:
    """Tell whether the smallest possible p-value is too large for the test to find anything at the 5 % level."""
    return p_min > LEVEL - 1e-9


def _said(null: Null, scheme: _Scheme) -> str | None:
    """Say what a test cannot show."""
    said = []
    if out_of_reach(null.p_min):
        few = "units to exchange" if null.exact else "permutations"
        said.append(f"p below {null.p_min:.2g} cannot be reached with so few {few}: no rejection rate is given")
    if blind(scheme.words):
        unit = scheme.words.partition(" ")[0]
        said.append(
            f"{unit} change sites under this scheme: it cannot see a site effect, and its p-value and rejection rate "
            f"are about {unit} only"
        )
    return "; ".join(said) or None


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
    for contrast, status, reported_df in reported:
        sides = _sides(compared, contrast, counts, compared.options["focus"])
        row: dict[str, Any] = {"contrast": str(contrast), "status": status if status in ESTIMATED else "permuted"}
        scheme = _scheme(sides)
        for test in TESTS:
            rows.append(row | {"test": test})
            if isinstance(scheme, str):
                rows[-1] |= {"status": "not-permutable", "note": scheme}
                continue
            labels = scheme.labels
            rows[-1] |= {"scheme": scheme.words, "n_units_a": labels.sum(), "n_units_b": (~labels).sum()}
            null = _test(test, sides, scheme, permutations, _rng(seed, contrast))
            if isinstance(null, str):
                rows[-1] |= {"status": "not-permutable", "note": null}
                continue
            # The mixed test has the degrees of freedom of the reported one, the others those of their samples.
            own = reported_df if test == "mixed-logit" else null.df
            critical = float(stats.t.ppf(0.975, own)) if own > 0 else np.nan
            silent = np.isnan(critical) or out_of_reach(null.p_min)
            rows[-1] |= {
                "n_distinct": f"{null.n_distinct:.3g}" if null.n_distinct > 10**9 else str(null.n_distinct),
                "n_permutations": len(null.permuted),
                "exact": null.exact,
                "statistic": null.statistic,
                "estimate": null.estimate,
                "p_value": null.p_value,
                "p_min": null.p_min,
                "critical": critical,
                "rejection_rate": np.nan if silent else float((np.abs(null.permuted) > critical).mean()),
                "note": _said(null, scheme),
            }
            edges, n = _histogram(null.permuted)
            keys = {"contrast": str(contrast), "test": test}
            nulls.append(pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:], "n": n}).assign(**keys))
    return {
        "permutation": PERMUTATION.frame(rows),
        "permutation_null": PERMUTATION_NULL.frame(pd.concat(nulls, ignore_index=True) if nulls else ()),
    }
