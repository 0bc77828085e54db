"""Tables beside the estimates: shares of every sample, the design, the controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from aida_tools.core.words import counted, left_out
from aida_tools.design.denominator import Denominator
from aida_tools.design.sites import describe_level, names, stands_apart

#: Columns of a sample that describe it in the tables.
DESCRIBING = ("sample_id", "donor_id", "population", "site", "batch", "sex", "age", "is_control")


def shares_table(denominators: list[Denominator], samples: pd.DataFrame, used: set[str]) -> pd.DataFrame:
    """Return the share of every cell type in every sample, used in the models or not.

    Parameters
    ----------
    denominators
        Counts over all samples of the table.
    samples
        The samples, n rows, in the order of the counts.
    used
        Ids of the samples that enter the models.
    """
    frames = []
    included = samples["sample_id"].isin(used).to_numpy()
    for d in denominators:
        n, k = d.counts.shape
        frame = samples[list(DESCRIBING)].loc[np.repeat(samples.index, k)].reset_index(drop=True)
        totals = np.repeat(d.totals, k)
        frame["annotator"], frame["denominator"] = d.annotator, d.name
        frame["cell_type"], frame["n"], frame["total"] = np.tile(d.types, n), d.counts.ravel(), totals
        frame["share"] = np.divide(d.counts.ravel(), totals, out=np.full(n * k, np.nan), where=totals > 0)
        frame["included"] = np.repeat(included, k) & (totals > 0) & frame["share"].notna()
        if not d.has_counts:
            frame[["n", "total"]] = np.nan
        elif (frame[["n", "total"]] == frame[["n", "total"]].round()).all(axis=None):
            frame = frame.astype({"n": int, "total": int})
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def controls_table(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of the control samples with their 95 % Wilson intervals (cells as units: one person each).

    Shares without counts have no interval.
    """
    controls = shares[shares["is_control"] & shares["share"].notna()]
    low, high = proportion_confint(controls["n"], controls["total"], method="wilson")
    columns = ["site", "batch", "annotator", "denominator", "cell_type", "donor_id", "n", "total", "share"]
    return controls[columns].assign(ci_low=low, ci_high=high).reset_index(drop=True)


#: How a reason begins for which a sample is missing in one denominator, and in the models of the others.
NO_CELL = "no cell of denominator"


def left_out_line(excluded: pd.DataFrame, samples: pd.DataFrame) -> str:
    """Say in one line what the models did not use; empty if they used everything.

    Parameters
    ----------
    excluded
        Rows of `excluded.tsv`. A sample without a cell of one denominator may be in the models of another, and is
        counted by its reason only.
    samples
        All samples.
    """
    reasons = {str(why): int(n) for why, n in excluded["reason"].value_counts().items()}
    if not reasons:
        return ""
    whole = excluded.loc[~excluded["reason"].str.startswith(NO_CELL), "sample_id"]
    lost = samples["sample_id"].isin(whole)
    donors = samples["donor_id"].nunique()
    parts = [
        left_out("sample", int(lost.sum()), len(samples), reasons),
        f"{donors - samples.loc[~lost, 'donor_id'].nunique():,} of {counted(donors, 'donor')}",
    ]
    if (cells := samples["n_cells"].sum()) > 0:
        parts.append(f"{samples.loc[lost, 'n_cells'].sum():,.0f} of {cells:,.0f} cells")
    return f"left out of the models: {'; '.join(parts)}. excluded.tsv lists them."


def design_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Return donors, samples and cells by population, site and batch, and what each population is aliased with."""
    keys = ["population", "site", "batch"]
    table = samples.groupby(keys, dropna=False, sort=True).agg(
        n_donors=("donor_id", "nunique"), n_samples=("sample_id", "size"), n_cells=("n_cells", "sum")
    )
    table = table.reset_index().astype({"n_cells": int})
    words, site, batch = {}, names(samples, "site"), names(samples, "batch")
    for population in table["population"].unique():
        on = (samples["population"] == population).to_numpy()
        words[population] = describe_level(population, on, site, batch) if stands_apart(on, site) else None
    return table.assign(aliased_with=table["population"].map(words))
