"""Where the Treg rates of config/annotators/gate.tsv come from.

CD4 T cells of four public 10x PBMC samples, without any label, are taken as a mixture of two kinds of cell in which
each marker is seen independently: marker g of a cell with n UMIs is seen with probability 1 - exp(-rate_g n / 10,000).
Expectation-maximisation, begun from the cells with a FOXP3 UMI, gives the rates of both kinds; the table holds them to
one or two digits. No sorted cell and no other test set was used.

    python benchmarks/gate_rates.py ../shared/data/pbmc_10x_4samples.h5ad
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.scan import kernels
from aida_tools.scan.gate import LABELS, apply_gate, read_gate, treg_log_odds
from aida_tools.scan.stores import open_counts

GATE = Path(__file__).parents[1] / "config" / "annotators" / "gate.tsv"
FLOOR = 0.001


def fit_rates(seen: np.ndarray, depth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Find the maximum-likelihood Poisson rates, given only whether a marker was seen, with weighted cells."""
    rates = np.maximum((weight[:, None] * seen).sum(0) / (weight * depth).sum(), FLOOR)
    for _ in range(50):
        expected = np.where(seen, rates * depth[:, None] / -np.expm1(-rates * depth[:, None]), 0)
        rates = np.maximum((weight[:, None] * expected).sum(0) / (weight * depth).sum(), FLOOR)
    return rates


def main(path: Path) -> None:
    gate = read_gate(GATE)
    with open_counts(path) as counts:
        block = counts.read(0, counts.shape[0])
        slot, _ = counts.genes.slots(gate.genes)
        csr = block.indptr, block.indices, block.data
        total = kernels.quality(*csr, counts.genes.is_mito)[0]
        markers = kernels.gather(*csr, slot, len(gate.genes))
    gated = apply_gate(gate, markers, total)
    cd4 = gated.label <= LABELS.index("CD4_T_other")
    names = [gate.genes[i] for i in gate.sets["Treg"]]
    seen, total = markers[cd4][:, gate.sets["Treg"]] > 0, total[cd4]
    depth = total / 1e4
    weight = np.where(seen[:, names.index("FOXP3")], 0.9, 0.03)
    for _ in range(100):
        rate_in, rate_out = fit_rates(seen, depth, weight), fit_rates(seen, depth, 1 - weight)
        share = weight.mean()
        weight = 1 / (1 + np.exp(-treg_log_odds(seen, total, rate_in, rate_out, prior=share)))
    table = pd.DataFrame({"rate_in": rate_in, "rate_out": rate_out}, index=names)
    table[["table_in", "table_out"]] = np.column_stack([gate.rate_in, gate.rate_out])
    print(f"{cd4.sum()} CD4 T cells, Treg share of the mixture {share:.3f}")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
