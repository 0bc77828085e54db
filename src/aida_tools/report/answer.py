"""The first lines of the report: what was found, in words, never without its limits.

Nothing is computed here. Every sentence is read off the tables of `compare`; the wording follows the status of the
estimate, so that a difference between sites is never called a difference between populations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.compare.results import Results, of_what
from aida_tools.figures.contrasts import to_ratio
from aida_tools.report.labels import GATE_ONLY, gate_only
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
    "between-site": ", but population and site cannot be told apart.",
    "within-site": ", in a comparison within sites.",
}


def _clear(row: Mapping[Any, Any]) -> bool:
    """Tell whether a contrast counts as different in words: by the adjusted p-value, or without one by the interval."""
    if pd.notna(row["q_value"]):
        return bool(row["q_value"] < 0.05)
    return bool(row["ci_low"] > 0 or row["ci_high"] < 0)


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
        row = self.results.headline()
        if row is None:
            headline, reasons = self._nothing()
            return Answer(headline, tuple(filter(None, [*reasons, self._gate()])), (), compared=False)
        a, _, b = row["contrast"].removeprefix("population: ").partition(" - ")
        headline = self._extremes(row, a) if b == "rest" else self._pair(row, a, b)
        other = "all others together" if b == "rest" else self.label(b)
        sentences = [self._size(row, self.label(a), other), self._limit(row)]
        limits = [
            self._focus(),
            self._inside(),
            self._site_bound(row),
            self._controls(row),
            self._labels(row),
            self._gate(),
            self._specifications(row),
            self._permutation(row),
            self._detectable(row),
        ]
        return Answer(headline, tuple(filter(None, sentences)), tuple(filter(None, limits)), compared=True)

    # -- what was found ------------------------------------------------------------------------------------------

    def _extremes(self, row: Mapping[Any, Any], code: str) -> str:
        ranked = self.estimates[self.estimates["estimate"].notna() & self.estimates["contrast"].str.fullmatch(_REST)]
        ranked = ranked.assign(code=ranked["contrast"].str.extract(_REST)[0]).sort_values("share_a")
        if not _clear(row):
            spread = f"{percent(ranked['share_a'].iloc[0])} to {percent(ranked['share_a'].iloc[-1])}"
            return (
                f"In this cohort no population's {self.focus} share of {self.of} was clearly different from the "
                f"others' ({spread}); that is not evidence of no difference."
            )
        place = {ranked["code"].iloc[0]: "lowest", ranked["code"].iloc[-1]: "highest"}.get(code)
        what = f"the {place}" if place else f"a {'lower' if row['estimate'] < 0 else 'higher'}"
        than = "" if place else " than the others"
        share = f"{percent(row['share_a'])}{self._standardised()}"
        return (
            f"In this cohort {self.label(code)} donors had {what} {self.focus} share of {self.of}{than} ({share})"
            f"{_CAVEAT[row['status']]}"
        )

    def _pair(self, row: Mapping[Any, Any], a: str, b: str) -> str:
        if not _clear(row):
            return (
                f"In this cohort no two populations clearly differed in their {self.focus} share of {self.of}; that is "
                "not evidence of no difference."
            )
        way = "lower" if row["estimate"] < 0 else "higher"
        return (
            f"In this cohort {self.label(a)} donors had a {way} {self.focus} share of {self.of} than {self.label(b)} "
            f"donors{_CAVEAT[row['status']]}"
        )

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

    def _focus(self) -> str:
        if self.results.options.get("focus_given", True):
            return ""
        return (
            f"No cell type was named in advance (option --focus of compare): {self.focus} is only the first of the "
            "table. Read the table of all cell types with its adjusted p-values."
        )

    # -- its limits ----------------------------------------------------------------------------------------------

    def _limit(self, row: Mapping[Any, Any]) -> str:
        if row["status"] != "between-site":
            return ""
        alias = f" ({row['aliased_with']})" if pd.notna(row["aliased_with"]) else ""
        return (
            f"This contrast is between sites{alias}: handling, chemistry and staff differ with the population, and no "
            "model of these donors can say which of them makes the difference."
        )

    def _inside(self) -> str:
        inside = self.estimates[(self.estimates["status"] == "within-site") & self.estimates["estimate"].notna()]
        if inside.empty:
            return "No two populations were measured at a common site, so no contrast here is free of site."
        clear = inside[(inside["ci_low"] > 0) | (inside["ci_high"] < 0)]
        if clear.empty:
            none = "the one contrast shows no" if len(inside) == 1 else f"none of {len(inside)} contrasts shows a"
            return f"Within a common site, where site cannot be the reason, {none} clear difference."
        names = []
        for record in clear.to_dict("records"):
            a, _, b = record["contrast"].removeprefix("population: ").partition(" - ")
            said = to_ratio(record)
            words = f" ({said[0]} {said[1]:.2f}, {said[2]:.2f} to {said[3]:.2f})" if said else ""
            names.append(f"{self.label(a)} against {self.label(b)}{words}")
        return (
            "Within a common site, where site cannot be the reason, "
            f"{len(clear)} of {counted(len(inside), 'contrast')} {'shows' if len(clear) == 1 else 'show'} a difference "
            f"before adjustment: {listed(names)}."
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

    def _gate(self) -> str:
        return GATE_ONLY if gate_only(self.results) else ""

    def _controls(self, row: Mapping[Any, Any]) -> str:
        if row["status"] != "between-site":
            return ""
        controls = self.results.focus_controls()
        if controls.empty:
            return "There are no control samples to measure what the sites add."
        ran = (
            f"{counted(controls['donor_id'].nunique(), 'control donor')} run at "
            f"{counted(controls['site'].nunique(), 'site')}"
        )
        again = self._extra("recalibrated", row)
        if again is None or pd.isna(again["recalibrated"]):
            return f"{ran} show what the sites add (Figure 5)."
        value, low, high = (
            float(np.exp(again[c])) for c in ("recalibrated", "recalibrated_ci_low", "recalibrated_ci_high")
        )
        return (
            f"{ran}: after subtracting what they differ by between sites, the odds ratio is "
            f"{interval(value, low, high)}."
        )

    # -- what later steps say of the same contrast -----------------------------------------------------------------

    def _extra(self, name: str, row: Mapping[Any, Any]) -> dict[Any, Any] | None:
        """Return the row of a later step's table for the headline's contrast."""
        table = self.results.extra.get(name)
        if table is None or "contrast" not in table:
            return None
        found = table[table["contrast"] == row["contrast"]].to_dict("records")
        return found[0] if found else None

    def _site_bound(self, row: Mapping[Any, Any]) -> str:
        bound = self._extra("site_bound", row)
        if bound is None or pd.isna(bound["site_sd_bound"]):
            return ""
        if bound["site_sd_bound"] == 0:
            return "Its interval includes no difference without any effect of the sites."
        shift = bound["share_b"] + bound["share_shift"]
        return (
            f"A site effect of SD {bound['site_sd_bound']:.2f} on the log-odds scale (a share of "
            f"{percent(bound['share_b'])} read as {percent(shift)}) would be enough for the interval to include no "
            f"difference; batches of one site were measured to differ by SD {bound['batch_sd']:.2f} "
            f"({bound['batch_sd_low']:.2f} to {bound['batch_sd_high']:.2f})."
        )

    def _specifications(self, row: Mapping[Any, Any]) -> str:
        summary = self._extra("specification_summary", row)
        if summary is None or not summary["n_estimated"] > 0:
            return ""
        return (
            f"Of {int(summary['n_estimated']):,} ways to analyse the same data, {100 * summary['same_sign']:.0f} % "
            f"agree in direction and {100 * summary['excludes_1_same_sign']:.0f} % also have an interval without 1; "
            f"odds ratios run from {np.exp(summary['minimum']):.2f} to {np.exp(summary['maximum']):.2f}."
        )

    def _permutation(self, row: Mapping[Any, Any]) -> str:
        test = self._extra("permutation", row)
        if test is None or pd.isna(test["p_value"]):
            return ""
        return (
            f"With {test['scheme'].replace('batches', 'batches permuted', 1).replace('donors', 'donors permuted', 1)}, "
            f"{p_value(test['p_value'])} (smallest possible {test['p_min']:.2g})."
        )

    def _detectable(self, row: Mapping[Any, Any]) -> str:
        """Say what could have been found, where nothing was."""
        table = self.results.extra.get("power")
        if table is None or _clear(row):
            return ""
        found = table[(table["contrast"] == row["contrast"]) & (table["cell_type"] == self.focus)]
        for key in ("annotator", "denominator"):
            found = found[found[key] == self.results.primary[key]]
        if found.empty or pd.isna(found["mdor"].iloc[0]):
            return ""
        least = float(found["mdor"].iloc[0])
        return (
            f"An odds ratio of {least:.2f} (or {1 / least:.2f}) would have been found with 80 % power; smaller ones "
            "would mostly be missed."
        )

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
