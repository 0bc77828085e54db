"""What a claim is about: its contrasts written out, and its cells added up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.claims.answers import Missing
from aida_tools.claims.evidence import expand, gather, numerator, used_samples
from aida_tools.claims.model import Test as ClaimTest
from aida_tools.design.denominator import Denominator
from aida_tools.results.refit import Comparison, load_comparison

SAMPLES = pd.DataFrame(
    {"population": ["B", "A", "C", "A", None], "age": [30.0, 40, 50, 60, 70], "site": "S", "bmi": np.nan}
)


@pytest.mark.parametrize(
    ("contrasts", "wanted"),
    [
        (["population: A - each"], ["population: A - B", "population: A - C"]),
        (["population: B - each", "age"], ["population: B - A", "population: B - C", "age"]),
        (["population: A - C", "population: A - each"], ["population: A - C", "population: A - B"]),
        (["population: A - rest"], ["population: A - rest"]),
        (["age"], ["age"]),
    ],
)
def test_each_is_every_other_level_once(contrasts: list[str], wanted: list[str]) -> None:
    assert [str(c) for c in expand(contrasts, SAMPLES)] == wanted


@pytest.mark.parametrize(
    ("contrast", "words"),
    [
        ("population: Z - A", "no sample of population Z is"),
        ("population: A - Z", "no sample of population Z is"),
        ("population: each - A", "no sample of population each is"),
        ("population: rest - A", "no sample of population rest is"),
        ("bmi", "no sample has a value of 'bmi'"),
        ("height", "no sample has a value of 'height'"),
        ("site: S - each", "every sample is of site S"),
        ("site: S - rest", "every sample is of site S"),
    ],
)
def test_what_no_sample_has_is_named(contrast: str, words: str) -> None:
    with pytest.raises(Missing, match=words):
        expand([contrast], SAMPLES)


@pytest.fixture
def asked(three_compared: Path) -> Comparison:
    """The comparison, with two more denominators of its cells and one without any."""
    found = load_comparison(three_compared)
    every = found.primary
    bent, parallel, rest = every.counts.T

    def of(name: str, types: list[str], *columns: np.ndarray) -> Denominator:
        counts = np.column_stack(columns)
        return replace(every, name=name, types=types, counts=counts, totals=counts.sum(axis=1))

    for more in (
        of("curved", ["bent", "parallel"], bent, parallel),
        of("split", ["rest 1", "rest 2"], rest // 2, rest - rest // 2),
        of("none", ["bent"], 0 * bent),
    ):
        found.denominators["given", more.name] = more
    return found


def a_test(**more: object) -> ClaimTest:
    return ClaimTest.model_validate(
        {"denominator": "all", "contrasts": ["age"], "direction": "lower", "family": "f"} | more
    )


@pytest.mark.parametrize(
    ("cells", "name", "columns"),
    [
        ({"cell_types": ["bent"]}, "bent", ["bent"]),
        ({"cell_types": ["parallel", "bent"]}, "parallel + bent", ["bent", "parallel"]),
        ({"cell_types": ["bent"], "optional_types": ["gone", "rest"]}, "bent + rest", ["bent", "rest"]),
        ({"cell_types": ["bent"], "optional_types": ["gone"]}, "bent", ["bent"]),
        ({"set": "curved"}, "bent + parallel", ["bent", "parallel"]),
        # Its types are not counted in the denominator, only its cells are there.
        ({"set": "split"}, "rest 1 + rest 2", ["rest"]),
    ],
)
def test_the_cells_of_a_claim_are_added_up(asked: Comparison, cells: dict, name: str, columns: list[str]) -> None:
    every = asked.primary
    found = numerator(asked, a_test(**cells))
    assert (found.name, " + ".join(found.types)) == (name, name)
    counted = found.denominator.counts[:, found.denominator.types.index(name)]
    np.testing.assert_array_equal(counted, sum(every.counts[:, every.types.index(c)] for c in columns))
    np.testing.assert_array_equal(found.denominator.totals, every.totals)
    np.testing.assert_array_equal(found.denominator.counts.sum(axis=1), every.totals)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell_types": ["bent"], "denominator": "gone"}, "no denominator 'gone'"),
        ({"cell_types": ["bent"], "denominator": "none"}, "no denominator 'none'"),
        ({"cell_types": ["bent", "x", "y"]}, "does not count x, y among 'all'"),
        ({"set": "gone"}, "no set 'gone'"),
    ],
)
def test_cells_that_are_not_counted_are_named(asked: Comparison, change: dict, words: str) -> None:
    with pytest.raises(Missing, match=words):
        numerator(asked, a_test(**change))


def test_shares_of_a_set_are_not_made_up(asked: Comparison) -> None:
    asked.denominators["given", "all"] = replace(asked.primary, has_counts=False)
    assert numerator(asked, a_test(set="curved")).name == "bent + parallel"
    with pytest.raises(Missing, match="without counts the share of 'split' among 'all' is not known"):
        numerator(asked, a_test(set="split"))


def test_only_samples_with_cells_of_the_denominator_are_used(asked: Comparison) -> None:
    every = asked.primary
    empty = np.arange(len(every.totals)) < 5
    some = used_samples(asked, replace(every, totals=np.where(empty, 0, every.totals)))
    assert some["sample_id"].tolist() == asked.samples["sample_id"][~empty].tolist()


def test_the_evidence_is_of_the_primary_model_and_the_claims_cells(asked: Comparison) -> None:
    rows = asked.results.estimates.set_index(["model", "cell_type", "contrast"])
    evidence, types = gather(asked, a_test(cell_types=["parallel"], per=10))
    wanted = rows.loc[("betabinomial-mixed", "parallel", "age")]
    assert types == ["parallel"]
    assert evidence[0].estimate == pytest.approx(10 * wanted["estimate"])
    assert evidence[0].unit == "per 10 years"
    assert [check.asked for check in evidence[0].checks] == [True, False]
    # Planted: -0.02 a year, far beyond chance by either model.
    assert evidence[0].checks[0].p_value < 1e-6
