"""Every notebook runs from top to bottom on the sample cohort, and says what that cohort is known to hold."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pandas as pd
import pytest

import aida_tools as aida
from tests.small import aida_tools

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.md"))


def test_the_four_notebooks_are_there() -> None:
    assert [p.stem[:2] for p in NOTEBOOKS] == ["01", "02", "03", "04"]


def execute(path: Path, results: Path, out: Path) -> Any:
    """Execute a notebook as the workflow does, and return it."""
    env = os.environ | {"AIDA_RESULTS": str(results), "PYTHONWARNINGS": "error::FutureWarning"}
    target = out / f"{path.stem}.ipynb"
    command = [sys.executable, str(ROOT / "notebooks" / "execute.py"), str(path), str(target)]
    run = subprocess.run(command, env=env, cwd=out, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return nbformat.read(target, as_version=4)


@pytest.fixture(scope="module")
def executed(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Number of the notebook -> the executed notebook."""
    out = tmp_path_factory.mktemp("notebooks")
    return {path.stem[:2]: execute(path, small_run, out) for path in NOTEBOOKS}


def outputs(notebook: Any) -> list[Any]:
    return [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]


def text(notebook: Any) -> str:
    return "\n".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_cell_runs_without_complaint(path: Path, executed: dict[str, Any]) -> None:
    notebook = executed[path.stem[:2]]
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert not [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]


def test_figures_are_drawn(executed: dict[str, Any]) -> None:
    drawn = {number: sum("image/png" in o.get("data", {}) for o in outputs(nb)) for number, nb in executed.items()}
    assert drawn["01"] >= 4
    assert drawn["04"] >= 2


def test_the_same_donors_change_status_with_the_bench(executed: dict[str, Any]) -> None:
    said = re.findall(r"^status +(\S+)$", text(executed["02"]), re.M)
    assert said == ["between-site", "within-site"]
    assert "value 'Indonesia' is not a population" in text(executed["02"])


def test_small_errors_of_labels_fake_the_odds_ratios_of_the_explanation(executed: dict[str, Any]) -> None:
    """0.75 x 0.05 + 0.001 x 0.95 = 0.03845; with 0.006 x 0.95 it is 0.0432, with sensitivity 0.65 it is 0.03345."""
    rows = re.findall(r"^(0\.00\S+) +(\S+) +\S+ +(\S+)$", text(executed["03"]), re.M)
    faked = {float(drop): (float(same), float(lower)) for drop, same, lower in rows}
    odds = [p / (1 - p) for p in (0.03845, 0.0432, 0.03345)]
    assert faked[0.005][0] == pytest.approx(odds[1] / odds[0], abs=0.005)
    assert faked[0.0][1] == pytest.approx(odds[2] / odds[0], abs=0.005)
    page = (ROOT / "docs" / "explanation" / "treg_label.md").read_text()
    assert f"odds ratio of {odds[1] / odds[0]:.2f}" in page
    assert f"looks like {odds[2] / odds[0]:.2f}" in page


def test_agreement_is_that_of_the_run(small_run: Path, executed: dict[str, Any]) -> None:
    table = pd.read_csv(small_run / "agreement" / "agreement.tsv", sep="\t")
    rows = table[(table["within"] == "CD4_T") & (table["stratum"] == "site") & (table["measure"] == "sensitivity")]
    assert len(rows) >= 3
    for site, value in zip(rows["level"], rows["estimate"], strict=True):
        assert re.search(rf"{site} +{value:.3f} ", text(executed["03"]))


def test_the_planted_truth_is_told(small_run: Path, executed: dict[str, Any]) -> None:
    planted = json.loads((small_run / "fetch" / "truth.json").read_text())["populations"]["Korean"]
    alone, with_site = planted["odds_ratio"]["CD4_T"], planted["odds_ratio_with_site"]["CD4_T"]
    assert f"- Korean: {alone:.2f} planted, {with_site:.2f} together" in text(executed["04"])
    assert re.search(rf"^Korean +{alone:.2f} +{with_site:.2f}$", text(executed["01"]), re.M)
    assert "SYNTHETIC" in text(executed["01"])


@pytest.fixture(scope="module")
def incomparable(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like that of unlabelled blood: one annotator, one population, nothing to compare, no truth, no controls."""
    results = tmp_path_factory.mktemp("incomparable")
    cells = pd.read_parquet(small_run / "cells" / "cells.parquet")
    kept = (cells["population"] == "Korean").to_numpy()
    labels = pd.read_parquet(small_run / "annotate" / "gate" / "labels.parquet")
    for folder, name, table in (("cells", "cells", cells), ("annotate/gate", "labels", labels)):
        (results / folder).mkdir(parents=True)
        table[kept].to_parquet(results / folder / f"{name}.parquet", index=False)
    shutil.copy(small_run / "annotate" / "gate" / "sets.tsv", results / "annotate" / "gate")
    labelled = results / "cells" / "cells.parquet", results / "annotate" / "gate"
    aida_tools("counts", *labelled, "--out", results / "counts")
    aida_tools("agreement", *labelled, "--out", results / "agreement")
    tables = [results / "counts" / f"{name}.tsv" for name in ("counts", "samples", "denominators")]
    options = ["--denominators", tables[2], "--formula", "~ population", "--one-vs-rest"]
    aida_tools("compare", *tables[:2], *options, "--out", results / "compare")
    return results


def test_a_run_without_a_comparison_is_shown_too(incomparable: Path, tmp_path: Path) -> None:
    """All notebooks in one kernel: that each runs by itself is tested above."""
    assert aida.load_results(incomparable / "compare").estimates["estimate"].isna().all()
    first, *others = map(jupytext.read, NOTEBOOKS)
    first.cells += [cell for notebook in others for cell in notebook.cells]
    jupytext.write(first, tmp_path / "all.md")
    notebook = execute(tmp_path / "all.md", incomparable, tmp_path)
    assert len(notebook.cells) == len(first.cells)
    assert not [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_output_is_committed_and_no_path_of_a_machine(path: Path) -> None:
    source = path.read_text()
    assert "format_name: myst" in source
    assert not re.search(r"/home/|/Users/|/tmp/|image/png", source)
