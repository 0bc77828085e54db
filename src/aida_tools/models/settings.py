"""The samples of one denominator in one design, with what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import ParsedFormula
from aida_tools.design.matrix import Design, build_design, dummy_samples
from aida_tools.design.questions import Question, ask, batch_codes
from aida_tools.design.sites import SiteModel
from aida_tools.models.data import Data
from aida_tools.models.omnibus import Hypothesis, hypotheses


@dataclass(frozen=True, eq=False)
class Setting:
    """The samples of one denominator with one design, and the contrasts to take from it."""

    denominator: Denominator
    samples: pd.DataFrame
    design: Design
    groups: np.ndarray | None
    questions: list[Question]
    hypotheses: list[Hypothesis]
    by_batch: bool = False

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
        statuses = {q.standing.status for q in self.questions}
        return self.residual_df > 0 and bool(statuses & {"within-site", "between-site"})

    def data(self, *, robust: bool) -> Data:
        """Return what the models are given."""
        d = self.denominator
        return Data(d.counts, d.totals, self.design.matrix, self.groups, robust, d.unit)

    def nothing(self, k: int) -> str:
        """Say that no sample has any of type k; empty if one has."""
        if np.nansum(self.denominator.counts[:, k]) > 0:
            return ""
        return f"no sample has a {self.denominator.unit} of this type"


def make_settings(
    denominator: Denominator,
    samples: pd.DataFrame,
    formula: ParsedFormula,
    contrasts: list[Contrast],
    *,
    by_batch: bool = False,
    tests: bool = False,
) -> list[Setting]:
    """Build the designs that the contrasts of one denominator need: the formula's, and one for each one-vs-rest.

    Parameters
    ----------
    denominator
        Counts of n samples.
    samples
        The n samples; those without any of the denominator are left out here.
    formula, contrasts
        The model's right side and what is asked of it.
    by_batch
        Whether to add the batch as a factor.
    tests
        Whether to ask for the tests over all populations as well.
    """
    some = denominator.totals > 0
    samples = samples[some].reset_index(drop=True)
    present = denominator.take(some)
    if by_batch and samples["batch"].notna().any():
        samples = samples.assign(batch=samples["batch"].fillna("sample " + samples["sample_id"]))
        formula = formula.plus("batch")
    settings = []
    for refit in dict.fromkeys(c.refit for c in contrasts):
        frame = samples if refit is None else dummy_samples(samples, *refit)
        design = build_design(formula, frame)
        sites = SiteModel(design, frame)
        questions = [ask(c, sites) for c in contrasts if c.refit == refit]
        tested = hypotheses(sites) if tests and refit is None and "population" in formula.variables else []
        settings.append(Setting(present, frame, design, batch_codes(frame), questions, tested, by_batch))
    return settings
