"""From a comparison and a file of claims to verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.claims.evidence import Missing, gather, interaction, model_name
from aida_tools.claims.model import Claim, Claims, Interaction, Test, Untestable, load_claims
from aida_tools.claims.shifts import shifts
from aida_tools.claims.verdict import (
    ALIASED,
    ALPHA,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    SUPPORTED,
    Evidence,
    claim_p_value,
    obstacle,
    odds_ratio,
    sentence,
    verdict_of,
    weakest,
)
from aida_tools.compare.adjust import false_discovery_rate
from aida_tools.figures.results import Results, load_results
from aida_tools.files import staged
from aida_tools.tables import write_tsv

COLUMNS = [
    "claim", "statement", "source", "cell_types", "denominator", "contrast", "direction", "family", "model", "verdict",
    "evidence", "estimate", "ci_low", "ci_high", "unit", "status", "p_value", "q_value", "note",
]  # fmt: skip
CONTRAST_COLUMNS = ["claim", "contrast", "status", "estimate", "ci_low", "ci_high", "unit", "p_value", "note"]


def _describe(claim: Claim) -> dict[str, Any]:
    return {
        "claim": claim.id,
        "statement": claim.statement,
        "source": "; ".join(f"{s.name}, {s.url}" for s in claim.sources),
        "note": claim.note or None,
    }


def _untestable(claim: Claim, test: Untestable, notice: str) -> dict[str, Any]:
    text = f"{test.why} Needed: {test.needs}"
    return {"verdict": NOT_TESTABLE, "evidence": f"{text} {notice}" if test.medical else text}


def _interaction(results: Results, test: Interaction) -> dict[str, Any]:
    """Look at a claim of different slopes; its sentence is made here, its verdict needs the corrected p-value."""
    found, types = interaction(results, test)
    slopes = "; ".join(
        f"{population} {odds_ratio(10 * e.value)}" for population, e in found["slopes"].items()
    )  # fmt: skip
    return {
        "cell_types": ", ".join(types),
        "status": found["status"],
        "p_value": found["p_value"],
        "_words": (
            f"Odds ratio per 10 units of {test.column}: {slopes}. Test of equal slopes: "
            f"F({found['df']}, {found['df_residual']:g}) = {found['statistic']:.2f}, p = {found['p_value']:.2g}."
        ),
    }


def examine(results: Results, claims: Claims) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give every claim its verdict.

    Parameters
    ----------
    results
        What `compare` wrote.
    claims
        The statements.

    Returns
    -------
    One row a claim, with the columns of `COLUMNS`: numbers are those of the contrast that speaks least for it, log odds
    ratios in its `unit`. And one row a claim and contrast.
    """
    model = model_name(results)
    rows, seen, contrasts = [], {}, []
    for claim in claims.claims:
        test = claim.test
        out = _describe(claim)
        if isinstance(test, Untestable):
            rows.append(out | _untestable(claim, test, claims.notice))
            continue
        out |= {"denominator": test.denominator, "family": test.family, "model": model}
        try:
            if isinstance(test, Interaction):
                out |= {"contrast": f"{test.column} by population: {', '.join(test.populations)}"}
                out |= {"direction": "differs"} | _interaction(results, test)
            else:
                out |= {"contrast": "; ".join(test.contrasts), "direction": test.direction}
                evidence, types = gather(results, test)
                out["cell_types"] = ", ".join(types)
                contrasts += [_contrast_row(claim.id, e, test) for e in evidence]
                if why := obstacle(evidence):
                    raise Missing(why)
                least = weakest(evidence, test.direction, test.margin)
                across = any(e.status == "between-site" for e in evidence)
                out |= _numbers(least) | {"p_value": claim_p_value(least, test.direction, test.margin)}
                out["status"] = "between-site" if across else "within-site"
                seen[claim.id] = evidence
        except Missing as error:
            out |= {"verdict": NOT_TESTABLE, "evidence": f"This comparison cannot test it: {error}."}
        rows.append(out)
    table = pd.DataFrame(rows).reindex(columns=[*COLUMNS, "_words"])
    p = table["p_value"].astype(float)
    for members in table[p.notna()].groupby(["family", "status"], sort=False).indices.values():
        index = table.index[p.notna()][members]
        table.loc[index, "q_value"] = false_discovery_rate(p[index].to_numpy())
    by_id = {claim.id: claim.test for claim in claims.claims}
    for i in table.index[p.notna()]:
        name, q = table.loc[i, "claim"], float(table.loc[i, "q_value"])
        test = by_id[name]
        if isinstance(test, Test):
            table.loc[i, "verdict"] = verdict_of(seen[name], q)
            table.loc[i, "evidence"] = sentence(
                seen[name], test.direction, q, margin=test.margin, negligible=claims.negligible
            )
        else:
            table.loc[i, ["verdict", "evidence"]] = _slopes_verdict(table.loc[i], q)
    return table[COLUMNS], pd.DataFrame(contrasts, columns=CONTRAST_COLUMNS)


def _slopes_verdict(row: pd.Series, q: float) -> tuple[str, str]:
    words = f"{row['_words']} Corrected p = {q:.2g}."
    if q > ALPHA:
        return NOT_SUPPORTED, f"{words} Different slopes are not shown; this does not show that they are equal."
    if row["status"] == "between-site":
        return ALIASED, f"{words} The populations come from several sites, which can differ in the same way."
    return SUPPORTED, words


def _numbers(e: Evidence) -> dict[str, Any]:
    low, high = e.interval if e.known else (np.nan, np.nan)
    return {"estimate": e.estimate, "ci_low": low, "ci_high": high, "unit": e.unit or None}


def _contrast_row(claim: str, e: Evidence, test: Test) -> dict[str, Any]:
    p = claim_p_value(e, test.direction, test.margin) if e.known else np.nan
    note = e.note or e.aliased_with or None
    return {"claim": claim, "contrast": e.contrast, "status": e.status, "p_value": p, "note": note} | _numbers(e)


def check_claims(compare_dir: Path, claims_path: Path, out: Path) -> None:
    """Write `claims.tsv`, `claim_contrasts.tsv` and the exploratory table `shifts.tsv`.

    Parameters
    ----------
    compare_dir
        Folder that `aida-tools compare` wrote.
    claims_path
        The file of claims.
    out
        Folder for the tables.

    Raises
    ------
    AidaError
        For input that cannot be used; nothing is written then. A claim that the comparison cannot test is a row.
    """
    claims = load_claims(claims_path)
    results = load_results(compare_dir)
    table, contrasts = examine(results, claims)
    model = model_name(results)
    inputs = [claims_path, *(compare_dir / name for name in ("estimates.tsv", "shares.tsv", "compare.json"))]
    config = {"negligible": claims.negligible, "model": model, "alpha": ALPHA}
    with staged(out, step="claims", inputs=inputs, config=config) as folder:
        write_tsv(table, folder / "claims.tsv")
        write_tsv(contrasts, folder / "claim_contrasts.tsv")
        write_tsv(shifts(results.estimates, str(results.options["focus"]), model), folder / "shifts.tsv")
