"""Bringing published classifiers from their wheels: downloaded, never installed; only the named members are read."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aida_tools.annotate.labels import read_label_map
from aida_tools.annotate.pickles import read_celltypist
from aida_tools.core.defaults import default_file
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import sha256, staged
from aida_tools.scan.classifier import LinearClassifier, save_linear
from aida_tools.scan.network import Network, save_network
from aida_tools.scan.tables import LABEL_MAP

Members = dict[str, bytes]


@dataclass(frozen=True)
class Wheel:
    """A wheel of a package registry, pinned."""

    package: str
    version: str
    digest: str
    members: tuple[str, ...]

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


_PANHUMAN = "actinn_jax/references/panhuman_distill_v1"
#: Ensembl ids and symbols (GENCODE 44): the networks know their genes by id only.
_GENE_TABLE = Wheel(
    "celltypist", "1.7.1", "3953f96a4476ed1dd2807446d97d3945e8905bbdac6bfef0d20b84a9a00d1101",
    ("celltypist/data/samples/GENCODEv44_Gene_id2name.csv",),
)  # fmt: skip
_STCAT = Wheel(
    "stcat", "1.1.2", "bb581040474d9bd02a5a59d62f83946b0c41c18b6ee4d743288f537f4d7ef8aa",
    ("STCAT/data/T_cell.pkl", "stcat-1.1.2.dist-info/METADATA"),
)  # fmt: skip
_ACTINN = Wheel(
    "actinn-jax", "0.3.1", "d3d51ccdf11ab573ca6a106c149c0f45026ef0cc801ff15c3353727016bec1f3",
    (
        f"{_PANHUMAN}/coarse.npz", f"{_PANHUMAN}/coarse.json", f"{_PANHUMAN}/fine_Immune cell.npz",
        f"{_PANHUMAN}/fine_Immune cell.json", f"{_PANHUMAN}/build_info.json",
        "actinn_jax-0.3.1.dist-info/licenses/LICENSE",
    ),
)  # fmt: skip


def download(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip, without its dependencies and without installing it.

    Raises
    ------
    AidaError
        If pip cannot get it.
    """
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--dest", str(folder), f"{wheel.package}=={wheel.version}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path = folder / wheel.file
    if done.returncode or not path.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AidaError(
            f"{wheel.file}: pip could not download it ({last}). Download it elsewhere "
            f"(pip download --no-deps {wheel.package}=={wheel.version}) and name its folder with --wheels."
        )
    return path


def read_members(wheel: Wheel, folder: Path) -> Members:
    """Read the named members of a wheel after checking its digest.

    Raises
    ------
    AidaError
        If the file is not the pinned one.
    """
    path = folder / wheel.file
    if not path.is_file():
        raise AidaError(
            f"{path}: there is no such file. It is {wheel.package} {wheel.version} of the Python Package Index."
        )
    found = sha256(path)
    if found != wheel.digest:
        raise AidaError(
            f"{path}: its SHA-256 is {found}, not {wheel.digest}. It is not the published file: do not use it."
        )
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in wheel.members}


def _keep(classes: NDArray[np.str_], wanted: set[str]) -> NDArray[np.bool_]:
    return np.isin(classes, sorted(wanted))


