r"""Where a contrast gets its information: inside sites and batches, or between them.

A population that was measured at one site only cannot be told apart from that site by any model. To first order an
estimate is a weighted sum of the samples' log-odds; the weights follow from the design and from what each sample
weighs in the fit. Their sum over the samples of a site,

.. math:: l_s = \sum_{i \in s} c_i = v' (X'V^{-1}X)^{-1} X'V^{-1} 1_s,

is how much of that site's unknown effect enters the estimate: its *leak*. The status of a row follows from the leaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aida_tools.core.words import listed
from aida_tools.design.contrasts import CONTROL, REST, Contrast, rest_of
from aida_tools.design.matrix import Design, shorten, unseen

#: Standard deviation of site effects on the log-odds scale that is plausible where nothing better is known.
PLAUSIBLE_SITE_SD = 0.3
#: A leak is harmless where a plausible site effect moves the estimate by less than this part of its standard error.
HARMLESS = 0.1
#: Leaks below this are rounding.
_ROUNDING = 1e-6
#: Of the weights of a contrast, so much may be left over after they cancel inside batches.
_UNMIXED = 0.9
#: A contrast of which a larger part comes through other levels rests on these.
_INDIRECT = 0.5
#: Levels through which a smaller part comes are not named.
_NAMED = 0.05


class Standing(NamedTuple):
    """Status of a contrast and, in words, what it cannot be told apart from (empty if nothing)."""

    status: str
    aliased_with: str = ""


class Leaks(NamedTuple):
    """What enters an estimate beside what is asked.

    Attributes
    ----------
    site
        Leak of each recorded site, shape (s,).
    unrecorded
        The largest leak that a site could have if any of the donors without a recorded site were measured there.
    batch
        The largest leak of a batch.
    unmixed
        Part of the weights of the sides that does not cancel inside batches: 0 where every batch is mixed alike, 1
        where none is or none is recorded.
    through
        Part of the estimate that comes through other levels, which were measured at several sites.
    others
        These levels.
    n_effective
        Samples of the smaller side that the estimate rests on (Kish); for a slope, samples in all.
    """

    site: np.ndarray
    unrecorded: float
    batch: float
    unmixed: float
    through: float
    others: tuple[str, ...]
    n_effective: float

    @property
    def largest(self) -> float:
        """The largest leak of a site, recorded or not."""
        return max(float(np.abs(self.site).max(initial=0.0)), self.unrecorded)


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
    return on_a, ~on_a & (values != CONTROL) if contrast.b == REST else values == contrast.b


def _indicators(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the sorted names and their 0/1 columns, shape (n, k); a missing value is of none."""
    levels = sorted({str(v) for v in values if v is not None})
    columns = values[:, None] == np.array(levels, dtype=object)[None, :]
    return levels, np.asarray(columns, dtype=float).reshape(len(values), len(levels))


class Sides(NamedTuple):
    """Who is on the sides of a contrast, and where they were measured.

    Attributes
    ----------
    on_a, on_b
        The samples of either side, shape (n,), boolean.
    batches
        The batches that hold any of them, shape (g,), boolean.
    sites
        Their sites, None among them where one is not recorded.
    apart
        Levels of side b whose sites are all known and none of them side a's.
    where
        Where both were measured, in words.
    """

    on_a: np.ndarray
    on_b: np.ndarray
    batches: np.ndarray
    sites: set[str | None]
    apart: list[str]
    where: str


