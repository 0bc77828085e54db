"""From the obs table of any cohort to the canonical `cells.parquet`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from aida_tools.cohort import ontology
from aida_tools.cohort.labels import resolve_labels
from aida_tools.cohort.read import INDEX, read_obs
from aida_tools.cohort.source import SOURCE, read_source
from aida_tools.config import CohortConfig, Column, load_cohort, load_populations
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.files import staged
from aida_tools.tables import CELL_COLUMNS, SEXES, write_parquet

_SEX = {"f": "female", "m": "male", "PATO:0000383": "female", "PATO:0000384": "male", "": "unknown", "na": "unknown"}
_SEX |= {sex: sex for sex in SEXES}
#: Ages that are not in years, in the names of the HsapDv ontology.
_NOT_YEARS = re.compile(r"week|day|carnegie|trimester|fertilization", re.IGNORECASE)


def make_cells(cohort_path: Path, fetched: Path, populations_path: Path, out: Path) -> None:
    """Write `cells.parquet`: one row a cell, in file order, with the canonical columns and the covariates.

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
        write_parquet(cells, staging / "cells.parquet")


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


class _Reader:
    """Turns obs columns into canonical ones, level by level: some hundred of them, however many the cells."""

    def __init__(self, obs: pd.DataFrame, source: Path | str, cohort_path: Path | str) -> None:
        self.obs = obs
        self.source = source
        self.cohort_path = cohort_path
        self._factorized: dict[str, tuple[np.ndarray, list[str]]] = {}

    def levels(self, column: str) -> tuple[np.ndarray, list[str]]:
        """Return codes, shape (n_cells,), and their levels as text; missing is the level ''."""
        if column not in self._factorized:
            codes, values = pd.factorize(self.obs[column])
            levels = [_text(v) for v in np.asarray(values, dtype=object).tolist()]
            if (codes < 0).any():
                codes = np.where(codes < 0, len(levels), codes)
                levels.append("")
            self._factorized[column] = codes, levels
        return self._factorized[column]

    def describe(self, rows: np.ndarray) -> str:
        """Name the first of the cells at fault, and say how many there are."""
        return f"cell '{self.obs[INDEX].iloc[rows[0]]}' (row {rows[0] + 1}; {len(rows)} such cells)"

    def wrong(self, spec: Column, key: str, rows: np.ndarray, value: str, reason: str) -> AidaError:
        """Make the error for a value that cannot be turned into the canonical one."""
        where = f"obs column '{spec.column}', " if spec.column else ""
        return AidaError(
            f"{self.source}: {where}{self.describe(rows)}: value '{value}' {reason} "
            f"({self.cohort_path}, key 'columns.{key}')."
        )

    def raw(self, spec: Column, key: str) -> tuple[np.ndarray, list[str]]:
        """Read one column after its `pattern` and `levels`: codes, shape (n_cells,), and values ('' is missing)."""
        if spec.column is None:
            return np.zeros(len(self.obs), dtype=np.intp), [str(spec.value)]
        codes, values = self.levels(spec.column)
        if spec.pattern:
            search, group = (regex := re.compile(spec.pattern)).search, min(regex.groups, 1)
            found = [match[group] if (match := search(value)) else None for value in values]
            if None in found:
                i = found.index(None)
                reason = f"does not match the pattern {spec.pattern!r}. Correct the pattern"
                raise self.wrong(spec, key, np.flatnonzero(codes == i), values[i], reason)
            values = [str(value) for value in found]
        small, cut = pd.factorize(np.array(values, dtype=object))
        return small[codes], [spec.levels.get(v, v) for v in cut]

    def read(self, spec: Column, key: str, convert: Callable[[str], Any]) -> pd.Categorical:
        """Read one canonical column; `convert` may raise ValueError with the reason why a value is wrong."""
        codes, values = self.raw(spec, key)
        made = []
        for i, value in enumerate(values):
            try:
                made.append(convert(value))
            except ValueError as error:
                raise self.wrong(spec, key, np.flatnonzero(codes == i), value, str(error)) from error
        # Missing (None, nan) becomes code -1 here and stays -1 for the cells.
        small, unique = pd.factorize(np.array(made, dtype=object))
        return _categorical(small[codes], unique)


