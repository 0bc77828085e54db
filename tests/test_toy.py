"""One home for every idea: a model, an annotator, a figure and a step that only this file knows are found everywhere.

Each is registered once, beside what it does. The run file, the command line, the estimates, captions, methods, the page
and the reference must then know it, in true sentences, with no other code touched. That its step is a rule of the
workflow is tested in tests/workflow/test_steps.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from aida_tools import reference, rooms, runs
from aida_tools.annotate import registry as annotators
from aida_tools.annotate.annotation import SCORES, Annotation
from aida_tools.annotate.card import Card
from aida_tools.annotate.inputs import Inputs
from aida_tools.cli import main
from aida_tools.compare.tables import read_estimates
from aida_tools.core import schema, steps
from aida_tools.core.errors import AidaError
from aida_tools.core.files import staged
from aida_tools.core.options import arguments, option, options
from aida_tools.core.schema import Table, declare, number, text
from aida_tools.core.tables import read_cells
from aida_tools.figures import registry as figures
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import Palette, canvas
from aida_tools.models import registry as models
from aida_tools.models.data import Data, Fit
from aida_tools.models.linear import least_squares
from aida_tools.models.model import LOG_ODDS, Model
from aida_tools.results import page
from aida_tools.results.refit import load_comparison
from aida_tools.results.results import Results
from tests.figures.made_compare import light_pictures
from tests.small import aida_tools


def fit_rough(data: Data) -> list[Fit]:
    """Least squares on logits with a cell added on either side."""
    logits = np.log((data.counts + 1) / (data.totals[:, None] - data.counts + 1))
    return [least_squares(y, data.design) for y in logits.T]


def label_by_letter(inputs: Inputs) -> Annotation:
    """Call a cell Treg if its barcode begins with A, else another CD4 T cell."""
    ids = read_cells(inputs.cells_path, columns=["cell_id"])["cell_id"]
    types = pd.Categorical(np.where(ids.str.startswith("A"), "Treg", "CD4_T_other"))
    labels = pd.DataFrame({"cell_id": ids, "cell_type": types, "label": types}).assign(**dict.fromkeys(SCORES, np.nan))
    sets = pd.DataFrame({"denominator": "CD4_T", "cell_type": ["CD4_T_other", "Treg"]})
    return Annotation(labels, sets, Card(inputs.annotator, "The first letter of the barcode decided"))


@options
class Weighing:
    """How to weigh."""

    stones: int = option(default=2, help="Number of stones on the scales.", ge=1)
    colours: tuple[str, ...] = option(default=(), help="Colours of the stones.", flag="--colour", metavar="COLOUR")


def weigh(compared: Path, out: Path, *, options: Weighing) -> None:
    """Write how heavy every population is."""
    asked = load_comparison(compared, step="weighing")
    heavy = asked.selection.samples.groupby("population")["n_cells"].sum() * options.stones
    with staged(out, step="weighing", config={"stones": options.stones}) as folder:
        rows = [{"population": p, "weight": w, "note": None} for p, w in heavy.items()]
        schema.TABLES["weights.tsv"].write(schema.TABLES["weights.tsv"].frame(rows), folder)


def draw_weights(results: Results, palette: Palette) -> Plate | None:
    table = results[schema.TABLES["weights.tsv"]]
    if table.empty:
        return None

    def draw():  # type: ignore[no-untyped-def]
        made = canvas(89, 40, synthetic=results.synthetic)
        made.subplots().barh([palette.label(p) for p in table["population"]], table["weight"])
        return made

    heaviest = palette.label(table.loc[table["weight"].idxmax(), "population"])
    return Plate("weights", "Who is heaviest", f"Weight in stones. The heaviest is {heaviest}.", "Bars.", table, draw)


@pytest.fixture(scope="module")
def toys() -> Iterator[None]:
    """Register one of each, and forget them afterwards."""
    for part in ("step", "tables", "figures", "section"):
        rooms.load(part)
    registries: list[dict] = [  # type: ignore[type-arg]
        models.MODELS, annotators.ANNOTATORS, steps.STEPS, schema.TABLES, figures.FIGURES, page.SECTIONS,
    ]  # fmt: skip
    before = [dict(one) for one in registries]
    models.register(
        Model(
            name="rough-logit",
            fit=fit_rough,
            link="logit",
            unit=LOG_ODDS,
            words="least squares on rough logits",
            reference="This file",
            marker=("*", "#123456"),
            one_type=True,
        )
    )
    annotators.register(
        annotators.Annotator("letter", "letter", "the first letter of the barcode", label_by_letter, taught=False)
    )
    steps.register(steps.Step("weighing", "Weigh the populations of COMPARE_DIR.", Weighing, weigh))
    declare(
        Table(
            "weights",
            step="weighing",
            what="a population on the scales",
            columns=(
                text("population", empty=False),
                number("weight", "its weight", unit="stones", low=0),
                text("note"),
            ),
            title="Weights of the populations",
            section="weighing",
        )
    )
    figure("weights", section="weighing", short="Weights.")(draw_weights)
    page.register(page.Section("weighing", "On the scales", sentences=lambda r, _: ["See [figure:weights]."]))
    yield
    for one, kept in zip(registries, before, strict=True):
        one.clear()
        one.update(kept)


def run_file(**keys: object) -> dict[str, object]:
    return {"cohorts": ["config/cohorts/sample.yaml"], "annotators": ["letter"], **keys}


def test_the_run_file_knows_them(toys: None) -> None:
    run = runs.parse_run(run_file(compare={"models": ["rough-logit"]}, weighing={"stones": 3}), "run.yaml")
    assert arguments(run.compare) == ["--model=rough-logit", "--focus=Treg"]
    assert arguments(run.weighing) == ["--stones=3"]  # type: ignore[attr-defined]
    assert runs.asked(run).labellers == ["letter"]
    runs.asked(run).check(["sample"], "run.yaml")
    for keys, hint in (
        ({"weighing": {"stonse": 3}}, "Did you mean 'stones'?"),
        ({"weighing": {"stones": 0}}, "greater than or equal to 1"),
        ({"stones": 3}, "It belongs to the block 'weighing'."),
        ({"compare": {"models": ["rough-logt"]}}, "Did you mean 'rough-logit'?"),
    ):
        with pytest.raises(AidaError, match=re.escape(hint)):
            runs.parse_run(run_file(**keys), "run.yaml")
    with pytest.raises(AidaError, match="Did you mean 'letter'"):
        runs.asked(runs.parse_run(run_file(annotators=["leter"]), "run.yaml")).check(["sample"], "run.yaml")


def test_the_command_line_knows_them(toys: None) -> None:
    def said(*words: str) -> str:
        result = CliRunner().invoke(main, [*words, "--help"], terminal_width=200)
        assert result.exit_code == 0
        return " ".join(result.output.split())

    assert "weighing Weigh the populations" in said()
    assert "--stones INTEGER RANGE Number of stones on the scales. [default: 2; x>=1]" in said("weighing")
    assert "--colour COLOUR Colours of the stones." in said("weighing")
    assert "rough-logit least squares on rough logits" in said("compare")
    assert "letter the first letter of the barcode" in said("annotate")


def test_the_reference_knows_them(toys: None) -> None:
    words = reference.reference()
    assert "## `weighing`\n\nHow to weigh." in words
    assert "| `stones` | Number of stones on the scales. | `2` |" in words
    assert "| `rough-logit` | least squares on rough logits |" in words
    assert "| `letter` | the first letter of the barcode |" in words
    run = json.loads(reference.schemas()["run.schema.json"])
    assert run["properties"]["weighing"]
    assert "Number of stones on the scales." in json.dumps(run)
    tables = reference.tables()
    assert "`weights.tsv`" in tables
    assert "its weight" in tables


@pytest.fixture(scope="module")
def told(toys: None, small_run: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From the annotator to the page, by the command line."""
    folder = tmp_path_factory.mktemp("toy")
    cohort, cells = small_run.parents[1] / "sample.yaml", small_run / "cells" / "cells.parquet"
    aida_tools("annotate", cohort, cells, "--annotator", "letter", "--out", folder / "letter")
    labels = [small_run / "annotate" / "author", folder / "letter"]
    aida_tools("agreement", cells, *labels, "--within", "CD4_T", "--out", folder / "agreement")
    aida_tools("counts", cells, *labels, "--out", folder / "counts")
    tables = [folder / "counts" / f"{name}.tsv" for name in ("counts", "samples", "denominators")]
    aida_tools(
        "compare", *tables[:2], "--denominators", tables[2], "--cohort", cohort, "--min-cells", 40, "--one-vs-rest",
        "--model", "rough-logit", "--model", "propeller-asin", "--exclude-population", "Indian",
        "--primary-denominator", "CD4_T", "--out", folder / "compare",
    )  # fmt: skip
    aida_tools("weighing", folder / "compare", "--stones", 3, "--out", folder / "weighing")
    aida_tools(
        "robustness", folder / "compare", "--permutations", 20, "--specifications", 2, "--out", folder / "robustness"
    )  # fmt: skip
    also = [f"--also={folder / name}" for name in ("agreement", "robustness", "weighing")]
    populations = root / "config" / "populations.tsv"
    with light_pictures():
        aida_tools("figures", folder / "compare", *also, "--populations", populations, "--out", folder / "figures")
    aida_tools("report", folder / "compare", folder / "figures", *also, "--out", folder / "report")
    return folder


