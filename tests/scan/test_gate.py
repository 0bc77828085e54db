"""The marker gate: its rule by hand, its log odds by another route, its genes table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from aida_tools.core.errors import AidaError
from aida_tools.scan import gate as gates


@pytest.fixture(scope="module")
def gate(gate_path: Path) -> gates.Gate:
    return gates.read_gate(gate_path)


def label(gate: gates.Gate, total: int = 2000, **umis: int) -> str:
    counts = np.zeros((1, len(gate.genes)), dtype=np.int32)
    for gene, n in umis.items():
        counts[0, gate.genes.index(gene)] = n
    return gates.LABELS[gates.apply_gate(gate, counts, np.array([total])).label[0]]


@pytest.mark.parametrize(
    ("umis", "expected"),
    [
        ({}, "other"),
        ({"CD3D": 1}, "CD4_T_other"),
        ({"CD3D": 1, "CD8B": 1}, "CD8_T"),
        ({"CD3D": 1, "MS4A1": 3}, "B"),
        ({"CD3D": 1, "LYZ": 40}, "Myeloid"),
        ({"CD3D": 1, "NKG7": 9}, "NK"),
        # Two CD3 UMIs make a cytotoxic T cell of what would be an NK cell.
        ({"CD3D": 1, "CD3E": 1, "NKG7": 30}, "T_other"),
        ({"CD3D": 1, "CD3E": 1, "NKG7": 30, "CD8A": 2}, "CD8_T"),
        ({"NKG7": 9, "CD8A": 1}, "NK"),
        ({"PPBP": 5, "PF4": 4, "LYZ": 1}, "Platelet"),
        ({"CD3D": 2, "FOXP3": 1, "IL2RA": 1, "CTLA4": 1}, "Treg"),
        ({"CD3D": 2, "FOXP3": 1, "IL2RA": 1, "CD8B": 1}, "CD8_T"),
        # Tregs of which FOXP3 was not seen are found by the other markers.
        ({"CD3D": 2, "IL2RA": 1, "RTKN2": 1, "TIGIT": 1}, "Treg"),
        ({"CD3D": 2, "TIGIT": 1, "IL7R": 4}, "CD4_T_other"),
        ({"LYZ": 5, "FOXP3": 3, "IL2RA": 2, "CTLA4": 1}, "Myeloid"),
    ],
)
def test_labels(gate: gates.Gate, umis: dict[str, int], expected: str) -> None:
    assert label(gate, **umis) == expected


def test_log_odds_are_those_of_independent_poisson_detections() -> None:
    rng = np.random.default_rng(0)
    rate_in, rate_out = rng.uniform(0.2, 2, 4), rng.uniform(0.01, 3, 4)
    seen, total = rng.random((30, 4)) < 0.4, rng.integers(200, 20_000, 30)

    def log_likelihood(rate: np.ndarray) -> np.ndarray:
        none = stats.poisson.pmf(0, rate * total[:, None] / 1e4)
        return np.log(np.where(seen, 1 - none, none)).sum(axis=1)

    expected = np.log(0.05 / 0.95) + log_likelihood(rate_in) - log_likelihood(rate_out)
    np.testing.assert_allclose(gates.treg_log_odds(seen, total, rate_in, rate_out), expected, rtol=1e-10)


def test_the_gate_finds_its_own_tregs_back_and_its_probabilities_are_right(gate: gates.Gate) -> None:
    """Cells drawn from the stated rates: of those called with probability p, a share p is what was planted."""
    rng = np.random.default_rng(1)
    n = 100_000
    planted = rng.random(n) < gates.PRIOR
    total = rng.integers(1000, 6000, n)
    rates = np.where(planted[:, None], gate.rate_in, gate.rate_out)
    seen = rng.poisson(rates * total[:, None] / 1e4) > 0
    odds = gates.treg_log_odds(seen, total, gate.rate_in, gate.rate_out)
    probability = 1 / (1 + np.exp(-odds))
    assert probability.sum() == pytest.approx(planted.sum(), rel=0.05)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 1.0)):
        these = (probability >= low) & (probability < high)
        error = 4 * np.sqrt(0.25 / these.sum())
        assert planted[these].mean() == pytest.approx(probability[these].mean(), abs=error)


def test_absent_genes_say_nothing(gate: gates.Gate) -> None:
    reduced = gate.without(["IL7R", "TIGIT"])
    treg = [gate.genes[i] for i in gate.sets["Treg"]]
    keep = [i for i, gene in enumerate(treg) if gene not in ("IL7R", "TIGIT")]
    seen, total = np.zeros((1, len(treg)), dtype=bool), np.array([3000])
    np.testing.assert_allclose(
        gates.treg_log_odds(seen, total, reduced.rate_in, reduced.rate_out),
        gates.treg_log_odds(seen[:, keep], total, gate.rate_in[keep], gate.rate_out[keep]),
    )


def test_a_cell_without_counts_is_other(gate: gates.Gate) -> None:
    assert label(gate, total=0) == "other"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Treg\tFOXP3\t0.8", "Tregs\tFOXP3\t0.8", "row 12: unknown set 'Tregs'. Did you mean 'Treg'"),
        ("FOXP3\t0.8\t0.02", "FOXP3\t0.8\t0", "row 12: the Treg gene FOXP3 needs a rate_in and a rate_out above 0"),
        ("CD8\tCD8B", "CD8\tCD8A", "column 'gene', row 11: value 'CD8A'"),
        ("set\tgene", "Set\tgene", "column 'set' is missing"),
        ("\tCD8 alpha chain", "\t", "row 10: empty. Say where"),
    ],
)
def test_mistakes_in_the_table_are_named(gate_path: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = gate_path.read_text()
    assert old in text
    path = tmp_path / "gate.tsv"
    path.write_text(text.replace(old, new))
    with pytest.raises(AidaError, match=message):
        gates.read_gate(path)
