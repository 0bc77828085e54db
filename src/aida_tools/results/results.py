"""What `compare` left in its folder, read once and checked, for the rooms to its right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from aida_tools import rooms
from aida_tools.compare.tables import CONTROLS, DESIGN, ESTIMATES, EXCLUDED, SHARES, STANDARDISED, TESTS, read_estimates
from aida_tools.core.errors import AidaError
from aida_tools.core.files import read_json
from aida_tools.core.schema import TABLES, Table
from aida_tools.core.tables import SAMPLES
from aida_tools.design.contrasts import Contrast, split

#: The fields of `Results` that are tables; without one of them the folder is not one of `compare`.
_OWN = (SHARES, ESTIMATES, SAMPLES, DESIGN, CONTROLS, EXCLUDED, TESTS)
#: Columns that say where a sample comes from, and are no covariates.
STRUCTURE = ("cohort", "site", "batch", "donor_id", "population")
_OF = {"CD4_T": "CD4 T cells", "T": "T cells", "all": "all cells"}


def of_what(denominator: str) -> str:
    """Return the words for a denominator: `CD4_T` is `CD4 T cells`."""
    return _OF.get(denominator, denominator.replace("_", " "))


@dataclass(frozen=True)
class Results:
    """The tables of one comparison and the options it was made with.

    Attributes
    ----------
    shares
        One row a sample, annotator, denominator and cell type.
    estimates
        One row a model, contrast, cell type, denominator and annotator.
    samples
        One row a sample, used or not, with its covariates.
    design
        One row a population, site and batch: the samples the models used.
    controls
        One row a control sample, annotator, denominator and cell type.
    excluded
        One row a sample that the models did not use, and why.
    tests
        Omnibus tests over all populations.
    options
        `compare.json`.
    tables
        Further declared tables by name (`site_bound`, `claims` ...), those that exist.
    """

    shares: pd.DataFrame
    estimates: pd.DataFrame
    samples: pd.DataFrame
    design: pd.DataFrame
    controls: pd.DataFrame
    excluded: pd.DataFrame
    tests: pd.DataFrame
    options: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def __getitem__(self, table: Table) -> pd.DataFrame:
        """Return a declared table; without rows, but with its columns, where its step was not run."""
        if table in _OWN:
            found: pd.DataFrame = getattr(self, table.name)
            return found
        return self.tables.get(table.name, table.frame())

    def contrast(self, text: str) -> Contrast:
        """Read a contrast of these tables, whose levels the samples name."""
        column = text.partition(": ")[0]
        levels = set(self.samples[column].dropna().astype(str)) if column in self.samples else set()
        return Contrast.parse(text, levels)

    def contrasts_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return `column, a, b, kind, of_populations` of every row's contrast."""
        return split(table["contrast"], self.contrast)

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up."""
        return bool((self.options.get("cohort") or {}).get("synthetic", False))

    @property
    def primary(self) -> dict[str, str]:
        """The cell type, denominator, annotator and model the report is about: `focus, denominator, ...`."""
        return {k: str(self.options[k]) for k in ("focus", "annotator", "denominator", "model") if self.options.get(k)}

    @property
    def share_words(self) -> str:
        """What the primary share is: `Treg share of CD4 T cells`."""
        return f"{self.options['focus']} share of {of_what(self.options['denominator'])}"

    @property
    def estimated(self) -> bool:
        """Whether any contrast of the focus type was estimated."""
        return bool(self.focus_estimates()["estimate"].notna().any())

    def headline(self) -> dict[str, Any] | None:
        """Return the contrast to speak of first: the primary model's clearest one, against all others if it can be.

        Returns
        -------
        A row of `focus_estimates`: of populations, or where none of these has an estimate, of a covariate; None where
        there is none of either.
        """
        estimates = self.focus_estimates()
        estimates = estimates[(estimates["model"] == self.options.get("model")) & estimates["estimate"].notna()]
        of = self.contrasts_of(estimates)
        populations = of["of_populations"]
        for wanted in (populations & (of["kind"] == "rest"), populations, ~of["column"].isin(STRUCTURE)):
            if wanted.any():
                clearest = estimates.loc[estimates.loc[wanted, "statistic"].abs().idxmax()]
                return {str(k): v for k, v in clearest.items()}
        return None

    def shown(self, shares: pd.DataFrame) -> pd.DataFrame:
        """Return the samples to draw: those the models used, or where there are none, all but the controls."""
        return shares[shares["included"]] if shares["included"].any() else shares[~shares["is_control"]]

    def focus_shares(self) -> pd.DataFrame:
        """Return the shares of the focus type in the primary denominator and annotator, of the samples to draw."""
        return self.shown(self.of_focus(self.shares))

    def focus_estimates(self) -> pd.DataFrame:
        """Return the rows of `estimates` to speak of: the focus type, primary denominator and annotator, all models."""
        found = self.of_focus(self.estimates)
        return found[~found["superseded"]]

    def superseded(self) -> pd.DataFrame:
        """Return the rows for the focus type that stand beside better ones, with a term for the site."""
        found = self.of_focus(self.estimates)
        return found[found["superseded"]]

    def focus_standardised(self) -> pd.DataFrame:
        """Return the rows of `standardised.tsv` for the focus type in the primary denominator and annotator."""
        return self.of_focus(self[STANDARDISED])

    def focus_controls(self) -> pd.DataFrame:
        """Return the rows of `controls` for the focus type in the primary denominator and annotator."""
        return self.of_focus(self.controls)

    def of_focus(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows for the focus type in the primary denominator and annotator, as far as a table has these."""
        for column, key in (("cell_type", "focus"), ("denominator", "denominator"), ("annotator", "annotator")):
            if column in table:
                table = table[table[column] == self.options[key]]
        return table


def _later(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the declared tables of a folder; other files in it are somebody else's."""
    if not folder.is_dir():
        raise AidaError(f"{folder}: there is no such folder. Name a folder that a step of aida-tools wrote.")
    found = [TABLES[path.name] for path in sorted(folder.glob("*.tsv")) if path.name in TABLES]
    return {table.name: table.read(folder) for table in found if table not in _OWN}


def load_results(folder: Path, *, also: Iterable[Path] = ()) -> Results:
    """Read the folder that `aida-tools compare` wrote, and the tables of later steps.

    Parameters
    ----------
    folder
        The folder of `compare`, such as `results/sample/compare`.
    also
        Folders of later steps (`robustness`, `power`, `claims` ...), whose tables go to `tables`.

    Returns
    -------
    Its tables and options.

    Raises
    ------
    AidaError
        If a file is missing or is not what its step writes.
    """
    folder = Path(folder)
    path = folder / "compare.json"
    options = read_json(
        path, absent="Name the folder that `aida-tools compare` wrote.", broken="Run `aida-tools compare` again."
    )
    for key in ("annotator", "denominator"):
        if not isinstance(options, dict) or not options.get(key):
            raise AidaError(f"{path}: key '{key}' is missing. Run `aida-tools compare` again.")
    rooms.load("tables")
    own = {table.name: table.read(folder) for table in _OWN if table is not ESTIMATES}
    own[ESTIMATES.name], shares = read_estimates(folder / ESTIMATES.file), own[SHARES.name]
    if not options.get("focus") and len(shares):
        # Nobody named a cell type: one must stand for the rest in the figures that show one.
        options |= {"focus": str(shares["cell_type"].iloc[0]), "focus_given": False}
    tables = {name: table for place in (folder, *also) for name, table in _later(Path(place)).items()}
    return Results(**own, options=options, tables=tables)
