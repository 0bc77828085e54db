"""The two kinds of configuration: a cohort (where the data are, what means what) and a run (what to compute).

Both are closed: an unknown key is an error that names the nearest right one. Defaults live here and nowhere
else; `workflow/schemas/*.json` are written from these classes for editors and readers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from aida_tools.errors import AidaError, did_you_mean
from aida_tools.tables import read_tsv

MODELS = (
    "betabinomial-mixed",
    "betabinomial-cluster",
    "betabinomial-library",
    "betabinomial",
    "quasibinomial",
    "propeller-logit",
    "propeller-asin",
    "clr",
    "clr-2class",
    "log10-ols",
)


#: What follows this line in config/README.md is made from the classes below.
REFERENCE_MARK = "<!-- made by `python -m aida_tools.config`; do not edit below -->"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _pattern(value: str | None) -> str | None:
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            msg = f"not a regular expression ({error})"
            raise ValueError(msg) from error
    return value


class Column(_Closed):
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
            msg = "give either 'column' or 'value'"
            raise ValueError(msg)
        return self


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


ColumnField = Annotated[
    Column, Field(description="An obs column: its name, or a mapping (column, pattern, value, levels).")
]


class Columns(_Closed):
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


class Controls(_Closed):
    """Which cells come from control samples (the same commercial donor run in many batches)."""

    column: str = Field("donor_id", description="obs column to look in.")
    pattern: str = Field(description="Regular expression; a match makes a control.")

    _check_pattern = field_validator("pattern")(_pattern)


class Labels(_Closed):
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


Marker = Literal["CD3", "CD4", "CD8", "CD25", "CD127"]


class Proteins(_Closed):
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
            msg = f"no protein for {', '.join(lacking)}"
            raise ValueError(msg)
        return value

    @field_validator("thresholds")
    @classmethod
    def _positive(cls, value: dict[Marker, float]) -> dict[Marker, float]:
        for marker, count in value.items():
            if not count > 0:
                msg = f"the threshold of {marker} must be a count above 0"
                raise ValueError(msg)
        return value


class SetCheck(_Closed):
    """An obs column that says by other means which cells belong to a set."""

    column: str = Field(description="obs column.")
    values: list[str] = Field(min_length=1, description="Its values that mean: in the set.")


class Checks(_Closed):
    """What must hold if the cohort file reads the data rightly; a breach is a warning, kept with the results."""

    one_to_one: dict[Literal["sample_id", "donor_id", "population", "site", "batch", "library"], str] = Field(
        default_factory=dict,
        description="Canonical column -> obs column with the same partition of cells (`library: library_id`).",
    )
    sets: dict[str, SetCheck] = Field(
        default_factory=dict, description="Set of `labels.sets` -> an obs column that must agree cell by cell."
    )


class CellxgeneSource(_Closed):
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


class FileSource(_Closed):
    """A local file or folder."""

    kind: Literal["h5ad", "10x-h5", "10x-mtx"]
    path: str = Field(description="File or folder, relative to the cohort file.")
    obs: str | None = Field(
        None, description="For 10x input: a TSV or CSV of cell annotations, first column the barcode."
    )
    sha256: str | None = Field(None, description="Expected SHA-256 of the file (64 hexadecimal digits).")


class SampleSource(_Closed):
    """The embedded synthetic cohort, made anew."""

    kind: Literal["sample"]
    seed: int = Field(1, ge=0, description="Seed of the generator.")
    donors_per_batch: int = Field(15, ge=2, description="Donors pooled in one batch.")
    batches: dict[str, int] = Field(
        default_factory=dict, description="Site -> number of batches; the rest keep their default."
    )
    cells_per_donor: int = Field(120, ge=10, description="Mean number of cells of a donor.")


class CohortConfig(_Closed):
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
        default_factory=dict, description="Covariate -> obs column, constant within a sample."
    )
    controls: Controls | None = Field(None, description="Which cells are control samples.")
    labels: Labels = Field(Labels(), description="The authors' labels.")
    proteins: Proteins | None = Field(
        None, description="Protein counts of the same cells (CITE-seq), if there are any."
    )
    checks: Checks = Field(Checks(), description="Checks of the reading of the columns against others.")


class Training(_Closed):
    """A model trained on a labelled cohort of the run."""

    cohort: str = Field(description="Name of the cohort it learns from.")
    annotator: str = Field("author", description="Whose labels it learns.")
    folds: int = Field(
        2,
        ge=1,
        description="2 or more: so many models, and every donor of that cohort is labelled by one that has not seen "
        "it. 1: a single model, to be carried to other cohorts.",
    )
    genes_per_class: int = Field(100, ge=1, description="Genes each class may name as features.")
    cells_per_class: int = Field(2000, ge=10, description="Most cells of a class to learn from.")


class Atlas(_Closed):
    """A sketch of the cells, embedded: `atlas.h5ad` and its picture. Needs the counts."""

    cells: int = Field(50_000, ge=100, description="Most cells of the sketch; rare types are kept.")
    genes: int = Field(2000, ge=50, description="Highly variable genes.")
    harmony: bool = Field(False, description="Integrate batches by Harmony (needs the package harmonypy, GPL).")


class RunConfig(_Closed):
    """One run: which cohorts, what to compare, with which models and thresholds."""

    results: str = Field("results", description="Folder for all results, relative to the working directory.")
    cohorts: list[str] = Field(min_length=1, description="Cohort files, relative to the working directory.")
    populations: str = Field(
        "config/populations.tsv", description="Table of population codes, labels, ids and colours."
    )
    seed: int = Field(1, ge=0, description="Seed for everything random.")
    annotators: list[str] = Field(
        default_factory=list,
        description="Who says what a cell is, the primary one first: `author`, `gate`, `blood`, `blood-sensitive`, "
        "`actinn`, `stcat`, `protein`, a model of `train` or `model_folder`, `consensus` of the others listed. "
        "`NAME-thinned` is NAME on counts thinned to one depth, `NAME:soft` the expected counts of a trained model. "
        "Default: the authors' labels; for cohorts without, `blood` if its models are in `model_folder`, else `gate`.",
    )
    train: dict[str, Training] = Field(
        default_factory=dict, description="Models to train: name -> how. They go to `<results>/models`."
    )
    model_folder: str = Field("models", description="Folder of models added or imported, shared by runs.")
    thin_by: Literal["site", "batch"] = Field("site", description="What has one depth after thinning.")
    scan_parts: int = Field(1, ge=1, description="Jobs the pass over the counts is cut into, for a cluster.")
    atlas: Atlas | None = Field(None, description="Draw an atlas of a sketch of the cells: `{cells: 50000}`.")
    focus: str = Field("Treg", description="The cell type the report is about.")
    denominator: str = Field(
        "CD4_T",
        description="Primary denominator: a set of the cohort file, or `all`; the others are reported beside it.",
    )
    models: list[str] = Field(
        list(MODELS), min_length=1, description="Models of `compare`; the first is the primary one."
    )
    formula: str = Field("~ population + age + sex", description="Wilkinson formula over the columns of samples.tsv.")
    contrasts: list[str] = Field(
        default_factory=list,
        description="Contrasts such as `population: Korean - Japanese`; default: all pairs.",
    )
    one_vs_rest: bool = Field(True, description="Also compare every population with all others together.")
    exclude_populations: list[str] = Field(
        default_factory=list, description="Population codes left out of the comparison."
    )
    min_cells: int = Field(800, ge=0, description="Samples with fewer cells are left out, as the reference study did.")
    robust: bool = Field(True, description="Robust empirical Bayes in the propeller models.")
    permutations: int = Field(10_000, ge=1, description="Permutations of each contrast in the robustness checks.")
    specifications: int = Field(1000, ge=1, description="At most so many specifications in the specification curve.")
    claims: str = Field("config/claims.yaml", description="Published statements to hold against the estimates.")

    @field_validator("models")
    @classmethod
    def _known_models(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in MODELS:
                msg = f"unknown model '{name}'. {did_you_mean(name, MODELS)}".rstrip(".")
                raise ValueError(msg)
        return value


def _known_keys(model: Any, path: tuple[Any, ...]) -> list[str]:
    """Return the keys allowed at a place of the configuration (union variants are united)."""
    models = [model]
    for part in path:
        found: list[Any] = []
        for candidate in models:
            field = candidate.model_fields.get(part) if isinstance(part, str) else None
            if field is None:
                # A discriminated union reports its tag as a part of the place.
                found.append(candidate)
                continue
            pending = [field.annotation]
            while pending:
                annotation = pending.pop()
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    found.append(annotation)
                pending.extend(getattr(annotation, "__args__", ()))
        models = found
    return [key for candidate in models for key in candidate.model_fields]


def _load[T: BaseModel](path: Path, kind: type[T]) -> T:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        msg = f"{path}: there is no such file."
        raise AidaError(msg) from error
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as text ({error})."
        raise AidaError(msg) from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"{path}: not valid YAML: {' '.join(str(error).split())}"
        raise AidaError(msg) from error
    return parse(values, kind, path)


def parse[T: BaseModel](values: Any, kind: type[T], source: Path | str) -> T:
    """Check a mapping against a configuration class and fill its defaults.

    Raises
    ------
    AidaError
        Naming the file, the key and the value; for an unknown key, the nearest known one.
    """
    if not isinstance(values, dict):
        msg = f"{source}: a mapping of keys to values is wanted, but it holds {type(values).__name__}."
        raise AidaError(msg)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
    # An unknown key explains the missing one beside it, so it comes first.
    first = min(details, key=lambda d: d["type"] != "extra_forbidden")
    place = ".".join(str(p) for p in first["loc"])
    more = f" ({len(details)} problems in all.)" if len(details) > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(str(first["loc"][-1]), _known_keys(kind, first["loc"][:-1]))
        msg = f"{source}: unknown key '{place}'. {hint}{more}"
    elif first["type"] == "missing":
        msg = f"{source}: key '{place}' is missing.{more}"
    else:
        text = first["msg"].removeprefix("Value error, ")
        msg = f"{source}: key '{place}', value {first['input']!r}: {text}.{more}".replace("..", ".")
    raise AidaError(msg)


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
    return _load(Path(path), CohortConfig)


def load_run(path: Path) -> RunConfig:
    """Read and check a run file.

    Raises
    ------
    AidaError
        Naming the file, the key and the value; for an unknown key, the nearest known one.
    """
    return _load(Path(path), RunConfig)


def load_populations(path: Path) -> pd.DataFrame:
    """Read the table of populations.

    Parameters
    ----------
    path
        The file, such as `config/populations.tsv`.

    Returns
    -------
    Table with the text columns `code, label, hancestro_id, country, colour`; `code` is unique.

    Raises
    ------
    AidaError
        If a column is missing, a code is repeated, or a colour is not `#rrggbb`.
    """
    table = read_tsv(Path(path))
    for column in ("code", "label", "hancestro_id", "country", "colour"):
        if column not in table.columns:
            msg = f"{path}: column '{column}' is missing. {did_you_mean(column, table.columns)}"
            raise AidaError(msg)
    for row, record in enumerate(table.to_dict("records"), start=1):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", str(record["colour"])):
            msg = f"{path}: column 'colour', row {row}: value '{record['colour']}' must be of the form #1b9e77."
            raise AidaError(msg)
    repeated = table["code"][table["code"].duplicated()]
    if len(repeated):
        msg = f"{path}: column 'code', row {repeated.index[0] + 1}: value '{repeated.iloc[0]}' stands there twice."
        raise AidaError(msg)
    return table


def schemas() -> dict[str, str]:
    """Return the JSON schemas of the files a user writes: file name -> text."""
    # A room's own file: only this list of what there is knows of it.
    from aida_tools.claims.model import Claims

    return {
        f"{name}.schema.json": json.dumps(kind.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
        for name, kind in (("cohort", CohortConfig), ("run", RunConfig), ("claims", Claims))
    }


def _describe(field: FieldInfo) -> str:
    texts = [field.description, *(getattr(m, "description", None) for m in field.metadata)]
    return next((text for text in texts if text), "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    return f"`{json.dumps(value)}`" if value not in (None, {}, [], "") else ""


def reference() -> str:
    """Return the description of every key as Markdown: one table a block, in the order of the classes."""
    blocks: list[tuple[str, type[BaseModel]]] = [
        ("A run file", RunConfig),
        ("`train`, one model", Training),
        ("`atlas`", Atlas),
        ("A cohort file", CohortConfig),
        ("`source`, kind `cellxgene`", CellxgeneSource),
        ("`source`, kind `h5ad`, `10x-h5` or `10x-mtx`", FileSource),
        ("`source`, kind `sample`", SampleSource),
        ("`columns`", Columns),
        ("One column, in full", Column),
        ("`controls`", Controls),
        ("`labels`", Labels),
        ("`proteins`", Proteins),
    ]
    parts = []
    for title, model in blocks:
        rows = [f"| `{n}` | {_describe(f)} | {_default(f)} |" for n, f in model.model_fields.items() if n != "kind"]
        summary = (model.__doc__ or "").strip()
        parts.append(
            "\n".join([f"## {title}", "", summary, "", "| key | what | default |", "| --- | --- | --- |", *rows])
        )
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write what is made from the classes: workflow/schemas/*.json and the tables of config/README.md."""
    for name, text in schemas().items():
        Path("workflow/schemas", name).write_text(text, encoding="utf-8")
    readme = Path("config/README.md")
    head, mark, _ = readme.read_text(encoding="utf-8").partition(REFERENCE_MARK)
    readme.write_text(head + mark + "\n\n" + reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
