"""Where a contrast gets its information: inside sites, or between them.

A population that was sampled at one site only cannot be told apart from that site by any model. Nothing here looks at
a cell count: the statuses follow from the design alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aida_tools.design.contrasts import REST, Contrast
from aida_tools.design.matrix import Design, independent_columns, shorten


class Standing(NamedTuple):
    """Status of a contrast and, in words, what it cannot be told apart from (empty if nothing)."""

    status: str
    aliased_with: str


def names(samples: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as an array of names, None where missing, shape (n,)."""
    values: Any = samples[column]  # The stubs do not know that None can stand for missing.
    return np.asarray(values.to_numpy(dtype=object, na_value=None))


def side_masks(contrast: Contrast, samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples are on either side, each of shape (n,); for a number all are on the first."""
    if not contrast.a:
        return np.ones(len(samples), bool), np.zeros(len(samples), bool)
    values = samples[contrast.column].astype(str).to_numpy()
    on_a = values == contrast.a
    return on_a, ~on_a if contrast.b == REST else values == contrast.b


def _site_columns(site: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """Return 0/1 columns of the sites; a sample without one might be anywhere, so its donor is a site of its own."""
    own = [f"donor {d}" if s is None else f"site {s}" for s, d in zip(site, donor, strict=True)]
    return np.asarray(np.array(own)[:, None] == np.unique(own), dtype=float)


class SiteModel:
    """What a design knows of the sites; made once a design.

    Parameters
    ----------
    design
        The design.
    samples
        Its samples, n rows.
    """

    def __init__(self, design: Design, samples: pd.DataFrame) -> None:
        self.design, self.samples = design, samples
        #: Site, batch and donor of each sample, shape (n,).
        self.site, self.batch, self.donor = (names(samples, c) for c in ("site", "batch", "donor_id"))
        columns = _site_columns(self.site, self.donor)
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


def stands_apart(on: np.ndarray, site: np.ndarray) -> bool:
    """Tell whether samples, a mask of shape (n,), share no site with the others, as far as their sites are recorded."""
    return None in site[on] or not set(site[on]) & set(site[~on])


def describe_level(level: str, on: np.ndarray, site: np.ndarray, batch: np.ndarray) -> str:
    """Say where a level was sampled, such as `Korean was measured only at site KR, where nothing else was measured`.

    Parameters
    ----------
    level
        Its name.
    on
        The samples of it, shape (n,), boolean.
    site, batch
        Site and batch of each sample, None where not recorded, shape (n,).
    """
    sites, batches = set(site[on]), set(batch[on])
    if None in sites:
        return f"the site of {level} is not recorded"
    word = f"site {next(iter(sites))}" if len(sites) == 1 else f"sites {shorten(list(sites))}"
    if level == REST:
        return f"all others were measured at {word}"
    if not stands_apart(on, site):
        return f"{level} was measured at {word}"
    known = bool(batches) and None not in batches
    inside = f", in batch{'es' if len(batches) > 1 else ''} {shorten(list(batches))}" if known else ""
    return f"{level} was measured only at {word}{inside}, where nothing else was measured"


def standing(contrast: Contrast, vector: np.ndarray, sites: SiteModel) -> Standing:
    """Decide the status of a contrast from the design alone.

    Parameters
    ----------
    contrast
        The contrast; `vector` are its weights on all columns of the design, shape (p,).
    sites
        What the design it is estimated in knows of the sites.

    Returns
    -------
    `not-estimable` with the terms that are confounded; `within-site` if no effect of a site can enter it: either both
    sides were sampled at one and the same site, or the design adjusts for the sites and still estimates it; otherwise
    `between-site` with what it is aliased with.
    """
    if not sites.design.estimable(vector):
        return Standing("not-estimable", sites.design.why_not(contrast, vector))
    on_a, on_b = side_masks(contrast, sites.samples)
    involved = sites.site[on_a | on_b]
    found = set(involved)
    if (len(found) == 1 and None not in found) or sites.inside_sites(vector):
        return Standing("within-site", _batch_alias(contrast, sites.batch[on_a], sites.batch[on_b]))
    if None in found:
        what = "the site is not recorded"
        if found != {None}:
            what += f" for {sum(site is None for site in involved)} of the samples"
        return Standing("between-site", f"{what}: differences between sites may be part of it")
    if not contrast.a:
        return Standing("between-site", f"sites {shorten(list(found))} are compared as well; add 'site' to the formula")
    parts = "; ".join(
        describe_level(level, on, sites.site, sites.batch) for level, on in ((contrast.a, on_a), (contrast.b, on_b))
    )
    shared = set(sites.site[on_a]) & set(sites.site[on_b])
    advice = "; add 'site' to the formula to compare within sites" if shared and contrast.b != REST else ""
    return Standing("between-site", f"{parts}: the contrast measures {contrast.column} and site together{advice}")


def _batch_alias(contrast: Contrast, batch_a: np.ndarray, batch_b: np.ndarray) -> str:
    """Say whether two sides at one site share no batch, so that the batches stand between them."""
    batches_a, batches_b = set(batch_a) - {None}, set(batch_b) - {None}
    if not contrast.a or not batches_a or not batches_b or batches_a & batches_b:
        return ""
    a, b = shorten(list(batches_a)), shorten(list(batches_b))
    return f"no batch holds both {contrast.a} ({a}) and {contrast.b} ({b}): differences between batches are part of it"
