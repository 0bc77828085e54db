"""What the page says follows the status of each contrast; without populations it is about age, sex and the rest."""

from __future__ import annotations

import dataclasses
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.figures.run import draw_figures
from aida_tools.report.answer import make_answer
from aida_tools.report.methods import methods_paragraphs
from aida_tools.report.run import write_report
from aida_tools.results.results import Results, load_results
from aida_tools.results.words import alias_sentence, aliases, compared, effect, per_step
from tests.compare.made import make_cohort, write
from tests.figures.made_compare import light_pictures
from tests.report.test_answer import LABELS, LOW, SAME, estimate, results, said

BETWEEN = "cannot be told apart"


def with_design(base: Results, rows: list[list[Any]]) -> Results:
    design = pd.DataFrame(rows, columns=["population", "site", "batch"])
    return dataclasses.replace(base, design=design)


# -- statuses of contrasts of populations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("within-site", ", in a comparison within sites."),
        ("indirect", ", but only in comparisons through other populations: the two never shared a site."),
        ("between-batch", ", but population and batch cannot be told apart."),
        ("between-site", ", but population and site cannot be told apart."),
    ],
)
def test_every_status_ends_the_headline_in_its_own_words(status: str, end: str) -> None:
    assert make_answer(results(LOW | {"status": status}, SAME), LABELS).headline.endswith(end)
    pair = estimate("Korean - Japanese", 0.5, status=status)
    assert make_answer(results(pair), LABELS).headline.endswith(f"than Japanese donors{end}")


def test_an_indirect_contrast_says_what_it_rests_on() -> None:
    pair = estimate("Korean - Japanese", 0.5, status="indirect")
    text = said(make_answer(results(pair), LABELS))
    assert "Korean and Japanese were not measured at a common site: this number adds comparisons with" in text
    assert "wrong if the donors of these differ between the sites." in text
    assert "Handling" not in text
    assert "No contrast here compares populations inside a common site." in text


def test_one_library_a_population_is_population_and_batch() -> None:
    pair = estimate("SG_Malay - SG_Indian", 0.5, status="between-batch")
    rows = [["SG_Malay", "SG", "B1"], ["SG_Malay", "SG", "B2"], ["SG_Indian", "SG", "B3"]]
    found = with_design(results(pair), rows)
    text = said(make_answer(found, LABELS))
    assert (
        "No batch holds both Singaporean Malay (2 batches) and Singaporean Indian (1 batch), so this number is "
        "population and batch together." in text
    )
    assert "No two populations were measured in a common batch, so no contrast here is free of batch." in text
    assert "site cannot" not in text
    unknown = with_design(results(pair), [[p, s, None] for p, s, _ in rows])
    assert alias_sentence(unknown, pair, LABELS) == (
        "The batches of Singaporean Malay or Singaporean Indian are not recorded, so this number may be population and "
        "batch together."
    )


def test_a_contrast_within_sites_has_no_alias() -> None:
    assert alias_sentence(results(LOW), LOW | {"status": "within-site"}, LABELS) == ""


def test_populations_are_named_by_what_they_do_not_share() -> None:
    rows = [["A", "S1", "b1"], ["B", "S1", "b2"], ["C", "S2", "b3"], ["D", "S3", "b4"], ["E", "S3", "b4"]]
    assert aliases(with_design(results(), rows), {}) == [
        "A samples share site S1 with other populations, but no batch: population and batch cannot be told apart.",
        "B samples share site S1 with other populations, but no batch: population and batch cannot be told apart.",
        "All C samples come from site S2 (1 batch), where no other population was measured: population and site cannot "
        "be told apart.",
    ]


def test_what_the_site_term_replaced_is_in_the_methods() -> None:
    base = results(LOW, SAME)
    again = "fitted again with a term for the site"
    assert again not in " ".join(methods_paragraphs(_complete(base), LABELS, {}))
    old = base.estimates.assign(superseded=[False, True], formula="~ population")
    assert again in " ".join(methods_paragraphs(_complete(dataclasses.replace(base, estimates=old)), LABELS, {}))


