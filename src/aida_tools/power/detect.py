"""The smallest odds ratio that each contrast of a comparison could have found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aida_tools.compare.contrasts import parse_contrast
from aida_tools.compare.estimate import Setting
from aida_tools.compare.models import MODELS, mean_share
from aida_tools.compare.results import Results
from aida_tools.errors import AidaError
from aida_tools.power.closed_form import POWER, donor_sd, donor_variance, minimal_detectable, weighted_covariance
from aida_tools.power.refit import included, model_formula, model_name, settings

KEYS = ["annotator", "denominator", "cell_type"]
SPREADS = ["share", "cells", "donor_sd", "batch_sd", "spread_note"]
COLUMNS = [
    *KEYS, "model", "contrast", "status", "estimate", "ci_low", "ci_high", "std_error", "df", "mdor", *SPREADS,
    "std_error_spread", "mdor_spread", "note",
]  # fmt: skip


def spreads(setting: Setting) -> pd.DataFrame:
    """Measure how donors and batches vary in each cell type of a denominator, with the primary model.

    Returns
    -------
    One row a type: `share` (mean), `cells` (median of the denominator in a sample), `donor_sd` and `batch_sd` (log-odds
    scale; missing where they cannot be had), `spread_note` (why).
    """
    d, data, rows = setting.denominator, setting.data(robust=True), []
    mixed = MODELS["betabinomial-mixed"].fit(data)
    plain = mixed if all(fit.converged for fit in mixed) else MODELS["betabinomial"].fit(data)
    for name, with_batch, without in zip(d.types, mixed, plain, strict=True):
        fit = with_batch if with_batch.converged else without
        row: dict[str, Any] = {"cell_type": name, "cells": float(np.median(d.totals))}
        if fit.converged:
            row["share"] = mean_share("logit", setting.design.matrix @ fit.coef, fit.group_sd)
            row["donor_sd"] = float(donor_sd(fit.precision, row["share"]))
        if with_batch.converged and data.groups is not None:
            row["batch_sd"] = with_batch.group_sd
        else:
            what = "batches" if fit.converged else "donors or batches"
            row["spread_note"] = f"no standard deviation between {what}: {with_batch.message}"
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
            if cov is not None and question.standing.status in ("within-site", "between-site"):
                error = float(np.sqrt(question.vector @ cov @ question.vector))
            rows.append({**row, "contrast": str(question.contrast), "std_error_spread": error})
    return pd.DataFrame(rows, columns=[*KEYS, "contrast", *SPREADS, "std_error_spread"])


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
    Table with the columns of `COLUMNS`. `mdor` follows from the standard error that was reached, `mdor_spread` from
    the spread of donors and batches and the allotment of donors alone; both above 1: the inverse is as detectable.

    Raises
    ------
    AidaError
        If the primary model's estimates are no odds ratios.
    """
    model = model_name(results)
    rows = results.estimates[results.estimates["model"] == model]
    if rows.empty and len(results.estimates):
        given = ", ".join(results.estimates["model"].unique())
        msg = f"the comparison's models ({given}) give no odds ratios. Add --model betabinomial-mixed to `compare`."
        raise AidaError(msg)
    formula, absent = model_formula(results)
    placed = []
    for (annotator, denominator), part in rows.groupby(["annotator", "denominator"], sort=False):
        samples, counts = included(results, str(annotator), str(denominator))
        known = [text for text in part["contrast"].unique() if text.partition(":")[0] in formula.variables]
        contrasts = [parse_contrast(text, formula, results.extra["samples"]) for text in known]
        placed += [s for s in settings(results, samples, counts, contrasts, model) if s.answerable]
    on = [*KEYS, "contrast"]
    expectations = pd.concat([expected(s) for s in placed]) if placed else pd.DataFrame(columns=[*on, *SPREADS])
    table = rows.merge(expectations, on=on, how="left").reindex(columns=COLUMNS)
    table["note"] = table["note"].where(table["estimate"].isna(), None)
    done = table["estimate"].notna()
    table.loc[done & table["status"].eq("between-site"), "note"] = "holds only as far as the sites do not differ"
    table.loc[done & ~table["contrast"].str.contains(":"), "note"] = "for one unit (one year of age)"
    if absent:
        table["spread_note"] = table["spread_note"].fillna(f"measured without {', '.join(absent)}: not in samples.tsv")
    df = table["df"].where(table["df"] > 0)
    table["mdor"] = np.exp(minimal_detectable(table["std_error"], df, power=power))
    table["mdor_spread"] = np.exp(minimal_detectable(table["std_error_spread"].astype(float), df, power=power))
    return table
