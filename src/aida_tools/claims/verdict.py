"""What an estimate says about a claim, as a p-value and as sentences. No table is read here.

A claim is supported if each of its contrasts is shown: an intersection-union test, whose p-value is the largest of
its contrasts' (Berger 1982, doi 10.1080/00401706.1982.10487790), so that nothing needs correcting within a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from aida_tools.claims.model import Direction
from aida_tools.design.contrasts import Contrast
from aida_tools.power.closed_form import minimal_detectable
from aida_tools.robustness.bound import site_bound

ALPHA = 0.05
SUPPORTED = "supported"
ALIASED = "supported, but population and site cannot be told apart"
NOT_SUPPORTED = "not supported"
NOT_TESTABLE = "not testable with these data"


@dataclass(frozen=True)
class Evidence:
    """One contrast of a claim, on the log-odds scale.

    Attributes
    ----------
    contrast, status, note, aliased_with
        As in `estimates.tsv`, in the claim's order of sides.
    estimate, std_error, df
        For the claim's unit of a numeric contrast; not a number where there is no estimate.
    unit
        Such as `per 10 years`; empty for two sides.
    """

    contrast: Contrast
    status: str
    estimate: float = np.nan
    std_error: float = np.nan
    df: float = np.nan
    note: str = ""
    aliased_with: str = ""
    unit: str = ""

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return bool(np.isfinite(self.estimate) and np.isfinite(self.std_error))

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        half = float(stats.t.ppf(1 - ALPHA / 2, self.df)) * self.std_error
        return self.estimate - half, self.estimate + half

    def __str__(self) -> str:
        low, high = (odds_ratio(v) for v in self.interval)
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.contrast.words()}: odds ratio {odds_ratio(self.estimate)}{unit} (95 % interval {low} to {high})"


def odds_ratio(log: float) -> str:
    """Write a log odds ratio as an odds ratio of three digits."""
    return f"{np.exp(log):.3g}" if abs(log) < 4.6 else f"{np.exp(log):.1e}"


def claim_p_value(evidence: Evidence, direction: Direction, margin: float = 1.2) -> float:
    """Return the p-value of a contrast for the claim.

    Parameters
    ----------
    evidence
        With an estimate.
    direction
        `lower`, `higher`: against no difference or the other direction; `similar`: against an odds ratio outside
        1/margin to margin (two one-sided tests, Schuirmann 1987, doi 10.1007/BF01068419).
    margin
        Above 1.

    Returns
    -------
    Twice the one-sided p-value, at most 1: below 0.05 exactly where the 95 % interval lies on the claim's side.
    """
    estimate, error, df = evidence.estimate, evidence.std_error, evidence.df
    if direction == "lower":
        one_sided = stats.t.cdf(estimate / error, df)
    elif direction == "higher":
        one_sided = stats.t.sf(estimate / error, df)
    else:
        bound = np.log(margin)
        one_sided = max(stats.t.sf((estimate + bound) / error, df), stats.t.cdf((estimate - bound) / error, df))
    return float(min(1.0, 2 * one_sided))


def obstacle(evidence: Sequence[Evidence]) -> str:
    """Say which contrasts have no estimate, and why; empty if all have."""
    missing = [f"{e.contrast.words()}: {e.note or 'no estimate'}" for e in evidence if not e.known]
    return "; ".join(missing)


def weakest(evidence: Sequence[Evidence], direction: Direction, margin: float) -> Evidence:
    """Return the contrast that speaks least for the claim."""
    return max(evidence, key=lambda e: claim_p_value(e, direction, margin))


def verdict_of(evidence: Sequence[Evidence], q: float) -> str:
    """Return the verdict of a claim all of whose contrasts have an estimate."""
    if q > ALPHA:
        return NOT_SUPPORTED
    return ALIASED if any(e.status == "between-site" for e in evidence) else SUPPORTED


def _absence(e: Evidence, direction: Direction, negligible: float) -> str:
    """Say what an interval that does not show the claim leaves possible, and what it excludes."""
    low, high = e.interval
    band = np.log(negligible)
    if (low > 0) if direction == "lower" else (high < 0):
        return "The data show the opposite: the whole interval lies on the other side of 1."
    if max(-low, high) <= band:
        return (
            f"The whole interval lies between {1 / negligible:.3g} and {negligible:.3g}: evidence that any difference "
            "is small, not only a lack of evidence for one."
        )
    # The end on the claim's side is the largest effect that is still possible.
    end, side, step = (low, "below", -1) if direction == "lower" else (high, "above", 1)
    found = odds_ratio(step * float(minimal_detectable(e.std_error, e.df)))
    return (
        f"The interval excludes odds ratios {side} {odds_ratio(end)}. A smaller effect, or no effect, remains "
        "possible: a lack of evidence, not evidence of no difference (a comparison like this one has 80 % power to "
        f"find an odds ratio of {found})."
    )


def _dissimilarity(e: Evidence, margin: float) -> str:
    low, high = e.interval
    bounds = f"{1 / margin:.3g} to {margin:.3g}"
    if low > np.log(margin) or high < -np.log(margin):
        return f"The whole interval lies outside {bounds}, which would count as similar."
    shown = "a difference is shown, but" if low > 0 or high < 0 else "neither a difference nor similarity is shown:"
    return f"{shown} the interval reaches beyond {bounds}, which would count as similar.".capitalize()


def sentence(
    evidence: Sequence[Evidence], direction: Direction, q: float, *, margin: float = 1.2, negligible: float = 1.1
) -> str:
    """Say what was seen, what it shows, and what it leaves open.

    Parameters
    ----------
    evidence
        The claim's contrasts, each with an estimate.
    direction, margin
        What is claimed.
    q
        The claim's p-value, corrected over its family.
    negligible
        Odds ratios from 1/negligible to negligible count as practically no difference.
    """
    least = weakest(evidence, direction, margin)
    shown = [e for e in evidence if claim_p_value(e, direction, margin) <= ALPHA]
    several, every = len(evidence) > 1, "both" if len(evidence) == 2 else f"all {len(evidence)}"
    if q <= ALPHA:
        lead = f"{every} contrasts show it; the weakest is {least}." if several else f"{least}."
        text = f"{lead[0].upper()}{lead[1:]} Corrected p = {q:.2g}.{_bound(least, direction)}"
    else:
        count = f"The claim needs {every} contrasts, and {len(shown) or 'none'} of them show"
        lead = f"{count}{'' if len(shown) > 1 else 's'} it; the weakest is {least}." if several else f"{least}."
        if len(shown) == len(evidence):
            why = f"The interval alone supports the claim, but not after correction for the other claims (p = {q:.2g})."
        elif direction == "similar":
            why = _dissimilarity(least, margin)
        else:
            why = _absence(least, direction, negligible)
        text = f"{lead[0].upper()}{lead[1:]} {why}"
    batches = next((f" But {e.aliased_with}." for e in evidence if e.status == "within-site" and e.aliased_with), "")
    return text + batches + _sites(evidence)


def _bound(e: Evidence, direction: Direction) -> str:
    """Say how far two sites would have to differ to explain a difference between populations of one site each."""
    pair = e.contrast.of_populations and e.contrast.kind == "pair"
    if e.status != "between-site" or direction == "similar" or not pair:
        return ""
    sd = site_bound(e.estimate, e.std_error, e.df, spread=2.0)
    return (
        f" Sites that differ with a standard deviation of {sd:.2f} on the log-odds scale would be enough for this "
        "interval to include 1 (no difference)."
    )


def _sites(evidence: Sequence[Evidence]) -> str:
    """Say what the contrasts between sites among the evidence cannot tell apart; empty if there are none."""
    across = [e for e in evidence if e.status == "between-site"]
    if not across:
        return ""
    whole = len(across) == len(evidence)
    part = "It compares" if len(evidence) == 1 else "All of them compare" if whole else "Some compare"
    column = across[0].contrast.column
    sides = "populations" if column == "population" else f"{column} groups"
    return (
        f" {part} sites as well as {sides}: a difference between sites can look like one between {sides}, or hide it, "
        "and these data cannot tell the two apart."
    )
