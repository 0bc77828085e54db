"""From the obs table of any cohort to the canonical `cells.parquet`."""

from __future__ import annotations

import re
from pathlib import Path

import click
import numpy as np
import pandas as pd

from aida_tools.cohort import ontology
from aida_tools.cohort.checks import check_one_per_donor, check_partitions, check_sets
from aida_tools.cohort.columns import ObsReader, categorical, text_of
from aida_tools.cohort.read import INDEX, read_obs
from aida_tools.cohort.source import SOURCE, read_source
from aida_tools.core.cohort_file import CohortConfig, Column, load_cohort
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import staged
from aida_tools.core.names import SEXES
from aida_tools.core.populations import load_populations
from aida_tools.core.tables import CELLS

_SEX = {"f": "female", "m": "male", "PATO:0000383": "female", "PATO:0000384": "male", "": "unknown", "na": "unknown"}
_SEX |= {sex: sex for sex in SEXES}
#: Ages that are not in years, in the names of the HsapDv ontology.
_NOT_YEARS = re.compile(r"week|day|carnegie|trimester|fertilization", re.IGNORECASE)


def make_cells(cohort_path: Path, fetched: Path, populations_path: Path, out: Path) -> None:
    """Write `cells.parquet`: one row per cell, in file order, with the canonical columns and the covariates.

    Parameters
    ----------
    cohort_path
        The cohort file.
    fetched
        Folder in which `fetch` left its results.
    populations_path
        Table of populations.
    out
        Folder for the results.

    Raises
    ------
    AidaError
        Naming file, column, cell and value of what is wrong.
    """
    cohort = load_cohort(cohort_path)
    populations = load_populations(populations_path)
    source = read_source(fetched)
    obs = read_obs(source.path, source.format, needed_columns(cohort), source.obs)
    cells, warnings = canonical_cells(obs, cohort, populations, source.path, cohort_path, populations_path)
    for warning in warnings:
        click.echo(f"aida-tools: warning: {warning}", err=True)
    details = {"source": source.details, "n_cells": len(cells), "n_samples": cells["sample_id"].nunique()}
    config = cohort.model_dump(mode="json")
    inputs = [cohort_path, populations_path, fetched / SOURCE]
    with staged(out, step="cells", inputs=inputs, config=config, details=details | {"warnings": warnings}) as staging:
        CELLS.write(cells, staging)


def needed_columns(cohort: CohortConfig) -> dict[str, str]:
    """List the obs columns a cohort file names -> the key under which it does."""
    needed = {
        spec.column: f"columns.{key}" for key, spec in cohort.columns if spec is not None and spec.column is not None
    }
    if cohort.controls is not None:
        needed.setdefault(cohort.controls.column, "controls.column")
    for key in ("column", "ids"):
        name = getattr(cohort.labels, key)
        if name is not None:
            needed.setdefault(name, f"labels.{key}")
    for key, name in cohort.covariates.items():
        needed.setdefault(name, f"covariates.{key}")
    for key, name in cohort.checks.one_to_one.items():
        needed.setdefault(name, f"checks.one_to_one.{key}")
    for key, check in cohort.checks.sets.items():
        needed.setdefault(check.column, f"checks.sets.{key}")
    return needed


def canonical_cells(
    obs: pd.DataFrame,
    cohort: CohortConfig,
    populations: pd.DataFrame,
    source: Path | str,
    cohort_path: Path | str = "cohort file",
    populations_path: Path | str = "populations.tsv",
) -> tuple[pd.DataFrame, list[str]]:
    """Turn an obs table into the canonical table of cells.

    Parameters
    ----------
    obs
        The obs columns that `needed_columns` lists, with the cell ids in `_index`; shape (n_cells, any).
    cohort
        What its columns mean.
    populations
        Table of populations, as `load_populations` gives it.
    source, cohort_path, populations_path
        Where these come from, for messages.

    Returns
    -------
    cells
        Table of the columns of `CELLS` and the covariates, one row per cell in the order of `obs`; texts are
        categorical.
    warnings
        Sentences about what looks wrong, but need not be.

    Raises
    ------
    AidaError
        Naming file, column, cell and value.
    """
    if obs.empty:
        raise AidaError(f"{source}: there is no cell in this cohort (its obs table has no rows).")
    reader = ObsReader(obs, source, cohort_path)
    _, ids = reader.levels(INDEX)
    if len(ids) < len(obs):
        repeated = int(np.flatnonzero(obs[INDEX].duplicated())[0])
        raise AidaError(
            f"{source}: cell id '{obs[INDEX].iloc[repeated]}' occurs twice, second in row {repeated + 1} "
            f"({len(obs) - len(ids)} repeats). Make the obs names unique, for example with the library as suffix."
        )

    columns = cohort.columns
    is_control = _is_control(reader, cohort)
    cells = pd.DataFrame({"cell_id": obs[INDEX]})
    donor = reader.read(columns.donor_id, "donor_id", _present)
    batch = reader.read(columns.batch, "batch", _present)
    cells["sample_id"] = _join(donor, batch)
    cells["donor_id"] = donor
    cells["population"] = _population(reader, columns.population, populations, is_control, populations_path)
    cells["site"] = reader.read(columns.site, "site", _present)
    cells["batch"] = batch
    cells["library"] = reader.read(columns.library, "library", _present) if columns.library else batch
    cells["sex"] = reader.read(columns.sex, "sex", _sex)
    cells["age"] = _age(reader, columns.age, len(obs))
    cells["is_control"] = is_control
    cells["author_label"] = _labels(reader, cohort.labels.column)
    cells["cell_type_id"], warnings = _cell_type_ids(reader, cohort.labels.ids)
    for name, column in cohort.covariates.items():
        if name in CELLS.names:
            raise AidaError(
                f"{cohort_path}: key 'covariates.{name}': a canonical column has this name. Choose another."
            )
        cells[name] = obs[column].to_numpy() if obs[column].dtype == object else obs[column]
    for column in ("sex", "age", "population"):
        check_one_per_donor(cells, column, source)
    if columns.age is not None and cells["age"].isna().all():
        warnings.append(f"{source}: obs column '{columns.age.column}' holds no age in years for any cell.")
    warnings += check_partitions(cells, reader, cohort)
    warnings += check_sets(cells, reader, cohort, cohort_path)
    return cells, warnings


