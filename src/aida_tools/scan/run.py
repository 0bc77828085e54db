"""The pass over the counts of a cohort: from blocks of cells to `scan.parquet` and pseudobulk sums."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aida_tools.cohort.source import SOURCE, counts_file
from aida_tools.core.cohort_file import load_cohort
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import file_of, staged
from aida_tools.core.names import AUTHOR, GATE
from aida_tools.core.tables import CELLS
from aida_tools.core.words import left_out
from aida_tools.scan import gate as gates
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block, Counts
from aida_tools.scan.classifier import RECORD, find_classifier
from aida_tools.scan.expected import Expected, open_expected
from aida_tools.scan.passes import each_block
from aida_tools.scan.pseudobulk import Pseudobulk, Samples
from aida_tools.scan.scorers import Classifier, Contrast, Scored, Scorer, load_classifiers, make_scorer
from aida_tools.scan.stores import open_counts
from aida_tools.scan.tables import SCAN, THINNING
from aida_tools.scan.thin import Thinning, read_thinning

#: Rows of a Parquet row group; fixed, so that the file does not depend on how the scan was cut up.
_ROW_GROUP = 65_536
#: Without these genes the gate says nothing of use.
_ESSENTIAL = ("CD3D", "CD3E", "CD3G", "CD8A", "CD8B", "FOXP3")

Columns = dict[str, Any]


def parse_rows(cells: str | None, part: str | None, n_cells: int) -> tuple[int, int]:
    """Read which rows of a file to scan.

    Parameters
    ----------
    cells
        A range `A:B` (from 0, B not included; either may be left out).
    part
        `K/N`: the K-th of N parts of nearly equal size, rows floor((K - 1) n / N) to floor(K n / N).
    n_cells
        Cells of the file.

    Returns
    -------
    The first row, and the row behind the last; the whole file where neither is given.

    Raises
    ------
    AidaError
        If both are given, one is not of its form, or the rows are none or beyond the file's last cell.
    """
    if not n_cells:
        raise AidaError("the count matrix has no cell, so there is nothing to scan.")
    if cells is not None and part is not None:
        raise AidaError(f"--cells {cells} and --part {part} both say which rows to scan. Give one of them.")
    if part is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", part)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise AidaError(f"--part {part}: write K/N with K from 1 to N, such as 1/4 for the first of four parts.")
        k, n = int(match[1]), int(match[2])
        if n > n_cells:
            raise AidaError(f"--part {part}: the file has {n_cells} cells, too few for {n} parts. Ask for fewer parts.")
        return (k - 1) * n_cells // n, k * n_cells // n
    if cells is None:
        return 0, n_cells
    match = re.fullmatch(r"(\d*):(\d*)", cells)
    if match is None:
        raise AidaError(f"--cells {cells}: write a range of rows such as 0:100000.")
    start = int(match[1] or 0)
    stop = int(match[2] or n_cells)
    if not start < stop <= n_cells:
        raise AidaError(f"--cells {cells}: not a range within the {n_cells} cells of the file (0:{n_cells}).")
    return start, stop


@dataclass(frozen=True)
class Plan:
    """What to compute for every cell, prepared for the genes of one file."""

    is_mito: NDArray[np.bool_]
    gate: gates.Gate
    gate_slot: NDArray[np.int32]
    classifiers: Sequence[Scorer] = ()
    samples: Samples | None = None
    pseudobulk: Sequence[Pseudobulk] = ()
    expected: Sequence[Expected] = ()
    thinning: Thinning | None = None

    def scan(self, block: Block, cell_ids: NDArray[np.object_]) -> pa.Table:
        """Scan one block into a table of one row per cell."""
        if self.samples is not None:
            self.samples.check(block.start, cell_ids)
        if self.thinning is not None:
            block = self.thinning.apply(block, cell_ids)
        csr = block.indptr, block.indices, block.data
        total, n_genes, mito = kernels.quality(*csr, self.is_mito)
        percent = np.divide(100.0 * mito, total, out=np.full(len(total), np.nan), where=total > 0)
        columns: Columns = {
            "cell_id": pa.array(cell_ids, type=pa.string()),
            "total": total,
            "n_genes": n_genes,
            "pct_mito": pa.array(percent, from_pandas=True),
        }
        labels: dict[str, NDArray[np.integer]] = {}
        probabilities: dict[str, NDArray[np.float64] | None] = {}
        counts = kernels.gather(*csr, self.gate_slot, len(self.gate.genes))
        labels[GATE] = _gate_columns(columns, gates.apply_gate(self.gate, counts, total))
        columns |= {f"count:{gene}": counts[:, i] for i, gene in enumerate(self.gate.genes)}
        for classifier in self.classifiers:
            scored = classifier.score(block, total)
            labels[classifier.name] = _classifier_columns(columns, classifier, scored, total)
            probabilities[classifier.name] = scored.probabilities
        if self.samples is not None:
            rows = slice(block.start, block.start + len(block))
            labels[AUTHOR], sample = self.samples.author[rows], self.samples.codes[rows]
            for sums in self.pseudobulk:
                sums.add(block, sample, labels[sums.name])
            for expected in self.expected:
                expected.add(sample, labels[expected.name], cast(Any, probabilities[expected.name]))
        return pa.table(columns)


def _gate_columns(columns: Columns, gated: gates.Gated) -> NDArray[np.int8]:
    """Add what the gate says; return the labels."""
    cd4 = gated.label <= gates.LABELS.index("CD4_T_other")
    certainty = np.abs(gated.treg_log_odds)
    columns |= {
        "gate:label": pa.DictionaryArray.from_arrays(gated.label, list(gates.LABELS)),
        "gate:probability": pa.array(np.where(cd4, 1 / (1 + np.exp(-certainty)), np.nan), from_pandas=True),
        "gate:margin": np.where(cd4, certainty, np.abs(gated.t_margin)),
        "gate:margin_T": gated.t_margin,
        "gate:margin_CD4_T": gated.cd4_margin,
        "gate:margin_Treg": gated.treg_log_odds,
    }
    return gated.label


def _classifier_columns(
    columns: Columns, classifier: Scorer, scored: Scored, total: NDArray[np.int64]
) -> NDArray[np.int16]:
    """Add what a classifier says; return the labels, -1 for a cell without counts, of which it can say nothing."""
    empty = total == 0
    labels = pa.array(scored.label, mask=empty)
    columns |= {
        f"{classifier.name}:label": pa.DictionaryArray.from_arrays(labels, classifier.classes.tolist()),
        f"{classifier.name}:probability": pa.array(scored.probability, mask=empty),
        f"{classifier.name}:margin": pa.array(scored.margin, mask=empty),
    }
    if scored.treg_margin is not None:
        columns[f"{classifier.name}:margin_Treg"] = pa.array(scored.treg_margin, mask=empty)
    return np.where(empty, np.int16(-1), scored.label)


def make_plan(
    counts: Counts,
    gate: gates.Gate,
    gate_path: Path | str,
    classifiers: Sequence[tuple[Classifier, Contrast | None]] = (),
    samples: Samples | None = None,
    pseudobulk: Sequence[Pseudobulk] = (),
    expected: Sequence[Expected] = (),
    thinning: Thinning | None = None,
) -> Plan:
    """Match the genes of gate and classifiers to the file's.

    Raises
    ------
    AidaError
        If a gene without which there is no gate is absent, or all genes of a classifier are.
    """
    slot, absent = counts.genes.slots(gate.genes)
    lost = [g for g in _ESSENTIAL if g in absent]
    if lost:
        some = ", ".join(str(s) for s in counts.genes.symbols[:3])
        raise AidaError(
            f"{counts.path}: the genes {', '.join(lost)} of {gate_path} are not among its {counts.shape[1]} genes "
            f"(such as {some}). The gate needs gene symbols: in the index of var or in its column 'feature_name'."
        )
    if absent:
        listed = ", ".join(absent)
        click.echo(
            f"aida-tools: warning: {counts.path}: the gate does without the genes that the file lacks: {listed}",
            err=True,
        )
    scorers = [make_scorer(classifier, contrast, counts.genes) for classifier, contrast in classifiers]
    return Plan(counts.genes.is_mito, gate.without(absent), slot, scorers, samples, pseudobulk, expected, thinning)


def scan_blocks(counts: Counts, plan: Plan, start: int, stop: int, *, size: int, threads: int) -> Iterator[pa.Table]:
    """Scan the cells start..stop block by block, in order.

    Parameters
    ----------
    counts, plan
        The matrix, and what to compute.
    start, stop
        Rows of the file.
    size, threads
        Cells per block and threads at work: purely settings of memory and speed, results do not depend on them.
    """

    def work(block: Block) -> pa.Table:
        return plan.scan(block, counts.cell_ids(block.start, block.start + len(block)))

    done = each_block(counts, work, "scan", start=start, stop=stop, size=size, threads=threads)
    return (table for _, table in done)


def write_scan(tables: Iterable[pa.Table], path: Path) -> int:
    """Write tables one below the other as one Parquet file, whose bytes depend on their rows only.

    Returns
    -------
    The number of rows.
    """
    n_rows = n_pending = 0
    pending: list[pa.Table] = []
    writer = None
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            pending.append(table)
            n_rows, n_pending = n_rows + len(table), n_pending + len(table)
            while n_pending >= _ROW_GROUP:
                joined = pa.concat_tables(pending)
                writer.write_table(joined.slice(0, _ROW_GROUP).combine_chunks())
                pending, n_pending = [joined.slice(_ROW_GROUP)], n_pending - _ROW_GROUP
        if writer is not None and n_pending:
            writer.write_table(pa.concat_tables(pending).combine_chunks())
    finally:
        if writer is not None:
            writer.close()
    return n_rows


def _open_pseudobulk(
    names: Sequence[str],
    samples: Samples | None,
    classifiers: Sequence[Classifier],
    n_genes: int,
    open_file: Callable[[], IO[bytes]],
) -> list[Pseudobulk]:
    """Make room for the sums by the labels of these annotators."""
    known: dict[str, Callable[[], Sequence[str]]] = {GATE: lambda: gates.LABELS}
    known |= {m.name: m.classes.tolist for m in classifiers}
    if samples is not None and samples.author_labels:
        known[AUTHOR] = lambda: samples.author_labels
    for name in names:
        if samples is None:
            raise AidaError(
                "--pseudobulk sums by sample: name the table of cells, --samples results/.../cells.parquet."
            )
        if name not in known:
            raise AidaError(
                f"--pseudobulk {name}: this scan has no annotator of that name. {did_you_mean(name, known)}"
            )
    if samples is None:
        return []
    return [Pseudobulk(n, samples.names, known[n](), n_genes, open_file()) for n in names]


def scan(
    cohort_path: Path,
    fetched: Path,
    out: Path,
    *,
    gate_path: Path,
    classifiers: Sequence[str] = (),
    classifier_folder: Path = Path("classifiers"),
    samples_path: Path | None = None,
    pseudobulk: Sequence[str] = (),
    expected: Sequence[str] = (),
    block: int = 2048,
    threads: int | None = None,
    cells: str | None = None,
    part: str | None = None,
    thin: Path | None = None,
    thin_by: str = "site",
    seed: int = 1,
) -> None:
    """Write `scan.parquet`, one row per cell in file order, `pseudobulk.NAME.h5ad` and `expected.NAME.parquet`.

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
    classifiers
        Linear classifiers, by path or by their name in `classifier_folder`.
    samples_path
        `cells.parquet`, or its folder; needed for pseudobulk sums and expected counts.
    pseudobulk
        Annotators (author, gate, classifiers of this scan) by whose labels and samples to sum the counts.
    expected
        Classifiers of this scan whose calibrated probabilities to sum by sample and class.
    block, threads
        Cells per block and threads; they do not change the result.
    cells, part
        Rows to scan, as a range `A:B` or as part `K/N` of the file; all by default.
    thin
        `scan.parquet` of the whole file as it is, or its folder: scan counts that are thinned to the depth of the
        shallowest level, which `thinning.tsv` lists. Needs the table of cells.
    thin_by
        Column of the table of cells whose levels shall be of one depth.
    seed
        Seed of the thinning.

    Raises
    ------
    AidaError
        If there are no counts, or what is called counts is not; see `open_counts`.
    """
    cohort = load_cohort(cohort_path)
    source = counts_file(fetched)
    gate = gates.read_gate(gate_path)
    loaded = load_classifiers(classifiers, classifier_folder)
    inputs = [
        cohort_path,
        fetched / SOURCE,
        gate_path,
        *(find_classifier(name, classifier_folder) / RECORD for name in classifiers),
    ]
    samples = None
    if samples_path is not None:
        samples_path = file_of(samples_path, CELLS.file)
        samples = Samples(samples_path)
        inputs.append(samples_path)
    thinning = None
    if thin is not None:
        if samples_path is None:
            raise AidaError(
                f"--thin needs each cell's {thin_by}: name the table of cells, --samples results/.../cells.parquet."
            )
        thin = file_of(thin, SCAN.file)
        thinning = read_thinning(thin, samples_path, thin_by, seed)
        inputs.append(thin)
    with open_counts(source.path, source.format, cohort.counts_layer) as counts:
        start, stop = parse_rows(cells, part, counts.shape[0])
        details: dict[str, Any] = {
            "layer": counts.layer, "n_genes": counts.shape[1], "n_cells": counts.shape[0], "start": start, "stop": stop,
            "pseudobulk": list(pseudobulk), "expected": list(expected),
            "thinning": None if thinning is None else {"by": thin_by, "seed": seed},
        }  # fmt: skip
        record = staged(out, step="scan", inputs=inputs, seed=seed if thinning else None, details=details)
        with record as staging, ExitStack() as files:

            def temporary() -> IO[bytes]:
                return files.enter_context(tempfile.TemporaryFile(dir=staging))

            sums = _open_pseudobulk(pseudobulk, samples, [m for m, _ in loaded], counts.shape[1], temporary)
            soft = open_expected(expected, [m for m, _ in loaded], samples.names if samples is not None else None)
            plan = make_plan(counts, gate, gate_path, loaded, samples, sums, soft, thinning)
            details["genes_shared"] = {classifier.name: classifier.n_shared for classifier in plan.classifiers}
            tables = scan_blocks(counts, plan, start, stop, size=block, threads=threads or os.cpu_count() or 1)
            write_scan(tables, staging / SCAN.file)
            for summed in sums:
                summed.write(staging / f"pseudobulk.{summed.name}.h5ad", counts.genes)
            for counted in soft:
                counted.write(staging / f"expected.{counted.name}.parquet")
            if thinning is not None:
                THINNING.write(thinning.table, staging)
            _report_empty(staging / SCAN.file)


def _report_empty(path: Path) -> None:
    """Say how many cells of a scan no classifier can label, because nothing was counted in them."""
    total = pq.read_table(path, columns=["total"])["total"].to_numpy()
    if n := int((total == 0).sum()):
        text = left_out("cell", n, len(total), {"no UMI": n})
        click.echo(f"aida-tools: without a label by classifiers: {text}", err=True)
