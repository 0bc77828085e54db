"""The models of `compare`, run again for one cell type on other samples, counts and formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.compare.contrasts import Contrast
from aida_tools.compare.estimate import Setting, answer, make_settings
from aida_tools.compare.fit import failed
from aida_tools.compare.formula import ParsedFormula
from aida_tools.compare.models import MODELS
from aida_tools.compare.prepare import Denominator, Selection, select_samples
from aida_tools.robustness.inputs import Compared
from aida_tools.robustness.scale import on_log_odds

#: Models that fit each cell type by itself; any other is given all types of the denominator.
_ONE_TYPE = {
    "betabinomial-mixed", "betabinomial", "quasibinomial", "log10-ols", "betabinomial-cluster", "betabinomial-library",
}  # fmt: skip


def subset(denominator: Denominator, mask: np.ndarray) -> Denominator:
    """Return the counts of the samples in a mask or at positions."""
    return replace(denominator, counts=denominator.counts[mask], totals=denominator.totals[mask])


def select(compared: Compared, mask: np.ndarray, formula: ParsedFormula, min_cells: int) -> Selection | None:
    """Apply the filters of `compare` to the samples in a mask; None if none is left."""
    samples = compared.samples[mask].reset_index(drop=True)
    absent = set(compared.options["exclude_populations"])
    usable = ~samples["is_control"] & ~samples["population"].isin(absent) & (samples["n_cells"] >= min_cells)
    if not usable.any():
        return None
    left_out = tuple(p for p in compared.options["exclude_populations"] if (samples["population"] == p).any())
    return select_samples(samples, formula, min_cells=min_cells, exclude_populations=left_out)


def selected(denominator: Denominator, samples: pd.DataFrame, selection: Selection) -> Denominator:
    """Return the counts of the selected samples; `denominator` is over all `samples`."""
    return subset(denominator, pd.Index(samples["sample_id"]).get_indexer(selection.samples["sample_id"]))


def fit_rows(settings: Sequence[Setting], focus: str, model: str, *, robust: bool) -> list[dict[str, Any]]:
    """Fit one model of one cell type; return a row for each contrast, as in `estimates.tsv`."""
    rows: list[dict[str, Any]] = []
    for setting in settings:
        d = setting.denominator
        k = d.types.index(focus)
        if model in _ONE_TYPE:
            setting = replace(setting, denominator=replace(d, types=[focus], counts=d.counts[:, [k]]))
            k = 0
        if setting.answerable:
            fit = MODELS[model].fit(setting.data(robust=robust))[k]
        else:
            fit = failed(setting.design.matrix.shape[1], "too few samples", "too-few")
        rows += answer(setting, model, MODELS[model], fit, k)
    return rows


def empty_row(contrast: Contrast, note: str) -> dict[str, Any]:
    """Return the row of a contrast that no sample is left for."""
    return {"contrast": str(contrast), "status": "too-few", "n_samples_a": 0, "n_samples_b": 0, "note": note}


def refit(compared: Compared, mask: np.ndarray, contrasts: list[Contrast]) -> list[dict[str, Any]]:
    """Answer contrasts by the primary model on some of the samples.

    Parameters
    ----------
    compared
        The comparison.
    mask
        Which of its n samples may be used, shape (n,), boolean.
    contrasts
        What to estimate.

    Returns
    -------
    A row for each contrast, in their order, as log odds ratios.
    """
    options = compared.options
    selection = select(compared, mask, compared.formula, options["min_cells"])
    if selection is None:
        return [empty_row(c, "no sample is left") for c in contrasts]
    counts = selected(compared.primary, compared.samples, selection)
    if not (counts.totals > 0).any():
        return [empty_row(c, "no cell of the denominator is left") for c in contrasts]
    by_batch = MODELS[options["model"]].by_batch
    settings = make_settings(counts, selection.samples, selection.formula, contrasts, by_batch=by_batch)
    rows = fit_rows(settings, options["focus"], options["model"], robust=options["robust"])
    by_contrast = {r["contrast"]: on_log_odds(r) for r in rows}
    return [by_contrast[str(c)] for c in contrasts]
