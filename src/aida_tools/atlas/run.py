"""From a cohort's counts and labels to `atlas.h5ad`, `sketch.tsv` and `sketch_about.tsv`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools import __version__
from aida_tools.atlas import passes, sketch
from aida_tools.atlas.embed import MIN_CELLS, check_harmony, embed, normalise, variable_genes
from aida_tools.atlas.h5ad import SCHEMA, WARNING, carried_columns, make_obs, organism_of, write_h5ad
from aida_tools.atlas.step import Options
from aida_tools.atlas.tables import SKETCH, SKETCH_ABOUT
from aida_tools.cohort.source import SOURCE, counts_file
from aida_tools.core.cohort_file import CohortConfig, load_cohort
from aida_tools.core.errors import AidaError
from aida_tools.core.files import file_of, staged
from aida_tools.core.options import recorded
from aida_tools.core.tables import CELLS, LABELS, read_cells
from aida_tools.scan.blocks import Counts, Genes
from aida_tools.scan.stores import open_counts

ATLAS = "atlas.h5ad"
#: Genes whose expression is drawn, as far as a cohort has them.
MARKERS = ("FOXP3", "IL2RA", "CTLA4", "CD3E", "CD4", "CD8A", "MS4A1", "LYZ", "NKG7")
#: Points a picture can show.
_MOST_DRAWN = 20_000
_MIN_GENES = 3


def _check_enough(n_cells: int, n_genes: int, path: Path) -> None:
    if n_cells < MIN_CELLS or n_genes < _MIN_GENES:
        raise AidaError(
            f"{path}: {n_cells} cells with counts and {n_genes} genes that are seen often enough (in 10 cells at "
            f"least). A picture needs {MIN_CELLS} cells and {_MIN_GENES} genes."
        )


def choose_cells(
    counts: Counts, cell_ids: NDArray[np.object_], kind: NDArray[np.integer], n: int, *, n_genes: int, seed: int,
    threads: int,
) -> tuple[sketch.Draw, dict[str, Any]]:  # fmt: skip
    """Choose at most `n` cells by leverage, rare types kept.

    Parameters
    ----------
    counts
        The matrix.
    cell_ids
        Id of each cell, shape (n_cells,).
    kind
        Type of each cell, shape (n_cells,); -1 for none.
    n
        Cells wanted; if there are no more, all are taken and nothing is read.
    n_genes
        Genes that make up the leverage.
    seed
        Seed of the draw.
    threads
        Threads at work.

    Returns
    -------
    The cells, and how they were chosen, for the record.

    Raises
    ------
    AidaError
        If there are too few cells with counts, or genes, to choose by.
    """
    if len(kind) <= n:
        return sketch.Draw(np.arange(len(kind)), np.ones(len(kind))), {"rule": "all cells with counts"}
    hashes = sketch.hash_cells(cell_ids, seed)
    moments, totals = passes.sum_moments(counts, threads=threads)
    genes = sketch.choose_genes(moments, len(kind), n_genes)
    _check_enough(int((totals > 0).sum()), len(genes), counts.path)
    leverage = passes.estimate_leverage(counts, totals, genes, hashes, seed=seed, threads=threads)
    quota = sketch.quota_of(n, int(kind.max(initial=-1)) + 1)
    drawn = sketch.draw(sketch.chances(leverage, totals), sketch.uniforms(hashes, 0), kind, n, quota)
    return drawn, {"rule": "leverage scores", "quota_of_a_type": quota, "genes_of_leverage": len(genes)}


def _read_labels(folders: Sequence[Path], cell_ids: pd.Series, cells_path: Path) -> dict[str, pd.Series]:
    labels = {}
    for folder in folders:
        table = read_cells(folder / LABELS.file, columns=["cell_id", "cell_type"])
        if not np.array_equal(table["cell_id"].to_numpy(), cell_ids.to_numpy()):
            raise AidaError(
                f"{folder / LABELS.file}: its cells are not those of {cells_path}. Run `aida-tools annotate` again."
            )
        labels[folder.name] = table["cell_type"].astype("category")
    return labels


def sketch_table(
    xy: NDArray[np.float32], obs: pd.DataFrame, cell_type: pd.Series, matrix: sp.csr_matrix, genes: Genes
) -> pd.DataFrame:
    """Make the table that figures are drawn from.

    Parameters
    ----------
    xy
        Coordinates, shape (n_cells, 2).
    obs
        Table of the cells, with `site` and `batch`.
    cell_type
        Type of each cell, shape (n_cells,).
    matrix
        log1p(counts per 10,000), CSR of shape (n_cells, n_genes).
    genes
        Names of its columns.

    Returns
    -------
    `x, y, cell_type, site, batch` and `expr:GENE` for those of `MARKERS` that are there.
    """
    table = pd.DataFrame({"x": xy[:, 0].round(3), "y": xy[:, 1].round(3), "cell_type": cell_type.to_numpy()})
    table["site"], table["batch"] = obs["site"].to_numpy(), obs["batch"].to_numpy()
    for gene in MARKERS:
        columns = np.flatnonzero(genes.symbols == gene)
        if len(columns):
            table[f"expr:{gene}"] = matrix[:, columns[0]].toarray().ravel().round(3)
    return table


def _notes(cohort: CohortConfig, n: int, n_cells: int, about: dict[str, Any]) -> dict[str, Any]:
    """Say in the file what it is."""
    mark = "SYNTHETIC: " if cohort.synthetic and not cohort.title.startswith("SYNTHETIC") else ""
    title = f"{mark}{cohort.title}, " + (f"a sketch of {n:,} of {n_cells:,} cells" if n < n_cells else f"{n:,} cells")
    notes = {"sketch": WARNING, "synthetic": cohort.synthetic, "version": __version__, "schema_reference": SCHEMA}
    notes |= {key: value for key, value in (("citation", cohort.citation), ("licence", cohort.licence)) if value}
    return {"title": title, "aida_tools": notes | about}


def atlas(
    cohort_path: Path,
    fetched: Path,
    cells_path: Path,
    label_folders: Sequence[Path],
    out: Path,
    *,
    options: Options | None = None,
) -> None:
    """Write `atlas.h5ad`, a sketch of the cells with embeddings and labels, and what the figures need of it.

    `sketch.tsv` has the cells to draw, `sketch_about.tsv` how they were chosen and placed.

    Parameters
    ----------
    cohort_path, fetched
        The cohort file, and the folder in which `fetch` left its results.
    cells_path
        `cells.parquet` or its folder.
    label_folders
        Folders of annotators; the rare types of the first are kept, and it is drawn.
    out
        Folder for the results.
    options
        Size of the sketch and of the embedding.

    Raises
    ------
    AidaError
        If an input is missing or the inputs are of different cells; if there are too few cells or genes; if
        harmonypy is needed and not there.
    """
    options = options or Options()
    if options.harmony:
        check_harmony()
    threads, genes, seed = options.threads or os.cpu_count() or 1, options.genes, options.seed
    cohort = load_cohort(cohort_path)
    source = counts_file(fetched)
    cells_path = file_of(cells_path, CELLS.file)
    cell_ids = read_cells(cells_path, columns=["cell_id"])["cell_id"]
    labels = _read_labels(label_folders, cell_ids, cells_path)
    kind = next(iter(labels.values())).cat.codes.to_numpy()
    with open_counts(source.path, source.format, cohort.counts_layer) as counts:
        if counts.shape[0] != len(cell_ids):
            raise AidaError(
                f"{counts.path}: {counts.shape[0]} cells, but {cells_path} has {len(cell_ids)}. "
                "Make both from the same fetch."
            )
        ids = cell_ids.to_numpy(dtype=object)
        drawn, about = choose_cells(counts, ids, kind, options.cells, n_genes=genes, seed=seed, threads=threads)
        raw = passes.gather_counts(counts, drawn.cells, ids[drawn.cells], threads=threads)
        names, layer = counts.genes, counts.layer
    del ids
    if (empty := np.diff(raw.indptr) == 0).any():
        drawn, raw = sketch.Draw(drawn.cells[~empty], drawn.probability[~empty]), raw[~empty]
    used = variable_genes(raw, genes) if raw.shape[0] > 1 else np.empty(0, dtype=np.intp)
    _check_enough(raw.shape[0], len(used), source.path)
    n, n_cells = len(drawn.cells), len(cell_ids)
    table = read_cells(cells_path).iloc[drawn.cells].reset_index(drop=True)
    types = {name: column.iloc[drawn.cells].reset_index(drop=True) for name, column in labels.items()}
    carried, organism = carried_columns(source, drawn.cells)
    obs = make_obs(table, types, carried, 1 / drawn.probability)
    matrix = normalise(raw)
    coordinates = embed(matrix, used, seed=seed, threads=threads, batch=table["batch"] if options.harmony else None)
    about |= {"annotator": next(iter(types)), "harmony": options.harmony, "genes_of_embedding": len(used), "seed": seed}
    about |= {"n_cells": n, "n_cells_of_cohort": n_cells}
    inputs = [cohort_path, fetched / SOURCE, cells_path, *(folder / LABELS.file for folder in label_folders)]
    config = recorded(options) | {"annotators": list(labels)}
    details = about | {"layer": layer}
    with staged(out, step="atlas", inputs=inputs, config=config, seed=seed, details=details) as staging:
        uns = _notes(cohort, n, n_cells, about) | organism_of(names) | organism
        write_h5ad(staging / ATLAS, matrix, raw, obs, names, used, coordinates, uns)
        # In an order that has nothing to do with the file's, so that no batch hides another.
        order = np.argsort(sketch.uniforms(sketch.hash_cells(obs.index.to_numpy(), seed), 3), kind="stable")
        first = next(iter(types.values()))
        table = sketch_table(coordinates["X_umap"], obs, first, matrix, names)
        SKETCH.write(table.iloc[order[:_MOST_DRAWN]], staging)
        SKETCH_ABOUT.write(pd.DataFrame({"key": list(about), "value": list(map(str, about.values()))}), staging)
