"""The smallest odds ratio that each contrast of a comparison could have found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError
from aida_tools.models.betabinomial import fit_betabinomial
from aida_tools.models.links import mean_share
from aida_tools.models.mixed import fit_mixed, why_no_batches
from aida_tools.models.settings import Setting
from aida_tools.power import POWER, tables
from aida_tools.power.closed_form import donor_sd, donor_variance, minimal_detectable, weighted_covariance
from aida_tools.results.refit import Comparison
from aida_tools.results.results import Results

KEYS = ["annotator", "denominator", "cell_type", "contrast", "formula"]
SPREADS = ["share", "cells", "donor_sd", "batch_sd", "spread_note"]
#: Status -> up to what a detectable odds ratio holds.
HOLDS = {
    "indirect": "holds only as far as the samples that link the two sides are alike at every site",
    "between-batch": "holds only as far as the batches do not differ",
    "between-site": "holds only as far as the sites do not differ",
}


def spreads(setting: Setting) -> pd.DataFrame:
    """Measure how donors and batches vary in each cell type of a denominator, with the primary model.

    Returns
    -------
    One row a type: `share` (mean), `cells` (median of the denominator in a sample), `donor_sd` and `batch_sd` (log-odds
    scale; missing where they cannot be had), `spread_note` (why).
    """
    d, data, rows = setting.denominator, setting.data(robust=True), []
    mixed = fit_mixed(data)
    plain = mixed if all(fit.converged for fit in mixed) else fit_betabinomial(data)
    for k, (name, with_batch, without) in enumerate(zip(d.types, mixed, plain, strict=True)):
        fit = with_batch if with_batch.converged else without
        row: dict[str, Any] = {"cell_type": name, "cells": float(np.median(d.totals))}
        if fit.converged:
            row["share"] = mean_share("logit", setting.design.matrix @ fit.coef, fit.group_sd)
            row["donor_sd"] = float(donor_sd(fit.precision, row["share"]))
        if with_batch.converged and not why_no_batches(data):
            row["batch_sd"] = with_batch.group_sd
        else:
            what = "batches" if fit.converged else "donors or batches"
            row["spread_note"] = f"no standard deviation between {what}: {setting.nothing(k) or with_batch.message}"
        rows.append(row)
    return pd.DataFrame(rows, columns=["cell_type", *SPREADS]).assign(annotator=d.annotator, denominator=d.name)


def expected(setting: Setting) -> pd.DataFrame:
    """Return the spreads of a setting and the standard errors that they alone lead to expect.

    Returns
    -------
    One row a cell type and contrast: the keys, the columns of `spreads`, and `std_error_spread`, missing where the
    contrast cannot be estimated.
    """
    spread = spreads(setting)
    batch = np.zeros(len(setting.samples), int) if setting.groups is None else setting.groups
    rows = []
    for row in spread.to_dict("records"):
        variance = donor_variance(row["donor_sd"], row["share"], setting.denominator.totals)
        known = np.isfinite(variance).all()
        batch_sd = 0.0 if np.isnan(row["batch_sd"]) else row["batch_sd"]
        cov = weighted_covariance(setting.design.matrix, variance, batch, batch_sd) if known else None
        for question in setting.questions:
            error = np.nan
            if cov is not None and not question.status:
                error = float(np.sqrt(question.vector @ cov @ question.vector))
            asked = {"contrast": str(question.contrast), "formula": setting.formula, "std_error_spread": error}
            rows.append(row | asked)
    return pd.DataFrame(rows, columns=[*KEYS, *SPREADS, "std_error_spread"])


def detectable(results: Results, *, power: float = POWER) -> pd.DataFrame:
    """Return the minimal detectable odds ratio of every contrast under the first model that gives odds ratios.

    Parameters
    ----------
    results
        What `compare` wrote.
    power
        Wanted power at 0.05, between 0.05 and 1.

    Returns
    -------
    The rows of `power.tsv`, as `tables.POWER` describes them.

    Raises
    ------
    AidaError
        If the primary model's estimates are no odds ratios.
    """
    asked = Comparison(results)
    model = asked.odds_model
    rows = results.estimates[results.estimates["model"].eq(model) & ~results.estimates["superseded"]]
    if rows.empty and len(results.estimates):
        given = ", ".join(results.estimates["model"].unique())
        raise AidaError(
            f"the comparison's models ({given}) give no odds ratios. Add --model betabinomial-mixed to `compare`."
        )
    placed = []
    for key, part in rows.groupby(["annotator", "denominator"], sort=False):
        annotator, denominator = (str(k) for k in key)
        contrasts = [results.contrast(text) for text in part["contrast"].unique()]
        counts = asked.denominators[annotator, denominator]
        for setting in asked.settings(counts, asked.selection, contrasts, model):
            placed += [s for s in (setting, setting.with_site) if s is not None and s.answerable]
    expectations = pd.concat([expected(s) for s in placed]) if placed else pd.DataFrame(columns=[*KEYS, *SPREADS])
    table = tables.POWER.frame(rows.merge(expectations, on=KEYS, how="left"))
    done = table["estimate"].notna()
    slopes = results.contrasts_of(table)["kind"].eq("slope")
    said = [
        "; ".join(filter(None, (HOLDS.get(status), "for one unit (one year of age)" if slope else ""))) or None
        for status, slope in zip(table["status"], slopes, strict=True)
    ]
    table["note"] = table["note"].where(~done, pd.Series(said, index=table.index, dtype=object))
    df = table["df"].where(table["df"] > 0)
    table["mdor"] = np.exp(minimal_detectable(table["std_error"], df, power=power))
    table["mdor_spread"] = np.exp(minimal_detectable(table["std_error_spread"], df, power=power))
    return table
