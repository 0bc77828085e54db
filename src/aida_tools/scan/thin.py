"""Depth matching: the counts of every site, or batch, thinned to the depth of the shallowest.

A deeper site shows more genes in the same cell, so that an annotator may find more Tregs there. Keeping every UMI with
a probability of its site's own (binomial thinning) gives the counts that sequencing to the same depth would have given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError
from aida_tools.core.files import file_of
from aida_tools.core.tables import read_cells
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block
from aida_tools.scan.tables import THINNING

#: A level with fewer cells does not say to which depth all others are thinned: its median says too little.
MIN_CELLS = 50


@dataclass(frozen=True)
class Thinning:
    """Which share of its UMIs every cell of a file keeps.

    Attributes
    ----------
    table
        As `THINNING` describes it: one row per level, sorted.
    codes
        Row of `table` each cell of the file is of, array of shape (n_cells,).
    seed
        Of the random numbers.
    """

    table: pd.DataFrame
    codes: NDArray[np.integer]
    seed: int

    def apply(self, block: Block, cell_ids: NDArray[np.object_]) -> Block:
        """Thin a block of the file: the same cell always in the same way, whatever block it comes in."""
        codes = self.codes[block.start : block.start + len(block)]
        # Python's integers: 2**64 times a share is beyond what numpy converts without wrapping.
        limits = np.array(
            [kernels.KEEP_ALL if keep >= 1 else int(keep * 2.0**64) for keep in self.table["keep"]], dtype=np.uint64
        )
        names = pd.util.hash_array(cell_ids, categorize=False)
        data = kernels.thin(block.indptr, block.indices, block.data, names, limits[codes], np.uint64(self.seed))
        return replace(block, data=data)


def match_depth(total: NDArray[np.int64], codes: NDArray[np.integer], levels: list[str]) -> pd.DataFrame:
    """Find which share of their UMIs the cells of every level may keep so that all levels are as shallow as one.

    Parameters
    ----------
    total
        Total count of each cell, array of shape (n_cells,).
    codes
        Place in `levels` of each cell, array of shape (n_cells,).
    levels
        Names of the levels.

    Returns
    -------
    Table `level, n_cells, median_depth, keep, note`, one row per level. `n_cells` and the median are of the cells with
    counts. `keep`, in (0, 1], is the smallest median of the levels of at least `MIN_CELLS` cells over the level's own;
    no level gets more UMIs than it has, so a smaller and shallower level keeps all, and `note` says so.
    """
    depth = pd.Series(total[total > 0]).groupby(codes[total > 0])
    n_cells = depth.size().reindex(range(len(levels)), fill_value=0).to_numpy()
    median = depth.median().reindex(range(len(levels))).to_numpy(float)
    small = n_cells < MIN_CELLS
    target = median[~small].min(initial=np.inf)
    # A level without counts has no median and nothing to thin.
    keep = np.where(n_cells > 0, np.minimum(target / median, 1.0), 1.0)
    note = np.select(
        [small & (median < target), small, len(levels) == 1],
        [
            f"shallower than the target, which takes {MIN_CELLS} cells with counts to set: left as it is",
            f"fewer than {MIN_CELLS} cells with counts: could not have set the target",
            "the only level: nothing to match it to",
        ],
        "",
    )
    found = {"level": levels, "n_cells": n_cells, "median_depth": median, "keep": keep, "note": note}
    return THINNING.frame(pd.DataFrame(found))


def _refuse_thinned(path: Path) -> None:
    try:
        record: Any = json.loads((path.parent / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(record, Mapping) and record.get("details", {}).get("thinning"):
        raise AidaError(f"{path}: a scan of thinned counts. Name the scan of all counts, from which it was made.")


def read_thinning(scan_path: Path, cells_path: Path, by: str, seed: int) -> Thinning:
    """Find out how deep the cells of every level are.

    Parameters
    ----------
    scan_path
        `scan.parquet` of the whole file as it is, or its folder.
    cells_path
        `cells.parquet`.
    by
        Column of it whose levels shall be of one depth.
    seed
        Of the random numbers.

    Raises
    ------
    AidaError
        If the scan is of other cells, of a part of them, or thinned itself; if the column is absent, holds numbers, is
        empty for a cell, or has no level of at least `MIN_CELLS` cells with counts.
    """
    scan_path = file_of(scan_path, "scan.parquet")
    _refuse_thinned(scan_path)
    scan = read_cells(scan_path, columns=["cell_id", "total"])
    cells = read_cells(cells_path, columns=["cell_id"])
    if not pd.Index(scan["cell_id"]).equals(pd.Index(cells["cell_id"])):
        raise AidaError(
            f"{scan_path}: its {len(scan)} cells are not the {len(cells)} cells of {cells_path}, in the same order. "
            "Make both from the same fetch, and put the parts of a scan together (`aida-tools scan-gather`) first."
        )
    level = read_cells(cells_path, columns=[by])[by]
    if pd.api.types.is_numeric_dtype(level):
        raise AidaError(
            f"--thin-by {by}: this column of {cells_path} holds numbers. Name one with levels, such as site or batch."
        )
    empty = np.flatnonzero(level.isna())
    if len(empty):
        raise AidaError(
            f"{cells_path}: column '{by}', row {empty[0] + 1}: empty, as in {len(empty)} of {len(cells)} rows, so "
            "the depth of these cells cannot be matched. Name a column without gaps, such as --thin-by batch."
        )
    codes, levels = pd.factorize(level, sort=True)
    table = match_depth(scan["total"].to_numpy(), codes, [str(name) for name in levels])
    if (table["n_cells"] < MIN_CELLS).all():
        raise AidaError(
            f"--thin-by {by}: no level of it has {MIN_CELLS} cells with counts. Name a column of fewer levels."
        )
    return Thinning(table, codes.astype(np.int32), seed)
