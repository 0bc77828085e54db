"""CITE-seq: who is a Treg by proteins, the truth other annotators are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.annotate.annotation import TREG_MARGIN, Annotation
from aida_tools.annotate.card import Card
from aida_tools.annotate.inputs import Inputs
from aida_tools.annotate.labels import map_labels, read_label_map
from aida_tools.annotate.populations import LABELS, SURE, Populations, gate_cells
from aida_tools.annotate.tables import PROTEIN_GATES
from aida_tools.cohort.read import explain_h5_error, open_h5, read_obs
from aida_tools.cohort.source import Fetched, counts_file
from aida_tools.core.cohort_file import Proteins, load_cohort
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.tables import read_cells
from aida_tools.scan import kernels
from aida_tools.scan.stores import open_counts

_BLOCK = 4096


def _columns(names: NDArray[np.object_], wanted: Mapping[Any, str], source: str) -> NDArray[np.intp]:
    """Find the proteins by name.

    Raises
    ------
    AidaError
        If one is absent or there twice.
    """
    places = []
    for marker, name in wanted.items():
        found = np.flatnonzero(names == name)
        if len(found) != 1:
            what = "there is no protein" if not len(found) else f"there are {len(found)} proteins"
            hint = did_you_mean(name, names.tolist()) if not len(found) else "Make the names unique."
            raise AidaError(f"{source}: {what} '{name}' (key 'proteins.markers.{marker}' of the cohort file). {hint}")
        places.append(found[0])
    return np.array(places, dtype=np.intp)


def _open_store(path: Path) -> Any:
    if path.is_dir():
        import zarr

        return zarr.open_group(path, mode="r")
    return open_h5(path)


def _from_obsm(fetched: Fetched, proteins: Proteins) -> NDArray[np.float64]:
    """Read protein counts from an entry of obsm: a table, or an array whose names stand in uns."""
    from anndata.io import read_elem

    path, key = fetched.path, str(proteins.obsm)
    store = _open_store(path)
    try:
        known = list(store["obsm"]) if "obsm" in store else []
        if key not in known:
            msg = f"{path}: there is no obsm entry '{key}' (key 'proteins.obsm' of the cohort file). "
            raise AidaError(msg + did_you_mean(key, known))
        values: Any = read_elem(store[f"obsm/{key}"])
        if isinstance(values, pd.DataFrame):
            names = values.columns.astype(str).to_numpy(object)
            matrix: Any = values.to_numpy()
        else:
            if proteins.names is None or f"uns/{proteins.names}" not in store:
                known = list(store["uns"]) if "uns" in store else []
                raise AidaError(
                    f"{path}: obsm entry '{key}' is an array without names, and key 'proteins.names' of the cohort "
                    f"file names no entry of uns that has them. {did_you_mean(str(proteins.names), known)}"
                )
            names, matrix = np.asarray(read_elem(store[f"uns/{proteins.names}"])).astype(str).astype(object), values
        if matrix.shape[1] != len(names):
            raise AidaError(
                f"{path}: obsm entry '{key}' has {matrix.shape[1]} columns, but uns names {len(names)} proteins."
            )
        chosen = matrix[:, _columns(names, proteins.markers, f"{path}: obsm entry '{key}'")]
        return np.asarray(chosen.toarray() if sp.issparse(chosen) else chosen, dtype=float)
    except (OSError, KeyError) as error:
        raise AidaError(explain_h5_error(path, error)) from error
    finally:
        if isinstance(store, h5py.File):
            store.close()


def _from_features(fetched: Fetched, proteins: Proteins, layer: str) -> NDArray[np.float64]:
    """Read protein counts of features that stand among the genes."""
    with open_counts(fetched.path, fetched.format, layer, proteins.feature_type) as counts:
        ids, symbols = counts.genes.ids, counts.genes.symbols
        # A name may be the protein's id or what it is called.
        names = np.where(np.isin(ids, list(proteins.markers.values())), ids, symbols)
        places = _columns(names, proteins.markers, f"{fetched.path}: '{proteins.feature_type}'")
        slot = np.full(counts.shape[1], -1, dtype=np.int32)
        slot[places] = np.arange(len(places))
        blocks = (counts.read(a, min(a + _BLOCK, counts.shape[0])) for a in range(0, counts.shape[0], _BLOCK))
        parts = [kernels.gather(b.indptr, b.indices, b.data, slot, len(places)) for b in blocks]
        return np.vstack(parts).astype(float)


def read_proteins(fetched: Fetched, proteins: Proteins, layer: str) -> dict[str, NDArray[np.float64]]:
    """Read the counts of the markers' proteins.

    Parameters
    ----------
    fetched
        The data.
    proteins
        Where they are, and their names.
    layer
        Layer of the counts, where proteins stand among the genes; see `open_counts`.

    Returns
    -------
    Marker -> counts, arrays of shape (n_cells,) in file order.

    Raises
    ------
    AidaError
        If they are not there, or are not counts.
    """
    matrix = _from_obsm(fetched, proteins) if proteins.obsm else _from_features(fetched, proteins, layer)
    wrong = np.argwhere(~((matrix >= 0) & (matrix == np.round(matrix))))
    if len(wrong):
        cell, column = wrong[0]
        name = list(proteins.markers.values())[column]
        raise AidaError(
            f"{fetched.path}: protein '{name}', cell {cell + 1}: value {matrix[cell, column]:g} is not a count. "
            "Give the protein counts as they were measured, neither normalised nor denoised."
        )
    return dict(zip(proteins.markers, matrix.T, strict=True))


def _gate_row(batch: str, marker: str, found: tuple[str, int, Populations]) -> dict[str, Any]:
    among, n_cells, populations = found
    return {
        "batch": batch, "marker": marker, "among": among, "n_cells": n_cells, "source": populations.source,
        "threshold": populations.threshold, "mean_low": populations.mean[0], "mean_high": populations.mean[1],
        "sd": populations.sd, "share_high": populations.share, "separation": populations.separation,
    }  # fmt: skip


def from_proteins(inputs: Inputs) -> Annotation:
    """Gate the cells by proteins, batch by batch; the table `protein_gates.tsv` says where the boundaries lie.

    Raises
    ------
    AidaError
        If the cohort file says nothing of proteins, or they are not there.
    """
    cells_path, cohort_path, label_map = inputs.cells_path, inputs.cohort_path, inputs.label_map
    cohort = load_cohort(cohort_path)
    if cohort.proteins is None:
        raise AidaError(
            f"{cohort_path}: key 'proteins' is missing: it says where the protein counts are and what they are called."
        )
    cells = read_cells(cells_path, columns=["cell_id", "batch"])
    fetched = counts_file(inputs.fetched)
    ids = read_obs(fetched.path, fetched.format, columns={})["_index"]
    if not np.array_equal(ids.to_numpy(object), cells["cell_id"].to_numpy(object)):
        raise AidaError(
            f"{fetched.path}: its {len(ids)} cells are not the {len(cells)} cells of {cells_path}, in the same order."
        )
    counts = read_proteins(fetched, cohort.proteins, cohort.counts_layer)
    thresholds = {str(marker): count for marker, count in cohort.proteins.thresholds.items()}
    code, margin, rows = np.zeros(len(cells), dtype=np.int8), np.full(len(cells), np.nan), []
    batch = cells["batch"].astype(object).fillna("unknown").to_numpy(object)
    for name in sorted(set(batch)):
        here = batch == name
        code[here], margin[here], found = gate_cells({m: c[here] for m, c in counts.items()}, thresholds)
        rows += [_gate_row(name, marker, one) for marker, one in found.items()]
    label = pd.Series(pd.Categorical.from_codes(code, categories=pd.Index(LABELS)))
    cell_type, sets = map_labels(label, read_label_map(label_map), label_map)
    table = pd.DataFrame({"cell_id": cells["cell_id"], "cell_type": cell_type, "label": label})
    table = table.assign(probability=np.nan, margin=np.abs(margin), **{TREG_MARGIN: margin})
    text = (
        f"Cells were gated by the proteins {', '.join(cohort.proteins.markers.values())}: CD4 T cells with high CD25 "
        "and low CD127 are regulatory; boundaries lie between the two populations of each batch unless the cohort file "
        f"gives them, and cells less sure than {np.exp(SURE):.0f} to 1 are unresolved"
    )
    gates = {PROTEIN_GATES.name: PROTEIN_GATES.frame(rows)}
    return Annotation(table, sets, Card(inputs.annotator, text), inputs=[label_map], tables=gates)
