"""SYNTHETIC cohorts of designs in which a method, or the label on its number, goes wrong easily.

A design is a list of groups: donors of one population at one site in some of its batches. Each asks for contrasts whose
truth is known, and names the status that they deserve. Shares are drawn as in `simulate.py`, with the same 5 % type,
donor effects, ages and sexes, but for what a design changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from simulate import CELLS, CELLS_SHAPE, DONOR_SD, FEWEST_CELLS, Array, Cohort

from aida_tools.robustness.controls import Controls

AGE_SD = 12.0
AGE_SLOPE, MALE = 0.1 / 12, -0.05
#: Outlying batches differ by this many times the standard deviation of the others.
OUTLIER = 6.0
#: What stands for a status where controls tell sites apart.
KNOWN = "estimated"


class Group(NamedTuple):
    """Donors of one population at one site.

    Attributes
    ----------
    population, site
        Their codes.
    donors
        How many.
    batches
        Numbers of the site's batches that they are run in; groups of a site meet in the batches that they share.
    age
        Mean age in years.
    shift
        By how much the log odds of these donors differ from those of others.
    again
        Site where the very same donors were run before; empty for new ones.
    """

    population: str
    site: str
    donors: int
    batches: Iterable[int]
    age: float = 40.0
    shift: float = 0.0
    again: str = ""


class Asked(NamedTuple):
    """A contrast in question.

    Attributes
    ----------
    contrast, truth
        As `compare` writes it, and its true log odds ratio.
    expected
        The status that it deserves.
    artefact
        Whether effects of sites, batches or donors enter the contrast unless something is done about them.
    """

    contrast: str
    truth: float
    expected: str
    artefact: bool = False


@dataclass(frozen=True)
class Scenario:
    """A design, and what varies in it.

    Attributes
    ----------
    words
        What is special about it.
    groups, asked
        Who is in it and what is asked of it.
    share
        Share of the type in question.
    batch_sd
        Standard deviation of batches on the log-odds scale: of all sites, or by site.
    site_sd, site_shift
        Standard deviation of the sites, and what single sites are shifted by beside it.
    age_sd
        Of the ages in a group, in years.
    df
        Degrees of freedom of the donors' distribution, which has always the same standard deviation.
    outliers
        Probability of a batch to be an outlier.
    cells
        Population -> fewest and most cells of the denominator, uniform on the log scale.
    dealt
        Whether donors are dealt out to batches in turn; else each at random, some batches oftener than others.
    recorded
        From the samples as they are to the samples as somebody wrote them down.
    """

    words: str
    groups: tuple[Group, ...]
    asked: tuple[Asked, ...]
    share: float = 0.05
    batch_sd: float | Mapping[str, float] = 0.15
    site_sd: float = 0.0
    site_shift: Mapping[str, float] = field(default_factory=dict)
    age_sd: float = AGE_SD
    df: float = np.inf
    outliers: float = 0.0
    cells: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    dealt: bool = True
    recorded: Callable[[pd.DataFrame], pd.DataFrame] = lambda samples: samples


def pair(a: str, b: str, expected: str, truth: float = 0.0, *, artefact: bool = False) -> Asked:
    """Ask for the contrast of two populations."""
    return Asked(f"population: {a} - {b}", truth, expected, artefact)


def without_batches(*sites: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Leave the batch empty at some sites."""
    return lambda samples: samples.assign(batch=samples["batch"].mask(samples["site"].isin(sites)))


def numbered_donors(samples: pd.DataFrame) -> pd.DataFrame:
    """Give donors numbers that start again in every population, so that different people share an id.

    Where nothing else tells them apart: with other ages or sexes `compare` refuses them.
    """
    return samples.assign(donor_id="d" + (samples.groupby("population").cumcount() + 1).astype(str), sex="female")


WITHIN, INDIRECT, BATCH, BETWEEN = "within-site", "indirect", "between-batch", "between-site"
_MIXED = (Group("A", "S1", 40, range(5)), Group("B", "S1", 40, range(5)), Group("C", "S2", 40, range(5)))
_BOTH_KINDS = (pair("A", "B", WITHIN), pair("A", "C", BETWEEN))
_QUIET = tuple(Group(population, f"S{k}", 32, range(8)) for k, population in enumerate("CD", 3))
_NOISY_SITES = {"S1": 0.4, "S2": 0.4, "S3": 0.1, "S4": 0.1}
_UNEQUAL = (pair("A", "B", BETWEEN), pair("A", "C", BETWEEN), pair("C", "D", BETWEEN))
_RING = (
    Group("A", "S1", 20, range(2)), Group("B", "S1", 20, range(2)), Group("B", "S2", 20, range(2)),
    Group("C", "S2", 20, range(2)), Group("A", "S3", 20, range(2)),
)  # fmt: skip


