"""Which samples enter the models, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.design.contrasts import CONTROL
from aida_tools.design.formula import ParsedFormula


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples that enter the models.

    Attributes
    ----------
    samples
        Complete cases of the formula; a donor can have several.
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

    def one_a_donor(self) -> Selection:
        """Return the selection for models that do not know donors: the largest sample of each donor and population."""
        largest = largest_of_donor(self.samples, self.formula)
        why = "a larger sample of the same donor and population is used"
        smaller = self.samples.loc[~largest, ["sample_id", "donor_id", "population"]].assign(reason=why)
        excluded = pd.concat([self.excluded, smaller], ignore_index=True)
        return replace(self, samples=self.samples[largest].reset_index(drop=True), excluded=excluded)


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


def largest_of_donor(samples: pd.DataFrame, formula: ParsedFormula) -> np.ndarray:
    """Mark the largest sample of each donor and population, shape (n,).

    The donor is the unit, and cells buy no power: a model that does not know donors would take their samples for as
    many people. With the donor in the formula all samples are marked.
    """
    if "donor_id" in formula.variables:
        return np.ones(len(samples), bool)
    largest_first = samples.sort_values("n_cells", ascending=False, kind="stable")
    return ~largest_first.duplicated(["donor_id", "population"]).reindex(samples.index).to_numpy(bool)


def as_population(samples: pd.DataFrame, formula: ParsedFormula) -> pd.DataFrame:
    """Return the samples with the controls as a population of their own.

    What is not known of a control (its age) is set to what is usual in the other samples: one value for all controls,
    so that their population takes it up.
    """
    controls = samples["is_control"]
    samples = samples.assign(population=samples["population"].mask(controls, CONTROL))
    for column in set(formula.variables) - {"population", "site", "batch", "donor_id"}:
        others = samples.loc[~controls & ~_missing(samples, column), column]
        if len(others):
            usual = others.mean() if pd.api.types.is_numeric_dtype(others) else others.mode().iloc[0]
            samples = samples.assign(**{column: samples[column].mask(controls, usual)})
    return samples


def select_samples(
    samples: pd.DataFrame,
    formula: ParsedFormula,
    *,
    min_cells: int,
    exclude_populations: tuple[str, ...],
    controls: bool = False,
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
    controls
        Whether control samples stay, as a population of their own.

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

    if controls:
        samples = as_population(samples, formula)
    else:
        leave_out(samples["is_control"], "control sample")
    leave_out(samples["population"].isna(), "population is missing")
    leave_out(samples["population"].isin(exclude_populations), "population left out by option")
    leave_out(samples["n_cells"] < min_cells, f"fewer than {min_cells} cells")
    formula, dropped = drop_empty_terms(formula, samples[reason.isna()]) if reason.isna().any() else (formula, {})
    for column in formula.variables:
        leave_out(_missing(samples, column), f"{column} is missing")
    kept = samples[reason.isna()].reset_index(drop=True)
    if kept.empty:
        why = "; ".join(f"{n} x {text}" for text, n in reason.value_counts().items())
        raise AidaError(f"no sample is left after the filters ({why}). Loosen --min-cells or the formula.")
    excluded = samples.loc[reason.notna(), ["sample_id", "donor_id", "population"]].assign(reason=reason.dropna())
    return Selection(kept, excluded.reset_index(drop=True), formula, dropped)