def test_the_estimates_are_the_models_own_and_stay_so_when_asked_again(told: Path) -> None:
    estimates = read_estimates(told / "compare" / "estimates.tsv")
    own = estimates[(estimates["model"] == "rough-logit") & (estimates["cell_type"] == "Treg")]
    assert own["estimate"].notna().any()
    record = json.loads((told / "compare" / "compare.json").read_text())
    assert record["model"] == "rough-logit"
    assert record["references"]["rough-logit"] == "This file"
    asked = load_comparison(told / "compare")
    again = asked.refit(asked.contrasts)
    np.testing.assert_array_equal([row["estimate"] for row in again], asked.estimates["estimate"].to_numpy(float))
    spec = pd.read_csv(told / "robustness" / "specification.tsv", sep="\t")
    here = spec[spec["primary"]].set_index("contrast")["estimate"]
    wanted = asked.estimates.set_index("contrast")["estimate"].reindex(here.index)
    np.testing.assert_allclose(here, wanted, rtol=1e-9)


def test_the_counts_are_the_annotators_own(told: Path, small_run: Path) -> None:
    counts = pd.read_csv(told / "counts" / "counts.tsv", sep="\t").query("annotator == 'letter'")
    ids = read_cells(small_run / "cells" / "cells.parquet", columns=["cell_id"])["cell_id"]
    totals = counts.groupby("cell_type")["n_cells"].sum()
    assert totals["Treg"] == ids.str.startswith("A").sum()
    assert totals.sum() == len(ids)


