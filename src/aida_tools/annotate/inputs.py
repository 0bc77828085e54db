"""What an annotator may read of a cohort: its cells, a scan of its counts, the data themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aida_tools.annotate.annotation import TREG_MARGIN
from aida_tools.annotate.labels import map_labels
from aida_tools.annotate.registry import Annotator
from aida_tools.cohort.source import SOURCE
from aida_tools.core.defaults import default_file
from aida_tools.core.errors import AidaError
from aida_tools.core.files import file_of
from aida_tools.core.tables import read_cells
from aida_tools.scan.tables import LABEL_MAP, SCAN, THINNING

_FIELDS = ("label", "probability", "margin", TREG_MARGIN)


@dataclass(frozen=True)
class Scan:
    """A scan of the cells of a cohort.

    Attributes
    ----------
    path
        `scan.parquet`.
    cells_path
        `cells.parquet`.
    columns
        Columns of the scan.
    """

    path: Path
    cells_path: Path
    columns: list[str]

    @classmethod
    def open(cls, path: Path, cells_path: Path) -> Scan:
        """Open a scan, named by its folder or its file.

        Raises
        ------
        AidaError
            If it is not there.
        """
        path = file_of(path, SCAN.file)
        if not path.exists():
            raise AidaError(f"{path}: there is no such file. Run `aida-tools scan` first.")
        return cls(path, cells_path, pq.read_schema(path).names)

    @property
    def annotators(self) -> list[str]:
        """Who labelled the cells in this scan."""
        return [c.removesuffix(":label") for c in self.columns if c.endswith(":label")]

    @property
    def is_thinned(self) -> bool:
        """Whether its counts were thinned to a common depth."""
        return (self.path.parent / THINNING.file).is_file()

    def has_any(self, genes: tuple[str, ...]) -> NDArray[np.bool_]:
        """Say of every cell whether a molecule of any of these genes of the gate was seen."""
        counts = read_cells(self.path, columns=[f"count:{gene}" for gene in genes])
        return np.asarray((counts > 0).any(axis=1))

    def read(self, annotator: str) -> pd.DataFrame:
        """Read what an annotator said: `cell_id, label, probability, margin, margin_Treg` (missing if not there).

        Raises
        ------
        AidaError
            If the scan is of other cells.
        """
        cells = read_cells(self.cells_path, columns=["cell_id"])
        there = [f for f in _FIELDS if f"{annotator}:{f}" in self.columns]
        scan = read_cells(self.path, columns=["cell_id", *[f"{annotator}:{f}" for f in there]])
        if not np.array_equal(scan["cell_id"].to_numpy(), cells["cell_id"].to_numpy()):
            raise AidaError(
                f"{self.path}: its {len(scan)} cells are not the {len(cells)} cells of {self.cells_path}, in the same "
                "order. Make both from the same fetch."
            )
        scan.columns = pd.Index(["cell_id", *there])
        return scan.assign(**{f: np.nan for f in _FIELDS if f not in there})

    def read_expected(self, annotator: str, label_map: pd.DataFrame, source: Path) -> pd.DataFrame | None:
        """Read the expected counts of a classifier as `sample_id, cell_type, n_expected`, if the scan summed them.

        Raises
        ------
        AidaError
            If the label map lacks a class, or a sample has no expected counts.
        """
        path = self.path.parent / f"expected.{annotator}.parquet"
        if not path.is_file():
            return None
        table = read_cells(path, columns=["sample_id", "label", "n_expected"])
        table["cell_type"] = map_labels(table["label"], label_map, source)[0].astype(str)
        lacking = set(read_cells(self.cells_path, columns=["sample_id"])["sample_id"]) - set(table["sample_id"])
        if lacking:
            raise AidaError(
                f"{path}: no expected counts of sample '{min(lacking)}'. Scan again with --samples {self.cells_path}."
            )
        return table.groupby(["sample_id", "cell_type"], sort=False)["n_expected"].sum().reset_index()


def find_label_map(annotator: str, classifier_folder: Path) -> Path:
    """Find the table that says what an annotator's labels are counted as.

    Raises
    ------
    AidaError
        If neither its classifier nor config has one.
    """
    places = [classifier_folder / annotator / LABEL_MAP.file, default_file(f"annotators/{annotator}.labels.tsv")]
    for place in places:
        if place.is_file():
            return place
    raise AidaError(
        f"annotator '{annotator}': there is no table that says what its labels are counted as (looked for {places[0]} "
        f"and {places[1]}). Write one with the columns label, cell_type, cell_type_id, sets; name it with --label-map."
    )


@dataclass(frozen=True)
class Inputs:
    """What an annotator is given.

    Attributes
    ----------
    annotator
        Its entry.
    cohort_path, cells_path
        The cohort file, and `cells.parquet`.
    scan_path
        `scan.parquet` or its folder.
    fetched_path
        Folder in which `fetch` left its results.
    given_map
        Table that says what each label is counted as, if the user named one.
    classifier_folder
        Folder of classifiers.
    """

    annotator: Annotator
    cohort_path: Path
    cells_path: Path
    scan_path: Path | None
    fetched_path: Path | None
    given_map: Path | None
    classifier_folder: Path

    @cached_property
    def scan(self) -> Scan:
        """The scan.

        Raises
        ------
        AidaError
            If none was named, or it is not there.
        """
        if self.scan_path is None:
            raise AidaError(
                f"annotator '{self.annotator.name}' needs the folder of `aida-tools scan` as third argument."
            )
        return Scan.open(self.scan_path, self.cells_path)

    @property
    def fetched(self) -> Path:
        """The folder of the data.

        Raises
        ------
        AidaError
            If none was named.
        """
        if self.fetched_path is None:
            raise AidaError(
                f"annotator '{self.annotator.name}' ({self.annotator.words}) reads the data themselves: name the "
                "folder of `aida-tools fetch` with --fetched."
            )
        return self.fetched_path

    @property
    def label_map(self) -> Path:
        """The table that says what each label is counted as; see `find_label_map`."""
        return self.map_of(self.annotator.label_map or self.annotator.name)

    def map_of(self, name: str) -> Path:
        """Return the user's label map, else that of the annotator or classifier of this name."""
        return self.given_map or find_label_map(name, self.classifier_folder)

    @property
    def read(self) -> list[Path]:
        """The files that stand for what the annotator reads."""
        needs = self.annotator.needs
        scan = [self.scan.path] if "scan" in needs else []
        return [self.cohort_path, self.cells_path, *scan, *([self.fetched / SOURCE] if "fetched" in needs else [])]
