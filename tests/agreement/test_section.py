"""The section on labels says what the tables of `agreement` say, and names what they rest on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from aida_tools.agreement.section import GATE_ONLY, blocks, gate_only, references, sentences
from aida_tools.annotate.registry import find
from aida_tools.report.answer import make_answer
from aida_tools.report.methods import methods_paragraphs
from aida_tools.results.page import Block
from aida_tools.results.results import Results, load_results
from tests.figures import made_labels as made
from tests.figures.made_compare import write_compare


@pytest.fixture(scope="module")
def results(made_up: Path) -> Results:
    return without(load_results(made_up), **made.tables())


def without(results: Results, **tables: pd.DataFrame | None) -> Results:
    extra = {k: v for k, v in (results.tables | tables).items() if v is not None}
    return dataclasses.replace(results, tables=extra)


def shown(results: Results) -> list[Block]:
    """Return the tables that the page would show."""
    return [block for block in blocks(results, {}) if len(block.table)]


def with_annotators(results: Results, *names: str) -> Results:
    """Give results these annotators; `mine/2` is a classifier in two folds."""
    entries = [find(name.removesuffix("/2"), 2 if name.endswith("/2") else 1) for name in names]
    fields = ("name", "kind", "words", "taught", "reference")
    rows = [[*(getattr(entry, field) for field in fields), f"A {entry.kind}."] for entry in entries]
    columns = ["annotator", *fields[1:], "description"]
    return without(results, annotators=pd.DataFrame(rows, columns=columns))


def test_each_table_has_its_sentence(results: Results) -> None:
    assert sentences(results, {}) == [
        "The cells are counted by the labels of author (the authors' labels). They are compared with the labels of "
        "gate (the marker gate).",
        "Compared with author, gate finds 70.0 % (60.0 to 80.0) of the Treg cells among CD4 T cells. Between sites its "
        "sensitivity ranges from 70.0 % (KR) to 70.0 % (SG), its specificity from 99.0 % (KR) to 99.0 % (SG) "
        "([figure:label_errors]).",
        "Of all cells, 6.0 % have no definite label by author, from 4.0 % (KR) to 10.0 % (SG).",
        "The probabilities of gate add up to 1.20 (1.10 to 1.30) times the Treg cells that author finds, from 0.80 "
        "times (KR) to 2.00 times (SG). Soft counts alone could create a 2.5-fold difference between these sites "
        "([figure:label_curves]).",
        "At matched depth the Treg share of CD4 T cells by gate changes from 5.0 % to 3.0 % at site KR (-2.4 to -1.6 "
        "percentage points), the largest change of any site; the highest and the lowest site differ by 3.0 percentage "
        "points as measured, and by 1.0 at matched depth ([figure:depth_matched]).",
    ]


def test_soft_counts_are_called_so(results: Results) -> None:
    table = made.calibration().replace({"measure": {"expected_to_observed": "soft_to_observed"}})
    said = [s for s in sentences(without(results, calibration=table), {}) if "add up to" in s]
    assert said[0].startswith("The soft counts of gate add up to 1.20 (1.10 to 1.30) times the Treg cells")


def test_tables_that_are_not_there_leave_no_sentence_and_no_table(results: Results) -> None:
    nothing = without(results, **dict.fromkeys(made.tables()))
    assert sentences(nothing, {}) == []
    assert shown(nothing) == []
    empty = without(results, **{name: table.iloc[:0] for name, table in made.tables().items()})
    assert sentences(empty, {}) == []
    assert shown(empty) == []
    assert len(sentences(without(results, thinned=None, calibration=None), {})) == 3


@pytest.mark.parametrize(
    ("names", "alone"),
    [(("gate",), True), (("gate", "gate"), True), (("gate", "consensus"), True), (("gate", "author"), False),
     (("gate", "blood"), False), (("mine/2", "gate"), False), (("mine",), False), (("protein", "gate"), False)],
)  # fmt: skip
def test_a_gate_alone_is_said_first_and_on_the_first_screen(
    results: Results, names: tuple[str, ...], alone: bool
) -> None:
    now = with_annotators(results, *names)
    assert gate_only(now) == alone
    assert (sentences(now, {})[0] == GATE_ONLY) == alone
    answer = make_answer(now, {})
    assert (GATE_ONLY in answer.limits) == alone
    assert "aida-tools classifier add actinn --out classifiers" in GATE_ONLY


def test_a_gate_alone_is_said_where_nothing_could_be_compared(tmp_path: Path) -> None:
    one = write_compare(
        tmp_path / "compare", sites={"S": ("X", 1, ("Korean",))}, donors_per_batch=4, controls=False, drop=()
    )
    answer = make_answer(with_annotators(load_results(one), "gate"), {})
    assert not answer.compared
    assert answer.sentences[-1] == GATE_ONLY


def test_tables_hold_every_site(results: Results) -> None:
    blocks = {block.key: block.table for block in shown(results)}
    assert set(blocks) == {"annotators", "label-errors", "unresolved", "label-calibration", "depth-matched"}
    errors = blocks["label-errors"]
    assert list(errors["site"]) == ["all", "all", "KR", "KR", "SG", "SG"]
    row = errors[(errors["annotator"] == "gate") & (errors["site"] == "SG")].iloc[0]
    assert [row["sensitivity, %"], row["specificity, %"], row["F1, %"]] == pytest.approx([70, 99, 72])
    assert [row["sensitivity low"], row["average precision high"]] == pytest.approx([60, 80])
    ratios = blocks["label-calibration"].set_index("site")
    assert ratios.loc["SG", "expected / observed"] == 2
    assert ratios.loc["KR", "calibration error, %"] == pytest.approx(2)
    depth = blocks["depth-matched"].set_index("level")
    assert depth.loc["site: KR", "change, points"] == pytest.approx(-2)
    assert depth.loc["between sites: highest - lowest", "at matched depth, %"] == pytest.approx(1)
    assert blocks["unresolved"].set_index(["annotator", "site"]).loc[("author", "SG"), "unresolved, %"] == 10


def test_an_annotator_that_is_held_for_the_truth_is_not_called_true(results: Results) -> None:
    table = made.agreement().replace({"annotator_a": {"author": "blood"}})
    text = sentences(without(with_annotators(results, "blood", "gate"), agreement=table), {})
    assert text[1] == (
        "There are no reference labels; agreement is measured against the labels of blood (two published classifiers "
        "for blood, where they agree)."
    )
    assert text[2].startswith("Compared with blood, gate finds 70.0 %")


def test_with_one_site_matched_depth_is_told_by_batch_and_no_change_is_said_to_be_none(results: Results) -> None:
    table = made.thinned()
    table = table[table["level"] != "SG"].replace({"stratum": {"between sites": "between batches"}})
    batches = table[table["level"] == "KR"].assign(stratum="batch", level="B1")
    moved = sentences(without(results, thinned=pd.concat([table, batches])), {})[-1]
    assert (
        "at batch B1 (-2.4 to -1.6 percentage points), the largest change of any batch; the highest and the lowest "
        "batch differ by"
    ) in moved
    still = table.assign(rate_thinned=table["rate"], difference=0.0)
    assert sentences(without(results, thinned=still), {})[-1] == (
        "At matched depth the Treg share of CD4 T cells by gate does not change."
    )


def test_the_primary_annotator_is_first_also_where_its_counts_are_soft(results: Results) -> None:
    soft = dataclasses.replace(results, options=results.options | {"annotator": "gate:soft"})
    assert sentences(soft, {})[0].startswith("The cells are counted by the labels of gate (the marker gate).")


def test_methods_name_annotators_thinning_and_classifiers(results: Results) -> None:
    text = "\n".join(methods_paragraphs(results, {}, {}))
    assert (
        "Cells were labelled by author (the authors' labels) and gate (the marker gate). Labels of author: The" in text
    )
    assert "Labels of gate: A marker gate on the counts of one cell at a time." in text
    assert "thinned binomially to the depth of the shallowest site or batch, and labelled again by gate" in text
    assert "gate-thinned" not in text
    assert "take the labels of author as the reference" in text
    one = made.annotators().assign(classifiers="m1", licence="m1: MIT", attribution="m1: Someone (2024)")
    assert "Classifiers: m1: Someone (2024). Licences: m1: MIT" in references(without(results, annotators=one), {})
    assert "labelled by" not in "\n".join(methods_paragraphs(without(results, **dict.fromkeys(made.tables())), {}, {}))
