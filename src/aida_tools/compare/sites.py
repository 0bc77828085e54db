"""Where a contrast gets its information: inside sites, or between them.

A population that was sampled at one site only cannot be told apart from that site by any model. Nothing here looks at
a cell count: the statuses follow from the design alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from aida_tools.compare.contrasts import REST, Contrast
from aida_tools.compare.design import Design, independent_columns, shorten


class Standing(NamedTuple):
    """Status of a contrast and, in words, what it cannot be told apart from (empty if nothing)."""

    status: str
    aliased_with: str


def side_masks(contrast: Contrast, samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples are on either side, each of shape (n,); for a number all are on the first."""
    if not contrast.a:
        return np.ones(len(samples), bool), np.zeros(len(samples), bool)
    values = samples[contrast.column].astype(str).to_numpy()
    on_a = values == contrast.a
    return on_a, ~on_a if contrast.b == REST else values == contrast.b


def _site_columns(samples: pd.DataFrame) -> np.ndarray:
    """Return 0/1 columns of the sites; a sample without one might be anywhere, so its donor is a site of its own."""
    site = samples["site"].where(samples["site"].notna(), "donor " + samples["donor_id"].astype(str))
    return pd.get_dummies(site).to_numpy(float)


class SiteModel:
    """What a design knows of the sites; made once a design."""

    def __init__(self, design: Design, samples: pd.DataFrame) -> None:
        columns = _site_columns(samples)
        #: Whether the design can fit any site effect there is, so that its contrasts are free of them.
        self.adjusted = design.spans(columns)
        self._null = (
            independent_columns(np.column_stack([design.full, columns]))[1] if self.adjusted else np.empty((0, 0))
        )

    def inside_sites(self, vector: np.ndarray) -> bool:
        """Tell whether a contrast, weights of shape (p,), keeps its value whatever the sites' effects are."""
        if not self.adjusted:
            return False
        padded = np.zeros(len(self._null))
        padded[: len(vector)] = vector
        return bool(np.abs(padded @ self._null).max(initial=0) < 1e-7)


def describe_level(level: str, on: np.ndarray, samples: pd.DataFrame) -> str:
    """Say where a level was sampled, such as `Korean = site KR = batches KR_B001 to KR_B011 (11)`."""
    here = samples[on]
    sites = sorted(here["site"].dropna().astype(str).unique())
    if here["site"].isna().any():
        return f"{level} with no site recorded"
    word = f"site {sites[0]}" if len(sites) == 1 else f"sites {shorten(sites)}"
    alone = level != REST and not (samples["site"].isin(sites) & ~on).any()
    text = f"{level} {'=' if alone else 'at'} {word}"
    batches = sorted(here["batch"].dropna().astype(str).unique())
    if alone and batches and not here["batch"].isna().any():
        text += f" = batch{'es' if len(batches) > 1 else ''} {shorten(batches)}"
    return text


def standing(
    contrast: Contrast, vector: np.ndarray, design: Design, sites: SiteModel, samples: pd.DataFrame
) -> Standing:
    """Decide the status of a contrast from the design alone.

    Parameters
    ----------
    contrast
        The contrast; `vector` are its weights on all columns of the design, shape (p,).
    design, sites
        The design it is estimated in, and what that knows of the sites.
    samples
        The samples of the design, n rows.

    Returns
    -------
    `not-estimable` with the terms that are confounded; `within-site` if no effect of a site can enter it: either both
    sides were sampled at one and the same site, or the design adjusts for the sites and still estimates it; otherwise
    `between-site` with what it is aliased with.
    """
    on_a, on_b = side_masks(contrast, samples)
    if not design.estimable(vector):
        return Standing("not-estimable", design.why_not(contrast, vector))
    involved = samples.loc[on_a | on_b, "site"]
    one_site = involved.notna().all() and involved.nunique() == 1
    if one_site or sites.inside_sites(vector):
        return Standing("within-site", _batch_alias(contrast, on_a, on_b, samples, design))
    if involved.isna().any():
        what = "the site is not recorded"
        if not involved.isna().all():
            what += f" for {int(involved.isna().sum())} of the samples"
        return Standing("between-site", f"{what}: {contrast} may hold differences between sites")
    if not contrast.a:
        return Standing("between-site", f"sites {shorten(sorted(involved.unique()))}: add 'site' to the formula")
    parts = f"{describe_level(contrast.a, on_a, samples)}; {describe_level(contrast.b, on_b, samples)}"
    shared = set(samples.loc[on_a, "site"]) & set(samples.loc[on_b, "site"])
    advice = "; add 'site' to the formula to compare inside sites" if shared and contrast.b != REST else ""
    return Standing(
        "between-site", f"{parts}: {contrast.a} - {contrast.b} measures {contrast.column} plus site{advice}"
    )


def _batch_alias(contrast: Contrast, on_a: np.ndarray, on_b: np.ndarray, samples: pd.DataFrame, design: Design) -> str:
    """Say whether two sides at one site share no batch, so that the batches stand between them."""
    batches_a, batches_b = (set(samples.loc[on, "batch"].dropna()) for on in (on_a, on_b))
    if not contrast.a or not batches_a or not batches_b or batches_a & batches_b:
        return ""
    a, b = shorten(list(batches_a)), shorten(list(batches_b))
    return f"no batch holds both {contrast.a} ({a}) and {contrast.b} ({b}): differences between batches are part of it"