def test_captions_are_true(told: Path) -> None:
    drawn = {f["key"]: f for f in json.loads((told / "figures" / "figures.json").read_text())["figures"]}
    forest = drawn["forest"]["caption"]
    assert "rough-logit" in forest
    assert re.search(r"propeller-asin has another unit|propeller-asin.*not drawn", forest)
    assert not re.search(r"rough-logit[^.]*not drawn", forest)
    assert "rough-logit" in set(pd.read_csv(told / "figures" / "forest.tsv", sep="\t")["model"])
    assert drawn["weights"]["section"] == "weighing"
    assert [f["number"] for f in drawn.values()] == list(range(1, len(drawn) + 1))


def test_the_page_tells_of_them_in_true_sentences(told: Path) -> None:
    html = (told / "report" / "report.html").read_text()
    words = " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
    assert "compared by least squares on rough logits (rough-logit)" in words
    assert "rough-logit: This file" in words
    assert "letter (the first letter of the barcode)" in words
    assert "The first letter of the barcode decided" in words
    number = next(f["number"] for f in json.loads((told / "figures" / "figures.json").read_text())["figures"]
                  if f["key"] == "weights")  # fmt: skip
    assert f"See Figure {number} ." in words.replace(f"Figure {number}.", f"Figure {number} .")
    assert f"Figure {number}. Who is heaviest. Weight in stones." in words
    assert 'id="weighing"' in html
    assert "Weights of the populations" in words
    assert words.index("On the scales") < words.index("Weights of the populations")
