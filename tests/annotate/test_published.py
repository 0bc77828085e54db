"""Classifiers from wheels: only the pinned file, only its named members, nothing run. The wheels here are SYNTHETIC."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aida_tools.annotate import published
from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256
from aida_tools.scan.network import Network
from aida_tools.scan.scorers import load_classifier
from tests.annotate.test_pickles import celltypist_like

GENES = [f"ENSG{i:011d}" for i in range(12)]
MAP = "label\tcell_type\tcell_type_id\tsets\ttreg\n"


def network_arrays(n_classes: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    sizes = [8, 6, 5, 4, n_classes]
    arrays: dict[str, Any] = {"select_idx": np.array([0, 1, 3, 4, 6, 8, 9, 11])}
    for i, (a, b) in enumerate(itertools.pairwise(sizes), start=1):
        arrays |= {f"W{i}": rng.normal(size=(a, b)).astype(np.float32), f"b{i}": rng.normal(size=b).astype(np.float32)}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


CONTENT: dict[str, dict[str, bytes]] = {
    "stcat": {
        "STCAT/data/T_cell.pkl": pickle.dumps(celltypist_like(4)),
        "stcat-1.1.2.dist-info/METADATA": b"License: MIT\n",
        "STCAT/__init__.py": b"raise SystemExit('run')\n",
    },
    "actinn-jax": {
        f"{published._PANHUMAN}/coarse.npz": network_arrays(3, 1),
        f"{published._PANHUMAN}/coarse.json": json.dumps(
            {"norm_genes": GENES, "classes": ["B cell", "Immune cell", "Neuron"]}
        ).encode(),
        f"{published._PANHUMAN}/fine_Immune cell.npz": network_arrays(4, 2),
        f"{published._PANHUMAN}/fine_Immune cell.json": json.dumps(
            {"norm_genes": GENES, "classes": ["Microglia", "NK", "Treg cell", "Immune cell"]}
        ).encode(),
        f"{published._PANHUMAN}/build_info.json": json.dumps(
            {"teacher": {"citation": "A teacher", "doi": "10.1/x", "weights": "there"}}
        ).encode(),
        "actinn_jax-0.3.1.dist-info/licenses/LICENSE": b"MIT License",
    },
    "celltypist": {
        published._GENE_TABLE.members[0]: "".join(f"{g}.5,SYMBOL{i}\n" for i, g in enumerate(GENES[:10])).encode()
    },
}


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Wheels with the members of the real ones, pinned in their place."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    recipes = {}
    for name, (needed, make) in published._RECIPES.items():
        pinned = []
        for wheel in needed:
            with zipfile.ZipFile(folder / wheel.file, "w") as archive:
                for member, content in CONTENT[wheel.package].items():
                    archive.writestr(member, content)
            pinned.append(dataclasses.replace(wheel, digest=sha256(folder / wheel.file)))
        recipes[name] = (tuple(pinned), make)
    monkeypatch.setattr(published, "_RECIPES", recipes)
    return folder


def label_map(tmp_path: Path, *labels: str) -> Path:
    path = tmp_path / "map.tsv"
    path.write_text(MAP + "".join(f"{label}\tB\t\t\t\n" for label in labels))
    return path


def test_stcat_keeps_the_listed_classes(wheels: Path, tmp_path: Path) -> None:
    kept = label_map(tmp_path, "type3", "type1")
    published.add_classifier("stcat", tmp_path / "classifiers", label_map=kept, wheels=wheels)
    classifier: Any = load_classifier(tmp_path / "classifiers" / "stcat")
    written = celltypist_like(4)["Model"]
    assert classifier.classes.tolist() == ["type1", "type3"]
    np.testing.assert_array_equal(classifier.coef, written.coef_[[1, 3]])
    np.testing.assert_array_equal(classifier.intercept, written.intercept_[[1, 3]])
    assert "no licence file" in classifier.about["licence"]
    assert (tmp_path / "classifiers" / "stcat" / "labels.tsv").read_text() == kept.read_text()


def test_actinn_keeps_the_listed_classes_of_both_networks(wheels: Path, tmp_path: Path) -> None:
    kept = label_map(tmp_path, "B cell", "Treg cell", "NK")
    published.add_classifier("actinn", tmp_path / "classifiers", label_map=kept, wheels=wheels)
    classifier = load_classifier(tmp_path / "classifiers" / "actinn")
    assert isinstance(classifier, Network)
    assert classifier.classes.tolist() == ["B cell", "NK", "Treg cell"]
    assert classifier.symbols.tolist() == [*[f"SYMBOL{i}" for i in range(10)], *GENES[10:]]
    with np.load(io.BytesIO(network_arrays(4, 2))) as arrays:
        np.testing.assert_array_equal(classifier.fine[0][0][arrays["select_idx"]], arrays["W1"])
        np.testing.assert_array_equal(classifier.fine[3][0], arrays["W4"][:, 1:3])
    # Genes that the published networks do not select have no weight.
    assert not classifier.fine[0][0][[2, 5, 7, 10]].any()
    assert "A teacher" in classifier.about["attribution"]
    assert classifier.about["licence_text"] == "MIT License"


def test_another_file_under_the_pinned_name_is_refused(wheels: Path, tmp_path: Path) -> None:
    with (wheels / "stcat-1.1.2-py3-none-any.whl").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(AidaError, match="It is not the published file: do not use it"):
        published.add_classifier(
            "stcat", tmp_path / "classifiers", label_map=label_map(tmp_path, "type1"), wheels=wheels
        )
    assert not (tmp_path / "classifiers").exists()


def test_a_label_the_classifier_does_not_have_is_named(wheels: Path, tmp_path: Path) -> None:
    kept = label_map(tmp_path, "type1", "type2", "type9")
    with pytest.raises(AidaError, match="the classifier has no type9"):
        published.add_classifier("stcat", tmp_path / "m", label_map=kept, wheels=wheels)


def test_unknown_classifiers_and_absent_wheels_are_named(tmp_path: Path) -> None:
    with pytest.raises(AidaError, match="Did you mean 'stcat'"):
        published.add_classifier("STCAT", tmp_path)
    kept = label_map(tmp_path, "type1")
    with pytest.raises(AidaError, match=r"stcat 1\.1\.2 of the Python Package Index"):
        published.add_classifier("stcat", tmp_path / "m", label_map=kept, wheels=tmp_path)


def test_the_download_is_pip_s_without_installing(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        target = Path(command[command.index("--dest") + 1])
        (target / "stcat-1.1.2-py3-none-any.whl").write_bytes((wheels / "stcat-1.1.2-py3-none-any.whl").read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    published.add_classifier("stcat", tmp_path / "classifiers", label_map=label_map(tmp_path, "type1", "type2"))
    assert len(commands) == 1
    assert commands[0][1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "stcat==1.1.2"} <= set(commands[0])
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(AidaError, match=r"No matching distribution.*--wheels"):
        published.add_classifier("stcat", tmp_path / "classifiers", label_map=label_map(tmp_path, "type1"))


@pytest.mark.parametrize("name", ["actinn", "stcat"])
def test_the_shipped_label_maps_tell_tregs_from_cd4(root: Path, name: str) -> None:
    from aida_tools.annotate.labels import read_label_map
    from aida_tools.core.schema import read_tsv

    path = root / "config" / "annotators" / f"{name}.labels.tsv"
    table = read_label_map(path).assign(treg=read_tsv(path)["treg"])
    assert set(table.loc[table["treg"] == "in", "cell_type"]) == {"Treg"}
    assert set(table.loc[table["cell_type"] == "Treg", "treg"]) == {"in"}
    cd4 = table["sets"].str.split(",").map(lambda s: "CD4_T" in s)
    assert (table.loc[cd4, "treg"].notna()).all()
    assert set(table.loc[cd4, "cell_type"]) == {"Treg", "CD4_T_other"}
