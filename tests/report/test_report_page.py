"""The page as a file: self-contained, escaped, complete."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.figures.run import draw_figures
from aida_tools.report.run import write_report
from tests.figures.made_compare import light_pictures, write_compare
from tests.report.conftest import SCRIPT


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(path: Path) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.tags


def test_everything_is_inside_and_nothing_is_fetched(page: Path) -> None:
    found = tags(page)
    for tag, attributes in found:
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, value[:80])
    assert "url(" not in page.read_text()
    assert page.stat().st_size < 8_000_000


def test_a_hostile_name_is_text(page: Path) -> None:
    text = page.read_text()
    assert SCRIPT not in text
    assert "&lt;script&gt;alert(&#39;donor&#39;)&lt;/script&gt;" in text
    assert sum(tag == "script" for tag, _ in tags(page)) == 1


def test_every_figure_has_words_and_a_number(page: Path) -> None:
    images = [a for tag, a in tags(page) if tag == "img" and a.get("src")]
    assert len(images) == 11
    assert all(len(str(image["alt"])) > 40 for image in images)


def test_figures_are_numbered_from_top_to_bottom(page: Path) -> None:
    numbers = [int(n) for n in re.findall(r"<b>Figure (\d+)\.", page.read_text())]
    assert numbers == list(range(1, 12))
    assert [a["id"] for tag, a in tags(page) if tag == "section"] == [
        "answer", "claims", "measured", "labels", "robustness", "contrasts", "context", "samples", "missing", "methods",
        "provenance",
    ]  # fmt: skip


def test_synthetic_is_said_before_anything_else(page: Path) -> None:
    body = page.read_text().split("<body>")[1]
    assert body.index("SYNTHETIC") < body.index("<h1>")
    assert "not medical advice" in body


def test_methods_are_filled_in(page: Path) -> None:
    text = page.read_text()
    options = json.loads((page.parent / "compare" / "compare.json").read_text())
    assert f"{options['before']['samples']} samples" in text
    assert f"{options['after']['donors']} donors" in text
    assert "<code>~ population + age + sex</code>" in text
    assert "doi:10.1016/j.cell.2025.02.017" in text
    assert "Benjamini-Hochberg" in text


def test_what_has_no_estimate_is_listed_with_its_reason(page: Path) -> None:
    text = page.read_text()
    assert "the likelihood is flat: too few cells of this type." in text
    alone = "All Korean samples come from site KR (3 batches), where no other population was measured"
    assert f"{alone}: population and site cannot be told apart." in text
    assert "1 sample (fewer than 800 cells)" in text


def test_claims_have_their_verdicts(page: Path) -> None:
    text = page.read_text()
    assert "≈</span> supported, but population and site cannot be told apart</p>" in text
    assert "✗</span> not supported</p>" in text
    assert "&lt;b&gt;Bold&lt;/b&gt; claims are made." in text
    folded = text.split('id="claims-open"')[1].split("</details>")[0]
    assert "It makes people ill." in folded
    assert "Koreans have the lowest share." not in folded


def test_ids_are_unique_and_links_lead_somewhere(page: Path) -> None:
    found = tags(page)
    ids = [a["id"] for _, a in found if "id" in a]
    assert len(ids) == len(set(ids))
    links = [str(a["href"]).removeprefix("#") for tag, a in found if tag == "a"]
    assert set(links) <= set(ids)


def test_a_cohort_without_a_comparison_says_why(tmp_path: Path, root: Path) -> None:
    compared = write_compare(
        tmp_path / "compare", sites={"S": ("X", 1, ("Korean",))}, donors_per_batch=4, controls=False, drop=(),
        synthetic=False,
    )  # fmt: skip
    with light_pictures():
        draw_figures(compared, root / "config" / "populations.tsv", tmp_path / "figures")
    text = write_report(compared, tmp_path / "figures", tmp_path).read_text()
    assert "No comparison was made: Treg made up" in text
    assert "All samples are of one population (Korean)" in text
    assert "SYNTHETIC" not in text
    assert "sample by sample" in text


def test_the_command_adds_earlier_steps(page: Path, tmp_path: Path) -> None:
    record = tmp_path / "provenance.json"
    record.write_text(
        json.dumps({"step": "fetch", "command": "aida-tools fetch x.yaml", "started": "2026", "ended": "2026"})
    )
    arguments = ["report", str(page.parent / "compare"), str(page.parent / "figures"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, "--provenance", str(record)])
    assert done.exit_code == 0, done.output
    assert "aida-tools fetch x.yaml" in (tmp_path / "out" / "report.html").read_text()


def test_missing_pictures_and_records_are_named(page: Path, tmp_path: Path) -> None:
    folder = page.parent
    with pytest.raises(AidaError, match=r"figures\.json: there is no such file\. Name the folder"):
        write_report(folder / "compare", tmp_path, tmp_path / "out")
    shutil.copytree(folder / "figures", tmp_path / "figures")
    (tmp_path / "figures" / "forest.svg").unlink()
    with pytest.raises(AidaError, match=r"forest\.svg: there is no such file, but figures\.json lists it"):
        write_report(folder / "compare", tmp_path / "figures", tmp_path / "out")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    with pytest.raises(AidaError, match=r"wrong\.json: key 'step' is missing"):
        write_report(folder / "compare", folder / "figures", tmp_path / "out", provenance=[wrong])
    assert not (tmp_path / "out").exists()