def _complete(base: Results) -> Results:
    return dataclasses.replace(base, design=base.design.assign(n_donors=3))


# -- a cohort of one population ----------------------------------------------------------------------------------------

AGE = estimate("x", 1.02, error=0.002, status="within-site", n_samples_a=300) | {"contrast": "age"}
SEX = estimate("x", 1.05, status="within-site", n_samples_a=150, n_samples_b=140) | {"contrast": "sex: male - female"}


def alone(*rows: dict[str, Any], **options: Any) -> Results:
    found = with_design(results(*rows, **options), [["Korean", "KR", "B1"], ["Korean", "KR", "B2"]])
    return dataclasses.replace(found, samples=found.samples.assign(population="Korean"))


def test_one_population_is_answered_by_its_covariates() -> None:
    found = alone(AGE, SEX)
    answer = make_answer(found, LABELS)
    assert answer.compared
    assert compared(found) == ["age", "sex"]
    assert answer.headline == (
        f"In this cohort the Treg share of CD4 T cells was higher in older donors (odds ratio {1.02**10:.2f} for ten "
        "years of age)."
    )
    assert answer.sentences[0].startswith(f"Ten years of age: odds ratio {1.02**10:.2f} (95 % interval ")
    assert ", 300 samples (betabinomial-mixed" in answer.sentences[0]
    assert "Male against female: odds ratio 1.05 (95 % interval 0.86 to 1.28), 150 samples against 140" in said(answer)
    assert "All donors are Korean: these data say nothing of differences between populations." in answer.sentences
    assert "Donors of different ages were compared; no donor was followed over the years." in answer.limits
    assert BETWEEN not in said(answer)


def test_a_slope_that_points_down_and_a_factor() -> None:
    down = estimate("x", 0.98, error=0.002, status="within-site") | {"contrast": "age"}
    assert "was lower in older donors (odds ratio 0.82 for" in make_answer(alone(down), LABELS).headline
    smoking = estimate("x", 2.0, status="within-site") | {"contrast": "smoking: current - never"}
    headline = make_answer(alone(smoking, SEX), LABELS).headline
    assert headline.endswith(
        "was higher in donors with smoking current than in those with never (odds ratio 2.00 for smoking: current "
        "against never)."
    )
    sex = make_answer(alone(SEX | {"q_value": 0.01, "ci_low": 0.01}), LABELS).headline
    assert "was higher in male than in female donors" in sex


def test_covariates_without_a_clear_effect_are_not_called_without_effect() -> None:
    weak = estimate("x", 1.001, error=0.01, status="within-site") | {"contrast": "age"}
    headline = make_answer(alone(weak, SEX), LABELS).headline
    assert headline.endswith("was not clearly associated with age and sex; that is not evidence of no association.")


@pytest.mark.parametrize(
    ("status", "by"), [("between-site", "sites"), ("indirect", "sites"), ("between-batch", "batches")]
)
def test_a_covariate_that_follows_the_sites_says_so(status: str, by: str) -> None:
    row = AGE | {"status": status, "aliased_with": "sites KR, SU are compared as well; add 'site' to the formula"}
    answer = make_answer(alone(row), LABELS)
    assert answer.headline.endswith(f", but differences between {by} may be part of it.")
    assert "Sites KR, SU are compared as well; add 'site' to the formula." in answer.limits


def test_populations_come_first_and_structure_never() -> None:
    row = results(LOW, SAME, AGE).headline()
    assert row is not None
    assert row["contrast"] == "population: Korean - rest"
    failed = estimate("Korean - Japanese", None, status="not-estimable", note="population follows from site")
    mixed = make_answer(results(failed, AGE), LABELS)
    assert "older donors" in mixed.headline
    assert "1 contrast: population follows from site." in mixed.sentences
    assert "These data say nothing of differences between populations." in mixed.sentences
    batch = estimate("x", 3.0) | {"contrast": "site: KR - JP"}
    assert results(failed, batch).headline() is None


def test_the_labels_of_another_annotator_are_compared_in_the_same_step() -> None:
    other = AGE | {"annotator": "gate"}
    assert f"The labels of gate (odds ratio {1.02**10:.2f}, " in said(make_answer(alone(AGE, other), LABELS))