def _categorical(codes: np.ndarray, values: Iterable[Any]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(values)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.15g}" if isinstance(value, float) else str(value)


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
        Table of `CELL_COLUMNS` and the covariates, one row a cell in the order of `obs`; texts are categorical.
    warnings
        Sentences about what looks wrong, but need not be.

    Raises
    ------
    AidaError
        Naming file, column, cell and value.
    """
    if obs.empty:
        msg = f"{source}: there is no cell in this cohort (its obs table has no rows)."
        raise AidaError(msg)
    reader = _Reader(obs, source, cohort_path)
    _, ids = reader.levels(INDEX)
    if len(ids) < len(obs):
        repeated = int(np.flatnonzero(obs[INDEX].duplicated())[0])
        msg = (
            f"{source}: cell id '{obs[INDEX].iloc[repeated]}' stands there twice, second in row {repeated + 1} "
            f"({len(obs) - len(ids)} repeats). Make the obs names unique, for example with the library as suffix."
        )
        raise AidaError(msg)

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
        if name in CELL_COLUMNS:
            msg = f"{cohort_path}: key 'covariates.{name}': a canonical column has this name. Choose another."
            raise AidaError(msg)
        cells[name] = obs[column].to_numpy() if obs[column].dtype == object else obs[column]
    for column in ("sex", "age", "population"):
        _check_one_per_donor(cells, column, source)
    if columns.age is not None and cells["age"].isna().all():
        warnings.append(f"{source}: obs column '{columns.age.column}' holds no age in years for any cell.")
    warnings += _check_partitions(cells, reader, cohort)
    warnings += _check_sets(cells, reader, cohort, cohort_path)
    return cells, warnings


def _present(value: str) -> str:
    if value == "":
        msg = "(missing) must be known. Fill it in the file, or name it in the cohort file: levels: {'': NAME}"
        raise ValueError(msg)
    return value


def _sex(value: str) -> str:
    text = value.strip()
    known = _SEX.get(text) or _SEX.get(text.casefold())
    if known is None:
        msg = "is no sex known here. Say what it means in the cohort file, as in levels: {'1': male, '2': female}"
        raise ValueError(msg)
    return known


def _years(value: str) -> float:
    """Take the first number of `37-year-old stage`, `37` or `HsapDv:0000131`; no number is a missing age."""
    text = (ontology.term_label(value) or "") if ontology.is_term_id(value) else value
    match = re.search(r"\d+(?:\.\d+)?", text)
    if match is None or _NOT_YEARS.search(text):
        return float("nan")
    years = float(match.group()) / (12 if "month" in text else 1)
    if years > 120:
        msg = "is no age in years. Correct it, or cut the age out with a pattern"
        raise ValueError(msg)
    return years


def _age(reader: _Reader, spec: Column | None, n_cells: int) -> np.ndarray:
    if spec is None:
        return np.full(n_cells, np.nan)
    ages = reader.read(spec, "age", _years)
    return np.append(np.asarray(ages.categories, dtype=float), np.nan)[ages.codes]


def _join(donor: pd.Categorical, batch: pd.Categorical) -> pd.Categorical:
    """Name the samples `donor|batch`."""
    width = len(batch.categories)
    codes, pairs = pd.factorize(donor.codes.astype(np.int64) * width + batch.codes)
    names = [f"{donor.categories[p // width]}|{batch.categories[p % width]}" for p in pairs]
    return _categorical(codes, names)


def _is_control(reader: _Reader, cohort: CohortConfig) -> np.ndarray:
    if cohort.controls is None:
        return np.zeros(len(reader.obs), dtype=bool)
    codes, values = reader.levels(cohort.controls.column)
    pattern = re.compile(cohort.controls.pattern)
    return np.array([pattern.search(v) is not None for v in values], dtype=bool)[codes]


def _population(
    reader: _Reader, spec: Column, populations: pd.DataFrame, is_control: np.ndarray, table: Path | str
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
            f"{f'({name}) ' if name else ''}is no population of {table}. {hint} Add a row there, "
            f"or say what it means in the cohort file: levels: {{'{value}': CODE}}"
        )
        raise reader.wrong(spec, "population", np.flatnonzero(lacking & (codes == code)), value, reason)
    small, unique = pd.factorize(np.array([m or "unknown" for m in mapped], dtype=object))
    return _categorical(small[codes], unique)


def _labels(reader: _Reader, column: str | None) -> pd.Categorical:
    """Take the authors' labels as they are; levels that no cell has are kept as known words."""
    if column is None:
        return _categorical(np.full(len(reader.obs), -1), [])
    labels = reader.obs[column].astype("category").cat
    return labels.rename_categories([_text(c) for c in labels.categories]).array


