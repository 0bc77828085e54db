"""What `compare` left in its folder, as its models take it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from aida_tools.compare.contrasts import Contrast, parse_contrast
from aida_tools.compare.formula import ParsedFormula, parse_formula
from aida_tools.compare.models import MODELS
from aida_tools.compare.prepare import Denominator, Selection, select_samples
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.files import read_json
from aida_tools.robustness.scale import on_log_odds
from aida_tools.tables import check, read_estimates, read_samples, read_tsv

FILES = ("compare.json", "samples.tsv", "shares.tsv", "estimates.tsv")
_SHARES = pa.DataFrameSchema(
    {c: pa.Column(str, coerce=True) for c in ("sample_id", "annotator", "denominator", "cell_type")}
    | {c: pa.Column(float, pa.Check.ge(0, error="a count of 0 or more"), coerce=True) for c in ("n", "total")}
)
_OPTIONS: dict[str, type | tuple[type, ...]] = {
    "focus": str, "annotator": str, "denominator": str, "model": str, "models": list, "formula": str, "seed": int,
    "min_cells": int, "robust": bool, "exclude_populations": list,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Compared:
    """One comparison: its samples, counts and answers.

    Attributes
    ----------
    options
        `compare.json`.
    samples
        All samples, controls and those left out included, n rows.
    denominators
        (annotator, denominator) -> counts of the n samples.
    estimates
        Rows of the focus type under the primary annotator, denominator and model whose contrast is of populations, as
        log odds ratios.
    """

    options: dict[str, Any]
    samples: pd.DataFrame
    denominators: dict[tuple[str, str], Denominator]
    estimates: pd.DataFrame

    @cached_property
    def formula(self) -> ParsedFormula:
        """The primary formula."""
        return parse_formula(self.options["formula"], self.samples.columns)

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """The contrasts of `estimates`, in their order."""
        return [parse_contrast(text, self.formula, self.samples) for text in self.estimates["contrast"]]

    @cached_property
    def selection(self) -> Selection:
        """The samples that the primary models used."""
        left_out = tuple(self.options["exclude_populations"])
        min_cells = self.options["min_cells"]
        return select_samples(self.samples, self.formula, min_cells=min_cells, exclude_populations=left_out)

    @property
    def primary(self) -> Denominator:
        """The counts of the primary annotator and denominator."""
        return self.denominators[self.options["annotator"], self.options["denominator"]]

    @property
    def keys(self) -> dict[str, str]:
        """What the estimates are of: `annotator, denominator, cell_type, model`."""
        names = {k: str(self.options[k]) for k in ("annotator", "denominator", "model")}
        return {**names, "cell_type": str(self.options["focus"])}


def _options(path: Path) -> dict[str, Any]:
    options = read_json(
        path, absent="Name the folder that `aida-tools compare` wrote.", broken="Run `aida-tools compare` again."
    )
    for key, kind in _OPTIONS.items():
        value = options.get(key) if isinstance(options, dict) else None
        if key == "focus" and value is None:
            msg = f"{path}: key 'focus' is empty: robustness is about one cell type. Run `compare --focus TYPE`."
            raise AidaError(msg)
        if not isinstance(value, kind):
            msg = f"{path}: key '{key}', value {value!r}: missing or not of the right kind. Run `compare` again."
            raise AidaError(msg)
    for name in options["models"]:
        if name not in MODELS:
            msg = f"{path}: key 'models': there is no model '{name}'. {did_you_mean(name, MODELS)}"
            raise AidaError(msg)
    return dict(options)


def _denominators(shares: pd.DataFrame, samples: pd.DataFrame, path: Path) -> dict[tuple[str, str], Denominator]:
    unknown = ~shares["sample_id"].isin(samples["sample_id"])
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        value = shares["sample_id"].iloc[row]
        msg = f"{path}: column 'sample_id', row {row + 1}: value '{value}' is not in samples.tsv. Run `compare` again."
        raise AidaError(msg)
    out = {}
    for key, table in shares.groupby(["annotator", "denominator"], sort=False):
        annotator, name = map(str, key) if isinstance(key, tuple) else ("", "")
        types = list(dict.fromkeys(table["cell_type"]))
        counts = table.pivot_table(index="sample_id", columns="cell_type", values="n", aggfunc="sum")
        totals = table.groupby("sample_id")["total"].first()
        ids = samples["sample_id"]
        counts, totals = counts.reindex(ids)[types].fillna(0.0), totals.reindex(ids).fillna(0.0)
        out[annotator, name] = Denominator(annotator, name, types, counts.to_numpy(), totals.to_numpy())
    return out


def load(folder: Path) -> Compared:
    """Read the folder that `aida-tools compare` wrote.

    Raises
    ------
    AidaError
        If a file is missing or is not what `compare` writes.
    """
    folder = Path(folder)
    options = _options(folder / "compare.json")
    samples = read_samples(folder / "samples.tsv")
    shares = check(read_tsv(folder / "shares.tsv"), _SHARES, folder / "shares.tsv")
    denominators = _denominators(shares, samples, folder / "shares.tsv")
    primary = options["annotator"], options["denominator"]
    if primary not in denominators or options["focus"] not in denominators[primary].types:
        msg = (
            f"{folder / 'shares.tsv'}: no rows of cell_type '{options['focus']}' with annotator '{primary[0]}' and "
            f"denominator '{primary[1]}', which compare.json names as primary. Run `compare` again."
        )
        raise AidaError(msg)
    estimates = read_estimates(folder / "estimates.tsv")
    rows = estimates["contrast"].str.startswith("population: ") & (estimates["cell_type"] == options["focus"])
    for key in ("annotator", "denominator", "model"):
        rows &= estimates[key] == options[key]
    converted = pd.DataFrame([on_log_odds(r) for r in estimates[rows].to_dict("records")], columns=estimates.columns)
    return Compared(options, samples, denominators, converted)
