"""Which samples enter the models, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from aida_tools.compare.formula import ParsedFormula
from aida_tools.errors import AidaError, did_you_mean

#: Columns of a sample that describe it in the tables.
DESCRIBING = ("sample_id", "donor_id", "population", "site", "batch", "sex", "age", "is_control")


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


@dataclass(frozen=True, eq=False)
class Denominator:
    """The counts of one denominator under one annotator.

    Attributes
    ----------
    annotator, name
        Which labels, share of what.
    types
        Its cell types, k names.
    counts
        Cells of each type in each sample, shape (n, k).
    totals
        Cells of the denominator, shape (n,).
    has_counts
        False for shares without counts: `counts` are shares then, not a number where not measured, and totals 1.
    """

    annotator: str
    name: str
    types: list[str]
    counts: np.ndarray
    totals: np.ndarray
    has_counts: bool = True

    def take(self, rows: np.ndarray) -> Denominator:
        """Return the counts of some of the samples, as a mask or indices."""
        return replace(self, counts=self.counts[rows], totals=self.totals[rows])


def parse_denominators(given: tuple[str, ...], table: pd.DataFrame | None) -> dict[str, list[str] | None]:
    """Read `NAME=TYPE,TYPE`, `all`, or the name of a set of the denominators table.

    Parameters
    ----------
    given
        As on the command line; empty for all sets of the table and `all`.
    table
        `denominator, annotator, cell_type`, or None.

    Returns
    -------
    Name -> types; None where the table has them, or for `all`.

    Raises
    ------
    AidaError
        For a name that is neither.
    """
    known = [] if table is None else list(dict.fromkeys(table["denominator"]))
    if not given:
        return dict.fromkeys([*[name for name in known if name != "all"], "all"])
    out: dict[str, list[str] | None] = {}
    for text in given:
        name, equals, types = (part.strip() for part in text.partition("="))
        if equals and types != "all":
            out[name] = [t.strip() for t in types.split(",") if t.strip()]
            if not out[name]:
                raise AidaError(f"--denominator '{text}': no cell type is named after '='.")
        elif types == "all" or name == "all" or name in known:
            out[name] = None
        else:
            hint = did_you_mean(name, [*known, "all"])
            raise AidaError(f"--denominator '{text}': no such set. {hint} Or write NAME=TYPE,TYPE.")
    return out


def make_denominator(
    name: str, types: list[str] | None, annotator: str, counts: pd.DataFrame, n_cells: pd.Series
) -> Denominator:
    """Take the types of a denominator out of the counts.

    Parameters
    ----------
    name, types
        The denominator; `types` None for all.
    annotator
        Whose labels.
    counts
        Samples x types of this annotator.
    n_cells
        Cells of each sample: the total of a table with a single type.

    Raises
    ------
    AidaError
        For a type without counts, and for a single type without a total.
    """
    for cell_type in types or []:
        if cell_type not in counts.columns:
            hint = did_you_mean(cell_type, counts.columns)
            msg = f"denominator '{name}': annotator '{annotator}' has no counts of cell_type '{cell_type}'. {hint}"
            raise AidaError(msg)
    members = list(counts.columns) if types is None else list(dict.fromkeys(types))
    matrix = counts[members].to_numpy(float)
    totals = matrix.sum(axis=1)
    if len(members) == 1:
        # Only `all` may take its total from the samples: what else is in a named set nobody has counted.
        if types is not None or n_cells.isna().any() or np.array_equal(n_cells.to_numpy(float), totals):
            msg = (
                f"denominator '{name}': annotator '{annotator}' has one cell_type only, so every share is 1. "
                "Count the other types too, or, for 'all', give each sample's n_cells in SAMPLES."
            )
            raise AidaError(msg)
        totals = n_cells.to_numpy(float)
    return Denominator(annotator, name, members, matrix, totals)