def _cell_type_ids(reader: _Reader, column: str | None) -> tuple[pd.Categorical, list[str]]:
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
    return _categorical(small[codes], unique), warnings


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distinct pairs of two codes (-1 in the second is a value like others), shape (2, n_pairs)."""
    width = int(b.max()) + 2
    distinct = pd.unique(a.astype(np.int64) * width + (b + 1))
    return np.stack([distinct // width, distinct % width - 1])


def _check_one_per_donor(cells: pd.DataFrame, column: str, source: Path | str) -> None:
    donor = cells["donor_id"].cat
    codes, _ = pd.factorize(cells[column])
    pairs = _pairs(donor.codes.to_numpy(), codes)
    twice = np.flatnonzero(np.bincount(pairs[0]) > 1)
    if len(twice):
        name = donor.categories[twice[0]]
        values = cells.loc[cells["donor_id"] == name, column].unique()
        listed = ", ".join("missing" if pd.isna(v) else _text(v) for v in values[:5])
        msg = (
            f"{source}: donor_id '{name}' has {len(values)} values of '{column}': {listed} ({len(twice)} such donors). "
            "Correct the data or the column mapping; people measured twice at different ages need two donor ids."
        )
        raise AidaError(msg)


def _check_partitions(cells: pd.DataFrame, reader: _Reader, cohort: CohortConfig) -> list[str]:
    """Compare canonical columns with obs columns that must divide the cells in the same way."""
    warnings = []
    for key, column in cohort.checks.one_to_one.items():
        ours = cells[key].cat
        codes, values = reader.levels(column)
        pairs = _pairs(ours.codes.to_numpy(), codes)
        for here, names, there, others in (
            (pairs[0], ours.categories, pairs[1], values),
            (pairs[1], values, pairs[0], ours.categories),
        ):
            several = np.flatnonzero(np.bincount(here) > 1)
            if len(several):
                first = ", ".join(f"'{others[i]}'" for i in there[here == several[0]][:3])
                warnings.append(
                    f"{reader.source}: '{key}' and obs column '{column}' are not one to one: "
                    f"'{names[several[0]]}' goes with {first} ({len(several)} such)."
                )
                break
    return warnings


def _check_sets(cells: pd.DataFrame, reader: _Reader, cohort: CohortConfig, cohort_path: Path | str) -> list[str]:
    """Resolve the labels, so that a hole in the cohort file shows now, and compare sets with other columns."""
    if cohort.labels.column is None and cohort.labels.ids is None:
        return []
    cell_type, sets = resolve_labels(cohort.labels, cells["author_label"], cells["cell_type_id"], str(cohort_path))
    warnings = []
    for name, check in cohort.checks.sets.items():
        if name not in sets:
            msg = f"{cohort_path}: key 'checks.sets.{name}': there is no such set. {did_you_mean(name, sets)}"
            raise AidaError(msg)
        codes, values = reader.levels(check.column)
        differs = np.flatnonzero(cell_type.isin(sets[name]).to_numpy() != np.isin(values, check.values)[codes])
        if len(differs):
            warnings.append(
                f"{reader.source}: set '{name}' and obs column '{check.column}' disagree about {len(differs)} cells, "
                f"first {reader.describe(differs)} with label '{cells['author_label'].iloc[differs[0]]}'."
            )
    return warnings
