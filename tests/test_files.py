"""Results appear whole, with their provenance, or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from aida_tools.core.errors import AidaError
from aida_tools.core.files import mark_start, published, staged


def test_results_are_published_with_provenance(tmp_path: Path) -> None:
    source = tmp_path / "input.txt"
    source.write_bytes(b"abc")
    out = tmp_path / "out"
    mark_start()
    with staged(out, step="demo", inputs=[source], config={"a": 1}, seed=3) as folder:
        (folder / "table.tsv").write_text("x\n")
        (folder / "sub").mkdir()
        (folder / "sub" / "more.tsv").write_text("y\n")
        assert not (out / "table.tsv").exists()
    assert published() == [out]
    assert (out / "table.tsv").read_text() == "x\n"
    assert (out / "sub" / "more.tsv").read_text() == "y\n"
    record = json.loads((out / "provenance.json").read_text())
    assert record["inputs"] == [{"path": "input.txt", "bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}]
    assert record["seed"] == 3
    assert record["config"] == {"a": 1}
    assert {"numpy", "anndata"} <= record["packages"].keys()
    assert sorted(p.name for p in out.iterdir()) == ["provenance.json", "sub", "table.tsv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_step_that_dies_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "new"
    with pytest.raises(error), staged(out, step="demo") as folder:
        (folder / "half.tsv").write_text("x")
        raise error
    assert not out.exists()


def test_a_step_that_dies_keeps_earlier_results(tmp_path: Path) -> None:
    (tmp_path / "earlier.tsv").write_text("kept")
    with pytest.raises(RuntimeError), staged(tmp_path, step="demo") as folder:
        (folder / "earlier.tsv").write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["earlier.tsv"]
    assert (tmp_path / "earlier.tsv").read_text() == "kept"


def test_out_must_be_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(AidaError, match="this is a file"), staged(path, step="demo"):
        pass
