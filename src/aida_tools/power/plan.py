"""Plans for measuring a new population beside a known one: who sits in which batch at which site."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.power.closed_form import Spread, contrast_variance, donor_variance


@dataclass(frozen=True)
class Plan:
    """How much of a new population is measured, and of the one it is compared with.

    Attributes
    ----------
    donors, batches, sites
        Of the new population, each at least 1; every batch at one site, donors spread evenly.
    cells
        Cells of the denominator in a donor, of either population.
    reference_donors, reference_batches, reference_sites
        Of the other population; the same as the new one's unless given.
    """

    donors: int
    cells: int
    batches: int
    sites: int = 1
    reference_donors: int = 0
    reference_batches: int = 0
    reference_sites: int = 0

    def __post_init__(self) -> None:
        for name in ("donors", "batches", "sites"):
            if not getattr(self, f"reference_{name}"):
                object.__setattr__(self, f"reference_{name}", getattr(self, name))

    def __str__(self) -> str:
        return (
            f"{self.donors} donors in {_several(self.batches, 'batch', 'batches')} at "
            f"{_several(self.sites, 'site', 'sites')} against {self.reference_donors} in {self.reference_batches} at "
            f"{_several(self.reference_sites, 'site', 'sites')}, {self.cells} cells a donor"
        )


def _several(n: int, one: str, more: str) -> str:
    return f"{n} {one if n == 1 else more}"


def parse_plan(text: str) -> Plan:
    """Read a plan such as `donors=70,cells=700,batches=5,sites=1`.

    Raises
    ------
    AidaError
        Naming the part that is unknown, missing, not a whole number above 0, or impossible.
    """
    known = [f.name for f in fields(Plan)]
    values: dict[str, int] = {}
    for part in text.split(","):
        key, equals, number = (p.strip() for p in part.partition("="))
        if not equals or key not in known:
            hint = did_you_mean(key, known)
            raise AidaError(f"plan '{text}': '{part.strip()}' is not of the form donors=70. {hint}")
        if key in values:
            raise AidaError(f"plan '{text}': '{key}' occurs twice. Give it once.")
        if not number.isdecimal() or int(number) == 0:
            raise AidaError(f"plan '{text}': {key}: value '{number}' must be a whole number above 0.")
        values[key] = int(number)
    for key in ("donors", "cells", "batches"):
        if key not in values:
            raise AidaError(f"plan '{text}': '{key}' is missing. Add it, as in '{text},{key}=10'.")
    plan = Plan(**values)
    for side in ("", "reference_"):
        donors, batches, sites = (getattr(plan, side + name) for name in ("donors", "batches", "sites"))
        if not sites <= batches <= donors:
            raise AidaError(
                f"plan '{text}': {side}donors={donors}, {side}batches={batches}, {side}sites={sites}: every site "
                "needs a batch and every batch a donor. Lower the number of sites or batches."
            )
    return plan


def _deal(n: int, parts: int) -> NDArray[np.intp]:
    """Deal n things to parts in turn: the part of each, shape (n,)."""
    return np.arange(n) % parts


def within_site_error(plan: Plan, share: float, spread: Spread) -> tuple[float, float]:
    """Return the standard error where both populations share every batch, batches being fixed effects.

    A batch with a and b donors of the two adds `a b / (a + b) / v` to the information; what its own effect and its
    site's are does not matter.

    Parameters
    ----------
    plan
        The plan: all its batches together, donors of each population dealt evenly.
    share
        Expected share of the cell type, between 0 and 1 (both excluded).
    spread
        Only its `donor` counts.

    Returns
    -------
    Standard error of the log odds ratio (infinite if no batch holds both) and degrees of freedom of its t test.
    """
    batches = plan.batches + plan.reference_batches
    a = np.bincount(_deal(plan.donors, batches), minlength=batches)
    b = np.bincount(_deal(plan.reference_donors, batches), minlength=batches)
    pairs = float(np.sum(a * b / np.maximum(a + b, 1)))
    df = plan.donors + plan.reference_donors - int(np.count_nonzero(a + b)) - 1
    variance = float(donor_variance(spread.donor, share, plan.cells))
    return float(np.sqrt(variance / pairs)) if pairs else np.inf, float(max(df, 0))


def between_site_error(plan: Plan, share: float, spread: Spread) -> tuple[float, float]:
    """Return the standard error where each population has batches and sites of its own.

    Parameters
    ----------
    plan, share
        As for `within_site_error`.
    spread
        All of it counts. The site's part is an assumption: no data of such a plan can measure it.

    Returns
    -------
    Standard error of the log odds ratio, and batches less 2 degrees of freedom for its t test.
    """
    a, b = plan.donors, plan.reference_donors
    weights = np.concatenate([np.full(a, 1 / a), np.full(b, -1 / b)])
    batch_a, batch_b = _deal(a, plan.batches), _deal(b, plan.reference_batches)
    batch = np.concatenate([batch_a, plan.batches + batch_b])
    site = np.concatenate([batch_a % plan.sites, plan.sites + batch_b % plan.reference_sites])
    variance = np.full(a + b, donor_variance(spread.donor, share, plan.cells))
    error = float(np.sqrt(contrast_variance(weights, variance, batch, site, spread)))
    return error, float(plan.batches + plan.reference_batches - 2)