def _unmixed(donors: int, batches: int, batch_sd: float, words: str, *, recorded: bool = True) -> Scenario:
    """Return two populations at one site in batches of their own."""
    groups = Group("A", "S1", donors, range(batches)), Group("B", "S1", donors, range(batches, 2 * batches))
    asked = (pair("A", "B", BATCH, artefact=True),)
    return Scenario(words, groups, asked, batch_sd=batch_sd, recorded=without_batches(*([] if recorded else ["S1"])))


def _pilot(donors: int) -> Scenario:
    groups = Group("A", "S1", donors, range(2)), Group("B", "S1", donors, range(2))
    return Scenario(f"{donors} v {donors} donors in two mixed batches", groups, (pair("A", "B", WITHIN),))


def _rest(b: int, c: int) -> Scenario:
    """Return two populations in the rest, of which C differs from A by 0.5 and B not at all."""
    groups = Group("A", "S1", 30, range(6)), Group("B", "S1", b, range(6)), Group("C", "S1", c, range(6), shift=0.5)
    return Scenario(f"A against {b} donors of B and {c} of C", groups, (pair("A", "rest", WITHIN, -0.25),))


SCENARIOS = {
    "few-batches": Scenario(
        "3 against 2 batches",
        (Group("A", "S1", 45, range(3)), Group("B", "S2", 30, range(2))),
        (pair("A", "B", BETWEEN),),
    ),
    "unequal-many": Scenario(
        "batch SD 0.4 at the sites of A and B, 0.1 elsewhere; 8 batches each",
        (Group("A", "S1", 32, range(8)), Group("B", "S2", 32, range(8)), *_QUIET),
        _UNEQUAL,
        batch_sd=_NOISY_SITES,
    ),
    "unequal-few": Scenario(
        "batch SD 0.4 at the sites of A (4 batches) and B (3), 0.1 elsewhere (8)",
        (Group("A", "S1", 32, range(4)), Group("B", "S2", 24, range(3)), *_QUIET),
        _UNEQUAL,
        batch_sd=_NOISY_SITES,
    ),
    "t3-donors": Scenario("donors with heavy tails (t, 3 df)", _MIXED, _BOTH_KINDS, df=3.0),
    "outlier-batches": Scenario(
        "one batch in ten differs six times as much",
        (Group("A", "S1", 60, range(20)), Group("B", "S2", 60, range(20))),
        (pair("A", "B", BETWEEN),),
        outliers=0.1,
    ),
    "unequal-cells": Scenario(
        "50 to 167 cells a donor of A, 1,500 to 5,000 of B and C",
        _MIXED,
        _BOTH_KINDS,
        cells={"A": (50, 167), "B": (1500, 5000), "C": (1500, 5000)},
    ),
    "rare-type": Scenario("a type of 0.2 %", _MIXED, _BOTH_KINDS, share=0.002),
    "age-confounded": Scenario(
        "B older than A; C young at one site, old at another that is shifted",
        (
            Group("A", "S1", 30, range(4), age=28),
            Group("B", "S1", 30, range(4), age=56),
            Group("C", "S2", 24, range(3), age=26),
            Group("C", "S3", 24, range(3), age=60),
        ),
        (pair("A", "B", WITHIN, artefact=True), Asked("age", AGE_SLOPE, WITHIN, artefact=True)),
        site_shift={"S3": 0.7},
        age_sd=4.0,
    ),
    "unmixed-1": _unmixed(24, 1, 0.3, "one batch a population"),
    "unmixed-2": _unmixed(24, 2, 0.3, "two batches a population"),
    "unmixed-4": _unmixed(24, 4, 0.3, "four batches a population"),
    "unmixed-unrecorded": _unmixed(24, 2, 0.3, "two batches a population, not recorded", recorded=False),
    "unmixed-ages": Scenario(
        "four batches a population, and B is 28 years older",
        (Group("A", "S1", 24, range(4), age=30), Group("B", "S1", 24, range(4, 8), age=58)),
        (pair("A", "B", BATCH, artefact=True),),
        batch_sd=0.3,
    ),
    "chain": Scenario(
        "A and B at one site, B and C at another, where B's donors differ by 0.4",
        (
            Group("A", "S1", 25, range(3)),
            Group("B", "S1", 25, range(3)),
            Group("B", "S2", 25, range(3), shift=0.4),
            Group("C", "S2", 25, range(3)),
        ),
        (
            pair("A", "C", INDIRECT, artefact=True),
            pair("A", "B", WITHIN, artefact=True),
            pair("B", "C", WITHIN, 0.4, artefact=True),
        ),
        site_shift={"S2": 0.3},
    ),
    "ring": Scenario(
        "A and B, B and C, C and A, each at one site",
        (*_RING, Group("C", "S3", 20, range(2))),
        (pair("A", "B", WITHIN, artefact=True),),
        site_sd=0.3,
    ),
    "ring-shifted": Scenario(
        "the same, C's donors at the third site differ by 0.4",
        (*_RING, Group("C", "S3", 20, range(2), shift=0.4)),
        (pair("A", "B", WITHIN, artefact=True),),
        site_sd=0.3,
    ),
    "bridge-of-one": Scenario(
        "one donor of B among 60 of A, the others at another site",
        (Group("A", "S1", 60, range(4)), Group("B", "S2", 59, range(4)), Group("B", "S1", 1, range(1))),
        (pair("A", "B", WITHIN, artefact=True),),
        site_sd=0.3,
    ),
    "bridging-donors": Scenario(
        "ten of A's donors were run again at B's site",
        (Group("A", "S1", 40, range(4)), Group("B", "S2", 40, range(4)), Group("A", "S2", 10, range(4), again="S1")),
        (pair("A", "B", WITHIN, artefact=True),),
        site_shift={"S2": 0.3},
    ),
    "bridging-donor": Scenario(
        "one of A's donors was run again at B's site",
        (Group("A", "S1", 40, range(4)), Group("B", "S2", 40, range(4)), Group("A", "S2", 1, range(1), again="S1")),
        (pair("A", "B", WITHIN, artefact=True),),
        site_shift={"S2": 0.3},
    ),
    "pilot-3": _pilot(3),
    "pilot-4": _pilot(4),
    "pilot-6": _pilot(6),
    "pilot-3-unmixed": _unmixed(3, 1, 0.15, "3 v 3 donors, one batch a population"),
    "pilot-4-unmixed": _unmixed(4, 1, 0.15, "4 v 4 donors, one batch a population"),
    "pilot-6-unmixed": _unmixed(6, 1, 0.15, "6 v 6 donors, one batch a population"),
    "shared-ids": Scenario(
        "donors of A and B are numbered alike",
        (Group("A", "S1", 32, range(4)), Group("B", "S1", 32, range(4))),
        (pair("A", "B", WITHIN),),
        age_sd=0.0,
        recorded=numbered_donors,
    ),
    "batch-blank": Scenario(
        "B's site did not record its 3 batches (SD 0.3)",
        (Group("A", "S1", 30, range(3)), Group("B", "S2", 30, range(3))),
        (pair("A", "B", BETWEEN),),
        batch_sd=0.3,
        recorded=without_batches("S2"),
    ),
    "rest-50-10": _rest(50, 10),
    "rest-10-50": _rest(10, 50),
    "trio": Scenario(
        "A, B, C mixed at random in a site's batches; one population elsewhere, younger or older",
        (
            Group("A", "S1", 36, range(5)),
            Group("B", "S1", 22, range(5)),
            Group("C", "S1", 17, range(5)),
            Group("D", "S2", 20, range(2), age=28),
            Group("E", "S3", 20, range(2), age=58),
        ),
        (
            *(pair(a, b, WITHIN, artefact=True) for a, b in ("AB", "AC", "BC")),
            pair("A", "D", BETWEEN, artefact=True),
        ),
        site_sd=0.3,
        dealt=False,
    ),
    "runs-of-two": Scenario(
        "every run holds two of A, B, C, some D as well; one population elsewhere",
        (
            Group("A", "S1", 24, range(6)),
            Group("B", "S1", 24, (0, 1, 2, 6, 7, 8)),
            Group("C", "S1", 24, range(3, 9)),
            Group("D", "S1", 15, (0, 3, 6)),
            Group("E", "S2", 20, range(2), age=55),
        ),
        tuple(pair(a, b, WITHIN, artefact=True) for a, b in ("AB", "AC", "AD")),
        site_sd=0.3,
        dealt=False,
    ),
}


