"""From counts of the sketch to coordinates: scanpy's usual steps, with fixed seeds."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.atlas import kernels, sketch
from aida_tools.atlas.passes import limited
from aida_tools.core.errors import AidaError

_N_PCS, _N_NEIGHBORS = 50, 15
#: From PCA's coordinates UMAP settles in fewer rounds than from none; it uses as many for large data by default.
_N_EPOCHS = 200
#: Below this there is nothing to be seen, and UMAP's neighbourhoods are all the cells.
MIN_CELLS = 20


def normalise(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Return log1p(counts per 10,000) as float32; the places of the entries are shared with `counts`, not copied."""
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    data = counts.data * np.repeat((kernels.TARGET / np.maximum(total, 1)).astype(np.float32), np.diff(counts.indptr))
    return sp.csr_matrix((np.log1p(data, out=data), counts.indices, counts.indptr), shape=counts.shape)


def variable_genes(counts: sp.csr_matrix, n_top: int) -> NDArray[np.intp]:
    """Choose genes by their dispersion among the cells of the sketch; see `sketch.choose_genes`."""
    total = np.asarray(counts.sum(axis=1), dtype=np.int64).ravel()
    moments = kernels.moments(counts.indptr, counts.indices, counts.data, total, counts.shape[1])
    return sketch.choose_genes(moments, counts.shape[0], n_top)


def check_harmony() -> None:
    """Check that Harmony can be run.

    Raises
    ------
    AidaError
        If harmonypy is not installed.
    """
    if importlib.util.find_spec("harmonypy") is None:
        raise AidaError(
            "--harmony needs the package harmonypy, which aida-tools does not bring along: its licence is the GPL. "
            "Install it with `pip install harmonypy`, or leave --harmony out."
        )


def integrate(pcs: NDArray[np.float32], batch: pd.Series, seed: int) -> NDArray[np.float32]:
    """Correct principal components for batches by Harmony (Korsunsky et al. 2019).

    Parameters
    ----------
    pcs
        Array of shape (n_cells, n_pcs).
    batch
        Batch of each cell, shape (n_cells,).
    seed
        Seed of its clustering.

    Returns
    -------
    Array of the shape of `pcs`.
    """
    harmonypy = importlib.import_module("harmonypy")

    harmony = harmonypy.run_harmony(
        pcs, pd.DataFrame({"batch": batch.astype(str).to_numpy()}), "batch", random_state=seed, verbose=False
    )
    corrected = np.asarray(harmony.Z_corr, dtype=np.float32)
    # Versions below 2 give PCs x cells.
    return corrected if corrected.shape == pcs.shape else np.ascontiguousarray(corrected.T)


def embed(
    matrix: sp.csr_matrix, genes: NDArray[np.intp], *, seed: int, threads: int, batch: pd.Series | None = None
) -> dict[str, NDArray[np.float32]]:
    """Place the cells in the plane: PCA, optionally Harmony, neighbours, UMAP.

    Parameters
    ----------
    matrix
        log1p expression, CSR of shape (n_cells, n_genes).
    genes
        The genes to use, ascending.
    seed
        Seed of every step.
    threads
        Threads at work. Coordinates for other numbers of threads differ as if by another seed.
    batch
        Correct for these batches, shape (n_cells,).

    Returns
    -------
    `X_pca`, `X_pca_harmony` if corrected, and `X_umap`; arrays of shape (n_cells, n_dimensions).
    """
    import anndata as ad
    import scanpy as sc

    n_cells = matrix.shape[0]
    data = ad.AnnData(matrix[:, genes])
    with limited(threads):
        sc.pp.pca(data, n_comps=min(_N_PCS, n_cells - 1, len(genes) - 1), random_state=seed)
        found: dict[str, Any] = {"X_pca": data.obsm["X_pca"]}
        if batch is not None:
            found["X_pca_harmony"] = data.obsm["X_pca_harmony"] = integrate(found["X_pca"], batch, seed)
        rep = list(found)[-1]
        sc.pp.neighbors(data, min(_N_NEIGHBORS, n_cells - 1), use_rep=rep, random_state=seed)
        start = np.ascontiguousarray(found[rep][:, :2])
        sc.tl.umap(data, init_pos=start, maxiter=_N_EPOCHS, random_state=seed)
    return {name: np.asarray(x, dtype=np.float32) for name, x in (found | {"X_umap": data.obsm["X_umap"]}).items()}
