r"""A marker gate on each cell by itself: T, then CD4 T, then Treg, with its margins.

A cell is a T cell if it has a CD3 UMI and its log1p(counts per 10,000), summed over the CD3 genes, exceeds the
same sum for B cells, NK cells and myeloid cells. Two CD3 UMIs outweigh NK genes, which cytotoxic T cells share.
A T cell with a CD8 UMI is a CD8 T cell; one without, not cytotoxic, is a CD4 T cell.

FOXP3 mRNA is seen in about a fifth of sorted Tregs at 1,300 UMIs, so no Treg gate may rest on it alone. Among
CD4 T cells each marker is either seen or not. With rates :math:`a_g` (Tregs) and :math:`b_g` (other CD4 T
cells) per 10,000 UMIs and :math:`n` the cell's total in units of 10,000,

.. math::
    \mathrm{logodds} = \log\frac{\pi}{1-\pi} + \sum_{g\ \mathrm{seen}} \log\frac{1-e^{-a_g n}}{1-e^{-b_g n}}
    - \sum_{g\ \mathrm{unseen}} (a_g - b_g)\, n .

Seeing a marker counts for less in a deep cell, missing it counts for less in a shallow one, and no single gene
counts for more than :math:`\log(a_g/b_g)`. The log odds are those of the stated rates, not a calibrated truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.schema import read_tsv

SETS = ("T", "B", "NK", "Myeloid", "Platelet", "CD8", "Treg")
#: Labels the gate gives; the last is for cells no lineage claims.
LABELS = ("Treg", "CD4_T_other", "CD8_T", "T_other", "B", "NK", "Myeloid", "Platelet", "other")
#: Share of Tregs among CD4 T cells expected before looking (flow cytometry of healthy adults: 2-8 %).
PRIOR = 0.05
#: CD3 UMIs that make a T cell of one with more NK than CD3 signal.
CYTOTOXIC_CD3 = 2


@dataclass(frozen=True)
class Gate:
    """The genes of the gate.

    Attributes
    ----------
    genes
        Gene symbols, one per column of the counts the gate works on.
    sets
        Set -> columns of its genes.
    rate_in, rate_out
        Counts per 10,000 expected in Tregs and in other CD4 T cells, arrays of shape (n_treg_genes,).
    """

    genes: tuple[str, ...]
    sets: dict[str, NDArray[np.intp]]
    rate_in: NDArray[np.float64]
    rate_out: NDArray[np.float64]

    def without(self, absent: Sequence[str]) -> Gate:
        """Return the gate with the rates of absent genes made equal, so that not seeing them says nothing."""
        treg = [self.genes[i] for i in self.sets["Treg"]]
        known = np.array([g not in set(absent) for g in treg])
        return Gate(self.genes, self.sets, np.where(known, self.rate_in, self.rate_out), self.rate_out)


def read_gate(path: Path) -> Gate:
    """Read the table of the gate's genes: `set, gene, rate_in, rate_out, source`.

    Raises
    ------
    AidaError
        For an unknown set, a repeated gene, a set without a gene, or a Treg gene without two rates above 0.
    """
    table = read_tsv(path)
    for column in ("set", "gene", "rate_in", "rate_out", "source"):
        if column not in table.columns:
            raise AidaError(f"{path}: column '{column}' is missing. {did_you_mean(column, table.columns)}")
    rates = table[["rate_in", "rate_out"]].apply(pd.to_numeric, errors="coerce")
    for row, (name, gene, source) in enumerate(zip(table["set"], table["gene"], table["source"], strict=True)):
        if name not in SETS:
            raise AidaError(
                f"{path}: column 'set', row {row + 1}: unknown set '{name}'. {did_you_mean(str(name), SETS)}"
            )
        if pd.isna(source):
            raise AidaError(
                f"{path}: column 'source', row {row + 1}: empty. Say where it is known that {gene} marks {name}."
            )
        if name == "Treg" and not (rates.iloc[row] > 0).all():
            raise AidaError(
                f"{path}: row {row + 1}: the Treg gene {gene} needs a rate_in and a rate_out above 0 (per 10,000)."
            )
    repeated = np.flatnonzero(table["gene"].isna() | table["gene"].duplicated())
    if len(repeated):
        value = table["gene"].iloc[repeated[0]]
        raise AidaError(f"{path}: column 'gene', row {repeated[0] + 1}: value '{value}' is empty or occurs twice.")
    sets = {name: np.flatnonzero(table["set"] == name) for name in SETS}
    empty = [name for name, columns in sets.items() if not len(columns)]
    if empty:
        raise AidaError(f"{path}: column 'set': no gene for '{empty[0]}'. Every set needs one: {', '.join(SETS)}.")
    treg = rates.iloc[sets["Treg"]]
    return Gate(tuple(table["gene"]), sets, treg["rate_in"].to_numpy(float), treg["rate_out"].to_numpy(float))


def treg_log_odds(
    seen: NDArray[np.bool_],
    total: NDArray[np.int64],
    rate_in: NDArray[np.float64],
    rate_out: NDArray[np.float64],
    prior: float = PRIOR,
) -> NDArray[np.float64]:
    """Compute the log odds of Treg against other CD4 T cell from which markers were seen.

    Parameters
    ----------
    seen
        Whether each marker has a UMI, array of shape (n_cells, n_markers).
    total
        Total count of each cell, array of shape (n_cells,).
    rate_in, rate_out
        Counts per 10,000 expected in Tregs and in others, arrays of shape (n_markers,), above 0.
    prior
        Share of Tregs expected before looking.

    Returns
    -------
    Natural log odds, array of shape (n_cells,). A cell without counts gets the prior's.
    """
    depth = np.maximum(total, 1)[:, None] / 1e4
    ratio = np.log(np.expm1(-rate_in * depth) / np.expm1(-rate_out * depth))
    evidence = np.where(seen, ratio, -(rate_in - rate_out) * depth).sum(axis=1)
    return np.log(prior / (1 - prior)) + np.where(total > 0, evidence, 0.0)


@dataclass(frozen=True)
class Gated:
    """What the gate says of a block of cells, arrays of shape (n_cells,).

    Attributes
    ----------
    label
        Index into `LABELS`.
    t_margin
        log1p(CP10k) of CD3 minus that of the strongest other lineage.
    cd4_margin
        Minus the log1p(CP10k) of CD8A and CD8B: 0 for a cell without a CD8 UMI.
    treg_log_odds
        Natural log odds of Treg among CD4 T cells, for every cell.
    """

    label: NDArray[np.int8]
    t_margin: NDArray[np.float64]
    cd4_margin: NDArray[np.float64]
    treg_log_odds: NDArray[np.float64]


def apply_gate(gate: Gate, counts: NDArray[np.int32], total: NDArray[np.int64]) -> Gated:
    """Gate every cell by itself.

    Parameters
    ----------
    gate
        The genes.
    counts
        Their counts, array of shape (n_cells, n_gate_genes).
    total
        Total count of each cell over all genes, array of shape (n_cells,).

    Returns
    -------
    Labels and margins.
    """
    logged = np.log1p(counts * (1e4 / np.maximum(total, 1))[:, None])
    score = {name: logged[:, columns].sum(axis=1) for name, columns in gate.sets.items()}
    cd3 = counts[:, gate.sets["T"]].sum(axis=1)
    lineages = np.column_stack([score["B"], score["NK"], score["Myeloid"], score["Platelet"]])
    best = lineages.argmax(axis=1)
    not_nk = np.maximum(score["B"], score["Myeloid"])
    lymphoid = (cd3 > 0) & (score["T"] > not_nk)
    noncytotoxic = lymphoid & (score["T"] > score["NK"])
    t_cell = noncytotoxic | (lymphoid & (cd3 >= CYTOTOXIC_CD3))
    cd8 = counts[:, gate.sets["CD8"]].sum(axis=1) > 0
    odds = treg_log_odds(counts[:, gate.sets["Treg"]] > 0, total, gate.rate_in, gate.rate_out)
    index = {name: i for i, name in enumerate(LABELS)}
    label = np.select(
        [t_cell & cd8, noncytotoxic & (odds > 0), noncytotoxic, t_cell, lineages.max(axis=1) > 0],
        [index["CD8_T"], index["Treg"], index["CD4_T_other"], index["T_other"], index["B"] + best],
        index["other"],
    )
    return Gated(label.astype(np.int8), score["T"] - np.maximum(not_nk, score["NK"]), -score["CD8"], odds)