def _batches(group: Group, rng: np.random.Generator, *, dealt: bool) -> np.ndarray:
    """Return the batch of each donor of a group."""
    numbers = np.array(list(group.batches))
    if dealt:
        return numbers[np.arange(group.donors) % len(numbers)]
    return rng.choice(numbers, group.donors, p=rng.dirichlet(np.full(len(numbers), 5.0)))


def make_samples(scenario: Scenario, rng: np.random.Generator) -> pd.DataFrame:
    """Draw who is in the cohort: one row a sample, with the `shift` of its group beside what is recorded."""
    tables = []
    for group in scenario.groups:
        home = group.again or group.site
        table = pd.DataFrame({"donor_id": [f"{group.population}_{home}_{d:03d}" for d in range(group.donors)]})
        numbers = _batches(group, rng, dealt=scenario.dealt)
        table["batch"] = [f"{group.site}_B{number:02d}" for number in numbers]
        table["age"] = np.clip(np.rint(rng.normal(group.age, scenario.age_sd, group.donors)), 19, 77)
        table["sex"] = np.where(rng.random(group.donors) < 0.55, "female", "male")
        tables.append(table.assign(population=group.population, site=group.site, shift=group.shift))
    samples = pd.concat(tables, ignore_index=True)
    # A donor who was run again is the same person.
    samples[["age", "sex"]] = samples.groupby("donor_id")[["age", "sex"]].transform("first")
    samples["sample_id"] = samples["donor_id"] + "_" + samples["batch"]
    return samples


