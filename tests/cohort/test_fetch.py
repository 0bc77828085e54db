"""Getting data: the Discover API, ranges, downloads, and everything that goes wrong on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import pandas as pd
import pytest
import yaml

from aida_tools.cohort.fetch import fetch
from aida_tools.cohort.read import read_obs
from aida_tools.cohort.source import counts_file, read_source
from aida_tools.cohort.web import Patience
from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256
from tests.cohort.server import COLLECTION, DATASET, NEW, OLD, Discover, serve
from tests.cohort.tiny import COHORT, make_anndata, make_obs, write_h5ad

QUICK = Patience(connect=2, read=0.4, attempts=3, wait=0.01)
BLOCK = 2**12


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two versions of a file; the older one lacks the last cell."""
    folder = tmp_path_factory.mktemp("published")
    tables = {NEW: make_obs(), OLD: make_obs().iloc[:-1]}
    return {v: write_h5ad(make_anndata(t, n_genes=2000), folder / f"{v}.h5ad") for v, t in tables.items()}


@pytest.fixture
def discover(published: dict[str, Path]) -> Iterator[Discover]:
    with serve(Discover(dict(published))) as server:
        yield server


@pytest.fixture
def cohort(tmp_path: Path, discover: Discover) -> Callable[..., Path]:
    def write(**source: Any) -> Path:
        path = tmp_path / "cohort.yaml"
        ids = {"kind": "cellxgene", "collection_id": COLLECTION, "dataset_id": DATASET, "api": discover.api}
        path.write_text(yaml.safe_dump({**COHORT, "source": {**ids, **source}}), encoding="utf-8")
        return path

    return write


def get(path: Path, out: Path) -> dict[str, Any]:
    fetch(path, out, patience=QUICK, block=BLOCK)
    record = json.loads((out / "source.json").read_text())
    assert json.loads((out / "provenance.json").read_text())["details"] == record
    return record


def test_obs_route_reads_the_cell_table_and_leaves_the_matrix(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path
) -> None:
    record = get(cohort(), tmp_path / "out")
    pd.testing.assert_frame_equal(
        read_obs(tmp_path / "out" / "obs.parquet", "parquet"), read_obs(discover.files[NEW], "h5ad")
    )
    size = discover.files[NEW].stat().st_size
    assert record["version_id"] == NEW
    assert record["newest_version_id"] == NEW
    assert record["schema_version"] == "7.0.0"
    assert record["bytes"] == size
    assert record["note"] == ""
    asked = discover.file_requests()
    assert record["requests"] == len(discover.log) == len(asked) + 1
    assert record["bytes_read"] == sum(entry[3] for entry in discover.log)
    assert discover.bytes_sent() < size / 2
    assert len({entry[1] for entry in asked}) == len(asked), "no block travels twice"
    with pytest.raises(AidaError, match=r"only the cell table was fetched.*'full'"):
        counts_file(tmp_path / "out")


def test_full_route_downloads_and_checks(cohort: Callable[..., Path], discover: Discover, tmp_path: Path) -> None:
    digest = sha256(discover.files[NEW])
    record = get(cohort(route="full", sha256=digest.upper()), tmp_path / "out")
    assert record["sha256"] == digest
    assert (tmp_path / "out" / "data.h5ad").read_bytes() == discover.files[NEW].read_bytes()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["data.h5ad", "provenance.json", "source.json"]
    assert counts_file(tmp_path / "out").path == tmp_path / "out" / "data.h5ad"


@pytest.mark.parametrize("fault", ["cut", "stall", "503", "429", "cut:0"])
@pytest.mark.parametrize("route", ["obs", "full"])
def test_passing_faults_are_survived(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, route: str, fault: str
) -> None:
    discover.faults = ["", fault, fault] if route == "obs" else [fault, fault]
    discover.api_faults = ["503"]
    get(cohort(route=route), tmp_path / "out")
    fetched = read_source(tmp_path / "out")
    pd.testing.assert_frame_equal(read_obs(fetched.path, fetched.format), read_obs(discover.files[NEW], "h5ad"))
    assert discover.faults == []


def test_a_download_goes_on_where_it_was_cut(cohort: Callable[..., Path], discover: Discover, tmp_path: Path) -> None:
    discover.faults = ["cut:1000", "cut:500", ""]
    get(cohort(route="full"), tmp_path / "out")
    assert [entry[1] for entry in discover.file_requests()] == ["", "bytes=1000-", "bytes=1500-"]
    assert discover.bytes_sent() == discover.files[NEW].stat().st_size


