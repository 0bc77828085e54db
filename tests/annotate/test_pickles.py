"""Converting pickled classifiers: nothing in a hostile file runs, and nothing but a classifier comes out."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.preprocessing import StandardScaler

from aida_tools.annotate.pickles import read_celltypist
from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.scan.classifier import LinearClassifier

RAN = []


def detonate(*args: object) -> None:
    RAN.append(args)


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *args: Any):
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def celltypist_like(n_classes: int = 3, classifier: Any = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8)), np.array([f"type{i % n_classes}" for i in range(60)], dtype=object)
    scaler = StandardScaler().fit(X)
    fitted = (classifier or LogisticRegression()).fit(scaler.transform(X), y)
    fitted.features = np.array([f"GENE{i}" for i in range(8)], dtype=object)
    description = {"date": "2026", "details": "SYNTHETIC", "number_celltypes": n_classes, "version": "v1"}
    return {"Model": fitted, "Scaler_": scaler, "description": description}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("classifier", [LogisticRegression(), SGDClassifier(loss="log_loss")])
def test_classifiers_of_every_protocol_are_read(tmp_path: Path, protocol: int, classifier: Any) -> None:
    written = celltypist_like(classifier=classifier)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(written, protocol))
    classifier = read_celltypist(tmp_path / "m.pkl", "m")
    np.testing.assert_array_equal(classifier.coef, written["Model"].coef_)
    np.testing.assert_array_equal(classifier.intercept, written["Model"].intercept_)
    np.testing.assert_array_equal(classifier.classes, written["Model"].classes_)
    np.testing.assert_array_equal(classifier.genes, written["Model"].features)
    np.testing.assert_array_equal(classifier.mean, written["Scaler_"].mean_)
    np.testing.assert_array_equal(classifier.scale, written["Scaler_"].scale_)
    assert classifier.about["details"] == "SYNTHETIC"


def test_two_classes_become_two_rows(tmp_path: Path) -> None:
    written = celltypist_like(2)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(written))
    classifier = read_celltypist(tmp_path / "m.pkl", "m")
    row = written["Model"].coef_[0]
    np.testing.assert_array_equal(classifier.coef, [-row, row])


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


HOSTILE = {
    "a call of the operating system": pickle.dumps(Calls(os.system, "true")),
    "eval": pickle.dumps(Calls(eval, "1")),
    "a call of this module": pickle.dumps(Calls(detonate, 1)),
    "getattr": pickle.dumps(Calls(getattr, 1, "real")),
    "a dotted name below an allowed one": b"\x80\x04" + b"\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "numpy's loader, which unpickles": _global("numpy", "load") + b"(Vx.npy\ntR.",
    "numpy's f2py, which compiles": _global("numpy.f2py", "compile") + b"(Vx\ntR.",
    "an allowed module, another name": _global("sklearn.linear_model._logistic", "os") + b".",
    "an allowed name, another module": _global("builtins", "LogisticRegression") + b".",
    "an array that claims memory": _global("numpy._core.multiarray", "_reconstruct")
    + _global("numpy", "ndarray")
    + b"(I1099511627776\ntVb\ntR.",
    "ndarray called by itself": _global("numpy", "ndarray") + b"((I1099511627776\nttR.",
    "a codec that is not text": _global("_codecs", "encode") + b"(V00\nVhex\ntR.",
    "an outside object": b"Pthing\n.",
    "an object array of calls": pickle.dumps(np.array([Calls(detonate, 2)], dtype=object)),
    "a call inside a classifier": pickle.dumps(celltypist_like() | {"description": Calls(detonate, 3)}),
    "a call as an attribute": pickle.dumps({"Model": Calls(detonate, 4), "Scaler_": StandardScaler()}),
    "an import": _global("importlib", "import_module") + b"(Vos\ntR.",
    "a class built without calling it": b"\x80\x02" + _global("subprocess", "Popen") + b"(tR.",
    "an instance": b"(Vtrue\niposix\nsystem\n.",
    "an object of a class": b"(cposix\nsystem\nVtrue\no.",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_do_not_run(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "system", detonate)
    monkeypatch.setattr(builtins, "eval", detonate)
    path = tmp_path / "m.pkl"
    path.write_bytes(HOSTILE[what])
    RAN.clear()
    with pytest.raises(AidaError, match=r"m\.pkl: (refused|not a readable pickle)"):
        read_celltypist(path, "m")
    assert RAN == []


def test_hostile_pickles_would_run_elsewhere() -> None:
    """The bombs of these tests are live: Python's own unpickler sets them off."""
    RAN.clear()
    pickle.load(io.BytesIO(HOSTILE["a call inside a classifier"]))  # noqa: S301
    pickle.load(io.BytesIO(HOSTILE["an object array of calls"]))  # noqa: S301
    assert RAN == [(3,), (2,)]


def test_the_refusal_names_the_culprit_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(HOSTILE["a call of this module"])
    result = CliRunner().invoke(main, ["classifier", "import", str(path), "--out", str(tmp_path / "classifiers")])
    assert result.exit_code == 1
    assert f"{detonate.__module__}.detonate" in result.output
    assert not (tmp_path / "classifiers").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": 1}), "not a CellTypist classifier"),
        (pickle.dumps([1]), "not a CellTypist classifier"),
        (pickle.dumps(celltypist_like())[:-200], "not a readable pickle"),
        (b"", "not a readable pickle"),
        (pickle.dumps(celltypist_like() | {"Model": LogisticRegression()}), "the classifier has no 'coef_'"),
        (pickle.dumps(celltypist_like() | {"Scaler_": StandardScaler()}), "the classifier has no 'mean_'"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "not a readable pickle"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.pkl").write_bytes(content)
    with pytest.raises(AidaError, match=message):
        read_celltypist(tmp_path / "m.pkl", "m")


def test_import_and_show(tmp_path: Path) -> None:
    (tmp_path / "My classifier.pkl").write_bytes(pickle.dumps(celltypist_like()))
    label_map = tmp_path / "map.tsv"
    label_map.write_text("label\tcell_type\tcell_type_id\tsets\ntype0\tTreg\tCL:0000815\tCD4_T\ntype1\tB\t\t\n")
    classifiers = tmp_path / "classifiers"
    args = [
        "classifier",
        "import",
        str(tmp_path / "My classifier.pkl"),
        "--out",
        str(classifiers),
        "--label-map",
        str(label_map),
    ]
    result = CliRunner().invoke(main, args)
    assert "no row for type2" in result.output
    with label_map.open("a") as handle:
        handle.write("type2\tNK\t\t\n")
    assert CliRunner().invoke(main, args).exit_code == 0
    shown = CliRunner().invoke(main, ["classifier", "show", "My_classifier", "--classifiers", str(classifiers)])
    assert shown.exit_code == 0
    for text in ("3 classes, 8 genes", "type2", "details: SYNTHETIC", "file: My classifier.pkl"):
        assert text in shown.output
    result = CliRunner().invoke(main, [*args, "--name", "gate"])
    assert result.exit_code == 1
    assert "--name gate" in result.output


def test_the_same_scores_as_the_pickled_classifier(tmp_path: Path) -> None:
    written = celltypist_like(4)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(written))
    classifier: LinearClassifier = read_celltypist(tmp_path / "m.pkl", "m")
    x = np.random.default_rng(1).normal(size=(5, 8))
    expected = written["Model"].decision_function(written["Scaler_"].transform(x))
    np.testing.assert_allclose(
        (x - classifier.mean) / classifier.scale @ classifier.coef.T + classifier.intercept, expected
    )
