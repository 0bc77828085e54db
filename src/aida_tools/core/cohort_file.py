"""The cohort file: where the data are, and what their columns and labels mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from aida_tools.core.config import Closed, load
from aida_tools.core.errors import did_you_mean


def _pattern(value: str | None) -> str | None:
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
    return value


class Column(Closed):
    """How to get one canonical column from the file's obs table."""

    column: str | None = Field(None, description="Name of the obs column; `_index` means the cell ids (obs names).")
    pattern: str | None = Field(
        None, description="Regular expression searched in the value; its first group is the result."
    )
    value: str | None = Field(None, description="One constant for every cell, instead of a column.")
    levels: dict[str, str] = Field(
        default_factory=dict, description="Replaces values (after `pattern`): old -> new; `''` is missing."
    )

    _check_pattern = field_validator("pattern")(_pattern)

    @model_validator(mode="after")
    def _one_source(self) -> Column:
        if (self.column is None) == (self.value is None):
            raise ValueError("give either 'column' or 'value'")
        return self


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


ColumnField = Annotated[
    Column, Field(description="An obs column: its name, or a mapping (column, pattern, value, levels).")
]


class Columns(Closed):
    """Which obs column means what. `batch`, `library` and `site` default to one for the whole file."""

    donor_id: ColumnField
    population: ColumnField = Field(description="Ontology ids (HANCESTRO), codes or labels of populations.tsv.")
    site: ColumnField = Column(value="site1")
    batch: ColumnField = Column(value="batch1")
    library: ColumnField | None = Field(None, description="Defaults to the batch.")
    sex: ColumnField = Column(value="unknown")
    age: ColumnField | None = Field(
        None, description="Years; the first number in the value is taken. Default: missing."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {k: _column(v) for k, v in value.items()} if isinstance(value, dict) else value


class Controls(Closed):
    """Which cells come from control samples (the same commercial donor run in many batches)."""

    column: str = Field("donor_id", description="obs column to look in.")
    pattern: str = Field(description="Regular expression; a match makes a control.")

    _check_pattern = field_validator("pattern")(_pattern)


class Labels(Closed):
    """The authors' cell type labels and the sets of labels the denominators are made of."""

    column: str | None = Field(None, description="obs column with the authors' labels; none for an unlabelled file.")
    ids: str | None = Field(None, description="obs column with Cell Ontology ids; checked against the ontology.")
    merge: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Counted type -> the labels or Cell Ontology ids it unites, exactly (`Treg: [CL:0000815]`); "
        "a leading `-` takes away (`-CL:0000795`).",
    )
    sets: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Denominator -> its labels or Cell Ontology ids, listed exactly (`CD4_T: [CD4+_T_naive, Treg]`).",
    )
    descendants: bool = Field(
        False, description="Ids in `merge` and `sets` also stand for their descendants in the Cell Ontology."
    )
    exclude: list[str] = Field(default_factory=list, description="Labels or ids left out of every count (`Platelet`).")
    unresolved: list[str] = Field(
        default_factory=list,
        description="Counted types of cells that could not be resolved further (`T`): they tell nothing of an "
        "annotator's error, and the specification curve counts them in several ways.",
    )


Marker = Literal["CD3", "CD4", "CD8", "CD25", "CD127"]


class Proteins(Closed):
    """Protein counts of the same cells (CITE-seq), for the annotator `protein`: CD4+ CD25hi CD127lo are Tregs."""

    obsm: str | None = Field(
        None, description="Entry of obsm with protein counts, a table or an array; default: features among the genes."
    )
    names: str | None = Field(
        None, description="Entry of uns with the proteins' names, where `obsm` names an array without them."
    )
    feature_type: str = Field(
        "Antibody Capture", description="Feature type of proteins among the genes, where `obsm` is not given."
    )
    markers: dict[Marker, str] = Field(
        description="Marker -> the protein's name in the file; CD4, CD25 and CD127 are needed, CD3 and CD8 are not."
    )
    thresholds: dict[Marker, float] = Field(
        default_factory=dict,
        description="Marker -> protein count at which a cell is positive; default: between the two populations of "
        "each batch.",
    )

    @field_validator("markers")
    @classmethod
    def _needed(cls, value: dict[Marker, str]) -> dict[Marker, str]:
        lacking = [m for m in ("CD4", "CD25", "CD127") if m not in value]
        if lacking:
            raise ValueError(f"no protein for {', '.join(lacking)}")
        return value

    @field_validator("thresholds")
    @classmethod
    def _positive(cls, value: dict[Marker, float]) -> dict[Marker, float]:
        for marker, count in value.items():
            if not count > 0:
                raise ValueError(f"the threshold of {marker} must be a count above 0")
        return value


