"""What an estimate says about a claim, as a p-value and as sentences. No table is read here.

A claim is supported if each of its contrasts is shown: an intersection-union test, whose p-value is the largest of
its contrasts' (Berger 1982, doi 10.1080/00401706.1982.10487790), so that nothing needs correcting within a claim.
What is shown gets the verdict of its weakest contrast's status, unless another method that can be asked does not show
it: then the verdict is that the methods disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from aida_tools.claims.model import Direction
from aida_tools.core.names import ESTIMATED, weakest_of
from aida_tools.core.words import listed
from aida_tools.design.contrasts import POPULATION, Contrast
from aida_tools.power.closed_form import minimal_detectable
from aida_tools.robustness.bound import site_bound

ALPHA = 0.05
SUPPORTED = "supported"
#: Status of its weakest contrast -> verdict of a claim that is shown.
SHOWN = {
    "within-site": SUPPORTED,
    "indirect": f"{SUPPORTED}, but only through a third population",
    "between-batch": f"{SUPPORTED}, but population and batch cannot be told apart",
    "between-site": f"{SUPPORTED}, but population and site cannot be told apart",
}
DISAGREE = "the methods disagree"
NOT_SUPPORTED = "not supported"
NOT_TESTABLE = "not testable with these data"
VERDICTS = (*SHOWN.values(), DISAGREE, NOT_SUPPORTED, NOT_TESTABLE)
#: What other methods than the primary model say of it: they agree, they do not, or none of them could be asked.
AGREE, OBJECT, UNASKED = "agree", "disagree", "not asked"
#: The other methods.
TWIN, PERMUTATION = "the cluster-robust model", "the permutation test"


@dataclass(frozen=True)
class Check:
    """What another method than the primary model says of a claim or of one of its contrasts.

    Attributes
    ----------
    method
        `TWIN` or `PERMUTATION`.
    p_value
        Of the claim, as `claim_p_value`; not a number where the method could not be asked.
    why_not
        Why it could not be asked, of all contrasts or of some; empty if it could.
    """

    method: str
    p_value: float = np.nan
    why_not: str = ""

    @property
    def asked(self) -> bool:
        """Whether it said anything."""
        return bool(np.isfinite(self.p_value))


@dataclass(frozen=True)
class Evidence:
    """One contrast of a claim, on the log-odds scale.

    Attributes
    ----------
    contrast, status, note, aliased_with, formula
        As in `estimates.tsv`, in the claim's order of sides.
    estimate, std_error, df
        For the claim's unit of a numeric contrast; not a number where there is no estimate.
    site_spread
        Variance that the estimate gets from site effects of variance 1.
    unit
        Such as `per 10 years`; empty for two sides.
    checks
        What other methods say of it.
    """

    contrast: Contrast
    status: str
    estimate: float = np.nan
    std_error: float = np.nan
    df: float = np.nan
    note: str = ""
    aliased_with: str = ""
    formula: str = ""
    site_spread: float = np.nan
    unit: str = ""
    checks: tuple[Check, ...] = ()

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


def weakest_status(evidence: Sequence[Evidence]) -> str:
    """Return the status of a claim all of whose contrasts have an estimate: that of the weakest."""
    return weakest_of(e.status for e in evidence)


def united(evidence: Sequence[Evidence]) -> tuple[Check, ...]:
    """Return what each other method says of a claim: it has to show every contrast of which it can be asked."""
    out = []
    for checks in zip(*(e.checks for e in evidence), strict=True):
        asked = [check.p_value for check in checks if check.asked]
        why = dict.fromkeys(check.why_not for check in checks if check.why_not)
        out.append(Check(checks[0].method, max(asked, default=np.nan), "; ".join(why)))
    return tuple(out)


def agreement(p: float, checks: Sequence[Check]) -> str:
    """Say whether all methods that could be asked are on the same side of 0.05 as the primary model's p-value."""
    asked = [check for check in checks if check.asked]
    alike = all((check.p_value <= ALPHA) == (p <= ALPHA) for check in asked)
    return (AGREE if alike else OBJECT) if asked else UNASKED


