"""Formulas, designs, contrasts and statuses: what no count decides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aida_tools.core.errors import AidaError
from aida_tools.design.contrasts import Contrast, all_pairs, one_vs_rest, parse_contrast
from aida_tools.design.formula import ns, parse_formula
from aida_tools.design.matrix import Design, build_design, independent_columns
from aida_tools.design.questions import ask
from aida_tools.design.sites import Places, standing
from tests.compare.made import make_cohort

COLUMNS = ["population", "age", "sex", "site", "batch", "donor_id"]


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return make_cohort(controls=False)[0]


def design_of(text: str, samples: pd.DataFrame) -> Design:
    return build_design(parse_formula(text, samples.columns), samples)


def status_of(contrast: Contrast, text: str, samples: pd.DataFrame) -> tuple[str, str]:
    """Status and words where all samples weigh alike and no leak is harmless."""
    design, places = design_of(text, samples), Places(samples)
    question = ask(contrast, design, places)
    if question.status:
        return question.status, question.note
    weights = np.linalg.pinv(design.matrix).T @ question.vector
    with_site = {*parse_formula(text, samples.columns).variables, "site"}
    recorded = samples["site"].notna().all()
    fixable = recorded and not ask(contrast, design_of("~ " + " + ".join(with_site), samples), places).status
    return standing(
        contrast, places.leaks(weights[:, None], [contrast])[0], places, 1e-6, inside=question.inside, fixable=fixable
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("~ population + __import__('os').system('x')", "cannot be read"),
        ("~ population + C(age.__class__)", "does not name a column"),
        ("~ population + ns(age, df=open('x'))", "not a constant"),
        ("~ population + I(age)", "calls 'I'"),
        ("~ population + np.log(age)", "is not allowed"),
        ("~ population + {age + 1}", "is not allowed"),
        ("~ population + (lambda: 1)()", "no column 'lambda'"),
        ("~ population + ns(age, **{})", "not a constant"),
        ("~ pop + age", "no column 'pop'"),
        ("~ population + agee", "Did you mean 'age'?"),
        ("~ population - 1", "intercept"),
        ("y ~ population", "one-sided"),
        ("~ population + (", "cannot be read"),
        ("~ population | batch", "cannot be read"),
    ],
)
def test_a_formula_is_never_code(text: str, words: str) -> None:
    with pytest.raises(AidaError, match=r"--formula") as error:
        parse_formula(text, COLUMNS)
    assert words in str(error.value)
    assert "\x1b" not in str(error.value)


def test_terms_and_columns_of_a_formula() -> None:
    formula = parse_formula("~ population * ns(age, df=3) + C(sex)", COLUMNS)
    assert formula.variables == ("population", "age", "sex")
    assert formula.without(["age"]).terms == ("population", "C(sex)")


def test_natural_spline_spans_rs_basis() -> None:
    """Fitted values of a regression on ns(age, 3), from R 4.2: splines::ns(c(20, 25, ...), df = 3)."""
    age = np.array([20, 25, 31, 38, 44, 47, 52, 60, 66, 71], dtype=float)
    y = np.array([1.0, 0.4, 2.2, 1.9, 3.5, 2.0, 0.3, 4.1, 3.3, 5.0])
    design = design_of("~ ns(age, df=3)", pd.DataFrame({"age": age}))
    fitted = design.matrix @ np.linalg.lstsq(design.matrix, y, rcond=None)[0]
    want = [
        0.47554886,
        1.23320091,
        1.97519876,
        2.35102465,
        2.15043438,
        2.00224702,
        1.93726597,
        2.73322857,
        3.86775548,
        4.97409538,
    ]
    np.testing.assert_allclose(fitted, want, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "levels", "a", "b"),
    [
        ("x: A - B - rest", (), "A - B", "rest"),
        ("x: A - B - C", (), "A", "B - C"),
        ("x: A - B - C", ("A - B", "C"), "A - B", "C"),
        ("x: A - B - C", ("A", "B - C"), "A", "B - C"),
        ("x: A", (), "A", ""),
    ],
)
def test_a_minus_inside_a_name(text: str, levels: tuple[str, ...], a: str, b: str) -> None:
    assert Contrast.parse(text, levels) == Contrast("x", a, b)


def test_a_spline_goes_on_in_straight_lines_beyond_its_data() -> None:
    knots: dict[str, np.ndarray] = {}
    ns.__wrapped__(np.linspace(20, 70, 60), 4, knots)
    for beyond in ([5.0, 10, 15, 20], [70.0, 85, 100, 115, 130]):
        there = ns.__wrapped__(np.array(beyond), 4, knots)
        np.testing.assert_allclose(np.diff(there, 2, axis=0), 0, atol=1e-12)
    # Smooth where the data end: neither a step nor a kink.
    near = ns.__wrapped__(np.array([69.98, 69.99, 70, 70.01, 70.02]), 4, knots)
    assert np.abs(np.diff(near, 2, axis=0)).max() < 1e-5


def test_independent_columns_and_their_null_space() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    matrix = np.column_stack([x[:, 0], x[:, 1], x[:, 0] - 2 * x[:, 1], x[:, 2], np.zeros(20)])
    kept, null = independent_columns(matrix)
    np.testing.assert_array_equal(kept, [0, 1, 3])
    np.testing.assert_allclose(matrix @ null, 0, atol=1e-10)
    assert np.linalg.matrix_rank(null) == 2


def test_a_design_spans_what_its_columns_add_up_to(samples: pd.DataFrame) -> None:
    design = design_of("~ population + age", samples)
    of_populations = pd.get_dummies(samples["population"]).to_numpy(float)
    age = samples["age"].to_numpy(float)
    assert design.spans(of_populations)
    assert design.spans(np.column_stack([3 - 2 * age, of_populations[:, 0] + age]))
    assert design.spans(np.empty((len(samples), 0)))
    assert not design.spans(np.column_stack([age, age**2]))
    assert not design.spans((samples["sex"] == "male").to_numpy(float)[:, None])


def test_a_spline_has_three_columns_unless_asked_otherwise(samples: pd.DataFrame) -> None:
    usual, three, two = (design_of(f"~ ns(age{df})", samples).matrix.shape[1] for df in ("", ", df=3", ", df=2"))
    assert (usual, three, two) == (4, 4, 3)


def test_a_contrast_is_a_difference_of_coefficients(samples: pd.DataFrame) -> None:
    design = design_of("~ population + age + sex", samples)
    vector = design.vector(Contrast("population", "SG_Malay", "Korean"))
    assert dict(zip(design.names, vector, strict=True)) == pytest.approx(
        {
            "Intercept": 0, "population[T.Korean]": -1, "population[T.SG_Chinese]": 0, "population[T.SG_Indian]": 0,
            "population[T.SG_Malay]": 1, "age": 0, "sex[T.male]": 0,
        }
    )  # fmt: skip
    slope = design.vector(Contrast("age"))
    assert slope[design.names.index("age")] == pytest.approx(1)


def test_a_contrast_under_interaction_is_averaged_over_the_samples(samples: pd.DataFrame) -> None:
    design = design_of("~ population * age", samples)
    vector = design.vector(Contrast("population", "SG_Malay", "Japanese"))
    assert vector[design.names.index("population[T.SG_Malay]:age")] == pytest.approx(samples["age"].mean())


def test_populations_of_one_site_are_compared_inside_it(samples: pd.DataFrame) -> None:
    status, alias = status_of(Contrast("population", "SG_Malay", "SG_Chinese"), "~ population + age + sex", samples)
    assert (status, alias) == ("within-site", "")


def test_a_population_alone_in_its_site_is_named_with_it(samples: pd.DataFrame) -> None:
    status, alias = status_of(Contrast("population", "Korean", "Japanese"), "~ population + age + sex", samples)
    assert status == "between-site"
    assert alias == (
        "Korean was measured only at site KR, in batches KR_B001 to KR_B004 (4), where nothing else was measured; "
        "Japanese was measured only at site JP, in batches JP_B001 to JP_B004 (4), where nothing else was measured: "
        "the contrast measures population and site together"
    )


@pytest.mark.parametrize("term", ["site", "batch"])
def test_a_site_term_makes_it_singular_and_says_so(samples: pd.DataFrame, term: str) -> None:
    text = f"~ population + age + {term}"
    status, alias = status_of(Contrast("population", "Korean", "Japanese"), text, samples)
    assert status == "not-estimable"
    assert alias.startswith(f"all samples of Korean, and no others, are of {term} KR")
    assert f"all samples of Japanese, and no others, are of {term} JP" in alias
    assert alias.endswith("with that in the formula, Korean against Japanese cannot be estimated")
    status, _ = status_of(Contrast("population", "SG_Malay", "SG_Chinese"), text, samples)
    assert status == "within-site"
    assert design_of(text, samples).aliased


def test_a_chain_of_terms_is_listed() -> None:
    """No term alone fixes a population, but batch and sex together do."""
    table = pd.DataFrame(
        {
            "population": ["A", "A", "B", "B", "A", "A", "B", "B"],
            "x": ["p", "p", "q", "q", "p", "q", "q", "p"],
            "z": [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0],
            "site": "S",
            "batch": "b",
            "donor_id": list("abcdefgh"),
        }
    )
    status, why = status_of(Contrast("population", "A", "B"), "~ population + x + z", table)
    assert status == "not-estimable"
    assert why == "the design is singular here: population B, x q, z cannot be told apart"


def test_one_against_the_rest_leaves_the_site(samples: pd.DataFrame) -> None:
    status, alias = status_of(Contrast("population", "SG_Malay", "rest"), "~ population + age + sex", samples)
    assert status == "between-site"
    assert "all others were measured at sites JP, KR, SG" in alias
    only_sg = samples[samples["site"] == "SG"].reset_index(drop=True)
    assert status_of(Contrast("population", "SG_Malay", "rest"), "~ population", only_sg)[0] == "within-site"
    # The rest is the mean of its populations: with Korean and Japanese in it, it cannot be compared within a site.
    assert status_of(Contrast("population", "SG_Malay", "rest"), "~ population + site", samples)[0] == "not-estimable"
    assert status_of(Contrast("population", "Korean", "rest"), "~ population + site", samples)[0] == "not-estimable"


def test_a_population_at_two_sites_needs_the_site_in_the_formula(samples: pd.DataFrame) -> None:
    moved = samples.copy()
    japanese = np.flatnonzero(moved["population"] == "Japanese")
    moved.loc[japanese[::2], "site"] = "KR"
    contrast = Contrast("population", "Korean", "Japanese")
    status, alias = status_of(contrast, "~ population + age", moved)
    assert status == "between-site"
    assert "add 'site' to the formula" in alias
    assert status_of(contrast, "~ population + age + site", moved)[0] == "between-batch"
    moved.loc[japanese[::2], "batch"] = "KR_B001"
    assert status_of(contrast, "~ population + age + site", moved)[0] == "within-site"


def test_age_and_sex_are_free_of_the_site_when_populations_carry_it(samples: pd.DataFrame) -> None:
    assert status_of(Contrast("age"), "~ population + age + sex", samples)[0] == "within-site"
    assert status_of(Contrast("sex", "male", "female"), "~ age + sex", samples)[0] == "between-site"


def test_an_unrecorded_site_is_not_taken_for_one_site(samples: pd.DataFrame) -> None:
    without = samples.assign(site=None)
    status, alias = status_of(Contrast("population", "SG_Malay", "SG_Chinese"), "~ population", without)
    assert status == "between-site"
    assert "site is not recorded" in alias


def test_paired_samples_need_no_site() -> None:
    """Each donor is its own control: whatever the site does, it does to both of a donor's samples."""
    donors = [f"d{i}" for i in range(8)]
    paired = pd.DataFrame(
        {"donor_id": donors * 2, "population": ["ctrl"] * 8 + ["stim"] * 8, "site": None, "batch": None}
    )
    contrast = Contrast("population", "stim", "ctrl")
    status, alias = status_of(contrast, "~ population + donor_id", paired)
    # Batches are another matter: all of one side may have gone through the machine together.
    assert status == "between-batch"
    assert alias.startswith("the batches of stim and ctrl are not recorded")
    pools = paired.assign(batch=["b1", "b2"] * 8)
    assert status_of(contrast, "~ population + donor_id", pools)[0] == "within-site"
    # A donor's two samples cancel its site also where the donor is not in the formula.
    assert status_of(contrast, "~ population", paired)[0] == "between-batch"
    strangers = paired.assign(donor_id=[f"d{i}" for i in range(16)])
    assert status_of(contrast, "~ population", strangers)[0] == "between-site"


