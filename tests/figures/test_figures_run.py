"""The step: files, determinism, and messages for wrong input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from aida_tools import figures, rooms
from aida_tools.core.errors import AidaError
from aida_tools.figures.registry import FIGURES, Plate, figure
from aida_tools.figures.run import draw_figures
from aida_tools.figures.style import Palette, canvas
from aida_tools.results.page import page_order
from aida_tools.results.results import Results, load_results
from tests.figures.made_compare import write_compare


@pytest.fixture(scope="module")
def drawn(made_up: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    draw_figures(made_up, root / "config" / "populations.tsv", out)
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a comparison of two samples a group: nothing can be estimated, three figures can be drawn."""
    out = tmp_path_factory.mktemp("small")
    return write_compare(out, sites={"S": ("X", 1, ("Korean", "Thai"))}, donors_per_batch=2, controls=False, drop=())


@pytest.fixture(scope="module")
def of_small(small: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Plate]]:
    """The folder of the figures of `small`, and what drawing them returned."""
    out = tmp_path_factory.mktemp("of_small")
    return out, draw_figures(small, root / "config" / "populations.tsv", out)


def contents(folder: Path) -> dict[str, bytes]:
    """File -> content, of all but the record of when it was made."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "provenance.json"}


def test_each_figure_has_three_pictures_and_its_table(drawn: Path) -> None:
    stems = [f["stem"] for f in json.loads((drawn / "figures.json").read_text())["figures"]]
    assert stems == ["share_by_population", "forest", "design_map", "controls", "shifts", "age_and_sex", "composition"]
    names = {f"{stem}.{kind}" for stem in stems for kind in ("pdf", "svg", "png", "tsv")}
    assert {p.name for p in drawn.iterdir()} == names | {"figures.json", "provenance.json"}
    assert (drawn / "forest.pdf").read_bytes().startswith(b"%PDF")


def test_processes_change_nothing(
    small: Path, of_small: tuple[Path, dict[str, Plate]], root: Path, tmp_path: Path
) -> None:
    draw_figures(small, root / "config" / "populations.tsv", tmp_path, threads=2)
    pictures = contents(of_small[0])
    assert {p.suffix for p in map(Path, pictures)} >= {".pdf", ".svg", ".png", ".tsv"}
    again = contents(tmp_path)
    assert again.keys() == pictures.keys()
    assert [name for name, content in pictures.items() if again[name] != content] == []


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


def test_source_table_holds_what_is_drawn(drawn: Path, made_up: Path) -> None:
    table = pd.read_csv(drawn / "share_by_population.tsv", sep="\t")
    assert len(table) == len(load_results(made_up).focus_shares())
    whole = load_results(made_up).focus_standardised().set_index("contrast")
    known = table.dropna(subset=["standardised_share"]).groupby("population").first()
    assert len(known) >= 3
    for code, row in known.iterrows():
        entry = whole.loc[f"population: {code} - rest"]
        assert 0.01 < row["standardised_low"] < row["standardised_share"] < row["standardised_high"] < 0.2
        assert (row["standardised_low"], row["standardised_high"]) == (entry["share_a_low"], entry["share_a_high"])


def test_the_same_input_gives_the_same_bytes(
    small: Path, of_small: tuple[Path, dict[str, Plate]], root: Path, tmp_path: Path
) -> None:
    draw_figures(small, root / "config" / "populations.tsv", tmp_path)
    once, again = contents(of_small[0]), contents(tmp_path)
    assert once.keys() == again.keys()
    assert [name for name, content in once.items() if again[name] != content] == []


def test_a_cohort_too_small_to_compare_is_shown_by_sample(small: Path, of_small: tuple[Path, dict[str, Plate]]) -> None:
    assert set(load_results(small).estimates["status"]) == {"too-few"}
    assert [(key, p.stem) for key, p in of_small[1].items()] == [
        ("share", "share_by_sample"), ("design_map", "design_map"), ("composition", "composition"),
    ]  # fmt: skip


def test_figures_are_numbered_by_where_they_stand_on_the_page(drawn: Path) -> None:
    listed = json.loads((drawn / "figures.json").read_text())["figures"]
    assert [f["number"] for f in listed] == list(range(1, len(listed) + 1))
    assert {f["key"]: f["section"] for f in listed} == {key: FIGURES[key].section for key in (f["key"] for f in listed)}
    # As the page goes through its sections.
    sections = [section.key for section in page_order(f["section"] for f in listed)]
    places = [sections.index(f["section"]) for f in listed]
    assert places == sorted(places)
    assert len(set(places)) > 1


def test_a_figure_that_a_room_declares_is_drawn_numbered_and_listed(small: Path, root: Path, tmp_path: Path) -> None:
    known = dict(FIGURES)

    @figure("toy", section="measured", place=15, short="A toy.")
    def toy(results: Results, palette: Palette) -> Plate:
        return Plate("toy_figure", "A toy", "What it shows.", "Nothing.", results.design, lambda: canvas(60, 30))

    try:
        draw_figures(small, root / "config" / "populations.tsv", tmp_path / "figures")
    finally:
        FIGURES.clear()
        FIGURES.update(known)
    listed = json.loads((tmp_path / "figures" / "figures.json").read_text())["figures"]
    assert [f["key"] for f in listed][:3] == ["share", "toy", "design_map"]
    assert listed[1] == {
        "key": "toy", "number": 2, "section": "measured", "stem": "toy_figure", "title": "A toy",
        "caption": "What it shows.", "alt": "Nothing.",
    }  # fmt: skip
    assert (tmp_path / "figures" / "toy_figure.pdf").is_file()


def test_public_figures_are_where_they_are_said_to_be() -> None:
    rooms.load("figures")
    for name in figures.__all__:
        assert getattr(figures, name) is not None
        assert callable(getattr(figures, name)) or name in ("SINGLE", "DOUBLE")
    with pytest.raises(AttributeError, match="no attribute 'forests'"):
        figures.forests  # noqa: B018


def test_missing_and_spoiled_tables_are_named(made_up: Path, tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "compare"
    shutil.copytree(made_up, folder)
    (folder / "design.tsv").write_text((folder / "design.tsv").read_text().replace("n_donors", "donors", 1))
    with pytest.raises(AidaError, match=r"design\.tsv: column 'n_donors' is missing\. Did you mean 'donors'"):
        draw_figures(folder, root / "config" / "populations.tsv", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder / "compare.json").unlink()
    with pytest.raises(AidaError, match=r"compare\.json: there is no such file\. Name the folder"):
        load_results(folder)


def test_a_spoiled_flag_is_named(made_up: Path, tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    shutil.copytree(made_up, folder)
    text = (folder / "shares.tsv").read_text().splitlines()
    text[1] = text[1].replace("True", "maybe")
    (folder / "shares.tsv").write_text("\n".join(text) + "\n")
    with pytest.raises(AidaError, match=r"shares\.tsv: column 'included', row 1"):
        load_results(folder)


def test_without_a_named_focus_the_first_type_stands_for_the_rest(made_up: Path, tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    shutil.copytree(made_up, folder)
    options = json.loads((folder / "compare.json").read_text())
    (folder / "compare.json").write_text(json.dumps(options | {"focus": None}))
    results = load_results(folder)
    assert results.options["focus_given"] is False
    assert len(results.focus_shares())


def test_the_step_needs_neither_scanpy_nor_pyplot(small: Path, root: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from aida_tools import rooms; from aida_tools.cli import main; "
        "from aida_tools.figures.registry import FIGURES; rooms.load('figures'); "
        # All are imported; one is enough to draw.
        "[FIGURES.pop(key) for key in list(FIGURES) if key != 'share']; "
        f"main(['figures', {str(small)!r}, '--populations', {str(root / 'config' / 'populations.tsv')!r}, "
        f"'--out', {str(tmp_path / 'out')!r}], standalone_mode=False); "
        "print([m for m in ('scanpy', 'anndata', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert "Warning" not in done.stderr
