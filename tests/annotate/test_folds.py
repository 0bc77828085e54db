"""Classifiers in folds: every donor is labelled by the one that has not seen it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.annotate.folds import find_folds
from aida_tools.annotate.run import annotate
from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256
from aida_tools.core.tables import EXPECTED, read_denominators
from aida_tools.scan.classifier import LinearClassifier, save_linear

DONORS = ["d1", "d1", "d2", "d3", "d3", "d2"]
#: Fold 1 says Treg of every cell, fold 2 says B: the label tells who gave it.
SAYS = {"m.1": "Treg", "m.2": "B"}
MAPS = {
    "m.1": "label\tcell_type\tcell_type_id\tsets\nTreg\tTreg\t\tCD4_T\nnaive\tnaive\t\tCD4_T\n",
    "m.2": "label\tcell_type\tcell_type_id\tsets\nTreg\tTreg\t\tCD4_T\nB\tB\t\t\n",
}
ROLES = {"m.1": ["test", "learn", "test"], "m.2": ["learn", "test", "calibrate"]}


def classifier(name: str, **options: object) -> LinearClassifier:
    classes = np.array([line.split("\t")[0] for line in MAPS[name].splitlines()[1:]])
    made = LinearClassifier(
        name=name, genes=np.array(["A"]), classes=classes, coef=np.eye(2, 1), intercept=np.zeros(2), mean=np.zeros(1),
        scale=np.ones(1), link="softmax", about={"origin": "trained by aida-tools", "licence": "none"},
    )  # fmt: skip
    return dataclasses.replace(made, **options)  # type: ignore[arg-type]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    ids = [f"c{i}" for i in range(6)]
    (tmp_path / "cohort.yaml").write_text("name: x")
    (tmp_path / "scan").mkdir()
    cells = pd.DataFrame({"cell_id": ids, "donor_id": DONORS, "sample_id": [f"{d}|b1" for d in DONORS]})
    cells.to_parquet(tmp_path / "cells.parquet")
    scan = pd.DataFrame({"cell_id": ids})
    for k, (name, label) in enumerate(SAYS.items()):
        folder = tmp_path / "classifiers" / name
        folder.mkdir(parents=True)
        save_linear(classifier(name), folder)
        (folder / "labels.tsv").write_text(MAPS[name])
        roles = pd.DataFrame({"donor_id": ["d1", "d2", "d3"], "role": ROLES[name]})
        roles.to_csv(folder / "donors.tsv", sep="\t", index=False)
        scan[f"{name}:label"] = pd.Categorical([label] * 6)
        scan = scan.assign(**{f"{name}:probability": 0.5 + 0.1 * k, f"{name}:margin": 1.0, f"{name}:margin_Treg": k})
        expected = pd.DataFrame(
            [(f"{d}|b1", c, 10 * k + i) for d in ("d1", "d2", "d3") for i, c in enumerate(classifier(name).classes)],
            columns=["sample_id", "label", "n_expected"],
        )
        expected.to_parquet(tmp_path / "scan" / f"expected.{name}.parquet")
    scan.to_parquet(tmp_path / "scan" / "scan.parquet")
    return tmp_path


def run(cohort: Path) -> Path:
    paths = [cohort / name for name in ("cohort.yaml", "cells.parquet", "scan")]
    annotate(*paths, "m", cohort / "out" / "m", classifier_folder=cohort / "classifiers")
    return cohort / "out" / "m"


def test_every_donor_is_labelled_by_the_fold_that_has_not_seen_it(cohort: Path) -> None:
    out = run(cohort)
    labels = pd.read_parquet(out / "labels.parquet")
    assert labels["cell_id"].tolist() == [f"c{i}" for i in range(6)]
    # d1 and d3 are test donors of fold 1, d2 of fold 2.
    assert labels["cell_type"].astype(str).tolist() == ["Treg", "Treg", "B", "Treg", "Treg", "B"]
    assert labels["probability"].tolist() == [0.5, 0.5, 0.6, 0.5, 0.5, 0.6]
    assert labels["margin_Treg"].tolist() == [0, 0, 1, 0, 0, 1]
    sets = read_denominators(out / "sets.tsv")
    assert sets.to_numpy().tolist() == [["CD4_T", "m", "Treg"], ["CD4_T", "m", "naive"]]
    card = json.loads((out / "annotator.json").read_text())
    assert (card["annotator"], card["kind"]) == ("m", "folds")
    assert [m["name"] for m in card["classifiers"]] == ["m.1", "m.2"]
    assert card["classifiers"][0]["sha256"] == sha256(cohort / "classifiers" / "m.1" / "classifier.npz")


def test_expected_counts_are_those_of_the_donor_s_fold(cohort: Path) -> None:
    table = EXPECTED.read(run(cohort))
    wide = table.pivot(index="sample_id", columns="cell_type", values="n_expected")
    # Fold 1 expects (Treg 0, naive 1), fold 2 (Treg 10, B 11); what a fold does not know it does not expect.
    assert wide.loc["d1|b1"].to_dict() == {"B": 0, "Treg": 0, "naive": 1}
    assert wide.loc["d2|b1"].to_dict() == {"B": 11, "Treg": 10, "naive": 0}
    (cohort / "scan" / "expected.m.2.parquet").unlink()
    with pytest.raises(AidaError, match=r"no expected counts of fold 'm\.2'"):
        run(cohort)
    (cohort / "scan" / "expected.m.1.parquet").unlink()
    # What an earlier run left does not stay beside labels of another.
    assert not (run(cohort) / "expected.tsv").exists()


def test_a_donor_every_fold_may_have_seen_is_named(cohort: Path) -> None:
    path = cohort / "classifiers" / "m.2" / "donors.tsv"
    path.write_text(path.read_text().replace("d2\ttest", "d2\tlearn"))
    with pytest.raises(AidaError, match=r"d2 is a test donor in none of the folds m\.1, m\.2.*name one fold \(m\.1\)"):
        run(cohort)
    path.write_text("donor_id\trole\nd1\ttest\nd2\ttest\n")
    with pytest.raises(AidaError, match="d1 is a test donor of another fold too"):
        run(cohort)
    path.write_text("donor_id\trole\nd2\ttesting\n")
    with pytest.raises(AidaError, match="column 'role': value 'testing' must be one of learn, calibrate, test"):
        run(cohort)
    assert not (cohort / "out").exists()


def test_a_scan_with_other_classifiers_is_refused(cohort: Path) -> None:
    record = cohort / "classifiers" / "m.1" / "classifier.json"
    scanned = [
        {"path": "classifier.json", "sha256": sha256(record.parent.parent / f"m.{k}" / record.name)} for k in (1, 2)
    ]
    (cohort / "scan" / "provenance.json").write_text(json.dumps({"inputs": scanned}))
    run(cohort)
    save_linear(classifier("m.1", temperature=2.0), record.parent)
    with pytest.raises(AidaError, match=r"'m\.1' in .*classifiers is not the classifier of this scan\. Scan again"):
        run(cohort)


def test_a_class_the_map_lacks_is_an_error_in_expected_counts_too(cohort: Path) -> None:
    """No cell need have the label: its expected number would silently be lost."""
    path = cohort / "classifiers" / "m.1" / "labels.tsv"
    path.write_text(path.read_text().replace("naive\tnaive", "other\tnaive"))
    with pytest.raises(AidaError, match="no row for naive"):
        run(cohort)


def test_probabilities_of_classes_by_themselves_are_not_passed_on(cohort: Path) -> None:
    save_linear(classifier("m.1", link="sigmoid"), cohort / "classifiers" / "m.1")
    paths = [cohort / name for name in ("cohort.yaml", "cells.parquet", "scan")]
    annotate(*paths, "m.1", cohort / "one", classifier_folder=cohort / "classifiers")
    labels = pd.read_parquet(cohort / "one" / "labels.parquet")
    assert labels["probability"].isna().all()
    assert labels["margin_Treg"].notna().all()


def test_folds_are_numbered_classifiers_of_one_name() -> None:
    assert find_folds("m", ["gate", "m.10", "m.2", "m.x", "mm.1", "m"]) == ["m.2", "m.10"]