def verdict_of(status: str, q: float, checks: Sequence[Check]) -> str:
    """Return the verdict of a claim that was tested.

    Parameters
    ----------
    status
        Of its weakest contrast.
    q
        Its p-value by the primary model, corrected over its family.
    checks
        What the other methods say of it.
    """
    if q > ALPHA:
        return NOT_SUPPORTED
    return DISAGREE if any(check.p_value > ALPHA for check in checks) else SHOWN[status]


def other_methods(checks: Sequence[Check]) -> str:
    """Say which other methods show what the primary model shows, which do not, and which could not be asked."""

    def said(shown: bool) -> str:
        found = [c for c in checks if c.asked and (c.p_value <= ALPHA) == shown]
        return listed([f"{c.method} (p = {c.p_value:.2g})" for c in found])

    text = f" It is shown by {yes} as well." if (yes := said(True)) else ""
    text += f" But it is not shown by {no}: the result depends on the method." if (no := said(False)) else ""
    for check in checks:
        if check.why_not:
            part = " of every contrast" if check.asked else ""
            text += f" {check.method.capitalize()} could not be asked{part}: {check.why_not}."
    return text


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
        why = f"Corrected p = {q:.2g}.{other_methods(united(evidence))}{_bound(least, direction)}"
    else:
        count = f"The claim needs {every} contrasts, and {len(shown) or 'none'} of them show"
        lead = f"{count}{'' if len(shown) > 1 else 's'} it; the weakest is {least}." if several else f"{least}."
        if len(shown) == len(evidence):
            why = f"The interval alone supports the claim, but not after correction for the other claims (p = {q:.2g})."
        elif direction == "similar":
            why = _dissimilarity(least, margin)
        else:
            why = _absence(least, direction, negligible)
    return f"{lead[0].upper()}{lead[1:]} {why}{_left_open(evidence)}"


def _bound(e: Evidence, direction: Direction) -> str:
    """Say how far sites would have to differ to explain a difference between them."""
    if e.status != "between-site" or direction == "similar" or not e.site_spread > 0:
        return ""
    sd = site_bound(e.estimate, e.std_error, e.df, e.site_spread)
    return (
        f" Sites that differ with a standard deviation of {sd:.2f} on the log-odds scale would be enough for this "
        "interval to include 1 (no difference)."
    )


def left_open(status: str, sides: str, who: str = "It") -> str:
    """Say what contrasts of a status cannot tell apart; empty for those inside sites.

    Parameters
    ----------
    status
        One with an estimate.
    sides
        What they compare: `populations`, `slopes`.
    who
        `It` for one contrast, `Some` or `All of them`.
    """
    s = "s" if who == "It" else ""
    if status == "indirect":
        return (
            f" {who} rest{s} on other samples that were measured beside both sides, and on these being alike at every "
            "site: what they differ by between sites is part of it."
        )
    if what := {"between-site": "sites", "between-batch": "batches"}.get(status):
        return (
            f" {who} compare{s} {what} as well as {sides}: a difference between {what} can look like one between "
            f"{sides}, or hide it, and these data cannot tell the two apart."
        )
    return ""


def _left_open(evidence: Sequence[Evidence]) -> str:
    text = ""
    for status in reversed(ESTIMATED):
        if some := [e for e in evidence if e.status == status]:
            who = "It" if len(evidence) == 1 else "All of them" if len(some) == len(evidence) else "Some"
            column = some[0].contrast.column
            text += left_open(status, "populations" if column == POPULATION else f"{column} groups", who)
    # Which site each side was measured at is in the table of contrasts; the sentence above has said the rest.
    why = next((e.aliased_with for e in evidence if e.aliased_with and e.status != "between-site"), "")
    return text + (f" {why[0].upper()}{why[1:]}." if why else "")
