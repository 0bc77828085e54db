"""A comparison asked again: other samples, other counts, other formulas, and the very row for an unchanged question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import ParsedFormula, name_levels, parse_formula
from aida_tools.design.select import Selection, select_samples
from aida_tools.models.fitting import reported
from aida_tools.models.registry import MODELS
from aida_tools.models.settings import Designs, Setting
from aida_tools.results.results import Results, load_results
from aida_tools.results.scale import on_log_odds


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` left, ready to be fitted again.

    Attributes
    ----------
    results
        Its tables and options.
    """

    results: Results

    @property
    def options(self) -> dict[str, Any]:
        """`compare.json`."""
        return self.results.options

    @cached_property
    def formula(self) -> ParsedFormula:
        """The formula that was fitted."""
        return parse_formula(self.options["formula"], self.results.samples.columns)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """All samples, controls and those left out included, n rows."""
        return name_levels(self.formula, self.results.samples)

    @cached_property
    def selection(self) -> Selection:
        """The samples that the models used."""
        chosen = self.select(self.everyone)
        assert chosen is not None, "compare refuses a table without a sample that it can use"
        return chosen

    @cached_property
    def everyone(self) -> np.ndarray:
        """A mask of all samples, shape (n,)."""
        return np.ones(len(self.samples), bool)

    @cached_property
    def denominators(self) -> dict[tuple[str, str], Denominator]:
        """(annotator, denominator) -> counts of the n samples."""
        out = {}
        for key, table in self.results.shares.groupby(["annotator", "denominator"], sort=False):
            annotator, name = (str(k) for k in key)
            types = [str(t) for t in dict.fromkeys(table["cell_type"])]
            counted = bool(self.options.get("has_counts", True))
            wide = table.pivot(index="sample_id", columns="cell_type", values="n" if counted else "share")
            totals = table.drop_duplicates("sample_id").set_index("sample_id")["total"]
            ids = self.samples["sample_id"]
            counts = wide.reindex(ids)[types].to_numpy(float)
            n = totals.reindex(ids).fillna(0.0).to_numpy(float) if counted else np.ones(len(ids))
            out[annotator, name] = Denominator(annotator, name, types, counts, n, has_counts=counted)
        return out

    @property
    def primary(self) -> Denominator:
        """The counts of the primary annotator and denominator."""
        return self.denominators[self.options["annotator"], self.options["denominator"]]

    @property
    def keys(self) -> dict[str, str]:
        """What the primary estimates are of: `annotator, denominator, cell_type, model`."""
        names = {k: str(self.options[k]) for k in ("annotator", "denominator", "model")}
        return {**names, "cell_type": str(self.options["focus"])}

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Rows of the primary estimates whose contrast is of populations, as log odds ratios."""
        table = self.results.focus_estimates()
        table = table[(table["model"] == self.options["model"]) & self.results.contrasts_of(table)["of_populations"]]
        return pd.DataFrame([on_log_odds(r) for r in table.to_dict("records")], columns=table.columns)

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """The contrasts of `estimates`, in their order."""
        return [self.results.contrast(text) for text in self.estimates["contrast"]]

    @property
    def odds_model(self) -> str:
        """The comparison's first model whose estimates are odds ratios; the package's first if it has none."""
        names = [str(m) for m in self.options["models"]]
        return next((name for name in names if MODELS[name].link == "logit"), next(iter(MODELS)))

    def select(
        self, mask: np.ndarray, formula: ParsedFormula | None = None, min_cells: int | None = None
    ) -> Selection | None:
        """Apply the filters of `compare` to the samples in a mask, shape (n,); None if none is left."""
        least = self.options["min_cells"] if min_cells is None else min_cells
        samples = self.samples[mask].reset_index(drop=True)
        left_out = [p for p in self.options["exclude_populations"] if (samples["population"] == p).any()]
        kept = ~samples["is_control"] | bool(self.options.get("controls", False))
        usable = kept & ~samples["population"].isin(left_out) & ~(samples["n_cells"] < least)
        if not usable.any():
            return None
        controls = bool(self.options.get("controls", False))
        chosen = select_samples(
            samples, formula or self.formula, min_cells=least, exclude_populations=tuple(left_out), controls=controls
        )
        return chosen if any(MODELS[name].knows_donors for name in self.options["models"]) else chosen.one_a_donor()

    def chosen(self, denominator: Denominator, selection: Selection) -> Denominator:
        """Return the counts of the selected samples; `denominator` is over all n."""
        places = pd.Index(self.samples["sample_id"]).get_indexer(selection.samples["sample_id"])
        return denominator.take(places)

    def settings(
        self, denominator: Denominator, selection: Selection, contrasts: list[Contrast], model: str
    ) -> list[Setting]:
        """Place contrasts in the designs of a model; `denominator` is over all n samples."""
        counts = self.chosen(denominator, selection)
        return Designs(selection.samples, selection.formula, contrasts).settings(counts, MODELS[model])

    def rows(self, settings: Sequence[Setting], cell_type: str, model: str) -> list[dict[str, Any]]:
        """Fit one model of one type; return a row for each contrast, as in `estimates.tsv`, none of them superseded.

        A model that lets the types of a denominator borrow from one another is given all of them.
        """
        fitted, out = MODELS[model], []
        for setting in settings:
            if fitted.one_type:
                setting = setting.of(setting.denominator.only(cell_type))
            k = setting.denominator.types.index(cell_type)
            out += reported(setting, fitted, k, robust=bool(self.options["robust"]))
        return out

    def refit(
        self,
        contrasts: list[Contrast],
        *,
        mask: np.ndarray | None = None,
        denominator: Denominator | None = None,
        cell_type: str | None = None,
        model: str | None = None,
    ) -> list[dict[str, Any]]:
        """Answer contrasts again.

        Parameters
        ----------
        contrasts
            What to estimate.
        mask
            Which of the n samples may be used, shape (n,); all by default.
        denominator
            Counts of the n samples; the primary ones by default.
        cell_type, model
            Of the focus type by the primary model, by default.

        Returns
        -------
        A row for each contrast, in their order. An unchanged question gives the very row of `estimates.tsv`.
        """
        denominator = denominator or self.primary
        cell_type, model = cell_type or str(self.options["focus"]), model or str(self.options["model"])
        selection = self.selection if mask is None else self.select(mask)
        if selection is None:
            return [empty_row(c, "no sample is left") for c in contrasts]
        if not (self.chosen(denominator, selection).totals > 0).any():
            return [empty_row(c, f"no {denominator.unit} of the denominator is left") for c in contrasts]
        rows = self.rows(self.settings(denominator, selection, contrasts, model), cell_type, model)
        by_contrast = {r["contrast"]: r for r in rows}
        return [by_contrast[str(c)] for c in contrasts]


def empty_row(contrast: Contrast, note: str) -> dict[str, Any]:
    """Return the row of a contrast that no sample is left for."""
    return {"contrast": str(contrast), "status": "too-few", "n_samples_a": 0, "n_samples_b": 0, "note": note}


#: Keys of `compare.json` that a fit needs, and their kinds.
_NEEDED: dict[str, type] = {
    "focus": str, "annotator": str, "denominator": str, "model": str, "models": list, "formula": str, "seed": int,
    "min_cells": int, "robust": bool, "exclude_populations": list,
}  # fmt: skip


def load_comparison(folder: Path, *, step: str = "this step") -> Comparison:
    """Read the folder that `aida-tools compare` wrote, for a step that fits its models again.

    Parameters
    ----------
    folder
        The folder of `compare`.
    step
        The step, for messages.

    Raises
    ------
    AidaError
        If a file is missing or is not what `compare` writes, or if nothing in it can be fitted again.
    """
    folder = Path(folder)
    results = load_results(folder)
    path, options = folder / "compare.json", results.options
    if not options.get("focus_given", True):
        raise AidaError(
            f"{path}: key 'focus' is empty: {step} is about one cell type. Run `aida-tools compare --focus TYPE`."
        )
    for key, kind in _NEEDED.items():
        if not isinstance(options.get(key), kind):
            msg = f"{path}: key '{key}', value {options.get(key)!r}: missing or not of the right kind."
            raise AidaError(f"{msg} Run `aida-tools compare` again.")
    for name in options["models"]:
        if name not in MODELS:
            raise AidaError(f"{path}: key 'models': there is no model '{name}'. {did_you_mean(name, MODELS)}")
    unknown = np.flatnonzero(~results.shares["sample_id"].isin(results.samples["sample_id"]))
    if len(unknown):
        value, place = results.shares["sample_id"].iloc[unknown[0]], folder / "shares.tsv"
        msg = f"{place}: column 'sample_id', row {unknown[0] + 1}: value '{value}' is not in samples.tsv."
        raise AidaError(f"{msg} Run `aida-tools compare` again.")
    asked = Comparison(results)
    primary = options["annotator"], options["denominator"]
    if primary not in asked.denominators or options["focus"] not in asked.primary.types:
        raise AidaError(
            f"{folder / 'shares.tsv'}: no rows of cell_type '{options['focus']}' with annotator '{primary[0]}' and "
            f"denominator '{primary[1]}', which compare.json names as primary. Run `aida-tools compare` again."
        )
    return asked
