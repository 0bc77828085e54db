"""What a run asks of the steps, and what it may not ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aida_tools import config, runs
from aida_tools.errors import AidaError

LABELLED = {"column": "cell_type"}


def make_cohort(**changes: Any) -> config.CohortConfig:
    values = {
        "name": "mine",
        "title": "My cohort",
        "source": {"kind": "h5ad", "path": "mine.h5ad"},
        "columns": {"donor_id": "donor", "population": {"value": "Korean"}},
    }
    return config.parse(values | changes, config.CohortConfig, "c.yaml")


def make_run(text: str = "") -> config.RunConfig:
    return config.parse(yaml.safe_load(f"cohorts: [c.yaml]\n{text}"), config.RunConfig, "run.yaml")


def settle(text: str, **changes: Any) -> config.RunConfig:
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
        ("annotators: [gait]", {}, r"there is no model 'gait' in models\. Did you mean 'gate'\?"),
        ("annotators: [author-thinned]", {"labels": LABELLED}, "only labels from a scan"),
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
    unlabelled = f"model_folder: {tmp_path}"
    assert settle(unlabelled).annotators == ["gate"]
    for name in runs.PUBLISHED:
        assert settle(unlabelled).annotators == ["gate"], "one of the two models is not enough"
        (tmp_path / name).mkdir()
    assert settle(unlabelled).annotators == ["blood"]


def test_annotators_and_their_scans() -> None:
    run = settle(
        "annotators: [author, 'm:soft', m, blood, gate, gate-thinned, m-thinned, consensus]\n"
        "train: {m: {cohort: mine, folds: 2}}",
        labels=LABELLED,
    )
    assert runs.labellers(run) == ["author", "m", "blood", "gate", "gate-thinned", "m-thinned", "consensus"]
    assert runs.members(run) == ["author", "m", "blood", "gate"]
    assert runs.models_of_scan(run, runs.SCAN) == ["m.1", "m.2", "actinn", "stcat"]
    assert runs.models_of_scan(run, runs.SCAN_THINNED) == ["m.1", "m.2"]
    assert runs.expected_of_scan(run, runs.SCAN) == ["m.1", "m.2"]
    assert runs.expected_of_scan(run, runs.SCAN_THINNED) == []
    assert [runs.scan_of(name) for name in ("author", "consensus", "gate", "m-thinned")] == [
        None, None, runs.SCAN, runs.SCAN_THINNED,
    ]  # fmt: skip


def test_compare_options_name_everything() -> None:
    run = make_run("min_cells: 7\nrobust: false\nmodels: [log10-ols]\none_vs_rest: false\nannotators: ['m:soft']")
    options = runs.compare_options(run)
    assert options[options.index("--min-cells") + 1] == "7"
    assert options[options.index("--model") + 1] == "log10-ols"
    assert options[options.index("--primary-annotator") + 1] == "m:soft"
    assert "--no-robust" in options
    assert "--one-vs-rest" not in options
