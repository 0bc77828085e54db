"""What a room declares is on the page: the report has no list of rooms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from aida_tools.core.schema import TABLES, Table, declare, number, text
from aida_tools.report.run import write_report
from aida_tools.results.page import SECTIONS, Section, page_order, register


@pytest.fixture
def toy() -> Iterator[Table]:
    columns = (text("contrast"), number("value"), text("note"))
    declared = declare(
        Table("toy", step="toy", what="a contrast", columns=columns, title="A toy's table", section="toy-step")
    )
    yield declared
    TABLES.pop(next(key for key, table in TABLES.items() if table is declared))


def test_a_step_with_a_table_and_a_figure_is_on_the_page(page: Path, tmp_path: Path, toy: Table) -> None:
    (step := tmp_path / "toy").mkdir()
    rows = [["population: SG_Malay - rest", 1.25, "SG_Malay is one side"]]
    toy.write(pd.DataFrame(rows, columns=["contrast", "value", "note"]), step)
    shutil.copytree(page.parent / "figures", figures := tmp_path / "figures")
    record = json.loads((figures / "figures.json").read_text())
    words = {"title": "A toy's figure", "caption": "See [figure:forest].", "alt": "A toy, seen from afar, in words."}
    n = len(record["figures"])
    record["figures"].append({**record["figures"][0], **words, "key": "toy", "section": "toy-step", "number": n + 1})
    (figures / "figures.json").write_text(json.dumps(record))
    html = write_report(page.parent / "compare", figures, tmp_path / "out", also=[page.parent / "later", step])
    section = html.read_text().split('<section id="toy-step"')[1].split("</section>")[0]
    assert '<h2 id="toy-step-heading">Toy step</h2>' in section
    assert 'id="figure-toy"' in section
    assert '<a href="#figure-forest">Figure ' in section
    assert "<td>Singaporean Malay against all others</td>" in section
    assert "Singaporean Malay is one side" in section
    assert "A toy&#39;s table" in section


def test_sections_stand_at_their_places() -> None:
    known = list(SECTIONS.values())
    try:
        register(Section("late", "Late", place=99))
        register(Section("early", "Early", place=1))
        assert next(s.key for s in page_order(["unheard-of"])) == "early"
        assert list(SECTIONS)[-1] == "late"
        assert "unheard-of" in [s.key for s in page_order(["unheard-of", "late"])]
        assert "unheard-of" not in SECTIONS
    finally:
        SECTIONS.clear()
        SECTIONS.update({s.key: s for s in known})
