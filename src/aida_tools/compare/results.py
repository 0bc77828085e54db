"""What `compare` left in its folder, read once and checked, for the rooms to its right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from aida_tools.errors import AidaError
from aida_tools.files import read_json
from aida_tools.tables import check, read_estimates, read_tsv

_TEXT = pa.Column(str, nullable=True, coerce=True)
_NUMBER = pa.Column(float, nullable=True, coerce=True)
_KEY = ("annotator", "denominator", "cell_type")

_SHARES = pa.DataFrameSchema(
    dict.fromkeys(("sample_id", "donor_id", "population", "site", "batch", "sex", *_KEY), _TEXT)
    | dict.fromkeys(("age", "n", "total", "share"), _NUMBER)
    | {c: pa.Column(bool) for c in ("is_control", "included")}
)
_DESIGN = pa.DataFrameSchema(
    dict.fromkeys(("population", "site", "batch", "aliased_with"), _TEXT)
    | dict.fromkeys(("n_donors", "n_samples", "n_cells"), _NUMBER)
)
_CONTROLS = pa.DataFrameSchema(
    dict.fromkeys(("site", "batch", "donor_id", *_KEY), _TEXT)
    | dict.fromkeys(("n", "total", "share", "ci_low", "ci_high"), _NUMBER)
)
_EXCLUDED = pa.DataFrameSchema(dict.fromkeys(("sample_id", "donor_id", "population", "reason"), _TEXT))
_TESTS = pa.DataFrameSchema(
    dict.fromkeys((*_KEY, "model", "test", "note"), _TEXT) | dict.fromkeys(("statistic", "df", "p_value"), _NUMBER)
)


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
    extra
        Further tables by name (`site_bound`, `claims` ...), those that exist.
    """

    shares: pd.DataFrame
    estimates: pd.DataFrame
    design: pd.DataFrame
    controls: pd.DataFrame
    excluded: pd.DataFrame
    tests: pd.DataFrame
    options: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, pd.DataFrame] = field(default_factory=dict)

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
        A row of `focus_estimates`, or None where nothing between populations was estimated.
        """
        estimates = self.focus_estimates()
        keep = (estimates["model"] == self.options.get("model")) & estimates["estimate"].notna()
        estimates = estimates[keep & estimates["contrast"].str.startswith("population: ")]
        rest = estimates[estimates["contrast"].str.endswith(" - rest")]
        chosen = (rest if len(rest) else estimates).sort_values("statistic", key=lambda s: -s.abs(), kind="stable")
        return {str(k): v for k, v in chosen.iloc[0].items()} if len(chosen) else None

    def shown(self, shares: pd.DataFrame) -> pd.DataFrame:
        """Return the samples to draw: those the models used, or where there are none, all but the controls."""
        return shares[shares["included"]] if shares["included"].any() else shares[~shares["is_control"]]

    def focus_shares(self) -> pd.DataFrame:
        """Return the shares of the focus type in the primary denominator and annotator, of the samples to draw."""
        return self.shown(self._select(self.shares))

    def focus_estimates(self) -> pd.DataFrame:
        """Return the rows of `estimates` for the focus type in the primary denominator and annotator, all models."""
        return self._select(self.estimates)

    def focus_standardised(self) -> pd.DataFrame:
        """Return the rows of `standardised.tsv` for the focus type in the primary denominator and annotator."""
        nothing = pd.DataFrame(columns=[*_KEY, "model", "contrast", "share_a"])
        return self._select(self.extra.get("standardised", nothing))

    def focus_controls(self) -> pd.DataFrame:
        """Return the rows of `controls` for the focus type in the primary denominator and annotator."""
        return self._select(self.controls)

    def _select(self, table: pd.DataFrame) -> pd.DataFrame:
        keep = table["cell_type"] == self.options["focus"]
        for key in ("denominator", "annotator"):
            keep &= table[key] == self.options[key]
        return table[keep]


def _read(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    table = read_tsv(path)
    for column, spec in schema.columns.items():
        if str(spec.dtype) == "bool" and column in table:
            table[column] = table[column].str.casefold().map({"true": True, "false": False})
    return check(table, schema, path)


#: Columns of further tables that stay text even where all their values look like numbers.
_WORDS = {"contrast", "status", "note", "left_out", "site", "other_site", "batch", "claim", "plan", "n_distinct"}


def _extra(path: Path) -> pd.DataFrame:
    """Read a further table; columns whose values are all numbers, or all true and false, become that."""
    table = read_tsv(path)
    for column in table.columns.difference(sorted(_WORDS)):
        values = table[column].dropna()
        numbers = pd.to_numeric(table[column], errors="coerce")
        if numbers.notna().sum() == len(values):
            table[column] = numbers.astype(float)
        elif values.str.casefold().isin(["true", "false"]).all():
            table[column] = table[column].str.casefold() == "true"
    return table


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        msg = f"{folder}: there is no such folder. Name a folder that a step of aida-tools wrote."
        raise AidaError(msg)
    return sorted(folder.glob("*.tsv"))


def load_results(folder: Path, *, also: Iterable[Path] = ()) -> Results:
    """Read the folder that `aida-tools compare` wrote, and the tables of later steps.

    Parameters
    ----------
    folder
        The folder of `compare`, such as `results/sample/compare`.
    also
        Folders of later steps (`robustness`, `power`, `claims` ...), whose tables go to `extra`.

    Returns
    -------
    Its tables and options.

    Raises
    ------
    AidaError
        If a file is missing or is not what `compare` writes.
    """
    folder = Path(folder)
    path = folder / "compare.json"
    options = read_json(
        path, absent="Name the folder that `aida-tools compare` wrote.", broken="Run `aida-tools compare` again."
    )
    for key in ("annotator", "denominator"):
        if not isinstance(options, dict) or not options.get(key):
            msg = f"{path}: key '{key}' is missing. Run `aida-tools compare` again."
            raise AidaError(msg)
    shares = _read(folder / "shares.tsv", _SHARES)
    if not options.get("focus") and len(shares):
        # Nobody named a cell type: one must stand for the rest in the figures that show one.
        options |= {"focus": str(shares["cell_type"].iloc[0]), "focus_given": False}
    known = {"shares", "estimates", "design", "controls", "excluded", "tests"}
    return Results(
        shares=shares,
        estimates=read_estimates(folder / "estimates.tsv"),
        design=_read(folder / "design.tsv", _DESIGN),
        controls=_read(folder / "controls.tsv", _CONTROLS),
        excluded=_read(folder / "excluded.tsv", _EXCLUDED),
        tests=_read(folder / "tests.tsv", _TESTS),
        options=options,
        extra={p.stem: _extra(p) for place in (folder, *also) for p in _tables(Path(place)) if p.stem not in known},
    )
