"""What the models say of a claim's contrasts: rows of `estimates.tsv` where they are there, fitted again where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.claims.model import Direction, Test
from aida_tools.claims.verdict import PERMUTATION, TWIN, Check, Evidence, claim_p_value
from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.models.cluster import MODEL as CLUSTER
from aida_tools.results.refit import Comparison
from aida_tools.robustness.permutations import out_of_reach, permutation_p
from aida_tools.robustness.step import Options as Robustness

#: As many as `robustness` makes unasked.
PERMUTATIONS = Robustness().permutations


class Missing(Exception):
    """What a claim needs and the comparison does not have, in words."""


def answers(
    asked: Comparison, counts: Denominator, cell_type: str, contrasts: Sequence[Contrast], model: str, per: float = 1.0
) -> list[Evidence]:
    """Return what a model says of contrasts, in the order of their sides, and without checks.

    Parameters
    ----------
    asked
        What `compare` wrote. Of a contrast that was fitted with and without a term for the site, the row that the
        report speaks of is taken.
    counts, cell_type
        The denominator, over all samples, and one of its types.
    contrasts
        What is asked; one is taken from the row of its flipped sides, too.
    model
        Its name.
    per
        Units of a number to speak of.

    Raises
    ------
    Missing
        If a column was not in the formula.
    """
    rows = asked.results.estimates
    same = rows["annotator"].eq(counts.annotator) & rows["denominator"].eq(counts.name) & rows["model"].eq(model)
    same &= rows["cell_type"].eq(cell_type) & ~rows["superseded"]
    found = {asked.results.contrast(row["contrast"]): row for row in rows[same].to_dict("records")}
    out = {c: _evidence(c, found[c], per) for c in contrasts if c in found}
    turned = [c for c in contrasts if c not in out and c.flipped() in found]
    out |= {c: _evidence(c, found[c.flipped()], per, sign=-1) for c in turned}
    if rest := [c for c in contrasts if c not in out]:
        for contrast in rest:
            if contrast.column not in asked.formula.variables:
                raise Missing(f"'{contrast.column}' is not in the formula '{asked.formula.text}'")
        again = asked.refit(rest, denominator=counts, cell_type=cell_type, model=model)
        out |= {c: _evidence(c, row, per) for c, row in zip(rest, again, strict=True)}
    return [out[c] for c in contrasts]


def _evidence(contrast: Contrast, found: Mapping[Any, Any], per: float, sign: int = 1) -> Evidence:
    def number(key: str) -> float:
        return float(value) if (value := found.get(key)) is not None and not pd.isna(value) else np.nan

    def text(key: str) -> str:
        return "" if found.get(key) is None or pd.isna(found[key]) else str(found[key])

    scale, unit = (1.0, "") if contrast.a else (per, f"per {f'{per:g} ' if per != 1 else ''}year{'s' * (per != 1)}")
    if unit and contrast.column != "age":
        unit = f"per {per:g} of {contrast.column}"
    return Evidence(
        contrast,
        text("status"),
        sign * scale * number("estimate"),
        scale * number("std_error"),
        number("df"),
        note=text("note"),
        aliased_with=text("aliased_with"),
        formula=text("formula"),
        site_spread=scale**2 * number("site_spread"),
        unit=unit,
    )


def checked(
    asked: Comparison, counts: Denominator, cell_type: str, evidence: Sequence[Evidence], test: Test
) -> list[Evidence]:
    """Return the evidence with what other methods say of it: the cluster-robust model, then the permutation test."""
    twins = _twins(asked, counts, cell_type, evidence, test)
    tests = [_permutation(asked, counts, cell_type, e, test.direction) for e in evidence]
    return [replace(e, checks=checks) for e, checks in zip(evidence, zip(twins, tests, strict=True), strict=True)]


def why_no_twin(asked: Comparison, counts: Denominator) -> str:
    """Say why the cluster-robust model cannot be asked beside the primary one; empty if it can."""
    if asked.odds_model == CLUSTER.name:
        return "it is the primary model"
    return "" if counts.has_counts else "it needs counts, and these are shares"


def _twins(
    asked: Comparison, counts: Denominator, cell_type: str, evidence: Sequence[Evidence], test: Test
) -> list[Check]:
    if why := why_no_twin(asked, counts):
        return [Check(TWIN, why_not=why)] * len(evidence)
    found = answers(asked, counts, cell_type, [e.contrast for e in evidence], CLUSTER.name, test.per)
    return [
        Check(TWIN, claim_p_value(twin, test.direction, test.margin))
        if twin.known and twin.df >= 1
        else Check(TWIN, why_not=twin.note or "it gave no estimate")
        for twin in found
    ]


def _permutation(asked: Comparison, counts: Denominator, cell_type: str, e: Evidence, direction: Direction) -> Check:
    if direction == "similar":
        return Check(PERMUTATION, why_not="it cannot show that two sides are similar")
    if e.formula and e.formula != asked.formula.text:
        # The row has a term for the site that the comparison was not asked for.
        asked = Comparison(replace(asked.results, options=asked.options | {"formula": e.formula}))
    found = permutation_p(
        asked,
        e.contrast,
        denominator=counts,
        cell_type=cell_type,
        permutations=PERMUTATIONS,
        seed=asked.options["seed"],
    )
    if isinstance(found, str):
        return Check(PERMUTATION, why_not=found)
    if out_of_reach(found.p_min):
        return Check(PERMUTATION, why_not=f"p below {found.p_min:.2g} cannot be reached with so few units to exchange")
    claimed = found.estimate < 0 if direction == "lower" else found.estimate > 0
    # As of the models: a difference in the other direction shows nothing.
    return Check(PERMUTATION, found.p_value if claimed else 1.0)
