"""The pass over the counts of a cohort: from blocks of cells to `scan.parquet`."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from aida_tools.cohort.source import SOURCE, counts_file
from aida_tools.config import load_cohort
from aida_tools.errors import AidaError
from aida_tools.files import staged
from aida_tools.scan import gate as gates
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block, Counts, open_counts

SCAN = "scan.parquet"
#: Rows of a Parquet row group; fixed, so that the file does not depend on how the scan was cut up.
_ROW_GROUP = 65_536
#: Without these genes the gate says nothing of use.
_ESSENTIAL = ("CD3D", "CD3E", "CD3G", "CD8A", "CD8B", "FOXP3")


def parse_range(text: str | None, n_cells: int) -> tuple[int, int]:
    """Read a range of cells `A:B` (from 0, B not included; either may be left out).

    Raises
    ------
    AidaError
        If it is not of that form, or empty, or beyond the file's last cell.
    """
    if not n_cells:
        msg = "the count matrix has no cell, so there is nothing to scan."
        raise AidaError(msg)
    if text is None:
        return 0, n_cells
    match = re.fullmatch(r"(\d*):(\d*)", text)
    if match is None:
        msg = f"--cells {text}: write a range of rows such as 0:100000."
        raise AidaError(msg)
    start = int(match[1] or 0)
    stop = int(match[2] or n_cells)
    if not start < stop <= n_cells:
        msg = f"--cells {text}: not a range within the {n_cells} cells of the file (0:{n_cells})."
        raise AidaError(msg)
    return start, stop


@dataclass(frozen=True)
class Plan:
    """What to compute for every cell, prepared for the genes of one file."""

    is_mito: NDArray[np.bool_]
    gate: gates.Gate
    slot: NDArray[np.int32]

    def scan(self, block: Block, cell_ids: NDArray[np.object_]) -> pa.Table:
        """Scan one block; a row a cell."""
        csr = block.indptr, block.indices, block.data
        total, n_genes, mito = kernels.quality(*csr, self.is_mito)
        counts = kernels.gather(*csr, self.slot, len(self.gate.genes))
        gated = gates.apply_gate(self.gate, counts, total)
        percent = np.divide(100.0 * mito, total, out=np.full(len(total), np.nan), where=total > 0)
        probability = 1 / (1 + np.exp(-np.abs(gated.treg_log_odds)))
        cd4 = gated.label <= gates.LABELS.index("CD4_T_other")
        return pa.table(
            {
                "cell_id": pa.array(cell_ids, type=pa.string()),
                "total": total,
                "n_genes": n_genes,
                "pct_mito": pa.array(percent, from_pandas=True),
                "gate:label": pa.DictionaryArray.from_arrays(gated.label, list(gates.LABELS)),
                "gate:probability": pa.array(np.where(cd4, probability, np.nan), from_pandas=True),
                "gate:margin": np.where(cd4, np.abs(gated.treg_log_odds), np.abs(gated.t_margin)),
                "gate:margin_T": gated.t_margin,
                "gate:margin_CD4_T": gated.cd4_margin,
                "gate:margin_Treg": gated.treg_log_odds,
                **{f"count:{gene}": counts[:, i] for i, gene in enumerate(self.gate.genes)},
            }
        )


def make_plan(counts: Counts, gate: gates.Gate, gate_path: Path | str) -> Plan:
    """Match the gate's genes to the file's.

    Raises
    ------
    AidaError
        If a gene without which there is no gate is absent.
    """
    slot, absent = counts.genes.slots(gate.genes)
    lost = [g for g in _ESSENTIAL if g in absent]
    if lost:
        some = ", ".join(str(s) for s in counts.genes.symbols[:3])
        msg = (
            f"{counts.path}: the genes {', '.join(lost)} of {gate_path} are not among its {counts.shape[1]} genes "
            f"(such as {some}). The gate needs gene symbols: in the index of var or in its column 'feature_name'."
        )
        raise AidaError(msg)
    if absent:
        click.echo(
            f"aida-tools: {counts.path}: marker genes absent, the gate does without: {', '.join(absent)}", err=True
        )
    return Plan(counts.genes.is_mito, gate.without(absent), slot)


def scan_blocks(counts: Counts, plan: Plan, start: int, stop: int, *, size: int, threads: int) -> Iterator[pa.Table]:
    """Scan the cells start..stop block by block, in order.

    Parameters
    ----------
    counts, plan
        The matrix, and what to compute.
    start, stop
        Rows of the file.
    size, threads
        Cells a block and threads at work: purely settings of memory and speed, results do not depend on them.
    """

    def work(first: int) -> pa.Table:
        last = min(first + size, stop)
        return plan.scan(counts.read(first, last), counts.cell_ids(first, last))

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[pa.Table]] = deque()
        for first in range(start, stop, size):
            waiting.append(pool.submit(work, first))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _ticking(tables: Iterable[pa.Table], bar: Any) -> Iterator[pa.Table]:
    """Pass the tables on, moving the progress bar."""
    for table in tables:
        yield table
        bar.update(len(table))


def write_scan(tables: Iterable[pa.Table], path: Path) -> int:
    """Write tables one below the other as one Parquet file, whose bytes depend on their rows only.

    Returns
    -------
    The number of rows.
    """
    n_rows = 0
    pending: list[pa.Table] = []
    writer = None
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            pending.append(table)
            while sum(len(t) for t in pending) >= _ROW_GROUP:
                joined = pa.concat_tables(pending)
                writer.write_table(joined.slice(0, _ROW_GROUP).combine_chunks())
                pending = [joined.slice(_ROW_GROUP)]
            n_rows += len(table)
        if writer is not None and any(len(t) for t in pending):
            writer.write_table(pa.concat_tables(pending).combine_chunks())
    finally:
        if writer is not None:
            writer.close()
    return n_rows


def scan(
    cohort_path: Path,
    fetched: Path,
    out: Path,
    *,
    gate_path: Path,
    block: int = 8192,
    threads: int | None = None,
    cells: str | None = None,
) -> None:
    """Write `scan.parquet`: quality, marker counts and gate of every cell, in file order.

    Parameters
    ----------
    cohort_path
        The cohort file.
    fetched
        Folder in which `fetch` left its results.
    out
        Folder for the results.
    gate_path
        Table of the gate's genes.
    block, threads
        Cells a block and threads; they do not change the result.
    cells
        Range of rows `A:B`; all by default.

    Raises
    ------
    AidaError
        If there are no counts, or what is called counts is not; see `open_counts`.
    """
    cohort = load_cohort(cohort_path)
    source = counts_file(fetched)
    gate = gates.read_gate(gate_path)
    inputs = [cohort_path, fetched / SOURCE, gate_path]
    with open_counts(source.path, source.format, cohort.counts_layer) as counts:
        start, stop = parse_range(cells, counts.shape[0])
        plan = make_plan(counts, gate, gate_path)
        details = {"layer": counts.layer, "n_genes": counts.shape[1], "first_cell": start, "end_cell": stop}
        with staged(out, step="scan", inputs=inputs, details=details) as staging:
            tables = scan_blocks(counts, plan, start, stop, size=block, threads=threads or os.cpu_count() or 1)
            with tqdm(total=stop - start, unit=" cells", desc="scan", delay=2, disable=None) as bar:
                write_scan(_ticking(tables, bar), staging / SCAN)
