"""The configuration is closed, described, and wrong keys are named with the nearest right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from aida_tools import config, runs
from aida_tools.errors import AidaError, did_you_mean

COHORT = {
    "name": "mine",
    "title": "My cohort",
    "source": {"kind": "h5ad", "path": "mine.h5ad"},
    "columns": {"donor_id": "donor", "population": {"value": "Korean"}},
}


def cohort(**changes: Any) -> dict[str, Any]:
    return {**COHORT, **changes}


def test_short_column_form_is_the_long_one() -> None:
    parsed = config.parse(cohort(), config.CohortConfig, "cohort.yaml")
    assert parsed.columns.donor_id == config.Column(column="donor")
    assert parsed.columns.population.value == "Korean"


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (cohort(titel="x"), config.CohortConfig, "unknown key 'titel'. Did you mean 'title'?"),
        (cohort(columns={"donor": "d", "population": "p"}), config.CohortConfig, "Did you mean 'donor_id'?"),
        (cohort(source={"kind": "sample", "sede": 1}), config.CohortConfig, "Did you mean 'seed'?"),
        (cohort(source={"kind": "ftp"}), config.CohortConfig, "key 'source'"),
        (cohort(controls={"pattern": "("}), config.CohortConfig, "not a regular expression"),
        (cohort(columns={"donor_id": {"column": "d", "value": "x"}, "population": "p"}), config.CohortConfig, "either"),
        ({"cohorts": ["a.yaml"], "min_cell": 3}, config.RunConfig, "Did you mean 'min_cells'?"),
        ({"cohorts": ["a.yaml"], "min_cells": -3}, config.RunConfig, "value -3"),
        ({"cohorts": ["a.yaml"], "models": ["betabinomal"]}, config.RunConfig, "Did you mean 'betabinomial'?"),
        ({"annotators": ["author"]}, config.RunConfig, "key 'cohorts' is missing"),
        (["a"], config.RunConfig, "a mapping of keys to values is wanted"),
    ],
)
def test_wrong_configuration_is_named(values: Any, kind: type[BaseModel], expected: str) -> None:
    with pytest.raises(AidaError) as caught:
        config.parse(values, kind, "file.yaml")
    assert str(caught.value).startswith("file.yaml: ")
    assert expected in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=r"absent\.yaml: there is no such file"):
        config.load_run(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("cohorts: [a\nx: }")
    with pytest.raises(AidaError, match=r"broken\.yaml: not valid YAML"):
        config.load_run(tmp_path / "broken.yaml")


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
        run = config.load_run(path)
        cohorts = {name: config.load_cohort(root / name) for name in run.cohorts}
        runs.settle(run, cohorts, path)
        config.load_populations(root / run.populations)


def test_every_key_is_described() -> None:
    pending: list[type[BaseModel]] = [config.CohortConfig, config.RunConfig]
    sources = [config.CellxgeneSource, config.FileSource, config.SampleSource, config.Controls, config.Labels]
    for model in [*pending, *sources, config.Column]:
        for name, field in model.model_fields.items():
            described = field.description or any(getattr(m, "description", None) for m in field.metadata)
            assert described or name == "kind", f"{model.__name__}.{name}"


def test_schemas_are_those_of_the_classes(root: Path) -> None:
    """workflow/schemas holds what the classes say; `python -m aida_tools.config` writes them anew."""
    for name, text in config.schemas().items():
        assert (root / "workflow" / "schemas" / name).read_text() == text
    assert (root / "config" / "README.md").read_text().endswith(f"{config.REFERENCE_MARK}\n\n{config.reference()}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.replace("colour", "color"), "column 'colour' is missing. Did you mean 'color'?"),
        (lambda t: t.replace("#D55E00", "orange"), "value 'orange' must be of the form"),
        (lambda t: t.replace("SG_Malay", "Korean"), "value 'Korean' stands there twice"),
    ],
)
def test_wrong_population_table_is_named(root: Path, tmp_path: Path, change: Any, expected: str) -> None:
    path = tmp_path / "populations.tsv"
    path.write_text(change((root / "config" / "populations.tsv").read_text()))
    with pytest.raises(AidaError) as caught:
        config.load_populations(path)
    assert expected in str(caught.value)
