"""Putting scans of ranges of cells together, bit for bit what one scan would have written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from aida_tools.core.errors import AidaError
from aida_tools.core.files import staged
from aida_tools.scan.blocks import Genes
from aida_tools.scan.expected import gather_expected
from aida_tools.scan.pseudobulk import write_groups
from aida_tools.scan.run import write_scan
from aida_tools.scan.tables import SCAN, THINNING


def _record(folder: Path) -> dict[str, Any]:
    path = folder / "provenance.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["step"] != "scan" or not (folder / SCAN.file).is_file():
            raise KeyError(SCAN.file)
        # What it summed is read below.
        _ = [record["details"][key] for key in ("pseudobulk", "expected", "thinning")]
    except (OSError, ValueError, KeyError) as error:
        raise AidaError(f"{folder}: not a folder that `aida-tools scan` finished ({error}).") from error
    return cast(dict[str, Any], record)


def _check_parts(folders: Sequence[Path], records: Sequence[dict[str, Any]]) -> None:
    """Check that the parts are of one scan and cover the file from its first cell to its last."""
    whole = {k: v for k, v in records[0]["details"].items() if k not in ("start", "stop")}
    end = 0
    for folder, record in zip(folders, records, strict=True):
        details = dict(record["details"])
        start, stop = details.pop("start"), details.pop("stop")
        if details != whole or record["inputs"] != records[0]["inputs"]:
            raise AidaError(
                f"{folder}: scanned from other inputs or with other classifiers than {folders[0]}. Scan it again."
            )
        if start != end:
            what = "are missing" if start > end else "are there twice"
            low, high = sorted((start, end))
            raise AidaError(f"{folder}: the cells {low}:{high} {what} among the scans. Name each range once.")
        end = stop
    if end != whole["n_cells"]:
        raise AidaError(
            f"{folders[-1]}: the scans end at cell {end} of {whole['n_cells']}. Name the ranges that are missing too."
        )


def _tables(folders: Sequence[Path]) -> Iterator[pa.Table]:
    for folder in folders:
        for batch in pq.ParquetFile(folder / SCAN.file).iter_batches(8192):
            yield pa.Table.from_batches([batch])


def _gather_pseudobulk(paths: Sequence[Path], out: Path) -> None:
    """Add sums up, some hundred groups at a time."""
    from anndata.io import read_elem, sparse_dataset

    with ExitStack() as stack:
        handles = [stack.enter_context(h5py.File(path, "r")) for path in paths]
        obs = [cast(pd.DataFrame, read_elem(h["obs"])) for h in handles]
        var = cast(pd.DataFrame, read_elem(handles[0]["var"]))
        matrices = [sparse_dataset(h["X"]) for h in handles]

        def rows(start: int, stop: int) -> sp.csr_matrix:
            total = sp.csr_matrix(matrices[0][start:stop])
            for matrix in matrices[1:]:
                total += sp.csr_matrix(matrix[start:stop])
            return total

        first = obs[0]
        samples, labels = (list(first[c].cat.categories) for c in ("sample_id", "label"))
        n_cells = np.sum([o["n_cells"].to_numpy() for o in obs], axis=0)
        genes = Genes(var.index.to_numpy(object), var["feature_name"].to_numpy(object))
        write_groups(out, str(first["annotator"].iloc[0]), samples, labels, n_cells, genes, rows)


def gather(folders: Sequence[Path], out: Path) -> None:
    """Put the scans of ranges of one file together.

    Parameters
    ----------
    folders
        Results of `aida-tools scan --part K/N`, or `--cells A:B`, in any order; together they cover the file once.
    out
        Folder for the results: the same bytes as those of one scan of the whole file.

    Raises
    ------
    AidaError
        If a range is missing, there twice, or of another scan.
    """
    records = {folder: _record(folder) for folder in folders}
    ordered = sorted(records, key=lambda f: int(records[f]["details"]["start"]))
    _check_parts(ordered, [records[f] for f in ordered])
    whole = records[ordered[0]]["details"]
    sums = [f"pseudobulk.{name}.h5ad" for name in whole["pseudobulk"]]
    expected = [f"expected.{name}.parquet" for name in whole["expected"]]
    inputs = [folder / name for folder in ordered for name in (SCAN.file, *sums, *expected)]
    details = {**whole, "start": 0, "stop": records[ordered[-1]]["details"]["stop"]}
    with staged(out, step="scan", inputs=inputs, seed=records[ordered[0]]["seed"], details=details) as staging:
        write_scan(_tables(ordered), staging / SCAN.file)
        for name in sums:
            _gather_pseudobulk([folder / name for folder in ordered], staging / name)
        for name in expected:
            gather_expected([folder / name for folder in ordered], staging / name)
        if whole["thinning"]:
            # The same in every part: it is of the whole file.
            shutil.copyfile(ordered[0] / THINNING.file, staging / THINNING.file)
