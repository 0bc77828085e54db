"""What a run asks of the steps, and what it may not ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aida_tools import runs
from aida_tools.annotate.asked import SCAN, SCAN_THINNED, scan_of
from aida_tools.annotate.registry import PUBLISHED
from aida_tools.core import cohort_file, config
from aida_tools.core.errors import AidaError
from aida_tools.core.options import arguments

LABELLED = {"column": "cell_type"}


def make_cohort(**changes: Any) -> cohort_file.CohortConfig:
    values = {
        "name": "mine",
        "title": "My cohort",
        "source": {"kind": "h5ad", "path": "mine.h5ad"},
        "columns": {"donor_id": "donor", "population": {"value": "Korean"}},
    }
    return config.parse(values | changes, cohort_file.CohortConfig, "c.yaml")


def make_run(text: str = "") -> runs.RunConfig:
    return runs.parse_run(yaml.safe_load(f"cohorts: [c.yaml]\n{text}"), "run.yaml")


def settle(text: str, **changes: Any) -> runs.RunConfig:
    return runs.settle(make_run(text), {"c.yaml": make_cohort(**changes)}, "run.yaml")


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ("annotators: [author]", {}, "names no label column"),
        (
            "annotators: [gate]",
            {"source": {"kind": "cellxgene", "collection_id": "c", "dataset_id": "d"}},
            r"Set 'source\.route: full'",
        ),
        ("annotators: [protein]", {}, "has no block 'proteins'"),
        ("annotators: [gait]", {}, r"there is no classifier 'gait' in classifiers\. Did you mean 'gate'\?"),
        ("annotators: [author-thinned]", {"labels": LABELLED}, "only an annotator that reads a scan can be thinned"),
        ("annotators: ['gate:soft']", {}, "no calibrated probabilities"),
        ("annotators: [gate, consensus]", {}, "needs two of them"),
        ("annotators: [gate]\ntrain: {m: {cohort: yours}}", {}, r"key 'train\.m\.cohort', value 'yours'"),
        ("annotators: [gate]\ntrain: {m: {cohort: mine}}", {}, "names no label column"),
    ],
)
def test_a_run_must_not_ask_what_cannot_be_given(text: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(AidaError, match=expected):
        settle(text, **changes)


def test_cohorts_of_one_run_differ_in_name() -> None:
    with pytest.raises(AidaError, match="both have the name 'mine'"):
        runs.settle(make_run(), {"c.yaml": make_cohort(), "d.yaml": make_cohort()}, "run.yaml")


def test_folds_label_only_the_cohort_they_learnt_from() -> None:
    run = make_run("annotators: [m]\ntrain: {m: {cohort: mine, folds: 2}}")
    both = {"c.yaml": make_cohort(labels=LABELLED), "d.yaml": make_cohort(name="yours", labels=LABELLED)}
    with pytest.raises(AidaError, match=r"key 'train\.m\.folds', value 2"):
        runs.settle(run, both, "run.yaml")


def test_who_labels_when_the_run_does_not_say(tmp_path: Path) -> None:
    assert settle("", labels=LABELLED).annotators == ["author"]
    unlabelled = f"classifier_folder: {tmp_path}"
    assert settle(unlabelled).annotators == ["gate"]
    for name in PUBLISHED:
        assert settle(unlabelled).annotators == ["gate"], "one of the two models is not enough"
        (tmp_path / name).mkdir()
    assert settle(unlabelled).annotators == ["blood"]


def test_annotators_and_their_scans() -> None:
    run = settle(
        "annotators: [author, 'm:soft', m, blood, gate, gate-thinned, m-thinned, consensus]\n"
        "train: {m: {cohort: mine, folds: 2}}",
        labels=LABELLED,
    )
    asked = runs.asked(run)
    assert asked.labellers == ["author", "m", "blood", "gate", "gate-thinned", "m-thinned", "consensus"]
    assert asked.members == ["author", "m", "blood", "gate"]
    assert asked.classifiers_of_scan(SCAN) == ["m.1", "m.2", "actinn", "stcat"]
    assert asked.classifiers_of_scan(SCAN_THINNED) == ["m.1", "m.2"]
    assert asked.expected_of_scan(SCAN) == ["m.1", "m.2"]
    assert asked.expected_of_scan(SCAN_THINNED) == []
    assert [scan_of(name) for name in ("author", "consensus", "gate", "m-thinned")] == [
        None, None, SCAN, SCAN_THINNED,
    ]  # fmt: skip


def test_a_block_is_the_options_of_its_command() -> None:
    run = settle(
        "seed: 5\nfocus: NK\ncompare: {min_cells: 7, robust: false, models: [log10-ols], primary_denominator: T}\n"
        "annotators: [gate]\natlas: {cells: 30}\nrobustness: {covariates: [bmi]}"
    )
    assert arguments(run.compare) == [
        "--model=log10-ols", "--focus=NK", "--min-cells=7", "--no-robust", "--seed=5", "--primary-denominator=T",
        "--primary-annotator=gate",
    ]  # fmt: skip
    assert arguments(run.agreement) == ["--focus=NK", "--within=T"]
    assert run.atlas is not None
    assert arguments(run.atlas) == ["--cells=30", "--seed=5"]
    assert arguments(run.robustness) == ["--covariate=bmi", "--seed=5"]  # type: ignore[attr-defined]
    assert arguments(run.power) == []  # type: ignore[attr-defined]


def test_agreement_looks_inside_what_it_is_told_to() -> None:
    asked = "annotators: [gate]\ncompare: {primary_denominator: T}\nagreement: {within: [CD4_T]}"
    assert settle(asked).agreement.within == ("CD4_T",)
    assert settle("annotators: [gate]\ncompare: {primary_denominator: all}").agreement.within == ()


def test_nobody_is_labelled_silently_by_a_classifier_that_knows_them(capsys: pytest.CaptureFixture[str]) -> None:
    single = "annotators: [m]\ntrain: {m: {cohort: mine}}"
    with pytest.raises(AidaError, match=r"key 'train\.m\.folds', value 1: .* Set 'folds: 2' or more"):
        settle(single, labels=LABELLED)
    settle("annotators: [author]\ntrain: {m: {cohort: mine}}", labels=LABELLED)
    settle("annotators: [m]\ntrain: {m: {cohort: mine, folds: 2}}", labels=LABELLED)
    assert capsys.readouterr().err == ""
    both = {"c.yaml": make_cohort(labels=LABELLED), "d.yaml": make_cohort(name="yours", labels=LABELLED)}
    runs.settle(make_run(single), both, "run.yaml")
    assert "would label donors of 'mine' that it has learnt from" in capsys.readouterr().err
