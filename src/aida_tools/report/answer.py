"""The first lines of the report: what was found, in words, never without its limits.

Nothing is computed here. Every sentence is read off the tables of `compare`; the wording follows the status of the
estimate, so that a difference between sites is never called a difference between populations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from aida_tools.core.names import EMPTY_STATUSES
from aida_tools.core.words import counted, interval, labelled, listed, p_value, percent
from aida_tools.design.contrasts import REST, Contrast
from aida_tools.results.page import SECTIONS
from aida_tools.results.results import STRUCTURE, Results, of_what
from aida_tools.results.scale import to_ratio
from aida_tools.results.words import (
    alias_sentence,
    annotator_words,
    clear,
    covariates,
    effect,
    excludes,
    per_step,
)


@dataclass(frozen=True)
class Answer:
    """The answer in words.

    Attributes
    ----------
    headline
        One sentence with its limit.
    sentences
        What it is, in two more.
    limits
        How far to believe it: sites, labels, controls, other analyses.
    compared
        Whether anything was compared.
    """

    headline: str
    sentences: tuple[str, ...]
    limits: tuple[str, ...]
    compared: bool


def make_answer(results: Results, labels: dict[str, str]) -> Answer:
    """Say what a comparison found.

    Parameters
    ----------
    results
        The tables.
    labels
        Population code -> name to print.

    Returns
    -------
    The answer; for synthetic data its headline says so.
    """
    answer = _Writer(results, labels).write()
    if not results.synthetic:
        return answer
    headline = f"SYNTHETIC data: {answer.headline[0].lower()}{answer.headline[1:]}"
    return replace(answer, headline=headline)


#: How the headline ends.
_CAVEAT = {
    "within-site": ", in a comparison within sites.",
    "indirect": ", but only in comparisons through other populations: the two never shared a site.",
    "between-batch": ", but population and batch cannot be told apart.",
    "between-site": ", but population and site cannot be told apart.",
}
#: Why no model can tell the sides of a contrast of populations apart.
_WHY = {
    "between-batch": "Batches differ in handling, and no model of these donors can separate their effect from that of "
    "the population ([figure:design_map]).",
    "between-site": "Handling, chemistry and staff differ between sites, and no model of these donors can separate "
    "their effect from that of the population ([figure:design_map]).",
}
#: How it ends where it is about a covariate: all donors may be of one population.
_COVARIATE_CAVEAT = {
    "within-site": ".",
    "indirect": ", but differences between sites may be part of it.",
    "between-batch": ", but differences between batches may be part of it.",
    "between-site": ", but differences between sites may be part of it.",
}


class _Writer:
    def __init__(self, results: Results, labels: dict[str, str]) -> None:
        self.results = results
        self.labels = labels
        self.model = results.primary.get("model", "")
        self.focus = results.primary["focus"]
        self.of = of_what(results.primary["denominator"])
        estimates = results.focus_estimates()
        estimates = estimates[estimates["model"] == self.model]
        estimates = estimates.join(results.contrasts_of(estimates))
        self.estimates = estimates[estimates["of_populations"]]
        self.covariates = estimates[~estimates["of_populations"] & ~estimates["column"].isin(STRUCTURE)]

    def label(self, code: str) -> str:
        return self.labels.get(code, code.replace("_", " "))

    def write(self) -> Answer:
        row = self.results.headline()
        if row is None:
            headline, reasons = self._nothing()
            return Answer(headline, (*reasons, *self._limits()), (), compared=False)
        contrast = self.results.contrast(row["contrast"])
        if not contrast.of_populations:
            return self._of_covariates(row, contrast)
        headline = self._extremes(row, contrast) if contrast.b == REST else self._pair(row, contrast)
        sentences = [self._size(row, contrast), self._limit(row, contrast)]
        limits = [self._focus(), self._inside(), self._labels(row), *self._limits()]
        return Answer(headline, tuple(filter(None, sentences)), tuple(filter(None, limits)), compared=True)

    def _limits(self) -> list[str]:
        return [text for section in SECTIONS.values() for text in section.limits(self.results, self.labels)]

    # -- what was found ------------------------------------------------------------------------------------------

    def _extremes(self, row: Mapping[Any, Any], contrast: Contrast) -> str:
        ranked = self.estimates[self.estimates["estimate"].notna() & (self.estimates["b"] == REST)]
        ranked = ranked.sort_values("share_a")
        if not clear(row):
            spread = f"{percent(ranked['share_a'].iloc[0])} to {percent(ranked['share_a'].iloc[-1])}"
            return (
                f"In this cohort no population's {self.focus} share of {self.of} was clearly different from the "
                f"others' ({spread}); that is not evidence of no difference."
            )
        place = {ranked["a"].iloc[0]: "lowest", ranked["a"].iloc[-1]: "highest"}.get(contrast.a)
        way = "lower" if row["estimate"] < 0 else "higher"
        what = f"the {place}" if place else f"a {way}"
        than = "" if place else " than the others"
        over = covariates(self.results)
        share = percent(row["share_a"]) + (f", standardised to the cohort's {listed(over)}" if over else "")
        return (
            f"In this cohort {self.label(contrast.a)} donors had {what} {self.focus} share of {self.of}{than} ({share})"
            f"{self._limited(row, contrast.a, way) if place else _CAVEAT[row['status']]}"
        )

    def _limited(self, row: Mapping[Any, Any], code: str, way: str) -> str:
        """End the headline of an extreme population: with those it does not clearly differ from, if there are any."""
        pairs = self.estimates[(self.estimates["kind"] == "pair") & self.estimates["estimate"].notna()]
        unclear = [
            self.label(r["b"] if r["a"] == code else r["a"])
            for r in pairs[(pairs["a"] == code) | (pairs["b"] == code)].to_dict("records")
            if not excludes(r)
        ]
        if not unclear:
            return _CAVEAT[row["status"]]
        end = _CAVEAT[row["status"]].replace(", but", ";")
        return f": {way} than all others together, but not clearly {way} than {listed(unclear)} donors{end}"

    def _pair(self, row: Mapping[Any, Any], contrast: Contrast) -> str:
        if not clear(row):
            return (
                f"In this cohort no two populations clearly differed in their {self.focus} share of {self.of}; that is "
                "not evidence of no difference."
            )
        way, (a, b) = "lower" if row["estimate"] < 0 else "higher", contrast.sides(self.labels)
        return (
            f"In this cohort {a} donors had a {way} {self.focus} share of {self.of} than {b} donors"
            f"{_CAVEAT[row['status']]}"
        )

    def _size(self, row: Mapping[Any, Any], contrast: Contrast) -> str:
        said = to_ratio(per_step(row, contrast))
        if said is None:
            return ""
        quantity, value, low, high = said
        n = counted(int(row["n_samples_a"]), "sample")
        n += f" against {int(row['n_samples_b']):,}" if contrast.a else ""
        adjusted = f"; adjusted {p_value(row['q_value'])}" if pd.notna(row["q_value"]) else ""
        together = " together" if contrast.b == REST else ""
        what = effect(contrast, self.labels)
        return (
            f"{what[:1].upper()}{what[1:]}{together}: {quantity} {interval(value, low, high)}, {n} "
            f"({self.model}{adjusted})."
        )

    def _focus(self) -> str:
        if self.results.options.get("focus_given", True):
            return ""
        return (
            f"No cell type was named in advance (option --focus of compare): {self.focus} is only the first of the "
            "table. Read the table of all cell types with its adjusted p-values."
        )

    # -- its limits ----------------------------------------------------------------------------------------------

    def _limit(self, row: Mapping[Any, Any], contrast: Contrast) -> str:
        alias = alias_sentence(self.results, row, self.labels)
        why = _WHY.get(row["status"], "") if contrast.of_populations else ""
        return f"{alias} {why}".strip()

    def _inside(self) -> str:
        inside = self.estimates[(self.estimates["status"] == "within-site") & self.estimates["estimate"].notna()]
        if inside.empty:
            there = set(self.estimates["status"])
            if "indirect" in there:
                return "No contrast here compares populations inside a common site."
            place, at = ("batch", "in") if "between-batch" in there else ("site", "at")
            return f"No two populations were measured {at} a common {place}, so no contrast here is free of {place}."
        clear = [r for r in inside.to_dict("records") if excludes(r)]
        if not clear:
            none = "the one contrast shows no" if len(inside) == 1 else f"none of {len(inside)} contrasts shows a"
            return f"Within a common site, where site cannot be the reason, {none} clear difference ([figure:forest])."
        names = []
        for record in clear:
            said = to_ratio(record)
            words = f" ({said[0]} {said[1]:.2f}, {said[2]:.2f} to {said[3]:.2f})" if said else ""
            names.append(f"{self.results.contrast(record['contrast']).words(self.labels)}{words}")
        return (
            "Within a common site, where site cannot be the reason, "
            f"{len(clear)} of {counted(len(inside), 'contrast')} {'shows' if len(clear) == 1 else 'show'} a difference "
            f"before adjustment: {listed(names)} ([figure:forest])."
        )

    def _labels(self, row: Mapping[Any, Any]) -> str:
        """Say whether other annotators' labels agree on the contrast that the headline is about."""
        everywhere = self.results.estimates
        same = everywhere[
            (everywhere["contrast"] == row["contrast"])
            & (everywhere["model"] == self.model)
            & (everywhere["cell_type"] == self.focus)
            & (everywhere["denominator"] == self.results.primary["denominator"])
            & (everywhere["annotator"] != self.results.primary["annotator"])
            & ~everywhere["superseded"]
            & everywhere["estimate"].notna()
        ]
        against: list[str] = []
        agree: list[str] = []
        for record in same.to_dict("records"):
            opposite = record["estimate"] * row["estimate"] < 0
            said = to_ratio(per_step(record, self.results.contrast(row["contrast"])))
            ratio = f" ({said[0]} {said[1]:.2f}, {said[2]:.2f} to {said[3]:.2f})" if said else ""
            words = f"{annotator_words(record['annotator'])}{ratio}"
            (against if opposite or not excludes(record) else agree).append(words)
        if against:
            return f"The result depends on the labels: the difference is not found with those of {listed(against)}."
        return f"The labels of {listed(agree)} give the same direction." if agree else ""

    # -- covariates alone ----------------------------------------------------------------------------------------

    def _of_covariates(self, row: Mapping[Any, Any], contrast: Contrast) -> Answer:
        """Answer where no two populations can be compared: what goes with age, sex and the other covariates."""
        known = [r for r in self.covariates.to_dict("records") if pd.notna(r["estimate"])]
        asked = {r["contrast"]: self.results.contrast(r["contrast"]) for r in known}
        share = f"the {self.focus} share of {self.of}"
        if clear(row):
            ratio = to_ratio(per_step(row, contrast))
            size = f" ({ratio[0]} {ratio[1]:.2f} for {effect(contrast, self.labels)})" if ratio else ""
            headline = f"In this cohort {share} was {_direction(row, contrast)}{size}{_COVARIATE_CAVEAT[row['status']]}"
        else:
            columns = list(dict.fromkeys(c.column for c in asked.values()))
            headline = (
                f"In this cohort {share} was not clearly associated with {listed(columns)}; that is not evidence of no "
                "association."
            )
        sizes = [self._size(r, asked[r["contrast"]]) for r in known]
        reasons = self._without_populations()
        people = ""
        if any(c.column == "age" for c in asked.values()):
            people = "Donors of different ages were compared; no donor was followed over the years."
        limits = [self._focus(), self._limit(row, contrast), people, self._labels(row), *self._limits()]
        return Answer(headline, tuple(filter(None, [*sizes, *reasons])), tuple(filter(None, limits)), compared=True)

    def _without_populations(self) -> list[str]:
        """Say why nothing on this page is about differences between populations."""
        populations = [self.label(str(p)) for p in self.results.design["population"].dropna().unique()]
        if len(populations) == 1:
            return [f"All donors are {populations[0]}: these data say nothing of differences between populations."]
        return [*self._failed(), "These data say nothing of differences between populations."]

    # -- nothing to compare --------------------------------------------------------------------------------------

    def _nothing(self) -> tuple[str, list[str]]:
        shares = self.results.focus_shares()
        known = shares["share"].dropna()
        if known.empty:
            spread = f"no sample has a {self.focus} share of {self.of}"
        else:
            span = f"{percent(known.min())} to {percent(known.max())}"
            spread = f"{self.focus} made up {span} of {self.of} in {counted(len(known), 'sample')}"
            if len(known) == 1:
                spread = f"{self.focus} made up {percent(known.iloc[0])} of {self.of} in the one sample"
        return f"No comparison was made: {spread}.", self._reasons(shares)

    def _reasons(self, shares: pd.DataFrame) -> list[str]:
        sizes = shares.groupby("population")["donor_id"].nunique()
        reasons = []
        if len(sizes) == 0:
            reasons.append("No sample was left after the exclusions listed below.")
        elif len(sizes) == 1:
            code = str(sizes.index[0])
            known = (
                f"All samples are of one population ({self.label(code)})"
                if code != "unknown"
                else "No population is known"
            )
            reasons.append(f"{known}: there is nothing to compare.")
        reasons += self._failed()
        if (small := [self.label(str(p)) for p, n in sizes.items() if n < 2]) and len(sizes) > 1:
            reasons.append(
                f"One donor each: {listed(small)}. A difference between single donors says nothing about populations."
            )
        reasons.append("The share of each sample is listed below, with the interval that its number of cells allows.")
        return reasons

    def _failed(self) -> list[str]:
        """Say why contrasts of populations have no estimate, the commonest reasons."""
        failed = self.estimates[self.estimates["status"].isin(EMPTY_STATUSES)]
        notes = failed.groupby("note", sort=False).size().sort_values(ascending=False, kind="stable").head(3)
        return [
            f"{counted(int(n), 'contrast')}: {labelled(str(note), self.labels).rstrip('.')}."
            for note, n in notes.items()
        ]


def _direction(row: Mapping[Any, Any], contrast: Contrast) -> str:
    """Write which way a covariate's estimate points, such as `higher in older donors`."""
    way = "lower" if row["estimate"] < 0 else "higher"
    if not contrast.a:
        return f"{way} in {'older donors' if contrast.column == 'age' else f'donors with a higher {contrast.column}'}"
    a, b = contrast.sides({})
    if contrast.column == "sex":
        return f"{way} in {a} than in {b} donors"
    return f"{way} in donors with {contrast.column} {a} than in those with {b}"
