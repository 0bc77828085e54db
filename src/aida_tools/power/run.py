"""From a comparison to what it could have found, and what a new population would take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.compare.results import Results
from aida_tools.errors import AidaError
from aida_tools.files import staged
from aida_tools.power.closed_form import ALPHA, POWER, Spread, false_positive_rate, minimal_detectable, power_of
from aida_tools.power.detect import detectable
from aida_tools.power.plan import Plan, between_site_error, parse_plan, within_site_error
from aida_tools.power.refit import load
from aida_tools.tables import write_tsv

#: Standard deviations between sites that a plan is tried with; no data of one site a population can measure it.
SITE_SDS = (0.0, 0.1, 0.2)
#: Donors of the plans that are tried unasked, and cells relative to the cohort's.
DONORS, CELLS = (20, 40, 70, 100, 150, 200, 300), (0.5, 1.0, 2.0)
PLAN_COLUMNS = [
    "source", "plan", *Plan.__dataclass_fields__, "kind", "site_sd", "std_error", "df", "mdor", "false_positive_rate",
    "note",
]  # fmt: skip
ODDS_RATIOS = np.round(np.exp(np.linspace(0, np.log(2), 36)), 4)


def try_plans(
    plans: dict[str, list[Plan]], share: float, spread: Spread, site_sds: tuple[float, ...], power: float
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

    Returns
    -------
    One row a plan, kind and site SD: `std_error` of the log odds ratio, `df`, `mdor`, and `false_positive_rate`: how
    often a test that leaves the sites out would declare a difference between equal populations.
    """
    rows = []
    for source, listed in plans.items():
        for plan in listed:
            ignoring, df_between = between_site_error(plan, share, spread._replace(site=0.0))
            tries = [("within-site", 0.0, *within_site_error(plan, share, spread))]
            tries += [("between-site", s, *between_site_error(plan, share, spread._replace(site=s))) for s in site_sds]
            for kind, site_sd, error, df in tries:
                row = {"source": source, "plan": str(plan), **vars(plan), "kind": kind, "site_sd": site_sd, "df": df}
                row["note"] = None
                if df <= 0 or not np.isfinite(error):
                    row["note"] = "no degrees of freedom: more donors a library, or more libraries, are needed"
                else:
                    row |= {"std_error": error, "mdor": float(np.exp(minimal_detectable(error, df, power=power)))}
                    wrong = kind == "between-site"
                    rate = float(false_positive_rate(ignoring, error, df_between)) if wrong else ALPHA
                    row["false_positive_rate"] = rate
                rows.append(row)
    return pd.DataFrame(rows, columns=PLAN_COLUMNS)


def curves(plans: pd.DataFrame) -> pd.DataFrame:
    """Return the power of plans by odds ratio: `plan, kind, site_sd, odds_ratio, power`."""
    usable = plans.dropna(subset="std_error")
    table = usable[["plan", "kind", "site_sd", "std_error", "df"]].merge(
        pd.DataFrame({"odds_ratio": ODDS_RATIOS}), how="cross"
    )
    numbers = table[["odds_ratio", "std_error", "df"]].to_numpy(float).T
    table["power"] = power_of(np.log(numbers[0]), numbers[1], numbers[2])
    return table.drop(columns=["std_error", "df"])


def usual_plans(results: Results, annotator: str, denominator: str) -> tuple[list[Plan], Plan]:
    """Return a range of plans with libraries as large and donors as rich in cells as in this cohort, and one its size.

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


def plan_power(
    compare_dir: Path,
    out: Path,
    *,
    plans: tuple[str, ...] = (),
    site_sds: tuple[float, ...] = SITE_SDS,
    power: float = POWER,
) -> None:
    """Write what the comparison could have found and what new populations would take.

    Parameters
    ----------
    compare_dir
        Folder that `aida-tools compare` wrote.
    out
        Folder for `power.tsv` (each contrast), `plans.tsv` (each plan) and `power_curves.tsv` (power by odds ratio).
    plans
        Such as `donors=70,cells=700,libraries=5,sites=1`; see `Plan`. Plans are for the focus type in the primary
        denominator; a range of plans is tried in any case.
    site_sds
        Standard deviations between sites to try, log-odds scale, 0 or more.
    power
        Wanted power at 0.05.

    Raises
    ------
    AidaError
        For a folder or a plan that cannot be used; nothing is written then.
    """
    asked = [parse_plan(text) for text in plans]
    results = load(compare_dir)
    table = detectable(results, power=power)
    annotator, denominator, focus = (str(results.options[k]) for k in ("annotator", "denominator", "focus"))
    ours = table[
        (table["annotator"] == annotator) & (table["denominator"] == denominator) & (table["cell_type"] == focus)
    ].dropna(subset="donor_sd")
    tried = pd.DataFrame(columns=[*PLAN_COLUMNS, "cell_type", "denominator", "donor_sd", "batch_sd"])
    if asked and ours.empty:
        msg = (
            f"{compare_dir}: the spread of {focus} among {denominator} between donors could not be measured, so "
            "nothing can be planned with it. Leave out --plan; power.tsv then says why."
        )
        raise AidaError(msg)
    if not ours.empty:
        first = ours.iloc[0]
        batch_sd = 0.0 if pd.isna(first["batch_sd"]) else float(first["batch_sd"])
        spread = Spread(float(first["donor_sd"]), batch_sd)
        grid, usual = usual_plans(results, annotator, denominator)
        listed = {"asked": asked} if asked else {"as this cohort": [usual]}
        tried = try_plans({**listed, "range": grid}, float(first["share"]), spread, site_sds, power)
        tried = tried.assign(cell_type=focus, denominator=denominator, donor_sd=spread.donor, batch_sd=spread.batch)
    config = {"plans": list(plans), "site_sds": list(site_sds), "power": power, "alpha": ALPHA}
    inputs = [compare_dir / name for name in ("estimates.tsv", "shares.tsv", "compare.json")]
    with staged(out, step="power", inputs=inputs, config=config) as folder:
        write_tsv(table, folder / "power.tsv")
        write_tsv(tried, folder / "plans.tsv")
        write_tsv(curves(tried[tried["source"] != "range"]), folder / "power_curves.tsv")
