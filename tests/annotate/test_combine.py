"""Annotators made of others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.annotate import combine
from aida_tools.annotate.run import annotate, consensus
from aida_tools.core.errors import AidaError
from aida_tools.core.tables import read_denominators

LABELS = ["Treg cell", "Treg cell", "CD4 T cell", "CD4 T cell", "B cell", None]


def test_agreement_falls_back_to_the_narrowest_common_set() -> None:
    one = pd.Series(["Treg", "Treg", "Treg", "CD8_T", "B", None, "B"])
    two = pd.Series(["Treg", "CD4", "CD8_T", "T_other", "NK", "B", "B"])
    sets = {"T": {"Treg", "CD4", "CD8_T", "T_other"}, "CD4_T": {"Treg", "CD4"}}
    types, extended = combine.agree([one, two], sets)
    expected = ["Treg", "CD4_T_unresolved", "T_unresolved", "T_unresolved", "unresolved", "unresolved", "B"]
    assert types.tolist() == expected
    assert extended["CD4_T"] == {"Treg", "CD4", "CD4_T_unresolved"}
    assert extended["T"] == sets["T"] | {"CD4_T_unresolved", "T_unresolved"}


def test_of_three_annotators_two_decide() -> None:
    one = pd.Series(["Treg", "Treg", "Treg", "Treg", "B", None])
    two = pd.Series(["Treg", "Treg", "CD4", None, "NK", None])
    three = pd.Series(["Treg", "B", "CD8_T", "CD4", "Treg", "Treg"])
    sets = {"T": {"Treg", "CD4", "CD8_T"}, "CD4_T": {"Treg", "CD4"}}
    # Two of three in CD4 is more than half, one of three is nothing, and no opinion is no vote.
    expected = ["Treg", "Treg", "CD4_T_unresolved", "CD4_T_unresolved", "unresolved", "unresolved"]
    assert combine.agree([one, two, three], sets)[0].tolist() == expected


def test_a_further_voter_of_the_same_mind_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    one, two = (pd.Series(rng.choice(["Treg", "CD4", "B"], 300)) for _ in range(2))
    sets = {"CD4_T": {"Treg", "CD4"}}
    np.testing.assert_array_equal(combine.agree([one, two, one], sets)[0], one)
    np.testing.assert_array_equal(combine.agree([one, two, one, two], sets)[0], combine.agree([one, two], sets)[0])


def write_record(folder: Path, name: str, about: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classifier.json").write_text(
        json.dumps({"name": name, "arrays_sha256": f"digest {name}", "about": about})
    )


@pytest.fixture
def folders(tmp_path: Path, root: Path) -> Path:
    ids = [f"c{i}" for i in range(6)]
    scan = pd.DataFrame({"cell_id": ids, "actinn:label": pd.Categorical(LABELS)})
    scan["actinn:margin_Treg"] = [1.0, 1.0, -0.5, -5.0, -9.0, np.nan]
    scan["stcat:label"] = pd.Categorical(["CD4 Treg"] * 6)
    scan["stcat:margin_Treg"] = [100.0, -10.0, 800.0, 800.0, 800.0, np.nan]
    scan["count:CD8A"], scan["count:CD8B"] = [0] * 6, [0, 0, 0, 0, 1, 0]
    for name in ("scan", "cells", "classifiers/actinn"):
        (tmp_path / name).mkdir(parents=True)
    scan.to_parquet(tmp_path / "scan" / "scan.parquet")
    pd.DataFrame({"cell_id": ids}).to_parquet(tmp_path / "cells" / "cells.parquet")
    label_map = (root / "config" / "annotators" / "actinn.labels.tsv").read_text()
    (tmp_path / "classifiers" / "actinn" / "labels.tsv").write_text(label_map)
    for name, credit in (("actinn", "A teacher, CC BY 4.0"), ("stcat", None)):
        about = {"origin": f"the wheel of {name}", "licence": "free", "attribution": credit}
        write_record(tmp_path / "classifiers" / name, name, about)
    (tmp_path / "cohort.yaml").write_text("name: x")
    return tmp_path


def test_blood_takes_lineage_from_one_and_treg_from_both(folders: Path) -> None:
    def types(annotator: str) -> list:
        paths = [folders / name for name in ("cohort.yaml", "cells", "scan")]
        annotate(*paths, annotator, folders / annotator, classifier_folder=folders / "classifiers")
        column = pd.read_parquet(folders / annotator / "labels.parquet")["cell_type"]
        return column.astype(object).where(column.notna(), None).tolist()

    # Both say Treg; only actinn does; only STCAT does, within CD4; STCAT is not asked about B cells.
    assert types("blood") == ["Treg", "CD4_T_other", "CD4_T_other", "CD4_T_other", "B", None]
    # 100/578 + 1/2.2 > 0; -10/578 + 1/2.2 > 0; 800/578 - 0.5/2.2 > 0; 800/578 - 5/2.2 < 0.
    assert types("blood-sensitive") == ["Treg", "Treg", "Treg", "CD4_T_other", "B", None]
    sets = read_denominators(folders / "blood" / "sets.tsv")
    assert set(sets.loc[sets["denominator"] == "CD4_T", "cell_type"]) == {"Treg", "CD4_T_other"}
    margins = pd.read_parquet(folders / "blood" / "labels.parquet")["margin_Treg"]
    # The weaker of the two, in standard deviations; nobody outside CD4 is asked.
    expected = [100 / 578.2, -10 / 578.2, -0.5 / 2.181, -5 / 2.181, np.nan, np.nan]
    np.testing.assert_allclose(margins, expected)
    total = pd.read_parquet(folders / "blood-sensitive" / "labels.parquet")["margin_Treg"]
    np.testing.assert_allclose(total[:2], [100 / 578.2 + 1 / 2.181, -10 / 578.2 + 1 / 2.181])
    card = json.loads((folders / "blood" / "annotator.json").read_text())
    assert (card["annotator"], card["kind"], card["thinned"]) == ("blood", "blood", False)
    assert [m["sha256"] for m in card["classifiers"]] == ["digest actinn", "digest stcat"]
    assert "A teacher, CC BY 4.0" in card["description"]
    # A CD8 molecule makes a CD8 T cell of a CD4 T cell, and of nothing else.
    scan = pd.read_parquet(folders / "scan" / "scan.parquet")
    scan.assign(**{"count:CD8A": [1, 0, 0, 2, 0, 0]}).to_parquet(folders / "scan" / "scan.parquet")
    assert types("blood") == ["CD8_T", "CD4_T_other", "CD4_T_other", "CD8_T", "B", None]


def test_blood_without_its_classifiers_says_how_to_get_them(folders: Path) -> None:
    scan = pd.read_parquet(folders / "scan" / "scan.parquet")
    scan.drop(columns=["stcat:label"]).to_parquet(folders / "scan" / "scan.parquet")
    paths = [folders / name for name in ("cohort.yaml", "cells", "scan")]
    with pytest.raises(AidaError, match=r"aida-tools classifier add stcat.*or choose gate"):
        annotate(*paths, "blood", folders / "blood", classifier_folder=folders / "classifiers")


def test_the_consensus_is_an_annotator(folders: Path) -> None:
    paths = [folders / name for name in ("cohort.yaml", "cells", "scan")]
    for annotator in ("blood", "blood-sensitive"):
        annotate(*paths, annotator, folders / annotator, classifier_folder=folders / "classifiers")
    consensus([folders / "blood", folders / "blood-sensitive"], folders / "both")
    labels = pd.read_parquet(folders / "both" / "labels.parquet")
    expected = ["Treg", "CD4_T_unresolved", "CD4_T_unresolved", "CD4_T_other", "B", "unresolved"]
    assert labels["cell_type"].tolist() == expected
    sets = read_denominators(folders / "both" / "sets.tsv")
    assert set(sets["annotator"]) == {"both"}
    assert {"CD4_T_unresolved"} < set(sets.loc[sets["denominator"] == "CD4_T", "cell_type"])
    card = json.loads((folders / "both" / "annotator.json").read_text())
    assert (card["annotator"], card["kind"]) == ("both", "consensus")
    assert [m["name"] for m in card["classifiers"]] == ["actinn", "stcat"]
    with pytest.raises(AidaError, match="two annotators at least"):
        consensus([folders / "blood"], folders / "one")
    other = pd.read_parquet(folders / "blood" / "labels.parquet").iloc[::-1]
    other.to_parquet(folders / "blood" / "labels.parquet")
    with pytest.raises(AidaError, match="Annotate the same cells"):
        consensus([folders / "both", folders / "blood"], folders / "again")