def _present(value: str) -> str:
    if value == "":
        raise ValueError(
            "(missing) must be known. Fill it in the file, or name it in the cohort file: levels: {'': NAME}"
        )
    return value


def _sex(value: str) -> str:
    text = value.strip()
    known = _SEX.get(text) or _SEX.get(text.casefold())
    if known is None:
        raise ValueError(
            "is not a known sex. Say what it means in the cohort file, as in levels: {'1': male, '2': female}"
        )
    return known


def _years(value: str) -> float:
    """Take the first number of `37-year-old stage`, `37` or `HsapDv:0000131`; no number is a missing age."""
    text = (ontology.term_label(value) or "") if ontology.is_term_id(value) else value
    match = re.search(r"\d+(?:\.\d+)?", text)
    if match is None or _NOT_YEARS.search(text):
        return float("nan")
    years = float(match.group()) / (12 if "month" in text else 1)
    if years > 120:
        raise ValueError("is not an age in years. Correct it, or cut the age out with a pattern")
    return years


def _age(reader: ObsReader, spec: Column | None, n_cells: int) -> np.ndarray:
    if spec is None:
        return np.full(n_cells, np.nan)
    ages = reader.read(spec, "age", _years)
    return np.append(np.asarray(ages.categories, dtype=float), np.nan)[ages.codes]


def _join(donor: pd.Categorical, batch: pd.Categorical) -> pd.Categorical:
    """Name the samples `donor|batch`."""
    width = len(batch.categories)
    codes, pairs = pd.factorize(donor.codes.astype(np.int64) * width + batch.codes)
    names = [f"{donor.categories[p // width]}|{batch.categories[p % width]}" for p in pairs]
    return categorical(codes, names)


def _is_control(reader: ObsReader, cohort: CohortConfig) -> np.ndarray:
    if cohort.controls is None:
        return np.zeros(len(reader.obs), dtype=bool)
    codes, values = reader.levels(cohort.controls.column)
    pattern = re.compile(cohort.controls.pattern)
    return np.array([pattern.search(v) is not None for v in values], dtype=bool)[codes]


def _population(
    reader: ObsReader, spec: Column, populations: pd.DataFrame, is_control: np.ndarray, table: Path | str
) -> pd.Categorical:
    """Map ids, codes or labels to population codes; controls of no known population are `unknown`."""
    known = {
        str(row[key]).casefold(): row["code"]
        for key in ("label", "hancestro_id", "code")
        for row in populations.to_dict("records")
    }
    codes, values = reader.raw(spec, "population")
    mapped = [known.get(value.strip().casefold()) for value in values]
    lacking = np.array([m is None for m in mapped], dtype=bool)[codes] & ~is_control
    if lacking.any():
        code = codes[lacking][0]
        value = values[code]
        name = ontology.term_label(value) if ontology.is_term_id(value) else None
        hint = did_you_mean(name or value, [str(v) for key in ("code", "label") for v in populations[key]])
        reason = (
            f"{f'({name}) ' if name else ''}is not a population of {table}. {hint} Add a row there, "
            f"or say what it means in the cohort file: levels: {{'{value}': CODE}}"
        )
        raise reader.wrong(spec, "population", np.flatnonzero(lacking & (codes == code)), value, reason)
    small, unique = pd.factorize(np.array([m or "unknown" for m in mapped], dtype=object))
    return categorical(small[codes], unique)


def _labels(reader: ObsReader, column: str | None) -> pd.Categorical:
    """Take the authors' labels as they are; levels that no cell has are kept as known words."""
    if column is None:
        return categorical(np.full(len(reader.obs), -1), [])
    labels = reader.obs[column].astype("category").cat
    return labels.rename_categories([text_of(c) for c in labels.categories]).array


def _cell_type_ids(reader: ObsReader, column: str | None) -> tuple[pd.Categorical, list[str]]:
    """Check the Cell Ontology ids; a deprecated one is a warning, and gives way to its replacement if it has one."""
    if column is None:
        return _labels(reader, None), []
    where = f"{reader.source}: obs column '{column}' (key 'labels.ids')"
    codes, values = reader.levels(column)
    made: list[str | None] = []
    warnings = []
    for value in values:
        if value in ("", "unknown", "na"):
            made.append(None)
            continue
        if ontology.term_label(value) is None or not ontology.is_deprecated(value):
            ontology.check_cell_type(value, where)
            made.append(value)
            continue
        # The file may be older than the ontology, and its reader cannot change it: no error.
        new = ontology.replacement(value)
        made.append(new or value)
        read_as = f"read as '{new}' ({ontology.term_label(new)})" if new else "it has no replacement and is kept"
        warnings.append(f"{where}: '{value}' ({ontology.term_label(value)}) is deprecated; {read_as}.")
    small, unique = pd.factorize(np.array(made, dtype=object))
    return categorical(small[codes], unique), warnings