def test_more_cuts_than_attempts_do_not_matter_while_something_comes(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path
) -> None:
    discover.faults = ["cut:100"] * 10
    get(cohort(route="full"), tmp_path / "out")
    assert len(discover.file_requests()) == 11


def test_a_rerun_resumes_what_a_failed_run_left(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path
) -> None:
    discover.faults = ["cut:1000", "503", "503", "503"]
    path = cohort(route="full")
    with pytest.raises(AidaError, match=r"gave up after 3 attempts: the server answered 503.*data.h5ad.part: run"):
        get(path, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"data.h5ad.part", "data.h5ad.part.json"}
    get(path, tmp_path / "out")
    assert discover.file_requests()[-1][1] == "bytes=1000-"
    assert (tmp_path / "out" / "data.h5ad").read_bytes() == discover.files[NEW].read_bytes()


def test_a_partial_file_of_another_content_is_not_continued(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, published: dict[str, Path]
) -> None:
    discover.faults = ["cut:1000", "503", "503", "503"]
    path = cohort(route="full")
    with pytest.raises(AidaError, match="gave up"):
        get(path, tmp_path / "out")
    discover.files[NEW] = published[OLD]  # the file behind the address was replaced
    get(path, tmp_path / "out")
    assert discover.file_requests()[-1][1:3] == ("bytes=1000-", 200)
    assert (tmp_path / "out" / "data.h5ad").read_bytes() == published[OLD].read_bytes()


def test_without_a_tag_a_partial_file_starts_anew(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path
) -> None:
    discover.etags = False
    discover.faults = ["cut:1000"]
    get(cohort(route="full"), tmp_path / "out")
    assert [entry[1] for entry in discover.file_requests()] == ["", ""]


