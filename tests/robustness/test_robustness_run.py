"""`aida-tools robustness`, folder to folder: all tables, bad input, degenerate cohorts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.compare.run import compare
from aida_tools.compare.step import Options as CompareOptions
from aida_tools.core.schema import write_tsv
from aida_tools.robustness.run import robustness
from aida_tools.robustness.step import Options

from .conftest import SITES, SMALL, compare_cohort, make_cohort

TABLES = {
    "site_bound", "site_prior", "controls_effect", "recalibrated", "leave_one_out", "permutation", "permutation_null",
    "misclassification", "misclassification_grid", "specification", "specification_summary",
}  # fmt: skip
FEW = Options(permutations=50, specifications=5, covariates=(), strata=())


def test_the_command_writes_every_table(small_folder: Path, tmp_path: Path) -> None:
    arguments = ["robustness", str(small_folder), "--out", str(tmp_path / "out"), "--permutations", "50"]
    arguments += ["--specifications", "12", "--labels-at", "KR=0.8,0.995", "--seed", "4"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert {p.stem for p in (tmp_path / "out").glob("*.tsv")} == TABLES
    record = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    assert record["seed"] == 4
    assert record["config"]["labels_at"] == ["KR=0.8,0.995"]
    assert {entry["path"] for entry in record["inputs"]} == {
        "compare.json", "samples.tsv", "shares.tsv", "estimates.tsv",
    }  # fmt: skip


def test_what_the_cohort_file_declares_enters_the_specification_curve(small_folder: Path, tmp_path: Path) -> None:
    """A user's covariate, stratum and unresolved label, no name of which stands in the code; options come first."""
    cohort = {
        "name": "mine", "title": "Mine", "source": {"kind": "h5ad", "path": "mine.h5ad"},
        "columns": {"donor_id": "d", "population": "p"}, "covariates": {"altitude": "a", "introns": "i"},
        "strata": ["altitude"], "labels": {"unresolved": ["CD4+_T"]},
    }  # fmt: skip
    (tmp_path / "cohort.yaml").write_text(yaml.safe_dump(cohort))
    tables = [small_folder.parent / f"{name}.tsv" for name in ("counts", "samples")]
    samples = pd.read_csv(tables[1], sep="\t")
    samples["altitude"] = np.where(samples["sample_id"].str.len() % 2, "high", "low")
    write_tsv(samples, tables[1].with_name("altitude.tsv"))
    options = CompareOptions(
        models=("quasibinomial",), denominators=("CD4_T=Treg,CD4_naive,CD4+_T", "all"), min_cells=400
    )
    compare(
        tables[0],
        tables[1].with_name("altitude.tsv"),
        tmp_path / "compare",
        options=options,
        cohort_path=tmp_path / "cohort.yaml",
    )

    def choices(**asked: tuple[str, ...]) -> dict[str, set[str]]:
        robustness(tmp_path / "compare", tmp_path / "out", options=replace(FEW, specifications=1000, **asked))
        table = pd.read_csv(tmp_path / "out" / "specification.tsv", sep="\t")
        return {column: set(table[column]) for column in ("covariates", "donors", "unresolved")}

    declared = choices()
    given = "~ population + age + sex"
    assert {f"{given} + altitude", f"{given} + introns"} <= declared["covariates"]
    assert {"altitude: high", "altitude: low"} <= declared["donors"]
    assert declared["unresolved"] == {"as given", "left out", "counted as the focus type"}
    asked = choices(covariates=("bmi",), strata=("introns",), unresolved=("T",))
    assert {text for text in asked["covariates"] if text.startswith(f"{given} + ")} == {f"{given} + bmi"}
    assert {text.partition(":")[0] for text in asked["donors"] if ":" in text} == {"introns"}
    assert asked["unresolved"] == {"as given", "left out"}, "T is in the denominator `all` only"


def test_one_thread_or_two_write_the_same(small_folder: Path, tmp_path: Path) -> None:
    for threads in (1, 2):
        robustness(small_folder, tmp_path / str(threads), options=replace(FEW, threads=threads))
    for name in TABLES:
        first, second = (pd.read_csv(tmp_path / n / f"{name}.tsv", sep="\t") for n in ("1", "2"))
        pd.testing.assert_frame_equal(first, second)


def test_a_soft_annotator_is_one_more_choice(tmp_path: Path) -> None:
    samples, counts = make_cohort(8, sites=SMALL)
    soft = counts.assign(annotator="author:soft", n_cells=counts["n_cells"] + 0.25)
    totals = samples.assign(n_cells=samples["n_cells"] + 2)
    folder = compare_cohort(tmp_path, totals, pd.concat([counts, soft]), models=("quasibinomial",), one_vs_rest=False)
    robustness(folder, tmp_path / "out", options=FEW)
    table = pd.read_csv(tmp_path / "out" / "specification.tsv", sep="\t")
    rows = table[(table["annotator"] == "author:soft") & (table["contrast"] == "population: Korean - SG_Chinese")]
    assert len(rows)
    assert rows["estimate"].notna().all()


