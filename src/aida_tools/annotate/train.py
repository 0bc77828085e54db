"""Training a model on a labelled cohort, so that its labels can be carried to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from tqdm import tqdm

from aida_tools.annotate import learn
from aida_tools.annotate.labels import COLUMNS
from aida_tools.annotate.models import check_name
from aida_tools.annotate.run import LABELS, SETS
from aida_tools.cohort.source import SOURCE, counts_file
from aida_tools.config import load_cohort
from aida_tools.errors import AidaError
from aida_tools.files import staged
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block, Counts
from aida_tools.scan.model import LABEL_MAP, LinearModel, probabilities, save_model
from aida_tools.scan.stores import open_counts
from aida_tools.tables import read_cells, read_denominators, write_tsv

_CLIP, _TARGET = 10.0, 1e4
_BLOCK = 2048


def _blocks(counts: Counts, rows: NDArray[np.intp], step: str) -> Iterator[tuple[Block, NDArray[np.intp]]]:
    """Give the blocks that hold any of these cells, with the places of the cells in `rows`."""
    with tqdm(total=counts.shape[0], unit=" cells", desc=step, delay=2, disable=None) as bar:
        for start in range(0, counts.shape[0], _BLOCK):
            stop = min(start + _BLOCK, counts.shape[0])
            first, last = np.searchsorted(rows, [start, stop])
            if last > first:
                yield counts.read(start, stop), np.arange(first, last)
            bar.update(stop - start)


def _total(block: Block, n_genes: int) -> NDArray[np.int64]:
    total: NDArray[np.int64] = kernels.quality(block.indptr, block.indices, block.data, np.zeros(n_genes, dtype=bool))[
        0
    ]
    return total


def gather_expression(counts: Counts, rows: NDArray[np.intp], genes: NDArray[np.intp]) -> sp.csr_matrix:
    """Read log1p(counts per 10,000) of some cells and genes.

    Parameters
    ----------
    counts
        The matrix.
    rows
        The cells, ascending.
    genes
        The genes, ascending.

    Returns
    -------
    CSR matrix of shape (n_cells, n_genes), float64.
    """
    parts = []
    for block, places in _blocks(counts, rows, "read expression"):
        total = np.maximum(_total(block, counts.shape[1]), 1)
        matrix = sp.csr_matrix((block.data, block.indices, block.indptr), shape=(len(block), counts.shape[1]))
        local = rows[places] - block.start
        part = matrix[local][:, genes].astype(np.float64)
        part.data = np.log1p(part.data * np.repeat(_TARGET / total[local], np.diff(part.indptr)))
        parts.append(part)
    return sp.vstack(parts, format="csr")


def choose_genes(
    counts: Counts, rows: NDArray[np.intp], labels: NDArray[np.integer], per_class: int
) -> NDArray[np.intp]:
    """Choose genes by what they are worth among these cells; see `learn.select_genes`."""
    n_classes = int(labels.max()) + 1
    sums, squares = np.zeros((2, n_classes, counts.shape[1]))
    for block, places in _blocks(counts, rows, "choose genes"):
        label = np.full(len(block), -1)
        label[rows[places] - block.start] = labels[places]
        total = _total(block, counts.shape[1])
        kernels.add_moments(block.indptr, block.indices, block.data, total, label, _TARGET, sums, squares)
    # Of genes that share a name a model uses the first, so the others cannot be chosen.
    repeated = pd.Series(counts.genes.ids).duplicated().to_numpy()
    sums[:, repeated] = squares[:, repeated] = 0
    return learn.select_genes(sums, squares, np.bincount(labels, minlength=n_classes), per_class)


def _label_map(labels: pd.DataFrame, sets: pd.DataFrame, cell_type_id: pd.Series, column: str) -> pd.DataFrame:
    """Say what each class is counted as: what it was counted as where the model was trained."""
    known = pd.DataFrame({"label": labels[column], "cell_type": labels["cell_type"], "cell_type_id": cell_type_id})
    known = known.dropna(subset=["label", "cell_type"]).drop_duplicates()
    member = sets.groupby("cell_type")["denominator"].agg(",".join)
    rows = []
    for name, group in known.groupby("label", observed=True):
        types, ids = group["cell_type"].unique(), group["cell_type_id"].dropna().unique()
        if len(types) > 1:
            msg = f"label '{name}' is counted as {', '.join(map(str, types))}: train on the counted types instead."
            raise AidaError(msg)
        cd4 = "CD4_T" in str(member.get(types[0])).split(",")
        treg = "in" if types[0] == "Treg" else "out" if cd4 else None
        rows.append((name, types[0], ids[0] if len(ids) == 1 else None, member.get(types[0]), treg))
    return pd.DataFrame(rows, columns=[*COLUMNS, "treg"])


def train_model(
    cohort_path: Path,
    fetched: Path,
    cells_path: Path,
    labels_path: Path,
    out: Path,
    *,
    name: str,
    label: str = "cell_type",
    genes_per_class: int = 100,
    cells_per_class: int = 2000,
    penalty: float = 1e-4,
    seed: int = 1,
) -> None:
    """Train a model on the labels of a cohort; test and calibrate it on donors it has not seen.

    Parameters
    ----------
    cohort_path, fetched
        The cohort file, and the folder in which `fetch` left its results.
    cells_path
        `cells.parquet` or its folder, for the donors.
    labels_path
        Folder of an annotator, `author` as a rule, whose labels are learnt.
    out
        Folder of models; the model becomes a folder in it.
    name
        Its name as an annotator.
    label
        `cell_type`, the counted types, or `label`, as the annotator gave them.
    genes_per_class
        Genes each class may name as features.
    cells_per_class
        Most cells of a class to learn from: bounds memory and time, whatever the size of the cohort.
    penalty
        Strength of the L2 penalty.
    seed
        Seed of the split of donors and of the draw of cells.

    Raises
    ------
    AidaError
        If there are fewer than three donors, fewer than two classes, or a class is in no training donor.
    """
    check_name(name)
    cells_path = cells_path / "cells.parquet" if cells_path.is_dir() else cells_path
    cells = read_cells(cells_path, columns=["cell_id", "donor_id", "cell_type_id"])
    labels = read_cells(labels_path / LABELS, columns=["cell_id", "cell_type", "label"])
    if len(labels) != len(cells) or not (labels["cell_id"].to_numpy() == cells["cell_id"].to_numpy()).all():
        msg = f"{labels_path / LABELS}: its cells are not those of {cells_path}. Run `aida-tools annotate` again."
        raise AidaError(msg)
    codes, classes = pd.factorize(labels[label], sort=True)
    donors, donor_names = pd.factorize(cells["donor_id"])
    if len(donor_names) < 3 or len(classes) < 2:
        msg = (
            f"{cells_path}: {len(donor_names)} donors and {len(classes)} classes. A model needs two classes, and three "
            "donors: to learn from, to calibrate on and to be tested on."
        )
        raise AidaError(msg)
    rng = np.random.default_rng(seed)
    roles = learn.split_donors(donors, len(donor_names), rng)
    missing = sorted(set(range(len(classes))) - set(codes[roles == learn.TRAIN]))
    if missing:
        msg = (
            f"{labels_path / LABELS}: no donor to learn from has a cell '{classes[missing[0]]}'. "
            "Another --seed splits the donors in another way; or leave the class out."
        )
        raise AidaError(msg)
    rows, weights = learn.draw_cells(codes, roles, cells_per_class, rng)
    y, role = codes[rows], roles[rows]
    learning = role == learn.TRAIN
    label_map = _label_map(labels, read_denominators(labels_path / SETS), cells["cell_type_id"], label)
    source = counts_file(fetched)
    with open_counts(source.path, source.format, load_cohort(cohort_path).counts_layer) as counts:
        genes = choose_genes(counts, rows[learning], y[learning], genes_per_class)
        expression = gather_expression(counts, rows, genes)
        ids, symbols = (names[genes].astype(str) for names in (counts.genes.ids, counts.genes.symbols))
    coef, intercept, scale = learn.fit(expression[learning], y[learning], weights[learning], _CLIP, penalty)
    standard = expression.multiply(1 / scale).tocsr()
    standard.data = np.minimum(standard.data, _CLIP)
    scores = standard @ coef.T + intercept
    held = {role_name: role == which for role_name, which in (("calibrate", learn.CALIBRATE), ("test", learn.TEST))}
    temperature = learn.fit_temperature(scores[held["calibrate"]], y[held["calibrate"]])
    n_donors = {k: len(np.unique(donors[roles == k])) for k in (learn.TRAIN, learn.CALIBRATE, learn.TEST)}
    about = {
        "origin": f"trained by aida-tools on cohort '{load_cohort(cohort_path).name}', annotator '{labels_path.name}'",
        "licence": load_cohort(cohort_path).licence or "that of the cohort",
        "citation": load_cohort(cohort_path).citation,
        "donors": "{} to learn from, {} to calibrate, {} to test".format(*n_donors.values()),
        "cells": f"{int(learning.sum())} to learn from, at most {cells_per_class} a class",
        "seed": seed,
    }
    model = LinearModel(
        name=name, genes=ids, symbols=symbols, classes=np.array([str(c) for c in classes]), coef=coef,
        intercept=intercept, mean=np.zeros(len(genes)), scale=scale, clip=_CLIP, target=_TARGET, link="softmax",
        temperature=temperature, about=about,
    )  # fmt: skip
    test = held["test"]
    by_class, reliability = learn.evaluate(y[test], probabilities(model, scores[test]), model.classes.tolist())
    inputs = [cohort_path, fetched / SOURCE, cells_path, labels_path / LABELS, labels_path / SETS]
    config = {
        "label": label, "genes_per_class": genes_per_class, "cells_per_class": cells_per_class, "penalty": penalty,
    }  # fmt: skip
    with staged(out / name, step="model train", inputs=inputs, config=config, seed=seed) as staging:
        save_model(model, staging)
        write_tsv(label_map, staging / LABEL_MAP)
        write_tsv(by_class, staging / "evaluation.tsv")
        write_tsv(reliability, staging / "reliability.tsv")
