"""Author labels and Cell Ontology ids to counted types and sets."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from aida_tools.cohort.labels import resolve_labels
from aida_tools.cohort.ontology import check_cell_type, descendants
from aida_tools.core.cohort_file import Labels
from aida_tools.core.errors import AidaError
from tests.cohort.tiny import LABELS


def resolve(labels: Labels | dict[str, Any], pairs: Any = None) -> tuple[list[Any], dict[str, list[str]]]:
    pairs = pairs or [(label, term) for label, _, term in LABELS]
    label = pd.Series([p[0] for p in pairs], dtype="category")
    term = pd.Series([p[1] for p in pairs], dtype="category")
    labels = labels if isinstance(labels, Labels) else Labels(**labels)
    cell_type, sets = resolve_labels(labels, label, term, "tiny.yaml")
    return [None if pd.isna(v) else v for v in cell_type], sets


def test_labels_count_as_themselves() -> None:
    types, sets = resolve({})
    assert types == [label for label, _, _ in LABELS]
    assert sets == {}


@pytest.mark.parametrize("member", ["Treg", "CL:0000815"])
@pytest.mark.parametrize("below", [False, True])
def test_the_double_negative_regulatory_cell_is_never_a_treg(member: str, below: bool) -> None:
    types, sets = resolve({"merge": {"Regulatory": [member]}, "sets": {"R": ["Regulatory"]}, "descendants": below})
    assert types.count("Regulatory") == 1
    assert types[3] == "dnT"
    assert sets == {"R": ["Regulatory"]}


def test_treg_is_not_below_cd4_t_in_the_ontology_so_it_is_listed() -> None:
    assert "CL:0000815" not in descendants("CL:0000624")
    _, sets = resolve({"sets": {"CD4_T": ["CL:0000624"]}, "descendants": True})
    assert sets["CD4_T"] == ["CD4+_T", "CD4+_T_naive"]
    _, sets = resolve({"sets": {"CD4_T": ["CL:0000624", "CL:0000815"]}, "descendants": True})
    assert sets["CD4_T"] == ["CD4+_T", "CD4+_T_naive", "Treg"]


def test_without_descendants_an_id_is_itself_only() -> None:
    _, sets = resolve({"sets": {"CD4_T": ["CL:0000624"]}})
    assert sets["CD4_T"] == ["CD4+_T"]


def test_cd8_and_tr1_cells_are_taken_away_with_what_is_below_them() -> None:
    pairs = [("a", "CL:0000815"), ("b", "CL:0002677"), ("c", "CL:0000920"), ("d", "CL:0000901"), ("e", "CL:0000625")]
    wanted = ["CL:0000815", "-CL:0000795", "-CL:0000901"]  # CL:0000920 is a descendant of CL:0000795
    types, sets = resolve({"merge": {"Treg": wanted}, "sets": {"S": wanted}, "descendants": True}, pairs)
    assert types == ["Treg", "Treg", "c", "d", "e"]
    assert sets["S"] == ["Treg"]


def test_labels_are_taken_away_too_and_absent_ids_may_be() -> None:
    _, sets = resolve({"sets": {"S": ["CL:0000084", "CL:0000542", "-Treg", "-CL:0000795"]}, "descendants": True})
    assert sets["S"] == ["CD4+_T", "CD4+_T_naive", "T", "dnT"]


def test_a_cohort_of_ids_only_counts_ids() -> None:
    types, sets = resolve(
        {"merge": {"Treg": ["CL:0000815"]}, "sets": {"CD4_T": ["Treg", "CL:0000895"]}},
        [(None, "CL:0000815"), (None, "CL:0000895"), (None, None)],
    )
    assert types == ["Treg", "CL:0000895", None]
    assert sets["CD4_T"] == ["CL:0000895", "Treg"]


def test_excluded_and_unlabelled_cells_are_not_counted() -> None:
    pairs = [("Treg", "CL:0000815"), ("Platelet", "CL:0000233"), (None, None)]
    types, sets = resolve({"exclude": ["Platelet"], "sets": {"S": ["Treg"]}}, pairs)
    assert types == ["Treg", None, None]
    assert resolve({"exclude": ["CL:0000233"]}, pairs)[0] == ["Treg", None, None]
    assert sets == {"S": ["Treg"]}


def test_a_label_that_no_cell_has_but_the_file_declares_is_no_hole() -> None:
    label = pd.Series(pd.Categorical(["T", "T"], categories=["T", "Treg"]))
    cell_type, sets = resolve_labels(
        Labels(merge={"Treg": ["Treg"]}, sets={"T": ["T", "Treg"]}), label, pd.Series([None, None]), "tiny.yaml"
    )
    assert cell_type.tolist() == ["T", "T"]
    assert sets == {"T": ["T", "Treg"]}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"sets": {"CD4_T": ["Tregs"]}}, ["labels.sets.CD4_T", "'Tregs'", "Did you mean 'Treg'?"]),
        ({"merge": {"X": ["CD4+_T_nave"]}}, ["labels.merge.X", "Did you mean 'CD4+_T_naive'?"]),
        ({"exclude": ["Platelet"]}, ["labels.exclude", "'Platelet'", "no cell has this label"]),
        ({"sets": {"S": ["CL:0000786"]}}, ["labels.sets.S", "(plasma cell)", "no cell has this id"]),
        ({"sets": {"S": ["CL:9999999"]}}, ["labels.sets.S", "not a Cell Ontology id"]),
        ({"sets": {"S": ["Treg", "-CL:9999999"]}}, ["labels.sets.S", "not a Cell Ontology id"]),
        ({"sets": {"S": ["CL:0000003"]}}, ["labels.sets.S", "deprecated", "CL:0000000"]),
        ({"merge": {"A": ["Treg"], "B": ["T", "Treg"]}}, ["labels.merge.B", "'Treg' is also in labels.merge.A"]),
        ({"merge": {"Treg": ["T"]}}, ["labels.merge.Treg", "have a label 'Treg'", "not among"]),
        ({"merge": {"X": ["T", "Treg"]}, "sets": {"S": ["Treg"]}}, ["labels.sets.S", "'X' is only partly", "'T'"]),
    ],
)
def test_holes_in_the_cohort_file_are_named(labels: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(AidaError) as error:
        resolve(labels)
    for word in ["tiny.yaml", *words]:
        assert word in str(error.value)


def test_names_come_from_the_ontology() -> None:
    assert check_cell_type("CL:0000815", "here") == "regulatory T cell"
    assert check_cell_type("CL:0011024", "here") == "double negative T regulatory cell"
    assert "CL:0011024" not in descendants("CL:0000815")
    assert {"CL:0000792", "CL:0002677", "CL:0002678", "CL:0000795"} < descendants("CL:0000815")
    with pytest.raises(AidaError, match="HANCESTRO:0022"):
        check_cell_type("HANCESTRO:0022", "here")