def draw(scenario: Scenario, rng: np.random.Generator) -> Cohort:
    """Draw one cohort of a design; its counts are of the type in question and of all others together."""
    samples = make_samples(scenario, rng)
    eta = logit(scenario.share) + samples["shift"].to_numpy() + samples["site"].map(scenario.site_shift).fillna(0.0)
    eta += AGE_SLOPE * (samples["age"] - 40) + MALE * samples["sex"].eq("male")

    def effects(column: str, sd: float | Array, unit: Callable[[int], Array]) -> Array:
        codes, members = pd.factorize(samples[column])
        return np.asarray(sd * unit(len(members))[codes])

    def outlying(n: int) -> Array:
        return rng.normal(0, np.where(rng.random(n) < scenario.outliers, OUTLIER, 1.0))

    def donors(n: int) -> Array:
        if np.isinf(scenario.df):
            return rng.normal(0, 1, n)
        return np.asarray(rng.standard_t(scenario.df, n) / np.sqrt(scenario.df / (scenario.df - 2)))

    by_site = scenario.batch_sd
    every = samples["site"].map(by_site) if isinstance(by_site, Mapping) else np.full(len(samples), by_site)
    batch_sd = np.asarray(every, dtype=np.float64)
    eta += effects("site", scenario.site_sd, lambda n: rng.normal(0, 1, n))
    eta += effects("batch", batch_sd, outlying) + effects("donor_id", DONOR_SD, donors)
    totals = np.maximum(rng.poisson(CELLS * rng.gamma(CELLS_SHAPE, 1 / CELLS_SHAPE, len(samples))), FEWEST_CELLS)
    for population, (fewest, most) in scenario.cells.items():
        here = (samples["population"] == population).to_numpy()
        totals[here] = np.exp(rng.uniform(np.log(fewest), np.log(most), here.sum()))
    focus = rng.binomial(totals, expit(eta))
    recorded = scenario.recorded(samples.drop(columns="shift"))
    truth = {asked.contrast: asked.truth for asked in scenario.asked}
    return Cohort(recorded, np.column_stack([focus, totals - focus]), totals, truth)


class ControlDesign(NamedTuple):
    """Control donors that were run at two sites; every run is a batch of its own."""

    runs: int
    donors: int

    @property
    def words(self) -> str:
        """What is special about it."""
        return f"{self.donors} control donor(s) in {self.runs} run(s) at each of two sites"

    @property
    def asked(self) -> tuple[Asked, ...]:
        """The difference of the sites; with one run a site, run and site are the same."""
        return (Asked(SITES, SITE_DIFFERENCE, KNOWN if self.runs > 1 else "not-estimable"),)


#: Contrast and true difference of the two sites of the control designs.
SITES, SITE_DIFFERENCE = "site: S1 - S2", 0.3
CONTROLS = {f"controls-{r}x{d}": ControlDesign(r, d) for r in (1, 2, 3, 4) for d in (1, 2, 3)}


def draw_controls(design: ControlDesign, rng: np.random.Generator) -> Controls:
    """Draw the control samples of a design: all donors in every run, batch SD 0.15, 700 cells on average."""
    runs = 2 * design.runs
    batches, donors = (codes.ravel() for codes in np.indices((runs, design.donors)))
    sites = (batches >= design.runs).astype(int)
    eta = logit(0.05) + SITE_DIFFERENCE * (sites == 0)
    eta = eta + rng.normal(0, 0.15, runs)[batches] + rng.normal(0, DONOR_SD, design.donors)[donors]
    totals = np.maximum(rng.poisson(CELLS * rng.gamma(CELLS_SHAPE, 1 / CELLS_SHAPE, len(eta))), FEWEST_CELLS)
    return Controls(rng.binomial(totals, expit(eta)), totals, sites, batches, donors)