def test_a_complete_partial_file_needs_no_byte(cohort: Callable[..., Path], discover: Discover, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = cohort(route="full", sha256="0" * 64)
    with pytest.raises(AidaError, match=r"SHA-256 of the download is .* but 0000.*removed"):
        get(path, out)
    assert not (out / "data.h5ad.part").exists()
    (out / "data.h5ad.part").write_bytes(discover.files[NEW].read_bytes())
    note = json.loads((out / "data.h5ad.part.json").read_text())
    assert note["tag"].startswith('"')
    before = discover.bytes_sent()
    get(cohort(route="full"), out)
    assert discover.bytes_sent() == before


@pytest.mark.parametrize("route", ["obs", "full"])
def test_what_an_earlier_run_left_is_not_fetched_again(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, route: str
) -> None:
    out = tmp_path / "out"
    first = get(cohort(route=route), out)
    (out / "source.json").unlink()  # as a workflow does before it runs a step again
    discover.log.clear()
    second = get(cohort(route=route), out)
    assert discover.file_requests() == []
    assert second["note"] == "the data were there from an earlier run."
    same = ("version_id", "path", "format", "bytes", "data_bytes", "sha256", "etag", "url")
    assert [second.get(key) for key in same] == [first.get(key) for key in same]

    data = out / first["path"]
    data.write_bytes(data.read_bytes()[:-1])
    assert get(cohort(route=route), out)["note"] == ""
    discover.files = dict(reversed(discover.files.items()))  # a new version is published
    assert get(cohort(route=route), out)["version_id"] == OLD
    assert len(discover.file_requests()) > 1


def test_the_cell_table_alone_is_not_the_whole_file_but_the_other_way_round(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path
) -> None:
    get(cohort(route="obs"), tmp_path / "out")
    assert get(cohort(route="full"), tmp_path / "out")["format"] == "h5ad"
    discover.log.clear()
    assert get(cohort(route="obs"), tmp_path / "out")["format"] == "h5ad"
    assert discover.file_requests() == []


@pytest.mark.parametrize("route", ["obs", "full"])
def test_a_file_of_another_size_than_announced_is_refused(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, route: str
) -> None:
    discover.announced_size = 10**9
    with pytest.raises(AidaError, match=r"has \d+ bytes, but 1000000000 are announced"):
        get(cohort(route=route), tmp_path / "out")
    assert not (tmp_path / "out" / "source.json").exists()
    assert not (tmp_path / "out" / "data.h5ad").exists()


@pytest.mark.parametrize("route", ["obs", "full"])
def test_another_number_of_cells_than_announced_is_refused(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, route: str
) -> None:
    discover.n_cells = 61
    with pytest.raises(AidaError, match="the file has 60 cells, but the Discover API announces 61"):
        get(cohort(route=route), tmp_path / "out")
    assert not (tmp_path / "out" / "source.json").exists()


def test_without_ranges_the_whole_file_is_downloaded_with_a_message(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    discover.ranges = False
    record = get(cohort(route="obs"), tmp_path / "out")
    assert record["route"] == "full"
    assert "does not serve parts of files" in record["note"]
    assert "does not serve parts of files" in capsys.readouterr().err
    assert (tmp_path / "out" / "data.h5ad").exists()


@pytest.mark.parametrize("how", ["status", "flag"])
def test_a_withdrawn_dataset_says_what_to_do(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, how: str
) -> None:
    discover.withdrawn = how
    with pytest.raises(AidaError) as error:
        get(cohort(), tmp_path / "out")
    for word in ("cohort.yaml", DATASET, "withdrawn", "source.dataset_id", f"collections/{COLLECTION}", "kind: h5ad"):
        assert word in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_pinned_version_is_used_and_a_newer_one_mentioned(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path
) -> None:
    record = get(cohort(version_id=OLD), tmp_path / "out")
    assert record["version_id"] == OLD
    assert record["newest_version_id"] == NEW
    assert NEW in record["note"]
    assert len(read_obs(tmp_path / "out" / "obs.parquet", "parquet")) == 59
    assert get(cohort(version_id=NEW), tmp_path / "new")["note"] == ""


def test_a_version_that_was_never_published(cohort: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=rf"source.version_id', value 'nope'.*{NEW}, {OLD}"):
        get(cohort(version_id="nope"), tmp_path / "out")


def test_an_unknown_dataset(cohort: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=r"knows no such dataset.*source.collection_id"):
        get(cohort(dataset_id="b0e547f0-462b-4f81-b31b-5b0a5d96f537"), tmp_path / "out")


def test_no_server_at_all(cohort: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=r"gave up after 3 attempts: the connection broke.*internet"):
        get(cohort(api="http://127.0.0.1:9/curation/v1"), tmp_path / "out")


def test_an_answer_that_is_no_api(cohort: Callable[..., Path], discover: Discover, tmp_path: Path) -> None:
    discover.api_faults = ["403"]
    with pytest.raises(AidaError, match=r"not an answer of the Discover API \(403 Forbidden\).*source.api"):
        get(cohort(), tmp_path / "out")


@pytest.mark.parametrize("route", ["obs", "full"])
def test_a_file_that_is_gone(cohort: Callable[..., Path], discover: Discover, tmp_path: Path, route: str) -> None:
    discover.faults = ["404"]
    with pytest.raises(AidaError, match="answered 404 Not Found instead of the file"):
        get(cohort(route=route), tmp_path / "out")


@pytest.mark.parametrize("fault", ["cut", "stall", "503"])
def test_giving_up_in_the_middle_of_the_cell_table_says_why(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, fault: str
) -> None:
    discover.faults = ["", "", *[fault] * 3]
    with pytest.raises(AidaError, match="gave up after 3 attempts"):
        get(cohort(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_while_it_is_read(
    cohort: Callable[..., Path], discover: Discover, tmp_path: Path, published: dict[str, Path]
) -> None:
    new = published[NEW].read_bytes()
    other = tmp_path / "other.h5ad"
    other.write_bytes(new[:-1] + bytes([new[-1] ^ 1]))

    class Changing(dict[str, Path]):
        reads = 0

        def get(self, key: str, default: Any = None) -> Any:
            self.reads += 1
            return published[NEW] if self.reads < 3 else other

    discover.files = Changing(published)
    with pytest.raises(AidaError, match="changed while it was read"):
        get(cohort(), tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"not HDF5 at all, " * 99, "not an HDF5 file"), (None, "cut short")],
)
def test_what_is_published_is_no_whole_h5ad(
    cohort: Callable[..., Path],
    discover: Discover,
    tmp_path: Path,
    published: dict[str, Path],
    content: bytes | None,
    words: str,
) -> None:
    file = tmp_path / "bad.h5ad"
    file.write_bytes(content or published[NEW].read_bytes()[:-2000])
    discover.files[NEW] = file
    for route in ("obs", "full"):
        with pytest.raises(AidaError, match=words):
            get(cohort(route=route), tmp_path / route)


def test_an_api_that_changed(cohort: Callable[..., Path], discover: Discover, tmp_path: Path) -> None:
    discover.files = {"": discover.files[NEW]}
    discover.omit = "dataset_version_id"
    with pytest.raises(AidaError, match=r"not as the Discover API documents it .*dataset_version_id.*source.api"):
        get(cohort(), tmp_path / "out")
    discover.omit = "assets"
    with pytest.raises(AidaError, match="it offers no H5AD file, only nothing"):
        get(cohort(), tmp_path / "out")


def test_the_sample_is_made_in_the_same_shape(tmp_path: Path, write_cohort: Callable[..., Path]) -> None:
    small = {"donors_per_batch": 2, "cells_per_donor": 10, "batches": {"SG": 1, "KR": 1, "JP": 0, "TH": 0, "IN": 0}}
    record = get(write_cohort(source={"kind": "sample", "seed": 7, **small}), tmp_path / "out")
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["data.h5ad", "provenance.json", "source.json", "truth.json"]
    assert record["sha256"] == sha256(tmp_path / "out" / "data.h5ad")
    assert json.loads((tmp_path / "out" / "truth.json").read_text())["options"]["seed"] == 7
    assert counts_file(tmp_path / "out").path.name == "data.h5ad"


def test_local_file_is_described_not_copied(tmp_path: Path, h5ad: Path, write_cohort: Callable[..., Path]) -> None:
    record = get(write_cohort(**{"source.sha256": sha256(h5ad)}), tmp_path / "out")
    assert record["sha256"] == sha256(h5ad)
    assert record["bytes"] == h5ad.stat().st_size
    assert read_source(tmp_path / "out").path == h5ad
    assert not (tmp_path / "out" / "data.h5ad").exists()
    with h5ad.open("ab") as file:
        file.write(b"0")
    with pytest.raises(AidaError, match=r"tiny.h5ad.*has changed: run `aida-tools fetch`"):
        read_source(tmp_path / "out")
    h5ad.unlink()
    with pytest.raises(AidaError, match=r"tiny.h5ad.*gone"):
        read_source(tmp_path / "out")


def test_local_file_that_is_another_one(tmp_path: Path, h5ad: Path, write_cohort: Callable[..., Path]) -> None:
    with pytest.raises(AidaError, match=r"tiny.h5ad: its SHA-256 is .*'source.sha256'"):
        get(write_cohort(**{"source.sha256": "0" * 64}), tmp_path / "out")
    with pytest.raises(AidaError, match=r"key 'source.path', value 'absent.h5ad'"):
        get(write_cohort(**{"source.path": "absent.h5ad"}), tmp_path / "out")


def test_local_file_that_is_truncated_or_no_hdf5(tmp_path: Path, h5ad: Path, write_cohort: Callable[..., Path]) -> None:
    whole = h5ad.read_bytes()
    for content, words in ((whole[:-500], "cut short"), (b"barcode\tdonor\n", "not an HDF5 file"), (b"", "HDF5")):
        h5ad.write_bytes(content)
        with pytest.raises(AidaError, match=words):
            get(write_cohort(), tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_local_h5ad_that_lacks_a_part(tmp_path: Path, h5ad: Path, write_cohort: Callable[..., Path]) -> None:
    with h5py.File(h5ad, "a") as handle:
        index = handle["obs"].attrs["_index"]
        del handle["obs"][index]
    with pytest.raises(AidaError, match=r"tiny.h5ad: the file is incomplete .*Get it again"):
        get(write_cohort(), tmp_path / "out")


def test_local_h5ad_without_a_matrix(tmp_path: Path, obs: pd.DataFrame, write_cohort: Callable[..., Path]) -> None:
    write_h5ad(ad.AnnData(obs=obs), tmp_path / "tiny.h5ad")
    record = get(write_cohort(), tmp_path / "out")
    assert record["format"] == "h5ad"


def test_fetch_must_come_first(tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=r"source.json.*Run `aida-tools fetch"):
        read_source(tmp_path)
