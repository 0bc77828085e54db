"""The step: files, determinism, and messages for wrong input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from aida_tools.compare.results import load_results
from aida_tools.errors import AidaError
from aida_tools.figures.run import draw_figures
from tests.figures.made_compare import write_compare


@pytest.fixture(scope="module")
def drawn(compared: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    draw_figures(compared, root / "config" / "populations.tsv", out)
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a comparison of two samples a group: nothing can be estimated, three figures can be drawn."""
    out = tmp_path_factory.mktemp("small")
    return write_compare(out, sites={"S": ("X", 1, ("Korean", "Thai"))}, donors_per_batch=2, controls=False, drop=())


def test_each_figure_has_three_pictures_and_its_table(drawn: Path) -> None:
    stems = [f["stem"] for f in json.loads((drawn / "figures.json").read_text())["figures"]]
    assert stems == ["share_by_population", "forest", "shifts", "design_map", "controls", "age_and_sex", "composition"]
    names = {f"{stem}.{kind}" for stem in stems for kind in ("pdf", "svg", "png", "tsv")}
    assert {p.name for p in drawn.iterdir()} == names | {"figures.json", "provenance.json"}
    assert (drawn / "forest.pdf").read_bytes().startswith(b"%PDF")


def test_processes_change_nothing(small: Path, root: Path, tmp_path: Path) -> None:
    for threads in (1, 2):
        draw_figures(small, root / "config" / "populations.tsv", tmp_path / str(threads), threads=threads)
    pictures = {p.name: p.read_bytes() for p in (tmp_path / "1").iterdir() if p.name != "provenance.json"}
    assert {p.suffix for p in map(Path, pictures)} >= {".pdf", ".svg", ".png", ".tsv"}
    assert all((tmp_path / "2" / name).read_bytes() == content for name, content in pictures.items())


def test_text_in_vector_files_is_text(drawn: Path) -> None:
    svg = (drawn / "forest.svg").read_text()
    assert "Korean – all others</text>" in svg
    pdf = (drawn / "forest.pdf").read_bytes()
    assert b"Type3" not in pdf
    # Letters can be copied out of the PDF: each embedded font says which character a glyph stands for.
    assert 1 <= pdf.count(b"/FontFile2 ") == pdf.count(b"/ToUnicode ")


def test_pictures_are_300_dpi_and_two_columns_wide(drawn: Path) -> None:
    from PIL import Image

    with Image.open(drawn / "share_by_population.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.width == pytest.approx(183 / 25.4 * 300, abs=1)


def test_source_table_holds_what_is_drawn(drawn: Path, compared: Path) -> None:
    table = pd.read_csv(drawn / "share_by_population.tsv", sep="\t")
    assert len(table) == len(load_results(compared).focus_shares())
    whole = load_results(compared).focus_standardised().set_index("contrast")
    known = table.dropna(subset=["standardised_share"]).groupby("population").first()
    assert len(known) >= 3
    for code, row in known.iterrows():
        entry = whole.loc[f"population: {code} - rest"]
        assert 0.01 < row["standardised_low"] < row["standardised_share"] < row["standardised_high"] < 0.2
        assert (row["standardised_low"], row["standardised_high"]) == (entry["share_a_low"], entry["share_a_high"])


def test_the_same_input_gives_the_same_bytes(small: Path, root: Path, tmp_path: Path) -> None:
    for name in ("once", "again"):
        draw_figures(small, root / "config" / "populations.tsv", tmp_path / name)
    for path in (tmp_path / "once").iterdir():
        if path.name != "provenance.json":
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_cohort_too_small_to_compare_is_shown_by_sample(small: Path, tmp_path: Path, root: Path) -> None:
    assert set(load_results(small).estimates["status"]) == {"too-few"}
    plates = draw_figures(small, root / "config" / "populations.tsv", tmp_path / "figures")
    assert [p.stem for p in plates] == ["share_by_sample", "design_map", "composition"]


def test_missing_and_spoiled_tables_are_named(compared: Path, tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "compare"
    shutil.copytree(compared, folder)
    (folder / "design.tsv").write_text((folder / "design.tsv").read_text().replace("n_donors", "donors", 1))
    with pytest.raises(AidaError, match=r"design\.tsv: column 'n_donors' is missing\. Did you mean 'donors'"):
        draw_figures(folder, root / "config" / "populations.tsv", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder / "compare.json").unlink()
    with pytest.raises(AidaError, match=r"compare\.json: there is no such file\. Name the folder"):
        load_results(folder)


def test_a_spoiled_flag_is_named(compared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    shutil.copytree(compared, folder)
    text = (folder / "shares.tsv").read_text().splitlines()
    text[1] = text[1].replace("True", "maybe")
    (folder / "shares.tsv").write_text("\n".join(text) + "\n")
    with pytest.raises(AidaError, match=r"shares\.tsv: column 'included', row 1"):
        load_results(folder)


def test_without_a_named_focus_the_first_type_stands_for_the_rest(compared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    shutil.copytree(compared, folder)
    options = json.loads((folder / "compare.json").read_text())
    (folder / "compare.json").write_text(json.dumps(options | {"focus": None}))
    results = load_results(folder)
    assert results.options["focus_given"] is False
    assert len(results.focus_shares())


def test_the_step_needs_neither_scanpy_nor_pyplot(small: Path, root: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from aida_tools.cli import main; "
        f"main(['figures', {str(small)!r}, '--populations', {str(root / 'config' / 'populations.tsv')!r}, "
        f"'--out', {str(tmp_path / 'out')!r}], standalone_mode=False); "
        "print([m for m in ('scanpy', 'anndata', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert "Warning" not in done.stderr
