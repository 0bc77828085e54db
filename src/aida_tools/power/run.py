"""From a comparison to what it could have found, and what a new population would take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError
from aida_tools.core.files import staged
from aida_tools.core.options import recorded
from aida_tools.core.schema import write_tables
from aida_tools.power.closed_form import ALPHA, Spread, false_positive_rate, minimal_detectable, power_of
from aida_tools.power.detect import detectable
from aida_tools.power.plan import Plan, between_site_error, parse_plan, within_site_error
from aida_tools.power.step import Options
from aida_tools.power.tables import PLANS, POWER_CURVES
from aida_tools.results.results import Results, load_results

#: Donors of the plans that are tried unasked, and cells relative to the cohort's.
DONORS, CELLS = (20, 40, 70, 100, 150, 200, 300), (0.5, 1.0, 2.0)
ODDS_RATIOS = np.round(np.exp(np.linspace(0, np.log(2), 36)), 4)


def try_plans(
    plans: dict[str, list[Plan]],
    share: float,
    spread: Spread,
    site_sds: tuple[float, ...],
    power: float,
    *,
    batches_known: bool = True,
) -> pd.DataFrame:
    """Return what every plan can detect, inside a site and between sites.

    Parameters
    ----------
    plans
        Where they come from -> plans.
    share
        Expected share of the cell type, between 0 and 1 (both excluded).
    spread
        Standard deviations between donors and batches on the log-odds scale; its `site` is not used.
    site_sds
        Standard deviations between sites to try.
    power
        Wanted power at 0.05.
    batches_known
        Whether the standard deviation between batches was measured. Without it the models leave batches out, and so
        does the test of a plan that has too few of them.

    Returns
    -------
    One row a plan, kind and site SD, as `PLANS` describes them.
    """
    rows = []
    for source, listed in plans.items():
        for plan in listed:
            ignoring, _ = between_site_error(plan, share, spread._replace(site=0.0))
            tries = [("within-site", 0.0, *within_site_error(plan, share, spread))]
            tries += [("between-site", s, *between_site_error(plan, share, spread._replace(site=s))) for s in site_sds]
            for kind, site_sd, error, df in tries:
                between, note = kind == "between-site", None
                if between and df <= 0 and not batches_known:
                    df = plan.donors + plan.reference_donors - 2
                    note = "the test leaves batches out: what they differ by is not known"
                row = {"source": source, "plan": str(plan), **vars(plan), "kind": kind, "site_sd": site_sd, "df": df}
                row["note"] = note
                if df <= 0 or not np.isfinite(error):
                    row["note"] = "no degrees of freedom: more donors in a batch, or more batches, are needed"
                else:
                    row |= {"std_error": error, "mdor": float(np.exp(minimal_detectable(error, df, power=power)))}
                    row["false_positive_rate"] = float(false_positive_rate(ignoring, error, df)) if between else ALPHA
                rows.append(row)
    return PLANS.frame(rows)


def curves(plans: pd.DataFrame) -> pd.DataFrame:
    """Return the power of plans by odds ratio."""
    usable = plans.dropna(subset="std_error")
    table = usable[["plan", "kind", "site_sd", "std_error", "df"]].merge(
        pd.DataFrame({"odds_ratio": ODDS_RATIOS}), how="cross"
    )
    numbers = table[["odds_ratio", "std_error", "df"]].to_numpy(float).T
    table["power"] = power_of(np.log(numbers[0]), numbers[1], numbers[2])
    return POWER_CURVES.frame(table)


def usual_plans(results: Results, annotator: str, denominator: str) -> tuple[list[Plan], Plan]:
    """Return a range of plans with batches as large and donors as rich in cells as in this cohort, and one its size.

    Returns
    -------
    Plans over `DONORS` and `CELLS`; and the plan with the median number of donors of a population.
    """
    shares = results.shares
    rows = shares[(shares["annotator"] == annotator) & (shares["denominator"] == denominator) & shares["included"]]
    samples = rows.drop_duplicates("sample_id")
    by_batch = samples.groupby("batch").size()
    size = max(1.0, float(by_batch.median())) if len(by_batch) else 1.0

    def plan(donors: int, cells: float) -> Plan:
        return Plan(donors, max(1, round(cells)), max(1, round(donors / size)))

    cells = float(samples["total"].median())
    usual = plan(max(2, int(samples.groupby("population").size().median())), cells)
    return [plan(n, cells * factor) for factor in CELLS for n in DONORS], usual


def plan_power(compare_dir: Path, out: Path, *, options: Options | None = None) -> None:
    """Write what the comparison could have found and what new populations would take.

    Parameters
    ----------
    compare_dir
        Folder that `aida-tools compare` wrote.
    out
        Folder for `power.tsv` (each contrast), `plans.tsv` (each plan) and `power_curves.tsv` (power by odds ratio).
    options
        What to plan. Plans are for the focus type in the primary denominator; a range of plans is tried in any case.

    Raises
    ------
    AidaError
        For a folder or a plan that cannot be used; nothing is written then.
    """
    options = options or Options()
    asked = [parse_plan(text) for text in options.plans]
    results = load_results(compare_dir)
    table = detectable(results, power=options.power)
    annotator, denominator, focus = (str(results.options[k]) for k in ("annotator", "denominator", "focus"))
    ours = table[
        (table["annotator"] == annotator) & (table["denominator"] == denominator) & (table["cell_type"] == focus)
    ].dropna(subset="donor_sd")
    tried = PLANS.frame()
    if asked and ours.empty:
        raise AidaError(
            f"{compare_dir}: the spread of {focus} among {denominator} between donors could not be measured, so "
            "nothing can be planned with it. Leave out --plan; power.tsv then says why."
        )
    if not ours.empty:
        first = ours.iloc[0]
        known = pd.notna(first["batch_sd"])
        spread = Spread(float(first["donor_sd"]), float(first["batch_sd"]) if known else 0.0)
        grid, usual = usual_plans(results, annotator, denominator)
        listed = {"asked": asked} if asked else {"as this cohort": [usual]}
        tried = try_plans(
            {**listed, "range": grid},
            float(first["share"]),
            spread,
            options.site_sds,
            options.power,
            batches_known=bool(known),
        )
        tried = tried.assign(cell_type=focus, denominator=denominator, donor_sd=spread.donor, batch_sd=spread.batch)
    config = recorded(options) | {"alpha": ALPHA}
    inputs = [compare_dir / name for name in ("estimates.tsv", "shares.tsv", "compare.json")]
    with staged(out, step="power", inputs=inputs, config=config) as folder:
        write_tables(
            {"power": table, "plans": tried, "power_curves": curves(tried[tried["source"] != "range"])}, folder
        )