class Places:
    """Who was measured where.

    Parameters
    ----------
    samples
        n rows with `site`, `batch` and `donor_id`.
    """

    def __init__(self, samples: pd.DataFrame) -> None:
        self.samples = samples
        #: Site, batch and donor of each sample, None where not recorded, shape (n,).
        self.site, self.batch, self.donor = (names(samples, c) for c in ("site", "batch", "donor_id"))
        #: Names of the sites and their 0/1 columns, shape (n, s).
        self.sites, self.of_site = _indicators(self.site)
        self._of_batch = _indicators(self.batch)[1]
        self._nowhere = np.array([s is None for s in self.site])
        self._alone = np.array([b is None for b in self.batch])
        self._donor_codes = pd.factorize(self.donor[self._nowhere])[0]
        self._inside: tuple[Design, np.ndarray] | None = None
        self._cells: dict[str, tuple[list[str], np.ndarray]] = {}
        self._sides: dict[Contrast, Sides] = {}
        #: Samples without a recorded site, and without a recorded batch.
        self.n_nowhere, self.n_alone = int(self._nowhere.sum()), int(self._alone.sum())

    def sides(self, contrast: Contrast) -> Sides:
        """Return who is on the sides of a contrast."""
        if contrast not in self._sides:
            on_a, on_b = side_masks(contrast, self.samples)
            on = on_a | on_b
            words = [
                describe_level(level, here, self.site, self.batch)
                for level, here in ((contrast.a, on_a), (contrast.b, on_b))
                if contrast.a
            ]
            batches = self._of_batch[on].sum(axis=0) > 0
            apart = self._apart(contrast) if contrast.a else []
            self._sides[contrast] = Sides(on_a, on_b, batches, set(self.site[on]), apart, "; ".join(words))
        return self._sides[contrast]

    def _apart(self, contrast: Contrast) -> list[str]:
        values = self.samples[contrast.column].astype(str)
        others = rest_of(contrast.a, values) if contrast.b == REST else [contrast.b]
        there = set(self.site[(values == contrast.a).to_numpy()])
        sites = {level: set(self.site[(values == level).to_numpy()]) for level in others}
        return [level for level, at in sites.items() if None not in there | at and not there & at]

    def _through(self, column: str, weights: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return the levels of a column, and the part of q estimates that comes from site to site through each."""
        if column not in self._cells:
            levels, of_level = _indicators(names(self.samples, column))
            at = np.column_stack([self.of_site, self._nowhere])
            self._cells[column] = levels, (of_level[:, :, None] * at[:, None, :]).reshape(len(at), -1)
        levels, pairs = self._cells[column]
        flow = np.abs(pairs.T @ weights) / 2
        return levels, flow.reshape(len(levels), -1, weights.shape[1]).sum(axis=1)

    def leaks(self, weights: np.ndarray, contrasts: Sequence[Contrast]) -> list[Leaks]:
        """Return what leaks into each of q estimates; `weights` are the samples' in each of them, shape (n, q)."""
        site, batch = self.of_site.T @ weights, np.abs(self._of_batch.T @ weights)
        # Where a donor was measured nobody knows, but it was at one place.
        nowhere = np.zeros((int(self._donor_codes.max(initial=-1)) + 1, weights.shape[1]))
        np.add.at(nowhere, self._donor_codes, weights[self._nowhere])
        unrecorded = np.maximum(np.maximum(nowhere, 0).sum(axis=0), np.maximum(-nowhere, 0).sum(axis=0))
        flows = {c.column: self._through(c.column, weights) for c in contrasts if c.a} if len(self.sites) > 1 else {}
        out = []
        for q, contrast in enumerate(contrasts):
            c, on = weights[:, q], self.sides(contrast)
            a, b = c[on.on_a], c[on.on_b]
            n_effective = min(_kish(a), _kish(b)) if contrast.a else _kish(np.abs(c))
            sides = abs(a.sum()) + abs(b.sum()) if contrast.a else np.abs(c).sum()
            # Batches with none of the sides' samples, which the other terms of the formula pull in, mix nothing.
            theirs = batch[on.batches, q].sum()
            largest = float(batch[:, q].max(initial=0.0))
            if self.n_alone:
                lost = np.abs(c[self._alone])
                theirs += lost[(on.on_a | on.on_b)[self._alone]].sum()
                largest = max(largest, float(lost.max()))
            unmixed = min(float(theirs / max(sides, 1e-300)), 1.0)
            by_level: dict[str, float] = {}
            if contrast.a and contrast.b != REST and flows:
                levels, parts = flows[contrast.column]
                by_level = {
                    level: float(part)
                    for level, part in zip(levels, parts[:, q], strict=True)
                    if level not in (contrast.a, contrast.b)
                }
            others = tuple(level for level, part in by_level.items() if part > _NAMED)
            through = sum(by_level.values())
            out.append(Leaks(site[:, q], float(unrecorded[q]), largest, unmixed, through, others, n_effective))
        return out

    def inside_batches(self, design: Design, vector: np.ndarray) -> bool:
        """Tell whether a contrast, weights of shape (rank,), can be estimated from donors of the same batches alone.

        A sample without a recorded batch is compared with no other.
        """
        if self._inside is None or self._inside[0] is not design:
            size = np.maximum(self._of_batch.sum(axis=0), 1)[:, None]
            centred = design.matrix - self._of_batch @ ((self._of_batch.T @ design.matrix) / size)
            centred[self._alone] = 0.0
            scale = np.linalg.norm(design.matrix, axis=0)
            self._inside = design, unseen(centred / scale) / scale[:, None]
        return bool(np.abs(vector @ self._inside[1]).max(initial=0.0) < 1e-7 * max(np.abs(vector).max(), 1e-300))

    @cached_property
    def bridges(self) -> int:
        """Donors who were measured at several sites."""
        known = self.samples.dropna(subset="site")
        return int((known.groupby("donor_id")["site"].nunique() > 1).sum())


def _kish(weights: np.ndarray) -> float:
    squares = float(weights @ weights)
    return float(weights.sum() ** 2 / squares) if squares > 0 else 0.0


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


def tolerable(std_error: float, scale: float) -> float:
    """Return the largest harmless leak of a site.

    Parameters
    ----------
    std_error
        Standard error of the estimate, in units of its model.
    scale
        Units of the model for one unit of log-odds.
    """
    return max(HARMLESS * std_error / (PLAUSIBLE_SITE_SD * scale), _ROUNDING)


def standing(
    contrast: Contrast, leaks: Leaks, places: Places, harmless: float, *, inside: bool, fixable: bool
) -> Standing:
    """Return the status of an estimate, and what it cannot be told apart from.

    Parameters
    ----------
    contrast, places
        What is asked, and who was measured where.
    leaks
        What leaks into the estimate.
    harmless
        See `tolerable`.
    inside
        Whether the contrast can be estimated inside batches.
    fixable
        Whether the contrast can be estimated with a term for the site in the formula.

    Returns
    -------
    `between-site` if the effect of a site leaks in; otherwise `between-batch` if hardly any of the comparison is made
    inside batches, `indirect` if the sides never met at a site or the estimate rests on others who did, and
    `within-site` if none of these holds.
    """
    if leaks.largest > harmless:
        return Standing("between-site", _what_leaks(contrast, leaks, places, harmless, fixable=fixable))
    if leaks.batch > _ROUNDING and (not inside or leaks.unmixed > _UNMIXED):
        return Standing("between-batch", _batch_alias(contrast, leaks, places))
    if apart := places.sides(contrast).apart:
        who, over = f"{contrast.a} and {listed(apart)}", listed(leaks.others) or "others"
        return Standing("indirect", f"{who} never shared a site: the comparison rests on {over}, measured at several")
    if leaks.through > _INDIRECT:
        part = f"{min(leaks.through, 1.0):.0%} of the comparison".replace("%", " %")
        over = listed(leaks.others) or "others"
        return Standing("indirect", f"{part} comes through {over}, measured at several sites")
    return Standing("within-site")


def _what_leaks(contrast: Contrast, leaks: Leaks, places: Places, harmless: float, *, fixable: bool) -> str:
    advice = "; add 'site' to the formula to compare within sites" if fixable else ""
    sides = places.sides(contrast)
    if leaks.unrecorded > harmless:
        of = "" if places.n_nowhere == len(places.site) else f" for {places.n_nowhere} of the samples"
        return f"the site is not recorded{of}: differences between sites may be part of it"
    named = [name for name, leak in zip(places.sites, leaks.site, strict=True) if abs(leak) > harmless]
    if not contrast.a:
        return f"sites {shorten(named)} are compared as well{advice}"
    if not set(named) & sides.sites:
        by_site = dict(zip(places.sites, leaks.site, strict=True))
        entering = [f"{by_site[name]:+.2f} of site {name}" for name in named]
        who = sorted(set(places.samples.loc[np.isin(places.site, named), contrast.column].astype(str)))
        return (
            "unknown effects of sites where neither side was measured enter it through the other terms of the formula: "
            f"{listed(entering)} ({shorten(who)}){advice}"
        )
    return f"{sides.where}: the contrast measures {contrast.column} and site together{advice}"


def _batch_alias(contrast: Contrast, leaks: Leaks, places: Places) -> str:
    """Say why the batches stand between the sides of a contrast."""
    if not contrast.a:
        return (
            f"{contrast.column} differs between batches and hardly inside them: differences between batches are in it"
        )
    sides = places.sides(contrast)
    a, b = (set(places.batch[on]) for on in (sides.on_a, sides.on_b))
    who = f"{contrast.a} and {'all others' if contrast.b == REST else contrast.b}"
    if None in a | b:
        return f"the batches of {who} are not recorded: differences between batches may be part of it"
    if a & b:
        part = f"{100 * leaks.unmixed:.0f} % of the comparison of {who} is made between batches"
        return f"{part}: differences between batches are part of it"
    shown = [f"{level} ({shorten(list(of))})" for level, of in ((contrast.a, a), (who.partition(" and ")[2], b))]
    return f"no batch holds both {shown[0]} and {shown[1]}: differences between batches are part of it"
