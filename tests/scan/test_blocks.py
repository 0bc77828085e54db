"""Opening the counts of a file, whichever layer and layout they are in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from anndata.io import write_elem
from scipy.io import mmwrite

from aida_tools.core.errors import AidaError
from aida_tools.scan.blocks import Block, Counts, describe_genes
from aida_tools.scan.stores import open_counts
from tests.scan.conftest import make_anndata

Write = Callable[..., Path]


def dense(block: Block, n_genes: int) -> np.ndarray:
    return sp.csr_matrix((block.data, block.indices, block.indptr), shape=(len(block), n_genes)).toarray()


def whole(counts: Counts, size: int = 97) -> np.ndarray:
    starts = range(0, counts.shape[0], size)
    return np.vstack([dense(counts.read(a, min(a + size, counts.shape[0])), counts.shape[1]) for a in starts])


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, lambda m: m.toarray()])
def test_every_layout_gives_the_same_counts(write_h5ad: Write, counts: sp.csr_matrix, layout: Callable) -> None:
    with open_counts(write_h5ad(layout(counts))) as opened:
        assert opened.shape == counts.shape
        np.testing.assert_array_equal(whole(opened), counts.toarray())
        assert list(opened.cell_ids(3, 5)) == ["cell3", "cell4"]


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"compression": "lzf"}])
def test_every_compression_gives_the_same_counts(write_h5ad: Write, counts: sp.csr_matrix, options: dict) -> None:
    with open_counts(write_h5ad(counts, **options)) as opened:
        np.testing.assert_array_equal(whole(opened), counts.toarray())


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, lambda m: m.toarray()])
def test_zarr_stores_are_read(
    tmp_path: Path, counts: sp.csr_matrix, symbols: list[str], layout: Callable, version: int
) -> None:
    data = make_anndata(counts.log1p(), symbols, {"counts": layout(counts)})
    write_elem(zarr.open_group(tmp_path / "data.zarr", mode="w", zarr_format=version), "/", data)
    with open_counts(tmp_path / "data.zarr") as opened:
        assert opened.layer == "layers/counts"
        assert list(opened.cell_ids(3, 5)) == ["cell3", "cell4"]
        assert list(opened.genes.symbols) == symbols
        np.testing.assert_array_equal(whole(opened), counts.toarray())
    (tmp_path / "empty").mkdir()
    with pytest.raises(AidaError, match="no zarr store"), open_counts(tmp_path / "empty"):
        pass


@pytest.mark.parametrize("part", ["indptr", "indices"])
def test_wide_indices_are_read(write_h5ad: Write, counts: sp.csr_matrix, part: str) -> None:
    path = write_h5ad(counts)
    with h5py.File(path, "a") as handle:
        values = handle[f"X/{part}"][:]
        del handle[f"X/{part}"]
        handle[f"X/{part}"] = values.astype(np.int64)
    with open_counts(path) as opened:
        np.testing.assert_array_equal(whole(opened), counts.toarray())


def test_an_indptr_that_does_not_fit_is_named(write_h5ad: Write, counts: sp.csr_matrix) -> None:
    path = write_h5ad(counts)
    with h5py.File(path, "a") as handle:
        handle["X/indptr"][-1] += 1
    with pytest.raises(AidaError, match="indptr of /X does not fit"), open_counts(path):
        pass


def test_auto_takes_the_layer_with_whole_numbers(write_h5ad: Write, counts: sp.csr_matrix) -> None:
    logged = counts.log1p()
    for path, layer in (
        (lambda: write_h5ad(logged, raw=counts), "raw"),
        (lambda: write_h5ad(counts, layers={"scaled": logged}), "X"),
        (lambda: write_h5ad(logged, layers={"scaled": logged, "spliced": counts}), "layers/spliced"),
        (lambda: write_h5ad(logged, layers={"a": counts * 2, "counts": counts}), "layers/counts"),
    ):
        with open_counts(path()) as opened:
            assert opened.layer == layer
            np.testing.assert_array_equal(whole(opened), counts.toarray())


def test_a_layer_without_counts_is_refused_and_the_right_one_named(write_h5ad: Write, counts: sp.csr_matrix) -> None:
    path = write_h5ad(counts.log1p(), layers={"umi": counts})
    with (
        pytest.raises(AidaError, match=r"layer 'X' holds values such as .*counts_layer: layers/umi"),
        open_counts(path, layer="X"),
    ):
        pass
    with (
        pytest.raises(AidaError, match=r"no layer 'layers/umis'.*Did you mean 'layers/umi'"),
        open_counts(path, layer="layers/umis"),
    ):
        pass


def test_a_file_without_counts_says_so(write_h5ad: Write, counts: sp.csr_matrix) -> None:
    path = write_h5ad(counts.log1p())
    with pytest.raises(AidaError, match="no raw counts: looked in X"), open_counts(path):
        pass


def test_a_fraction_deep_in_the_file_is_found_and_named(write_h5ad: Write, counts: sp.csr_matrix) -> None:
    counts = sp.csr_matrix(np.tile(counts.toarray(), (10, 1)))
    where = counts.nnz // 2
    counts.data[where] = 1.5
    cell = int(np.searchsorted(counts.indptr, where, side="right"))
    with (
        open_counts(write_h5ad(counts)) as opened,
        pytest.raises(AidaError, match=rf"X, cell {cell}, gene \S+: value 1.5 is not a count"),
    ):
        whole(opened)


def test_unsorted_and_repeated_entries_are_summed(write_h5ad: Write, counts: sp.csr_matrix) -> None:
    path = write_h5ad(counts)
    with h5py.File(path, "a") as handle:
        # Split every entry in two and turn each cell's entries round.
        data, indices, indptr = (handle[f"X/{part}"][:] for part in ("data", "indices", "indptr"))
        order = np.concatenate([np.arange(a, b)[::-1] for a, b in itertools.pairwise(indptr)])
        for part in ("data", "indices", "indptr"):
            del handle[f"X/{part}"]
        handle["X/data"] = np.repeat(data[order], 2)
        handle["X/indices"] = np.repeat(indices[order], 2)
        handle["X/indptr"] = indptr * 2
    with open_counts(path) as opened:
        np.testing.assert_array_equal(whole(opened), 2 * counts.toarray())


def test_antibodies_are_not_counted(tmp_path: Path, counts: sp.csr_matrix, symbols: list[str]) -> None:
    counts = counts[:50].astype(np.int32)
    kinds = np.array(["Gene Expression"] * 298 + ["Antibody Capture"] * 2)
    names = [f"cell{i}-1" for i in range(50)]
    ids = [f"ENSG{i:011d}" for i in range(300)]
    path = tmp_path / "matrix.h5"
    with h5py.File(path, "w") as handle:
        group = handle.create_group("matrix")
        group["data"], group["indices"] = counts.data, counts.indices.astype(np.int64)
        group["indptr"], group["shape"] = counts.indptr.astype(np.int64), np.array([300, 50])
        group["barcodes"] = names
        for part, values in (("id", ids), ("name", symbols), ("feature_type", kinds.tolist())):
            group[f"features/{part}"] = values
    folder = tmp_path / "mtx"
    folder.mkdir()
    mmwrite(folder / "matrix.mtx", counts.T)
    pd.DataFrame([ids, symbols, kinds]).T.to_csv(folder / "features.tsv.gz", sep="\t", header=False, index=False)
    pd.Series(names).to_csv(folder / "barcodes.tsv.gz", header=False, index=False)
    # As `scanpy.read_10x_h5(gex_only=False)` and muon leave them; the proteins need not be last.
    order = np.r_[298:300, :298]
    var = pd.DataFrame({"gene_ids": ids, "feature_types": pd.Categorical(kinds)}, index=symbols).iloc[order]
    mixed = ad.AnnData(sp.csr_matrix(counts[:, order]), pd.DataFrame(index=names), var)
    mixed.write_h5ad(tmp_path / "mixed.h5ad", compression="gzip")
    for source, kind in ((path, "10x-h5"), (folder, "10x-mtx"), (tmp_path / "mixed.h5ad", "h5ad")):
        with open_counts(source, kind) as opened:
            np.testing.assert_array_equal(whole(opened), counts.toarray()[:, :298])
            assert list(opened.genes.symbols) == symbols[:298]
            assert list(opened.genes.ids) == ids[:298]
            assert list(opened.cell_ids(0, 50)) == names
        with open_counts(source, kind, feature_type="Antibody Capture") as opened:
            np.testing.assert_array_equal(whole(opened), counts.toarray()[:, 298:])
            assert list(opened.genes.symbols) == symbols[298:]


def test_a_file_of_proteins_only_has_no_genes(tmp_path: Path, counts: sp.csr_matrix) -> None:
    var = pd.DataFrame({"feature_types": "Antibody Capture"}, index=[f"protein{i}" for i in range(300)])
    ad.AnnData(counts, var=var).write_h5ad(tmp_path / "adt.h5ad")
    message = r"adt\.h5ad: none of its features is of the type 'Gene Expression'\. Known: Antibody Capture"
    with pytest.raises(AidaError, match=message), open_counts(tmp_path / "adt.h5ad"):
        pass


def test_gene_ids_and_symbols_are_told_apart() -> None:
    ids = ["ENSG00000049768.18", "ENSG00000167286"]
    symbols = ["FOXP3", "CD3D"]
    bare = ["ENSG00000049768", "ENSG00000167286"]
    for var in (
        pd.DataFrame({"feature_name": pd.Categorical(symbols)}, index=ids),
        pd.DataFrame({"gene_ids": ids}, index=symbols),
    ):
        genes = describe_genes(var)
        assert (list(genes.ids), list(genes.symbols)) == (bare, symbols)
    genes = describe_genes(pd.DataFrame(index=symbols))
    assert list(genes.ids) == list(genes.symbols) == symbols


def test_a_truncated_file_is_named(write_h5ad: Write, counts: sp.csr_matrix) -> None:
    path = write_h5ad(counts)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AidaError, match=r"data\.h5ad.*cut short"), open_counts(path):
        pass