def test_populations_that_share_no_batch_are_said() -> None:
    table = pd.DataFrame(
        {"population": ["A", "A", "B", "B"], "site": "S", "batch": ["b1", "b2", "b3", "b4"], "donor_id": list("wxyz")}
    )
    status, alias = status_of(Contrast("population", "A", "B"), "~ population", table)
    assert status == "between-batch"
    assert alias == "no batch holds both A (b1, b2) and B (b3, b4): differences between batches are part of it"


def test_contrasts_as_written(samples: pd.DataFrame) -> None:
    formula = parse_formula("~ population + age + sex", samples.columns)
    for text in ("population: Korean - Japanese", "population: Korean - rest", "sex: male - female", "age"):
        assert str(parse_contrast(text, formula, samples)) == text
    assert len(all_pairs("population", ["A", "B", "C"])) == 3
    assert str(one_vs_rest("population", ["A", "B", "C"])[0]) == "population: A - rest"
    assert one_vs_rest("population", ["A", "B"]) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("population: Koraen - Japanese", "Did you mean 'Korean'?"),
        ("population: Korean-Japanese", "spaces around the minus"),
        ("population: Korean - Korean", "both sides"),
        ("populaton: Korean - Japanese", "Did you mean 'population'?"),
        ("batch: a - b", "not in the formula"),
        ("age: 20 - 30", "is a number"),
        ("sex", "has levels"),
    ],
)
def test_contrasts_that_cannot_be_meant(samples: pd.DataFrame, text: str, words: str) -> None:
    formula = parse_formula("~ population + age + sex", samples.columns)
    with pytest.raises(AidaError) as error:
        parse_contrast(text, formula, samples)
    assert words in str(error.value)
