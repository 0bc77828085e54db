"""From a comparison and a file of claims to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.claims.answers import Missing
from aida_tools.claims.evidence import gather
from aida_tools.claims.model import Claim, Claims, Interaction, Test, Untestable, load_claims
from aida_tools.claims.shifts import shifts
from aida_tools.claims.slopes import interaction
from aida_tools.claims.step import Options
from aida_tools.claims.tables import CLAIM_CONTRASTS, CLAIMS
from aida_tools.claims.verdict import (
    ALPHA,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    Check,
    Evidence,
    agreement,
    claim_p_value,
    left_open,
    obstacle,
    odds_ratio,
    other_methods,
    sentence,
    united,
    verdict_of,
    weakest,
    weakest_status,
)
from aida_tools.core.files import staged
from aida_tools.core.schema import write_tables
from aida_tools.models.adjust import false_discovery_rate
from aida_tools.results.refit import Comparison, load_comparison

#: From the corrected p-value to verdict and sentence.
Judge = Callable[[float], tuple[str, str]]


def _describe(claim: Claim, model: str) -> dict[str, Any]:
    test = claim.test
    out = {
        "claim": claim.id,
        "statement": claim.statement,
        "source": "; ".join(f"{s.name}, {s.url}" for s in claim.sources),
        "note": claim.note or None,
    }
    if isinstance(test, Untestable):
        return out
    out |= {"denominator": test.denominator, "family": test.family, "model": model}
    if isinstance(test, Interaction):
        return out | {"contrast": f"{test.column} by population: {', '.join(test.populations)}", "direction": "differs"}
    return out | {"contrast": "; ".join(test.contrasts), "direction": test.direction}


def _numbers(e: Evidence) -> dict[str, Any]:
    low, high = e.interval if e.known else (np.nan, np.nan)
    return {"estimate": e.estimate, "ci_low": low, "ci_high": high, "unit": e.unit or None}


def _compared(p: float, checks: Sequence[Check]) -> dict[str, Any]:
    """Write what the primary model and the other methods say of a claim or a contrast."""
    others = {f"p_{column}": c.p_value for column, c in zip(("twin", "permutation"), checks, strict=False)}
    why = "; ".join(f"{c.method}: {c.why_not}" for c in checks if c.why_not)
    return {"p_value": p, **others, "agreement": agreement(p, checks), "unasked": why or None}


def _contrast_row(claim: str, e: Evidence, test: Test) -> dict[str, Any]:
    row = {"claim": claim, "contrast": str(e.contrast), "status": e.status, "note": e.note or e.aliased_with or None}
    p = claim_p_value(e, test.direction, test.margin) if e.known else np.nan
    return row | _numbers(e) | (_compared(p, e.checks) if e.known else {})


def _judge_contrasts(evidence: list[Evidence], test: Test, negligible: float) -> tuple[dict[str, Any], Judge]:
    least = weakest(evidence, test.direction, test.margin)
    status, checks = weakest_status(evidence), united(evidence)
    found = _numbers(least) | _compared(claim_p_value(least, test.direction, test.margin), checks)

    def judge(q: float) -> tuple[str, str]:
        text = sentence(evidence, test.direction, q, margin=test.margin, negligible=negligible)
        return verdict_of(status, q, checks), text

    return found | {"status": status}, judge


def _judge_slopes(asked: Comparison, test: Interaction) -> tuple[dict[str, Any], Judge]:
    found, types = interaction(asked, test)
    slopes = "; ".join(f"{population} {odds_ratio(10 * e.value)}" for population, e in found.slopes.items())
    words = (
        f"Odds ratio per 10 units of {test.column}: {slopes}. Test of equal slopes: "
        f"F({found.df}, {found.df_residual:.3g}) = {found.statistic:.2f}, p = {found.p_value:.2g}."
    )
    checks, status = [found.twin], found.status

    def judge(q: float) -> tuple[str, str]:
        text = f"{words} Corrected p = {q:.2g}."
        verdict = verdict_of(status, q, checks)
        if verdict == NOT_SUPPORTED:
            return verdict, f"{text} Different slopes are not shown; this does not show that they are equal."
        return verdict, text + other_methods(checks) + left_open(status, "slopes")

    return {"cell_types": ", ".join(types), "status": status, **_compared(found.p_value, checks)}, judge


def _correct(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return the false discovery rate of each claim within its family and status, not a number for the untested."""
    table = pd.DataFrame(rows).reindex(columns=["family", "status", "p_value"])
    q = np.full(len(rows), np.nan)
    for members in table.dropna(subset="p_value").groupby(["family", "status"]).groups.values():
        q[members] = false_discovery_rate(table.loc[members, "p_value"].to_numpy(float))
    return q


def examine(asked: Comparison, claims: Claims) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give every claim its verdict.

    Parameters
    ----------
    asked
        What `compare` wrote.
    claims
        The statements.

    Returns
    -------
    One row a claim, with the columns of `CLAIMS`: numbers are those of the contrast that speaks least for it, log odds
    ratios in its `unit`. And one row a claim and contrast.
    """
    model = asked.odds_model
    rows: list[dict[str, Any]] = []
    contrasts: list[dict[str, Any]] = []
    judges: dict[int, Judge] = {}
    for claim in claims.claims:
        test, row = claim.test, _describe(claim, model)
        try:
            if isinstance(test, Untestable):
                notice = f" {claims.notice}" if test.medical else ""
                row |= {"verdict": NOT_TESTABLE, "evidence": f"{test.why} Needed: {test.needs}{notice}"}
            elif isinstance(test, Interaction):
                found, judges[len(rows)] = _judge_slopes(asked, test)
                row |= found
            else:
                evidence, types = gather(asked, test)
                row["cell_types"] = ", ".join(types)
                contrasts += [_contrast_row(claim.id, e, test) for e in evidence]
                if why := obstacle(evidence):
                    raise Missing(why)
                found, judges[len(rows)] = _judge_contrasts(evidence, test, claims.negligible)
                row |= found
        except Missing as error:
            row |= {"verdict": NOT_TESTABLE, "evidence": f"This comparison cannot test it: {error}."}
        rows.append(row)
    for i, q in enumerate(_correct(rows)):
        if i in judges:
            rows[i]["q_value"] = q
            rows[i]["verdict"], rows[i]["evidence"] = judges[i](float(q))
    return CLAIMS.frame(rows), CLAIM_CONTRASTS.frame(contrasts)


def check_claims(compare_dir: Path, out: Path, *, options: Options | None = None) -> None:
    """Write `claims.tsv`, `claim_contrasts.tsv` and the exploratory table `shifts.tsv`.

    Parameters
    ----------
    compare_dir
        Folder that `aida-tools compare` wrote.
    out
        Folder for the tables.
    options
        The file of claims.

    Raises
    ------
    AidaError
        For input that cannot be used; nothing is written then. A claim that the comparison cannot test is a row.
    """
    path = (options or Options()).claims
    claims = load_claims(path)
    asked = load_comparison(compare_dir, step="claims")
    table, contrasts = examine(asked, claims)
    model, results = asked.odds_model, asked.results
    inputs = [path, *(compare_dir / name for name in ("estimates.tsv", "shares.tsv", "compare.json"))]
    config = {"negligible": claims.negligible, "model": model, "alpha": ALPHA}
    with staged(out, step="claims", inputs=inputs, config=config) as folder:
        found = shifts(results.estimates[~results.estimates["superseded"]], str(results.options["focus"]), model)
        write_tables({"claims": table, "claim_contrasts": contrasts, "shifts": found}, folder)
