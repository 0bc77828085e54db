"""What a claim is about, in the terms of a comparison, and the evidence there is for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from aida_tools.claims.answers import Missing, answers, checked
from aida_tools.claims.model import EACH, Interaction, Test
from aida_tools.claims.verdict import Evidence
from aida_tools.design.contrasts import REST, Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.results.refit import Comparison


def expand(contrasts: Iterable[str], samples: pd.DataFrame) -> list[Contrast]:
    """Write out `A - each` as one contrast with every other level of its column among the samples.

    Raises
    ------
    Missing
        Naming the column or the level that no sample has.
    """
    out: list[Contrast] = []
    for text in contrasts:
        column = text.partition(": ")[0]
        if column not in samples or samples[column].isna().all():
            raise Missing(f"no sample has a value of '{column}'")
        levels = sorted(samples[column].dropna().astype(str).unique())
        asked = Contrast.parse(text, [*levels, EACH])
        if not asked.a:
            out.append(asked)
            continue
        for level, others in ((asked.a, ()), (asked.b, (EACH, REST))):
            if level not in (*levels, *others):
                raise Missing(f"no sample of {column} {level} is in the comparison")
        against = [level for level in levels if level != asked.a]
        if not against:
            raise Missing(f"every sample is of {column} {asked.a}")
        out += [Contrast(column, asked.a, other) for other in against] if asked.b == EACH else [asked]
    return list(dict.fromkeys(out))


class Numerator(NamedTuple):
    """The cells that a claim is about, as one type of a denominator.

    Attributes
    ----------
    denominator
        Counts of all samples of the comparison.
    name
        The type.
    types
        What was added up to it.
    """

    denominator: Denominator
    name: str
    types: list[str]


def numerator(asked: Comparison, test: Test | Interaction) -> Numerator:
    """Return the cells a claim is about.

    Raises
    ------
    Missing
        Naming the denominator or the types that the comparison does not count.
    """
    annotator = str(asked.options["annotator"])
    counts = asked.denominators.get((annotator, test.denominator))
    if counts is None or not (asked.chosen(counts, asked.selection).totals > 0).any():
        raise Missing(f"the comparison has no denominator '{test.denominator}'")
    if isinstance(test, Test) and test.set is not None:
        inner = asked.denominators.get((annotator, test.set))
        if inner is None:
            raise Missing(f"the comparison has no set '{test.set}'")
        name = " + ".join(inner.types)
        if set(inner.types) <= set(counts.types):
            return Numerator(counts.united(name, inner.types), name, inner.types)
        if not counts.has_counts:
            raise Missing(f"without counts the share of '{test.set}' among '{test.denominator}' is not known")
        both = np.column_stack([inner.totals, counts.totals - inner.totals])
        return Numerator(replace(counts, types=[name, "other"], counts=both), name, inner.types)
    absent = [t for t in test.cell_types if t not in counts.types]
    if absent:
        raise Missing(f"the comparison does not count {', '.join(absent)} among '{test.denominator}'")
    optional = test.optional_types if isinstance(test, Test) else []
    types = [*test.cell_types, *(t for t in optional if t in counts.types)]
    name = " + ".join(types)
    return Numerator(counts.united(name, types) if len(types) > 1 else counts, name, types)


def used_samples(asked: Comparison, counts: Denominator) -> pd.DataFrame:
    """Return the samples that entered the models of a denominator."""
    some = asked.chosen(counts, asked.selection).totals > 0
    return asked.selection.samples[some].reset_index(drop=True)


def gather(asked: Comparison, test: Test) -> tuple[list[Evidence], list[str]]:
    """Return the evidence for every contrast of a claim, and the types that were added up.

    Raises
    ------
    Missing
        If the claim's cells or populations are not in the comparison.
    """
    counts, name, types = numerator(asked, test)
    wanted = expand(test.contrasts, used_samples(asked, counts))
    found = answers(asked, counts, name, wanted, asked.odds_model, test.per)
    return checked(asked, counts, name, found, test), types
