"""The configuration is closed, described, and wrong keys are named with the nearest right one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from aida_tools import reference, runs
from aida_tools.core import cohort_file, config
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.options import fields
from aida_tools.core.populations import load_populations
from aida_tools.models.registry import MODELS

COHORT = {
    "name": "mine",
    "title": "My cohort",
    "source": {"kind": "h5ad", "path": "mine.h5ad"},
    "columns": {"donor_id": "donor", "population": {"value": "Korean"}},
}


def cohort(**changes: Any) -> dict[str, Any]:
    return {**COHORT, **changes}


def test_short_column_form_is_the_long_one() -> None:
    parsed = config.parse(cohort(), cohort_file.CohortConfig, "cohort.yaml")
    assert parsed.columns.donor_id == cohort_file.Column(column="donor")
    assert parsed.columns.population.value == "Korean"


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (cohort(titel="x"), cohort_file.CohortConfig, "unknown key 'titel'. Did you mean 'title'?"),
        (cohort(columns={"donor": "d", "population": "p"}), cohort_file.CohortConfig, "Did you mean 'donor_id'?"),
        (cohort(source={"kind": "sample", "sede": 1}), cohort_file.CohortConfig, "Did you mean 'seed'?"),
        (cohort(source={"kind": "ftp"}), cohort_file.CohortConfig, "key 'source'"),
        (cohort(controls={"pattern": "("}), cohort_file.CohortConfig, "not a regular expression"),
        (
            cohort(columns={"donor_id": {"column": "d", "value": "x"}, "population": "p"}),
            cohort_file.CohortConfig,
            "either",
        ),
        (cohort(covariates={"bmi": "b"}, strata=["bmy"]), cohort_file.CohortConfig, "Did you mean 'bmi'?"),
        (["a"], cohort_file.CohortConfig, "a mapping of keys to values is wanted"),
    ],
)
def test_wrong_configuration_is_named(values: Any, kind: type[BaseModel], expected: str) -> None:
    with pytest.raises(AidaError) as caught:
        config.parse(values, kind, "file.yaml")
    assert str(caught.value).startswith("file.yaml: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"min_cells": 3}, "unknown key 'min_cells'. It belongs to the block 'compare'."),
        ({"min_cell": 3}, "unknown key 'min_cell'. Did you mean 'min_cells'? It belongs to the block 'compare'."),
        ({"unresolved": []}, "It belongs to the block 'agreement' or 'robustness'."),
        ({"anotators": []}, "unknown key 'anotators'. Did you mean 'annotators'?"),
        ({"compare": {"min_cell": 3}}, "unknown key 'compare.min_cell'. Did you mean 'min_cells'?"),
        ({"compare": {"min_cells": -3}}, "key 'compare.min_cells', value -3: "),
        ({"compare": {"models": ["betabinomal"]}}, "Did you mean 'betabinomial'?"),
        ({"compare": {"seed": 3}}, "unknown key 'compare.seed'. It stands at the top of the run file"),
        ({"compare": {"primary_annotator": "gate"}}, "The first of 'annotators' is the primary one."),
        ({"robustness": {"threads": 3}}, "unknown key 'robustness.threads'. It changes no result"),
        ({"train": {"m": {"cohort": "mine", "seed": 3}}}, "unknown key 'train.m.seed'. It stands at the top"),
        ({"train": {"m": {"cohort": "mine", "fold": 3}}}, "unknown key 'train.m.fold'. Did you mean 'folds'?"),
        ({"train": {"m": {}}}, "key 'train.m.cohort' is missing"),
        ({"power": {"plans": ["donors=70"]}}, "key 'power.plans', value ['donors=70']: plan 'donors=70': 'cells' is"),
        ({"seed": -1}, "key 'seed', value -1: "),
        ({"cohorts": []}, "key 'cohorts', value []: "),
        ({"cohorts": ["a.yaml"], "compare": [1]}, "key 'compare', value [1]: "),
    ],
)
def test_wrong_run_files_are_named(values: Any, expected: str) -> None:
    with pytest.raises(AidaError) as caught:
        runs.parse_run({"cohorts": ["a.yaml"]} | values, "file.yaml")
    assert str(caught.value).startswith("file.yaml: ")
    assert expected in str(caught.value)


def test_a_run_file_is_a_mapping_with_cohorts() -> None:
    with pytest.raises(AidaError, match="a mapping of keys to values is wanted"):
        runs.parse_run(["a"], "file.yaml")
    with pytest.raises(AidaError, match="key 'cohorts' is missing"):
        runs.parse_run({"annotators": ["author"]}, "file.yaml")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=r"absent\.yaml: there is no such file"):
        runs.load_run(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("cohorts: [a\nx: }")
    with pytest.raises(AidaError, match=r"broken\.yaml: not valid YAML"):
        runs.load_run(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("korean", ["Korean", "Thai"], "Did you mean 'Korean'?"),
        ("xyz", ["Korean", "Thai"], "Known: Korean, Thai."),
        ("xyz", [], "There is none."),
    ],
)
def test_did_you_mean(name: str, known: list[str], expected: str) -> None:
    assert did_you_mean(name, known) == expected


def test_every_committed_configuration_is_valid(root: Path) -> None:
    files = [p for p in sorted((root / "config").glob("*.yaml")) if p.name != "claims.yaml"]
    assert len(files) >= 3
    for path in files:
        run = runs.load_run(path)
        cohorts = {name: cohort_file.load_cohort(root / name) for name in run.cohorts}
        runs.settle(run, cohorts, path)
        load_populations(root / run.populations)


def test_every_key_is_described() -> None:
    sources = [
        cohort_file.CohortConfig,
        cohort_file.Column,
        cohort_file.CellxgeneSource,
        cohort_file.FileSource,
        cohort_file.SampleSource,
        cohort_file.Controls,
        cohort_file.Labels,
    ]
    for model in [*sources, runs.run_class(), runs.Training, *runs.blocks().values()]:
        for name, field in fields(model).items():
            described = field.description or any(getattr(m, "description", None) for m in field.metadata)
            assert described or name == "kind", f"{model.__name__}.{name}"


def test_what_a_run_may_name_is_listed() -> None:
    text = reference.reference()
    assert all(f"| `{name}` | {model.words} |" in text for name, model in MODELS.items())
    assert "| `min_cells` | Leave out samples with fewer cells than this. | `0` |" in text
    assert "| `seed` | Seed of the random numbers of every step. | `1` |" in text
    assert text.count("`seed`") == 2, "once for a run, and once for the sample cohort"


def test_a_registered_model_is_listed_and_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = replace(MODELS["clr"], name="toy", words="the toy model")
    monkeypatch.setitem(MODELS, "toy", toy)
    assert "| `toy` | the toy model |" in reference.reference()
    run = runs.parse_run({"cohorts": ["a.yaml"], "compare": {"models": ["toy"]}}, "file.yaml")
    assert run.compare.models == ("toy",)


def test_schemas_are_those_of_the_classes(root: Path) -> None:
    """workflow/schemas holds what the classes say; `python -m aida_tools.reference` writes them anew."""
    for name, text in reference.schemas().items():
        assert (root / "workflow" / "schemas" / name).read_text() == text
    assert (
        (root / "config" / "README.md").read_text().endswith(f"{reference.REFERENCE_MARK}\n\n{reference.reference()}")
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.replace("colour", "color"), "column 'colour' is missing. Did you mean 'color'?"),
        (lambda t: t.replace("#D55E00", "orange"), "value 'orange' must be of the form"),
        (lambda t: t.replace("SG_Malay", "Korean"), "value 'Korean' occurs twice"),
    ],
)
def test_wrong_population_table_is_named(root: Path, tmp_path: Path, change: Any, expected: str) -> None:
    path = tmp_path / "populations.tsv"
    path.write_text(change((root / "config" / "populations.tsv").read_text()))
    with pytest.raises(AidaError) as caught:
        load_populations(path)
    assert expected in str(caught.value)
