"""The samples of one denominator in one design, with what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import ParsedFormula
from aida_tools.design.matrix import Design, build_design, dummy_samples
from aida_tools.design.questions import Question, ask, batch_codes
from aida_tools.design.select import largest_of_donor
from aida_tools.design.sites import Places
from aida_tools.models.data import Data
from aida_tools.models.model import Model
from aida_tools.models.omnibus import Hypothesis, hypotheses


@dataclass(frozen=True, eq=False)
class Setting:
    """The samples of one denominator with one design, and the contrasts to take from it.

    Attributes
    ----------
    denominator
        Counts of the n samples.
    design, formula
        Their design, and the right side it was made of.
    places
        Who was measured where.
    groups, sites, donors
        As in `Data`.
    questions, hypotheses
        What is asked of a fit.
    with_site
        The same with a term for the site, where that takes a site's effect out of a contrast that would hold it.
    """

    denominator: Denominator
    design: Design
    formula: str
    places: Places
    groups: np.ndarray | None
    sites: np.ndarray | None
    donors: np.ndarray | None
    questions: list[Question]
    hypotheses: list[Hypothesis]
    with_site: Setting | None = None

    @property
    def samples(self) -> pd.DataFrame:
        """The n samples."""
        return self.places.samples

    @cached_property
    def residual_df(self) -> int:
        """Samples less independent columns."""
        return len(self.samples) - int(self.design.matrix.shape[1])

    @cached_property
    def side_masks(self) -> np.ndarray:
        """Which samples are on the two sides of each question, 0 and 1, shape (q, 2, n)."""
        masks = [(q.on_a, q.on_b) for q in self.questions]
        return np.array(masks, dtype=float).reshape(len(masks), 2, len(self.samples))

    @property
    def answerable(self) -> bool:
        """Whether any contrast can be estimated."""
        return self.residual_df > 0 and not all(q.status for q in self.questions)

    @cached_property
    def fixable(self) -> set[str]:
        """The contrasts that can be estimated with a term for the site."""
        return {str(q.contrast) for q in self.with_site.questions if not q.status} if self.with_site else set()

    def of(self, denominator: Denominator) -> Setting:
        """Return the setting for other counts of the same samples."""
        with_site = self.with_site and replace(self.with_site, denominator=denominator)
        return replace(self, denominator=denominator, with_site=with_site)

    def data(self, *, robust: bool) -> Data:
        """Return what the models are given."""
        d = self.denominator
        return Data(d.counts, d.totals, self.design.matrix, self.groups, robust, d.unit, self.sites, self.donors)

    def nothing(self, k: int) -> str:
        """Say that no sample has any of type k; empty if one has."""
        if np.nansum(self.denominator.counts[:, k]) > 0:
            return ""
        return f"no sample has a {self.denominator.unit} of this type"


def _sites_of_batches(places: Places, groups: np.ndarray | None) -> np.ndarray | None:
    """Return the site of each batch as codes, shape (g,); batches without one are of one site."""
    if groups is None:
        return None
    first = np.unique(groups, return_index=True)[1]
    return np.unique([str(site) for site in places.site[first]], return_inverse=True)[1]


def donor_codes(samples: pd.DataFrame) -> np.ndarray | None:
    """Return the donors as codes, shape (n,); None where none has several samples."""
    codes, donors = pd.factorize(samples["donor_id"], sort=True)
    return None if len(donors) == len(codes) else codes


def _make(
    denominator: Denominator, samples: pd.DataFrame, formula: ParsedFormula, contrasts: list[Contrast]
) -> Setting:
    design, places, groups = build_design(formula, samples), Places(samples), batch_codes(samples)
    questions = [ask(c, design, places) for c in contrasts]
    donors = None if "donor_id" in formula.variables else donor_codes(samples)
    sites = _sites_of_batches(places, groups)
    return Setting(denominator, design, formula.text, places, groups, sites, donors, questions, [])


def _with_site(setting: Setting, formula: ParsedFormula, contrasts: list[Contrast]) -> Setting | None:
    """Return the setting with a term for the site; None where no contrast would be the better for it."""
    places, design = setting.places, setting.design
    if "site" in formula.variables or len(places.sites) < 2 or None in places.site or design.spans(places.of_site):
        return None
    taken_up = np.linalg.lstsq(design.matrix, places.of_site, rcond=None)[0]
    leaky = [not q.status and np.abs(q.vector @ taken_up).max() > 1e-6 for q in setting.questions]
    if not any(leaky):
        return None
    other = _make(setting.denominator, setting.samples, formula.plus("site"), contrasts)
    better = any(leak and not q.status for leak, q in zip(leaky, other.questions, strict=True))
    return other if better else None


class Designs:
    """The settings of n samples, made once for all counts and models that have them in common.

    Parameters
    ----------
    samples
        The n samples.
    formula, contrasts
        The models' right side and what is asked of it.
    tests
        Whether to ask for the tests over all populations as well.
    """

    def __init__(
        self, samples: pd.DataFrame, formula: ParsedFormula, contrasts: list[Contrast], *, tests: bool = False
    ) -> None:
        self._samples, self._formula, self._contrasts, self._tests = samples, formula, contrasts, tests
        self._largest = largest_of_donor(samples, formula)
        self._made: dict[tuple[bool, bool, bytes], list[Setting]] = {}
        self._given: dict[tuple[Denominator, bool, bool, bytes], list[Setting]] = {}

    def settings(self, denominator: Denominator, model: Model) -> list[Setting]:
        """Return the designs that the contrasts of one denominator need under a model.

        That is the formula's, and for a model with a recruited rest one for each one-vs-rest contrast. Samples without
        any of the denominator, and for a model that does not know donors all but the largest of each donor and
        population, are left out.

        Parameters
        ----------
        denominator
            Counts of the n samples.
        model
            The model.
        """
        keep = (denominator.totals > 0) & (model.knows_donors | self._largest)
        # The designs do not look at counts: denominators of the same samples share them.
        key = model.by_batch, model.recruited_rest, keep.tobytes()
        # Models with the same design are given the same settings: what one finds out of their data another need not.
        if (denominator, *key) not in self._given:
            present = denominator.take(keep)
            if key not in self._made:
                self._made[key] = self._make(present, self._samples[keep].reset_index(drop=True), model)
            self._given[denominator, *key] = [setting.of(present) for setting in self._made[key]]
        return self._given[denominator, *key]

    def _make(self, counts: Denominator, samples: pd.DataFrame, model: Model) -> list[Setting]:
        formula = self._formula
        if model.by_batch and samples["batch"].notna().any():
            samples = samples.assign(batch=samples["batch"].fillna("sample " + samples["sample_id"]))
            formula = formula.plus("batch")
        settings = []
        for refit in dict.fromkeys(c.refit if model.recruited_rest else None for c in self._contrasts):
            frame = samples if refit is None else dummy_samples(samples, *refit)
            here = [c for c in self._contrasts if not model.recruited_rest or c.refit == refit]
            setting = _make(counts, frame, formula, here)
            tested = self._tests and refit is None and "population" in formula.variables
            found = hypotheses(setting.design, setting.places) if tested else []
            # What a study did is repeated as it did it, without a term of ours.
            with_site = None if model.recruited_rest else _with_site(setting, formula, here)
            settings.append(replace(setting, hypotheses=found, with_site=with_site))
        return settings