class SetCheck(Closed):
    """An obs column that says by other means which cells belong to a set."""

    column: str = Field(description="obs column.")
    values: list[str] = Field(min_length=1, description="Its values that mean: in the set.")


class Checks(Closed):
    """What must hold if the cohort file reads the data rightly; a breach is a warning, kept with the results."""

    one_to_one: dict[Literal["sample_id", "donor_id", "population", "site", "batch", "library"], str] = Field(
        default_factory=dict,
        description="Canonical column -> obs column with the same partition of cells (`library: library_id`).",
    )
    sets: dict[str, SetCheck] = Field(
        default_factory=dict, description="Set of `labels.sets` -> an obs column that must agree cell by cell."
    )


class CellxgeneSource(Closed):
    """A dataset of CZ CELLxGENE Discover."""

    kind: Literal["cellxgene"]
    collection_id: str = Field(description="UUID of the collection.")
    dataset_id: str = Field(description="UUID of the dataset (stable over its versions).")
    version_id: str | None = Field(None, description="Pinned dataset version; default the newest published one.")
    sha256: str | None = Field(
        None, description="Expected SHA-256 of the whole file, if known (64 hexadecimal digits)."
    )
    route: Literal["obs", "full"] = Field(
        "obs",
        description="`obs` reads only the cell table over HTTP ranges; `full` downloads the file (needed for counts).",
    )
    api: str = Field("https://api.cellxgene.cziscience.com/curation/v1", description="Address of the Discover API.")


class FileSource(Closed):
    """A local file or folder."""

    kind: Literal["h5ad", "10x-h5", "10x-mtx"]
    path: str = Field(description="File or folder, relative to the cohort file.")
    obs: str | None = Field(
        None, description="For 10x input: a TSV or CSV of cell annotations, first column the barcode."
    )
    sha256: str | None = Field(None, description="Expected SHA-256 of the file (64 hexadecimal digits).")


class SampleSource(Closed):
    """The embedded synthetic cohort, made anew."""

    kind: Literal["sample"]
    seed: int = Field(1, ge=0, description="Seed of the generator.")
    donors_per_batch: int = Field(15, ge=2, description="Donors pooled in one batch.")
    batches: dict[str, int] = Field(
        default_factory=dict, description="Site -> number of batches; the rest keep their default."
    )
    cells_per_donor: int = Field(120, ge=10, description="Mean number of cells of a donor.")


class CohortConfig(Closed):
    """One cohort: where the data are and what its columns and labels mean."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", description="Short name; results go to results/<name>/.")
    title: str = Field(description="One line for the report.")
    synthetic: bool = Field(False, description="True marks every figure and page SYNTHETIC.")
    citation: str = Field("", description="How to cite the data.")
    licence: str = Field("", description="Licence of the data.")
    source: CellxgeneSource | FileSource | SampleSource = Field(discriminator="kind", description="Where the data are.")
    counts_layer: str = Field(
        "auto",
        description="Where raw counts are: `X`, `raw`, `layers/<name>`, or `auto` (the one with whole numbers).",
    )
    columns: Columns = Field(description="Which obs column means what.")
    covariates: dict[str, str] = Field(
        default_factory=dict,
        description="Covariate -> obs column, constant within a sample. The specification curve adjusts for each.",
    )
    strata: list[str] = Field(
        default_factory=list,
        description="Covariates, `sex`, `site` or `batch`, whose levels the specification curve looks at one by one.",
    )
    controls: Controls | None = Field(None, description="Which cells are control samples.")
    labels: Labels = Field(Labels(), description="The authors' labels.")
    proteins: Proteins | None = Field(
        None, description="Protein counts of the same cells (CITE-seq), if there are any."
    )
    checks: Checks = Field(Checks(), description="Checks of the reading of the columns against others.")

    @model_validator(mode="after")
    def _known_strata(self) -> CohortConfig:
        known = (*self.covariates, "sex", "site", "batch")
        for name in self.strata:
            if name not in known:
                raise ValueError(f"'strata' names '{name}', which is not a covariate. {did_you_mean(name, known)}")
        return self


def load_cohort(path: Path) -> CohortConfig:
    """Read and check a cohort file.

    Parameters
    ----------
    path
        The file, such as `config/cohorts/sample.yaml`.

    Returns
    -------
    Its keys as attributes, defaults filled.

    Raises
    ------
    AidaError
        Naming the file, the key and the value; for an unknown key, the nearest known one.
    """
    return load(Path(path), CohortConfig)
