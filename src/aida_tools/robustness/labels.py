"""Wrong labels: corrected contrasts, and how wrong the labels would have to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.design.sites import side_masks
from aida_tools.results.refit import Comparison
from aida_tools.robustness.misclassify import corrected_log_odds_ratio, tipping_sensitivity, tipping_specificity
from aida_tools.robustness.tables import MISCLASSIFICATION, MISCLASSIFICATION_GRID

_SENSITIVITY_GRID = np.linspace(-0.3, 0.3, 25)
_SPECIFICITY_STEPS = np.linspace(-0.5, 0.5, 25)
_ENDS = ("estimate", "ci_low", "ci_high")

Errors = tuple[float, float]


def parse_errors(given: tuple[str, ...], sites: list[str]) -> dict[str, Errors]:
    """Read `SITE=SENSITIVITY,SPECIFICITY`.

    Raises
    ------
    AidaError
        For an unknown site, and for numbers that are not between 0 and 1 or no better than chance.
    """
    out = {}
    for text in given:
        site, _, numbers = text.partition("=")
        parts = numbers.split(",")
        try:
            sensitivity, specificity = (float(part) for part in parts)
        except ValueError as error:
            raise AidaError(f"--labels-at {text}: write SITE=SENSITIVITY,SPECIFICITY, such as KR=0.8,0.995.") from error
        if site not in sites:
            raise AidaError(f"--labels-at {text}: there is no site '{site}'. {did_you_mean(site, sites)}")
        check_errors(f"--labels-at {text}", (sensitivity, specificity))
        out[site] = sensitivity, specificity
    return out


def check_errors(option: str, errors: Errors) -> None:
    """Refuse labels that are no better than chance."""
    if not (min(errors) >= 0 and max(errors) <= 1 and sum(errors) > 1):
        raise AidaError(
            f"{option}: sensitivity {errors[0]:g} and specificity {errors[1]:g} must be between 0 and 1, with a sum "
            "above 1 (better than chance)."
        )


def _tip(row: Mapping[str, Any], default: Errors) -> dict[str, Any]:
    """Return the tipping points of a contrast; they start from the same errors on both sides."""
    share_b = row["share_b"]
    nearest = row["ci_low"] if row["estimate"] > 0 else row["ci_high"]
    names = {True: row["site_a"], False: row["site_b"]}
    a_higher = row["estimate"] > 0
    out: dict[str, Any] = {"lower_specificity_at": names[a_higher], "lower_sensitivity_at": names[not a_higher]}
    for suffix, log_odds in (("", row["estimate"]), ("_significance", nearest)):
        if suffix and (log_odds > 0) != a_higher:
            out |= {"specificity_drop" + suffix: 0.0, "sensitivity_drop" + suffix: 0.0}
            continue
        share_a = float(special.expit(special.logit(share_b) + log_odds))
        low, high = sorted((share_a, share_b))
        out["specificity_drop" + suffix] = tipping_specificity(high, low, *default)
        out["sensitivity_drop" + suffix] = tipping_sensitivity(high, low, *default)
    return out


def _grid(row: Mapping[str, Any], default: Errors) -> pd.DataFrame:
    """Correct a contrast for every pair of differences between the sides' labels."""
    sensitivity, specificity = default
    differences = _SENSITIVITY_GRID, _SPECIFICITY_STEPS * min(row["share_a"], row["share_b"])
    d_sensitivity, d_specificity = (grid.ravel() for grid in np.meshgrid(*differences, indexing="ij"))
    at_a = sensitivity + np.minimum(d_sensitivity, 0), specificity + np.minimum(d_specificity, 0)
    at_b = sensitivity - np.maximum(d_sensitivity, 0), specificity - np.maximum(d_specificity, 0)
    out = {"sensitivity_difference": d_sensitivity, "specificity_difference": d_specificity}
    for end in _ENDS:
        corrected = corrected_log_odds_ratio(row[end], row["share_b"], at_a, at_b)
        out[end] = np.where(np.isfinite(corrected), corrected, np.nan)
    return pd.DataFrame(out).assign(contrast=row["contrast"])


def label_tables(
    compared: Comparison, *, default: Errors = (1.0, 1.0), by_site: Mapping[str, Errors] | None = None
) -> dict[str, pd.DataFrame]:
    """Return `misclassification` and `misclassification_grid`.

    Parameters
    ----------
    compared
        The comparison; its primary model must give log odds ratios.
    default
        Sensitivity and specificity of the labels at every site, 0 to 1.
    by_site
        Those of some sites.
    """
    samples = compared.selection.samples
    known = dict(by_site or {})
    per_sample = np.array([known.get(site, default) for site in samples["site"]])
    rows: list[dict[str, Any]] = []
    grids: list[pd.DataFrame] = []
    for contrast, estimate in zip(compared.contrasts, compared.estimates.to_dict("records"), strict=True):
        row: dict[str, Any] = {name: estimate.get(name) for name in MISCLASSIFICATION.names}
        rows.append(row)
        sides: dict[str, Errors] = {}
        for side, level, on in zip("ab", (contrast.a, contrast.b), side_masks(contrast, samples), strict=True):
            sites = sorted(samples.loc[on, "site"].dropna().unique())
            row[f"site_{side}"] = ", ".join(sites) or level
            sides[side] = tuple(per_sample[on].mean(axis=0)) if on.any() else default
            row[f"sensitivity_{side}"], row[f"specificity_{side}"] = sides[side]
        if np.isnan(row["estimate"]) or np.isnan(row["share_b"]):
            row["note"] = row["note"] or "the primary model gives no shares to correct"
            continue
        # Two populations of one site are labelled alike; their names tell the sides apart.
        if row["site_a"] == row["site_b"]:
            row["site_a"], row["site_b"] = contrast.a, contrast.b
        for end, name in zip(_ENDS, ("corrected", "corrected_ci_low", "corrected_ci_high"), strict=True):
            value = float(corrected_log_odds_ratio(row[end], row["share_b"], sides["a"], sides["b"]))
            row[name] = value if np.isfinite(value) else np.nan
        if np.isnan(row["corrected"]):
            row["note"] = "with the assumed sensitivity and specificity no true share can give these measured shares"
        row |= _tip(row, default)
        grids.append(_grid(row, default))
    return {
        "misclassification": MISCLASSIFICATION.frame(rows),
        "misclassification_grid": MISCLASSIFICATION_GRID.frame(pd.concat(grids, ignore_index=True) if grids else ()),
    }