def test_steps_are_of_numbers_only() -> None:
    found = results()
    age, pair = found.contrast("age"), found.contrast("population: Korean - rest")
    row = {"estimate": 0.01, "ci_low": 0.0, "ci_high": 0.02}
    assert per_step(row, age)["estimate"] == pytest.approx(0.1)
    assert per_step(row, pair) == row
    assert effect(found.contrast("bmi")) == "one unit of bmi"
    assert effect(found.contrast("smoking: never - now"), between=" – ") == "smoking: never – now"


@pytest.fixture(scope="module")
def one_population(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The report of one population at two sites, with a term for the site and a planted effect of age."""
    folder = tmp_path_factory.mktemp("one")
    samples, counts = make_cohort(sites={"KR": (4, ("Korean",)), "SU": (4, ("Korean",))}, controls=False)
    age = counts["sample_id"].map(samples.set_index("sample_id")["age"])
    more = np.where(counts["cell_type"] == "Treg", np.exp(0.03 * (age - 45)), 1.0)
    samples = samples.drop(columns="n_cells").astype({"age": object})
    samples.loc[[0, 7], "age"] = None
    paths = write(folder, samples, counts.assign(n_cells=(counts["n_cells"] * more).round().fillna(40).astype(int)))
    options = Options(
        formula="~ population + age + sex + site", models=("betabinomial-mixed", "log10-ols"),
        denominators=("CD4_T=Treg,CD4_naive,CD4_memory",),
    )  # fmt: skip
    compare(*paths, folder / "compare", options=options)
    uncounted = pd.DataFrame([["author", "no label", 31, 0.01], ["gate", "no label", 9, 0.003]])
    (folder / "counts").mkdir()
    uncounted.columns = pd.Index(["annotator", "reason", "n_cells", "share"])
    uncounted.to_csv(folder / "counts" / "uncounted.tsv", sep="\t", index=False)
    with light_pictures():
        draw_figures(folder / "compare", root / "config" / "populations.tsv", folder / "figures")
    write_report(folder / "compare", folder / "figures", folder, also=[folder / "counts"])
    return folder


def test_the_page_of_one_population_answers_what_it_can(one_population: Path) -> None:
    page = unescape((one_population / "report.html").read_text())
    found = load_results(one_population / "compare")
    row = found.headline()
    assert row is not None
    assert row["contrast"] == "age"
    ratio = np.exp(10 * row["estimate"])
    assert ratio == pytest.approx(np.exp(0.3), rel=0.1)
    assert f"was higher in older donors (odds ratio {ratio:.2f} for ten years of age)." in page
    assert "No comparison was made" not in page
    assert "Cell type shares by age and sex" in page
    assert "<b>Figure 2. Effects of age and sex.</b>" in page
    assert not re.search(r"no two populations|population and site|Contrasts between populations", page, re.IGNORECASE)
    assert "Shares were compared by beta-binomial regression" in page


def test_the_page_lists_what_was_left_out_by_reason(one_population: Path) -> None:
    page = unescape((one_population / "report.html").read_text())
    measured = page.split('<section id="measured"')[1].split("</section>")[0]
    block = measured.split('id="table-left-out"')[1].split("</details>")[0]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", block)[:3] == ["age is missing", "2", "2"]
    cells = measured.split('id="table-uncounted"')[1].split("</details>")[0]
    # Of the primary annotator only.
    assert re.findall(r"<td[^>]*>([^<]*)</td>", cells) == ["no label", "31", "0.01"]


def test_the_power_to_find_a_slope_is_told_in_the_same_step() -> None:
    weak = estimate("x", 1.001, error=0.01, status="within-site") | {"contrast": "age"}
    key = {"cell_type": "Treg", "annotator": "author", "denominator": "CD4_T"}
    power = pd.DataFrame([{"contrast": "age", "mdor": 1.02, **key}])
    text = said(make_answer(dataclasses.replace(alone(weak), tables={"power": power}), LABELS))
    assert "80 % power to find an odds ratio of 1.22 (or 0.82) for ten years of age" in text