def _no_focus(folder: Path) -> None:
    path = folder / "compare.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"focus": None}), encoding="utf-8")


def _no_model(folder: Path) -> None:
    path = folder / "compare.json"
    models = {"models": ["betabinomal"]}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | models), encoding="utf-8")


def _no_contrast(folder: Path) -> None:
    table = pd.read_csv(folder / "estimates.tsv", sep="\t", dtype=str)
    write_tsv(table[~table["contrast"].str.startswith("population")], folder / "estimates.tsv")


def _strange_sample(folder: Path) -> None:
    table = pd.read_csv(folder / "shares.tsv", sep="\t", dtype=str)
    table.loc[2, "sample_id"] = "nobody"
    write_tsv(table, folder / "shares.tsv")


def _negative(folder: Path) -> None:
    table = pd.read_csv(folder / "shares.tsv", sep="\t", dtype=str)
    table.loc[2, "n"] = "-1"
    write_tsv(table, folder / "shares.tsv")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "compare.json").unlink(), "compare.json: there is no such file. Name the folder"),
        (lambda f: (f / "compare.json").write_text("{", encoding="utf-8"), "not valid JSON"),
        (lambda f: (f / "samples.tsv").unlink(), "samples.tsv: there is no such file"),
        (_no_focus, "key 'focus' is empty"),
        (_no_model, "there is no model 'betabinomal'. Did you mean 'betabinomial'?"),
        (_strange_sample, "column 'sample_id', row 3: value 'nobody' is not in samples.tsv"),
        (_negative, "column 'n', row 3: value '-1.0' must be a number of 0 or more (cells)"),
    ],
)
def test_a_wrong_folder_is_refused(small_folder: Path, tmp_path: Path, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "compare"
    shutil.copytree(small_folder, folder)
    spoil(folder)
    result = CliRunner().invoke(main, ["robustness", str(folder), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_worthless_labels_are_refused(small_folder: Path, tmp_path: Path) -> None:
    arguments = ["robustness", str(small_folder), "--out", str(tmp_path / "out"), "--sensitivity", "0.3"]
    result = CliRunner().invoke(main, [*arguments, "--specificity", "0.6"])
    assert result.exit_code == 1
    assert "better than chance" in result.output


def zero_focus(samples: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """Return the counts without a focus cell in one population."""
    korean = samples.loc[samples["population"] == "Korean", "sample_id"]
    out = counts.copy()
    out.loc[out["sample_id"].isin(korean) & (out["cell_type"] == "Treg"), "n_cells"] = 0
    return out


@pytest.mark.parametrize("kind", ["one site", "one batch a site", "no controls", "no focus cell", "nothing recorded"])
def test_degenerate_cohorts_have_named_states(kind: str, tmp_path: Path) -> None:
    sites = {
        "one site": {"SG": SITES["SG"]},
        "one batch a site": {"KR": (1, ("Korean",)), "JP": (1, ("Japanese",))},
    }.get(kind, SMALL)
    samples, counts = make_cohort(7, sites=sites, donors=14, controls=int(kind != "no controls"))
    if kind == "no focus cell":
        counts = zero_focus(samples, counts)
    if kind == "nothing recorded":
        samples = samples[["sample_id", "population"]][~samples["is_control"]]
        counts = counts[counts["sample_id"].isin(samples["sample_id"])]
    formula = "~ population" if kind == "nothing recorded" else "~ population + age + sex"
    models = ("betabinomial-mixed", "log10-ols") if kind != "nothing recorded" else ("betabinomial",)
    folder = compare_cohort(tmp_path, samples, counts, formula=formula, models=models, one_vs_rest=False)
    robustness(folder, tmp_path / "out", options=FEW)
    written = {p.stem: pd.read_csv(p, sep="\t") for p in (tmp_path / "out").glob("*.tsv")}
    assert set(written) == TABLES
    for name in ("leave_one_out", "specification"):
        assert written[name].loc[written[name]["estimate"].isna(), "note"].notna().all()
    silent = written["permutation"]["p_value"].isna() & written["permutation"]["note"].isna()
    assert not silent.any()
    silent = written["misclassification"]["corrected"].isna() & written["misclassification"]["note"].isna()
    assert not silent.any()


def test_without_a_contrast_the_tables_are_empty(small_folder: Path, tmp_path: Path) -> None:
    """One population alone leaves nothing to question, which is no error: every table is there, without rows."""
    folder = tmp_path / "compare"
    shutil.copytree(small_folder, folder)
    _no_contrast(folder)
    robustness(folder, tmp_path / "out", options=Options(permutations=10, specifications=5))
    for name in ("site_bound", "leave_one_out", "permutation", "misclassification", "specification"):
        table = pd.read_csv(tmp_path / "out" / f"{name}.tsv", sep="\t")
        assert table.empty, name
        assert "contrast" in table.columns
