"""The first lines of the report: what was found, in words, never without its limits.

Nothing is computed here. Every sentence is read off the tables of `compare`; the wording follows the status of the
estimate, so that a difference between sites is never called a difference between populations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from aida_tools.figures.contrasts import to_ratio
from aida_tools.figures.results import Results, of_what
from aida_tools.report.words import counted, interval, listed, p_value, percent
from aida_tools.tables import EMPTY_STATUSES

_REST = r"population: (.*) - rest"


@dataclass(frozen=True)
class Answer:
    """The answer in words.

    Attributes
    ----------
    headline
        One sentence with its limit.
    sentences
        Two to five more.
    compared
        Whether anything was compared.
    """

    headline: str
    sentences: tuple[str, ...]
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
    return Answer(headline, answer.sentences, answer.compared)


def _clear(table: pd.DataFrame) -> pd.Series:
    """Tell which contrasts count as different in words: by the adjusted p-value, or without one by the interval."""
    excludes = (table["ci_low"] > 0) | (table["ci_high"] < 0)
    return (table["q_value"] < 0.05).where(table["q_value"].notna(), excludes)


class _Writer:
    def __init__(self, results: Results, labels: dict[str, str]) -> None:
        self.results = results
        self.labels = labels
        self.model = results.primary.get("model", "")
        self.focus = results.primary["focus"]
        self.of = of_what(results.primary["denominator"])
        estimates = results.focus_estimates()
        estimates = estimates[estimates["contrast"].str.startswith("population: ")]
        self.every = estimates
        self.estimates = estimates[estimates["model"] == self.model]

    def label(self, code: str) -> str:
        return self.labels.get(code, code.replace("_", " "))

    def write(self) -> Answer:
        ranked = self.estimates[self.estimates["estimate"].notna() & self.estimates["contrast"].str.fullmatch(_REST)]
        if len(ranked) and ranked["share_a"].notna().any():
            headline, found = self._extremes(ranked)
        elif self.estimates["estimate"].notna().any():
            headline, found = self._pairs()
        else:
            return Answer(*self._nothing(), compared=False)
        return Answer(headline, tuple(s for s in found if s), compared=True)

    # -- what was found ------------------------------------------------------------------------------------------

    def _extremes(self, ranked: pd.DataFrame) -> tuple[str, list[str]]:
        ranked = ranked.assign(code=ranked["contrast"].str.extract(_REST)[0]).sort_values("share_a")
        # The population to name: the clearest of those that differ, else the lowest.
        clear = ranked[_clear(ranked)]
        row = (clear.loc[[clear["statistic"].abs().idxmax()]] if len(clear) else ranked.iloc[[0]]).to_dict("records")[0]
        name, share = self.label(row["code"]), percent(row["share_a"])
        place = {ranked["code"].iloc[0]: "lowest", ranked["code"].iloc[-1]: "highest"}.get(row["code"])
        others = f"{percent(ranked['share_a'].iloc[0])} to {percent(ranked['share_a'].iloc[-1])}"
        if not len(clear):
            headline = (
                f"In this cohort no population's {self.focus} share of {self.of} was clearly different from the "
                "others' "
                f"({others}); that is not evidence of no difference."
            )
        else:
            what = f"the {place}" if place else f"a {'lower' if row['estimate'] < 0 else 'higher'}"
            than = "" if place else " than the others"
            share += self._standardised()
            headline = f"In this cohort {name} donors had {what} {self.focus} share of {self.of}{than} ({share})"
            headline += {
                "between-site": ", but population and site cannot be told apart.",
                "within-site": ", in a comparison within sites.",
            }[row["status"]]
        return headline, [
            self._size(row, name),
            self._limit(row),
            self._inside(),
            self._labels(row),
            self._controls(row),
        ]

    def _pairs(self) -> tuple[str, list[str]]:
        known = self.estimates[self.estimates["estimate"].notna()]
        row = known.loc[[known["statistic"].abs().idxmax()]].to_dict("records")[0]
        a, _, b = row["contrast"].removeprefix("population: ").partition(" - ")
        if _clear(pd.DataFrame([row])).iloc[0]:
            headline = (
                f"In this cohort {self.label(a)} had a {'lower' if row['estimate'] < 0 else 'higher'} {self.focus} "
                "share of "
                f"{self.of} than {self.label(b)}"
                + (
                    ", but population and site cannot be told apart."
                    if row["status"] == "between-site"
                    else ", within sites."
                )
            )
        else:
            headline = (
                f"In this cohort no two populations clearly differed in their {self.focus} share of {self.of}; that is "
                "not evidence of no difference."
            )
        inside = self._inside() if row["status"] == "between-site" else ""
        return headline, [self._size(row, self.label(a), self.label(b)), self._limit(row), inside, self._labels(row)]

    def _size(self, row: Mapping[Any, Any], name: str, other: str = "all others together") -> str:
        said = to_ratio(row)
        if said is None:
            return ""
        quantity, value, low, high = said
        n = f"{counted(int(row['n_samples_a']), 'sample')} against {int(row['n_samples_b']):,}"
        adjusted = f"; adjusted {p_value(row['q_value'])}" if pd.notna(row["q_value"]) else ""
        return f"{name} against {other}: {quantity} {interval(value, low, high)}, {n} ({self.model}{adjusted})."

    def _standardised(self) -> str:
        formula = str(self.results.options.get("formula", ""))
        terms = [name for name in ("age", "sex") if re.search(rf"\b{name}\b", formula)]
        return f", standardised to the cohort's {listed(terms)}" if terms else ""

    # -- its limits ----------------------------------------------------------------------------------------------

    def _limit(self, row: Mapping[Any, Any]) -> str:
        if row["status"] != "between-site":
            return ""
        alias = f" ({row['aliased_with']})" if pd.notna(row["aliased_with"]) else ""
        return (
            f"This contrast is between sites{alias}: handling, chemistry and staff differ with the population, and no "
            "model "
            "of these donors can say which of them makes the difference."
        )

    def _inside(self) -> str:
        inside = self.estimates[(self.estimates["status"] == "within-site") & self.estimates["estimate"].notna()]
        if inside.empty:
            return "No two populations were measured at a common site, so no contrast here is free of site."
        clear = inside[(inside["ci_low"] > 0) | (inside["ci_high"] < 0)]
        if clear.empty:
            return (
                f"Within a common site, where site cannot be the reason, none of {counted(len(inside), 'contrast')} "
                "excluded no difference."
            )
        names = []
        for record in clear.to_dict("records"):
            a, _, b = record["contrast"].removeprefix("population: ").partition(" - ")
            said = to_ratio(record)
            words = f" ({said[0]} {said[1]:.2f}, {said[2]:.2f} to {said[3]:.2f})" if said else ""
            names.append(f"{self.label(a)} against {self.label(b)}{words}")
        return (
            f"Within a common site, where site cannot be the reason, {len(clear)} of "
            f"{counted(len(inside), 'contrast')} "
            f"excluded no difference before adjustment: {listed(names)}."
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
            & everywhere["estimate"].notna()
        ]
        against: list[str] = []
        agree: list[str] = []
        for record in same.to_dict("records"):
            opposite = record["estimate"] * row["estimate"] < 0
            excludes = record["ci_low"] > 0 or record["ci_high"] < 0
            said = to_ratio(record)
            words = (
                f"{record['annotator']} ({said[1]:.2f}, {said[2]:.2f} to {said[3]:.2f})"
                if said
                else record["annotator"]
            )
            (against if opposite or not excludes else agree).append(words)
        if against:
            return f"The labels matter: with those of {listed(against)} the difference is not seen."
        return f"The labels of {listed(agree)} give the same direction." if agree else ""

    def _controls(self, row: Mapping[Any, Any]) -> str:
        if row["status"] != "between-site":
            return ""
        controls = self.results.focus_controls()
        if controls.empty:
            return "There are no control samples to measure what the sites add."
        donors, sites = controls["donor_id"].nunique(), controls["site"].nunique()
        return f"{counted(donors, 'control donor')} run at {counted(sites, 'site')} show what the sites add (Figure 5)."

    # -- nothing to compare --------------------------------------------------------------------------------------

    def _nothing(self) -> tuple[str, tuple[str, ...]]:
        shares = self.results.focus_shares()
        known = shares["share"].dropna()
        if known.empty:
            spread = f"no sample has a {self.focus} share of {self.of}"
        else:
            span = f"{percent(known.min())} to {percent(known.max())}"
            spread = f"{self.focus} made up {span} of {self.of} in {counted(len(known), 'sample')}"
            if len(known) == 1:
                spread = f"{self.focus} made up {percent(known.iloc[0])} of {self.of} in the one sample"
        return f"No comparison was made: {spread}.", tuple(self._reasons(shares))

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
        failed = self.estimates[self.estimates["status"].isin(EMPTY_STATUSES)]
        notes = failed.groupby("note", sort=False).size().sort_values(ascending=False, kind="stable")
        for note, n in notes.head(3).items():
            reasons.append(f"{counted(int(n), 'contrast')}: {str(note).rstrip('.')}.")
        if (small := [self.label(str(p)) for p, n in sizes.items() if n < 2]) and len(sizes) > 1:
            reasons.append(
                f"One donor each: {listed(small)}. A difference between single donors says nothing about populations."
            )
        reasons.append("The shares of the samples stand below, with the interval that their number of cells leaves.")
        return reasons
