"""The two tables that come in: checked, put in one order, and cut into denominators.

A table of counts is the rule. Flow cytometry often gives percentages and no numbers of cells; such a table has a column
`share` (0 to 1) or `percent` (0 to 100) in the place of `n_cells`, and goes through the models that need no counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.tables import (
    check_counts,
    check_counts_match_samples,
    check_samples,
    questioned_percentages,
)
from aida_tools.core.words import counted, listed
from aida_tools.design.contrasts import POPULATION
from aida_tools.design.formula import ParsedFormula

#: Column of samples, or of counts, that says which of several joined cohorts a row comes from.
COHORT = "cohort"
#: Years between two samples under one donor id in two populations, above which they cannot be one person.
MAX_YEARS = 15


@dataclass(frozen=True, eq=False)
class Inputs:
    """Checked tables.

    Attributes
    ----------
    samples
        One row a sample, `n_cells` filled where counts tell it, site and batch from the chosen columns.
    wide
        (annotator, denominator) -> samples x types, in the order of the samples. Counts have the denominator ``""``:
        it is chosen later.
    has_counts
        Whether the numbers are cells and not shares.
    warnings
        What was decided about the tables, in sentences.
    """

    samples: pd.DataFrame
    wide: dict[tuple[str, str], pd.DataFrame]
    has_counts: bool
    warnings: list[str]

    @property
    def annotators(self) -> list[str]:
        """Names of the annotators, in the table's order."""
        return list(dict.fromkeys(annotator for annotator, _ in self.wide))


