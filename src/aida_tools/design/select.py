"""Which samples enter the models, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.design.formula import ParsedFormula


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples that enter the models.

    Attributes
    ----------
    samples
        Complete cases of the formula, one a donor and population.
    excluded
        `sample_id, donor_id, population, reason`, one row for each sample left out.
    formula
        The formula, without the terms that no sample has values for.
    dropped_terms
        Those terms, each with its reason in words.
    """

    samples: pd.DataFrame
    excluded: pd.DataFrame
    formula: ParsedFormula
    dropped_terms: dict[str, str]


def drop_empty_terms(formula: ParsedFormula, samples: pd.DataFrame) -> tuple[ParsedFormula, dict[str, str]]:
    """Leave out the terms whose column has no value in any sample, and say so."""
    reasons = {}
    for term in formula.terms:
        for column in formula.columns[term]:
            if _missing(samples, column).all():
                reasons[term] = f"no sample has a value of '{column}'"
    absent = {c for term in reasons for c in formula.columns[term] if _missing(samples, c).all()}
    return formula.without(absent) if absent else formula, reasons


def _missing(samples: pd.DataFrame, column: str) -> pd.Series:
    missing = samples[column].isna()
    return missing | (samples[column] == "unknown") if column == "sex" else missing


def _repeats(samples: pd.DataFrame, formula: ParsedFormula) -> pd.Series:
    """Mark all but the largest sample of a donor and population: the donor is the unit, and cells buy no power."""
    if "donor_id" in formula.variables:
        return pd.Series(False, index=samples.index)
    largest_first = samples.sort_values("n_cells", ascending=False, kind="stable")
    return largest_first.duplicated(["donor_id", "population"]).reindex(samples.index)


def select_samples(
    samples: pd.DataFrame, formula: ParsedFormula, *, min_cells: int, exclude_populations: tuple[str, ...]
) -> Selection:
    """Apply the filters in order; each sample is counted under the first that meets it.

    Parameters
    ----------
    samples
        As `read_samples` returns them, `n_cells` filled.
    formula
        Decides which covariates must be known: samples without one are left out (complete cases).
    min_cells
        Samples with fewer cells are left out.
    exclude_populations
        Population codes to leave out.

    Raises
    ------
    AidaError
        For an excluded population that no sample has, and if no sample is left.
    """
    known = samples["population"].dropna().unique()
    for name in exclude_populations:
        if name not in known:
            raise AidaError(f"--exclude-population {name}: no sample has this population. {did_you_mean(name, known)}")
    reason = pd.Series(pd.NA, index=samples.index, dtype="object")

    def leave_out(mask: pd.Series, why: str) -> None:
        reason[mask & reason.isna()] = why

    leave_out(samples["is_control"], "control sample")
    leave_out(samples["population"].isna(), "population is missing")
    leave_out(samples["population"].isin(exclude_populations), "population left out by option")
    leave_out(samples["n_cells"] < min_cells, f"fewer than {min_cells} cells")
    formula, dropped = drop_empty_terms(formula, samples[reason.isna()]) if reason.isna().any() else (formula, {})
    for column in formula.variables:
        leave_out(_missing(samples, column), f"{column} is missing")
    repeated = _repeats(samples[reason.isna()], formula).reindex(samples.index, fill_value=False)
    leave_out(repeated, "a larger sample of the same donor and population is used")
    kept = samples[reason.isna()].reset_index(drop=True)
    if kept.empty:
        why = "; ".join(f"{n} x {text}" for text, n in reason.value_counts().items())
        raise AidaError(f"no sample is left after the filters ({why}). Loosen --min-cells or the formula.")
    excluded = samples.loc[reason.notna(), ["sample_id", "donor_id", "population"]].assign(reason=reason.dropna())
    return Selection(kept, excluded.reset_index(drop=True), formula, dropped)