def make_stcat(members: dict[str, Members], kept: set[str]) -> LinearClassifier:
    """Make the STCAT T cell classifier, of the kept classes only.

    Each class has a score of its own, so leaving classes out does not change those of the others.
    """
    stcat = members["stcat"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "T_cell.pkl"
        path.write_bytes(stcat["STCAT/data/T_cell.pkl"])
        classifier = read_celltypist(path, "stcat")
    keep = _keep(classifier.classes, kept)
    about = {
        "origin": "STCAT 1.1.2 of the Python Package Index, T_cell.pkl",
        "sha256": classifier.about["sha256"],
        "licence": "MIT by the metadata of the wheel, which holds no licence file",
        "attribution": "STCAT, GuoBioinfoLab, https://github.com/GuoBioinfoLab/STCAT",
        "use": "T cells only, and only after a gate: every cell gets a T cell label; scores are in the hundreds",
        "classes": f"{int(keep.sum())} of {len(keep)}: those of resting blood; tissue-resident ones take Tregs in",
    }
    return LinearClassifier(
        name="stcat", genes=classifier.genes, classes=classifier.classes[keep], coef=classifier.coef[keep],
        intercept=classifier.intercept[keep], mean=classifier.mean, scale=classifier.scale, about=about,
    )  # fmt: skip


def _layers(content: bytes, n_genes: int, keep: NDArray[np.bool_]) -> list[tuple[Any, Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        layers = [[arrays[f"{kind}{i}"].astype(np.float64) for kind in "Wb"] for i in range(1, 5)]
        first = np.zeros((n_genes, layers[0][0].shape[1]))
        first[arrays["select_idx"]] = layers[0][0]
    layers[0][0] = first
    layers[-1] = [layers[-1][0][:, keep], layers[-1][1][keep]]
    return [(weight, bias) for weight, bias in layers]


def make_actinn(members: dict[str, Members], kept: set[str]) -> Network:
    """Make the two actinn networks distilled from Pan-human Azimuth, of the kept classes only."""
    actinn = members["actinn-jax"]
    parent = "Immune cell"
    stages = []
    for stage in ("coarse", f"fine_{parent}"):
        record = json.loads(actinn[f"{_PANHUMAN}/{stage}.json"])
        classes = np.array(record["classes"])
        keep = _keep(classes, kept | {parent} if stage == "coarse" else kept)
        layers = _layers(actinn[f"{_PANHUMAN}/{stage}.npz"], len(record["norm_genes"]), keep)
        stages.append((layers, classes[keep], record["norm_genes"]))
    (coarse, coarse_classes, genes), (fine, fine_classes, fine_genes) = stages
    if genes != fine_genes:
        raise AidaError("actinn-jax: its two networks have different genes, which is not so in the published wheel.")
    text = members["celltypist"][_GENE_TABLE.members[0]].decode("utf-8")
    names = {row[0].split(".")[0]: row[1] for row in csv.reader(io.StringIO(text)) if len(row) > 1}
    teacher = json.loads(actinn[f"{_PANHUMAN}/build_info.json"])["teacher"]
    about = {
        "origin": "actinn-jax 0.3.1 of the Python Package Index, panhuman_distill_v1 (coarse and Immune cell)",
        "licence": "MIT (actinn-jax); weights of the teacher CC BY 4.0, attribution required",
        "licence_text": actinn["actinn_jax-0.3.1.dist-info/licenses/LICENSE"].decode("utf-8"),
        "attribution": f"{teacher['citation']} doi:{teacher['doi']}; weights {teacher['weights']}",
        "symbols": "GENCODE 44, from the table in celltypist 1.7.1 (MIT)",
        "classes": f"{len(coarse_classes) - 1} coarse and {len(fine_classes)} immune: those of blood",
    }
    symbols = np.array([names.get(gene, gene) for gene in genes])
    return Network(
        name="actinn", genes=np.array(genes), symbols=symbols, coarse=coarse, fine=fine,
        coarse_classes=coarse_classes, fine_classes=fine_classes, parent=parent, about=about,
    )  # fmt: skip


_RECIPES: dict[str, tuple[tuple[Wheel, ...], Callable[[dict[str, Members], set[str]], LinearClassifier | Network]]] = {
    "actinn": ((_ACTINN, _GENE_TABLE), make_actinn),
    "stcat": ((_STCAT,), make_stcat),
}


def add_classifier(name: str, out: Path, *, label_map: Path | None = None, wheels: Path | None = None) -> None:
    """Bring a published classifier from its wheel.

    Parameters
    ----------
    name
        `actinn` or `stcat`.
    out
        Folder of classifiers; the classifier becomes a folder in it.
    label_map
        Table that says what each label is counted as; classes it does not list are left out.
    wheels
        Folder with the wheels, where they were downloaded by hand; by default pip downloads them.

    Raises
    ------
    AidaError
        If there is no such classifier, a wheel cannot be got or is not the published one.
    """
    if name not in _RECIPES:
        raise AidaError(f"classifier add {name}: unknown. {did_you_mean(name, _RECIPES)}")
    label_map = label_map or default_file(f"annotators/{name}.labels.tsv")
    kept = set(read_label_map(label_map)["label"])
    needed, make = _RECIPES[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = wheels or Path(scratch)
        if wheels is None:
            for wheel in needed:
                download(wheel, folder)
        classifier = make({wheel.package: read_members(wheel, folder) for wheel in needed}, kept)
    lacking = sorted(kept - set(classifier.classes.tolist()))
    if lacking:
        raise AidaError(
            f"{label_map}: column 'label': the classifier has no {', '.join(lacking)}. Correct the label or remove it."
        )
    details = {"wheels": [{"file": w.file, "sha256": w.digest} for w in needed]}
    with staged(out / name, step="classifier add", inputs=[label_map], details=details) as staging:
        if isinstance(classifier, Network):
            save_network(classifier, staging)
        else:
            save_linear(classifier, staging)
        shutil.copyfile(label_map, staging / LABEL_MAP.file)