def check_shares(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Check a long table of shares.

    Parameters
    ----------
    table
        `sample_id, cell_type`, and `share` (0 to 1) or `percent` (0 to 100); `annotator` and `denominator` (of what it
        is a share) may be absent, then `given` and `all`. A share that was not measured is empty or has no row.
    source
        Where it came from, for messages.

    Returns
    -------
    `sample_id, annotator, denominator, cell_type, share`.

    Raises
    ------
    AidaError
        For a missing column, a value out of range, or a repeated row.
    """
    column, top = ("share", 1.0) if "share" in table.columns else ("percent", 100.0)
    for needed in ("sample_id", "cell_type"):
        if needed not in table.columns:
            hint = did_you_mean(needed, table.columns)
            raise AidaError(f"{source}: column '{needed}' is missing. {hint} Add or rename the column.")
    values = pd.to_numeric(table[column], errors="coerce")
    wrong = np.flatnonzero((values.isna() & table[column].notna()) | (values < 0) | (values > top))
    if len(wrong):
        value = table[column].iloc[wrong[0]]
        raise AidaError(
            f"{source}: column '{column}', row {wrong[0] + 1}: value '{value}' must be a number from 0 to {top:g}."
        )
    out = table[["sample_id", "cell_type"]].assign(share=values / top)
    for name, default in (("annotator", "given"), ("denominator", "all")):
        out[name] = table[name].fillna(default) if name in table.columns else default
    repeated = np.flatnonzero(out.duplicated(["sample_id", "annotator", "denominator", "cell_type"]))
    if len(repeated):
        row = out.iloc[repeated[0]]
        msg = f"{source}: row {repeated[0] + 1} repeats sample_id '{row['sample_id']}', cell_type '{row['cell_type']}'."
        raise AidaError(f"{msg} Keep one row for each.")
    return out


def prepare_inputs(
    counts: pd.DataFrame, samples: pd.DataFrame, sources: tuple[str, str], *, site: str, batch: str
) -> Inputs:
    """Check both tables and put them in one order.

    Parameters
    ----------
    counts, samples
        As read.
    sources
        Where they came from, for messages.
    site, batch
        Columns of the samples to take site and batch from.

    Raises
    ------
    AidaError
        Naming file, column, row and value.
    """
    samples = check_samples(samples, sources[1])
    if COHORT in counts.columns:
        samples = _take_cohort(counts, samples, sources)
    has_counts = "n_cells" in counts.columns or not {"share", "percent"} & set(counts.columns)
    if has_counts:
        long = check_counts(counts, sources[0]).assign(denominator="", value=lambda t: t["n_cells"])
        check_counts_match_samples(long, samples, *sources)
    else:
        long = check_shares(counts, sources[0]).assign(value=lambda t: t["share"])
        check_counts_match_samples(long.assign(n_cells=0.0), samples, *sources)
    for role, column in (("site", site), ("batch", batch)):
        if column not in samples.columns:
            hint = did_you_mean(column, samples.columns)
            raise AidaError(f"--{role} {column}: {sources[1]} has no such column. {hint}")
        values = samples[column]
        samples[role] = values.astype(str).where(values.notna(), None)
    _check_donors(samples, sources[1])
    samples, warnings = _nest_batches(samples)
    if has_counts:
        warnings += questioned_percentages(long, sources[0])
    wide = {}
    for key, table in long.groupby(["annotator", "denominator"], sort=False):
        pivoted = table.pivot(index="sample_id", columns="cell_type", values="value")
        pivoted = pivoted.reindex(samples["sample_id"])[list(dict.fromkeys(table["cell_type"]))]
        # A sample without a row of a type has no cell of it; a share without a row was not measured.
        wide[str(key[0]), str(key[1])] = pivoted.fillna(0.0) if has_counts else pivoted
    if has_counts:
        counted = pd.concat([table.sum(axis=1) for table in wide.values()], axis=1).max(axis=1).to_numpy()
        samples["n_cells"] = samples["n_cells"].fillna(pd.Series(counted))
    return Inputs(samples, wide, has_counts, warnings)


def _take_cohort(counts: pd.DataFrame, samples: pd.DataFrame, sources: tuple[str, str]) -> pd.DataFrame:
    """Take the cohort of every sample from the counts, where the samples do not say it; refuse two that differ."""
    told = counts[["sample_id", COHORT]].astype({"sample_id": str}).drop_duplicates()
    twice = told.index[told["sample_id"].duplicated()]
    if len(twice):
        name = told.loc[twice[0], "sample_id"]
        values = listed([f"'{v}'" for v in told.loc[told["sample_id"] == name, COHORT].fillna("")])
        raise AidaError(
            f"{sources[0]}: column '{COHORT}': sample_id '{name}' has the values {values}. Give the samples of every "
            "cohort ids of their own."
        )
    here = samples["sample_id"].map(told.set_index("sample_id")[COHORT])
    if COHORT not in samples:
        return samples.assign(**{COHORT: here})
    differs = np.flatnonzero(here.notna() & (here.astype(str) != samples[COHORT].astype(str)))
    if len(differs):
        row = differs[0]
        raise AidaError(
            f"{sources[1]}: column '{COHORT}', row {row + 1}: value '{samples[COHORT].iloc[row]}', but {sources[0]} "
            f"says '{here.iloc[row]}' of sample_id '{samples['sample_id'].iloc[row]}'. Make the two agree."
        )
    return samples


def _check_donors(samples: pd.DataFrame, source: str) -> None:
    """Refuse donors that cannot be one person: of two sexes or, in two populations, of ages far apart."""

    def refuse(column: str, donors: pd.Index, rows: pd.Index, what: str, fix: str) -> AidaError:
        return AidaError(
            f"{source}: column '{column}', rows {rows.min() + 1} and {rows.max() + 1}: donor_id '{donors[0]}' {what} "
            f"({counted(len(donors), 'such donor')}). Correct the {fix}, or give different people different ids."
        )

    known = samples[samples["sex"] != "unknown"]
    sexes = known.groupby("donor_id", sort=False)["sex"].nunique()
    if (sexes > 1).any():
        donors = sexes.index[sexes > 1]
        rows = known.index[known["donor_id"] == donors[0]]
        raise refuse("sex", donors, rows, "is both female and male", "sex")
    ages = samples[samples["donor_id"].isin(_reused(samples))].groupby("donor_id", sort=False)["age"]
    spread = ages.max() - ages.min()
    if (spread > MAX_YEARS).any():
        donors = spread.index[spread > MAX_YEARS]
        own = ages.get_group(donors[0])
        what = f"is in several populations, and {own.min():g} and {own.max():g} years old"
        raise refuse("age", donors, pd.Index([own.idxmin(), own.idxmax()]), what, "age")


def _reused(samples: pd.DataFrame) -> pd.Index:
    """Return the ids of donors that are in several populations; controls may be anywhere."""
    populations = samples[~samples["is_control"]].groupby("donor_id", sort=False)[POPULATION].nunique()
    return populations.index[populations > 1]


def check_joined(inputs: Inputs, formula: ParsedFormula, source: str) -> None:
    """Check what a table that was joined of several would be wrong about: its cohorts, and its donors' ids.

    Parameters
    ----------
    inputs
        The checked tables; a question about them is added to their warnings.
    formula
        It must hold the cohort where there are several, as a factor.
    source
        Where the samples come from, for messages.

    Raises
    ------
    AidaError
        For a cohort that is missing beside others, or several that the formula does not tell apart.
    """
    samples = inputs.samples
    if COHORT in samples:
        _check_cohorts(samples[COHORT], formula, source)
    donors = _reused(samples)
    if len(donors) and "donor_id" not in formula.variables:
        several = samples.loc[samples["donor_id"] == donors[0], POPULATION].dropna().astype(str).unique()
        inputs.warnings.append(
            f"{counted(len(donors), 'donor id')} in several populations ('{donors[0]}' in {listed(list(several))}): "
            "each id is taken for one person. Give different people different ids; if they are the same people, add "
            "donor_id to the formula to pair them."
        )


def _check_cohorts(cohorts: pd.Series, formula: ParsedFormula, source: str) -> None:
    known = cohorts.dropna().astype(str).unique()
    if len(known) and cohorts.isna().any():
        raise AidaError(
            f"{source}: column '{COHORT}', row {np.flatnonzero(cohorts.isna())[0] + 1}: empty, beside "
            f"{listed([f"'{name}'" for name in known[:5]])} ({cohorts.isna().sum()} such rows). Name the cohort of "
            "every sample."
        )
    is_number = pd.api.types.is_numeric_dtype(cohorts)
    term = f"C({COHORT})" if is_number else COHORT
    if len(known) > 1 and not (COHORT in formula.variables and (not is_number or COHORT in formula.categorical)):
        raise AidaError(
            f"{source}: column '{COHORT}' has {len(known)} values ({', '.join(known[:5])}"
            f"{', ...' if len(known) > 5 else ''}), which the formula '{formula.text}' does not hold as a factor. "
            f"Add ' + {term}' to the formula, or run each cohort by itself."
        )


def _nest_batches(samples: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Take batches of one name at several sites for different batches, as the numbers 1, 2, 3 of every site are."""
    sites = samples.groupby("batch")["site"].nunique()
    shared = sites.index[sites > 1]
    if shared.empty:
        return samples, []
    nested = samples["batch"].notna() & samples["site"].notna()
    batch = (samples["site"] + ":" + samples["batch"]).where(nested, samples["batch"])
    text = (
        f"batch '{shared[0]}' occurs at {sites[shared[0]]} sites ({len(shared)} such batches): SITE:BATCH is the batch."
    )
    return samples.assign(batch=batch), [text]
