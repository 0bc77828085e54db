"""Showing what a file holds, and drafting a cohort file for it."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import yaml

from aida_tools.cohort import ontology
from aida_tools.cohort.read import INDEX, open_h5, read_obs
from aida_tools.core.cohort_file import CohortConfig
from aida_tools.core.config import parse
from aida_tools.core.errors import AidaError

#: Canonical column -> usual names of it, likeliest first; compared without regard to case.
_USUAL_NAMES = {
    "donor_id": ("donor_id", "donor", "individual", "individual_id", "patient", "patient_id", "subject", "subject_id",
                 "participant", "ind", "sample_id", "sample"),
    "population": ("self_reported_ethnicity_ontology_term_id", "self_reported_ethnicity", "population", "ethnicity",
                   "ancestry", "race"),
    "site": ("site", "country", "center", "centre", "institute"),
    "batch": ("batch", "batch_id", "batch_cov", "pool", "pool_number", "run", "experiment"),
    "library": ("library_id", "library", "lane", "channel", "gem_well"),
    "sex": ("sex", "gender", "sex_ontology_term_id"),
    "age": ("development_stage", "age", "age_years", "development_stage_ontology_term_id"),
    "labels.column": ("annotation_level3", "author_cell_type", "aifi_l2", "predicted.celltype.l2", "cell_type",
                      "celltype", "cell_label", "cell_labels", "annotation", "facs_type"),
    "labels.ids": ("cell_type_ontology_term_id",),
}  # fmt: skip
_TREG_NAMES = {"treg", "tregs", "t reg", "t_reg", "cd4 treg", "cd4_treg", "regulatory t cell"}
#: CD8+ regulatory T cells and Tr1 cells are below "regulatory T cell" in the ontology, but are not meant by Treg.
_NOT_TREG = ("CL:0000795", "CL:0000901")
_SAMPLE = 100_000
#: What to do for 10x input, which holds no annotations of cells.
_ANNOTATE = (
    "To say which donor each cell is from, write a TSV or CSV with one row per cell and its barcode in the first "
    "column; name it under 'source.obs' of the cohort file and its columns under 'columns'."
)


def inspect(path: Path, *, write_cohort: Path | None = None) -> str:
    """Describe a file of cells for a human reader.

    Parameters
    ----------
    path
        An `.h5ad` file, a 10x `.h5` file, or a 10x folder.
    write_cohort
        Draft a cohort file for it there.

    Returns
    -------
    Text of several lines: matrices, genes, obs columns with their levels, and what looks like what.

    Raises
    ------
    AidaError
        If the file cannot be read, or `write_cohort` exists.
    """
    kind = _kind(path)
    obs = read_obs(path, kind)
    found = guess_columns(obs)
    lines = [f"{path.name}: {kind}, {len(obs):,} cells"]
    counts = "auto"
    if kind != "10x-mtx":
        with open_h5(path) as handle:
            lines += _describe_uns(handle)
            matrices = dict(_matrices(handle))
            lines += ["", "matrices"] + [f"  {name:<12} {text}" for name, (text, _) in matrices.items()]
            counts = next((n for n in _counts_first(matrices) if matrices[n][1]), "auto") if kind == "h5ad" else "auto"
            lines += _describe_genes(handle)
    if counts == "auto" and kind == "h5ad":
        lines.append("  no matrix holds whole numbers only: there are no raw counts")
    lines += ["", f"obs (cell ids such as {obs[INDEX].iloc[0]!r})" if len(obs) else "obs"]
    lines += _describe_columns(obs)
    lines += ["", "looks like"] + [f"  {key:<14} {name}" for key, name in found.items()]
    absent = [key for key in _USUAL_NAMES if key not in found]
    lines += [f"  nothing found for: {', '.join(absent)}"] if absent else []
    if write_cohort is not None:
        _write_draft(write_cohort, path, kind, counts, found, obs)
        lines += ["", f"Drafted {write_cohort}: check every line of it."]
    return "\n".join(lines)


def _kind(path: Path) -> str:
    if path.is_dir():
        return "10x-mtx"
    with open_h5(path) as handle:
        return "h5ad" if "obs" in handle else "10x-h5"


def guess_columns(obs: pd.DataFrame) -> dict[str, str]:
    """Guess which obs column means what, by its name alone.

    Returns
    -------
    Canonical column (or `labels.column`, `labels.ids`) -> obs column, for those found. No column is used twice.
    """
    by_name = {str(c).casefold(): str(c) for c in reversed(obs.columns)}
    found: dict[str, str] = {}
    for key, usual in _USUAL_NAMES.items():
        name = next((by_name[u] for u in usual if u in by_name and by_name[u] not in found.values()), None)
        if name is not None:
            found[key] = name
    return found


def _describe_uns(handle: h5py.File) -> list[str]:
    lines = []
    for key in ("title", "schema_version", "citation"):
        if key in handle.get("uns", {}) and isinstance(handle["uns"][key], h5py.Dataset):
            value = handle["uns"][key][()]
            lines.append(f"  {key}: {value.decode() if isinstance(value, bytes) else value}")
    return lines


def _matrices(handle: h5py.File) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Give name, description and whether all values looked at are counts, of every matrix of the file."""
    places = {"X": "X", "raw": "raw/X"} | {f"layers/{n}": f"layers/{n}" for n in handle.get("layers", {})}
    places |= {g: g for g in handle if isinstance(handle[g], h5py.Group) and "barcodes" in handle[g]}
    for name, place in places.items():
        if place not in handle:
            continue
        node = handle[place]
        if isinstance(node, h5py.Dataset):
            shape, form, data = node.shape, "dense", node[: max(1, _SAMPLE // max(1, node.shape[-1]))].ravel()
        else:
            shape = (
                tuple(int(n) for n in node.attrs["shape"]) if "shape" in node.attrs else tuple(node["shape"][:])[::-1]
            )
            form = f"{len(node['data']):,} values"
            data = node["data"][:_SAMPLE]
        whole = bool(len(data) and (data >= 0).all() and (data == np.round(data)).all())
        what = "whole numbers: counts" if whole else "no values" if not len(data) else "not whole numbers"
        largest = f", up to {data.max():g}" if len(data) else ""
        text = (
            f"{' x '.join(f'{n:,}' for n in shape)}, {form}, {data.dtype}, {what}{largest} (first {len(data):,} values)"
        )
        yield name, (text, whole)


def _counts_first(names: Iterable[str]) -> list[str]:
    order = {"raw": 0, "layers/counts": 1, "X": 2}
    return sorted(names, key=lambda n: order.get(n, 3))


def _describe_genes(handle: h5py.File) -> list[str]:
    var = handle.get("var")
    if not isinstance(var, h5py.Group) or INDEX not in var.attrs:
        return []
    names = [str(n) for n in var.attrs["column-order"]]
    index = var[str(var.attrs[INDEX])]
    index = index["values"] if isinstance(index, h5py.Group) else index  # nullable strings
    first = str(index.asstr()[0]) if len(index) else "?"
    form = "Ensembl ids" if re.fullmatch(r"ENS\w*G\d{11}.*", first) else "symbols or other names"
    return ["", f"genes: {form} such as {first!r}; var columns: {', '.join(names) or 'none'}"]


def _describe_columns(obs: pd.DataFrame) -> list[str]:
    rows = []
    for name in obs.columns[1:]:
        column = obs[name]
        missing = int(column.isna().sum())
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            what, shown = "number", f"{column.min():g} to {column.max():g}"
        else:
            counts = column.value_counts()
            counts = counts[counts > 0]
            what = f"{len(counts):,} level{'s' if len(counts) != 1 else ''}"
            shown = ", ".join(f"{level} ({n:,})" for level, n in counts.head(4).items())
            shown = textwrap.shorten(shown + (", ..." if len(counts) > 4 else ""), 100, placeholder=" ...")
        rows.append((str(name), what, f"{missing:,} missing" if missing else "", shown))
    if not rows:
        return ["  no columns: only cell ids", f"  {_ANNOTATE}"]
    widths = [max(len(r[i]) for r in rows) for i in range(3)]
    return ["  " + "  ".join([*(r[i].ljust(widths[i]) for i in range(3)), r[3]]).rstrip() for r in rows]


def _write_draft(target: Path, path: Path, kind: str, counts: str, found: dict[str, str], obs: pd.DataFrame) -> None:
    if target.exists():
        raise AidaError(f"--write-cohort {target}: there is such a file already. Name another, or remove it first.")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.name.split(".")[0]).lstrip("0123456789_.-") or "cohort"
    columns: dict[str, Any] = {key: found[key] for key in _USUAL_NAMES if key in found and "." not in key}
    if "library" in columns and "batch" not in columns:
        columns["batch"] = columns["library"]
    columns = {"donor_id": {"value": "donor1"}, "population": {"value": "unknown"}} | columns
    values: dict[str, Any] = {
        "name": name,
        "title": f"Cells of {path.name}",
        "source": {"kind": kind, "path": Path(os.path.relpath(path.resolve(), target.parent.resolve())).as_posix()},
        "counts_layer": counts,
        "columns": columns,
    }
    labels = _draft_labels(found, obs)
    values |= {"labels": labels} if labels else {}
    parse(values, CohortConfig, target)
    comments = [
        "Drafted by `aida-tools inspect` from the names of the columns. Check every line: nothing here was verified.",
        "population: one of the codes, labels or HANCESTRO ids of config/populations.tsv; translate with 'levels'.",
        "batch: the cells that were run together; site: where. Without them a donor's batch is 'batch1' at 'site1'.",
    ]
    if kind != "h5ad":
        comments.append(_ANNOTATE)
    if "donor_id" not in found:
        comments.append("donor_id: no column looks like it. All cells count as one donor until you name one.")
    if "labels.column" in found:
        levels = sorted(map(str, obs[found["labels.column"]].dropna().unique()))
        shown = ", ".join(levels[:40]) + (", ..." if len(levels) > 40 else "")
        comments.append(f"labels of the file: {shown}")
        comments.append("labels.sets: list exactly the labels of each denominator (CD4_T must hold the Treg labels).")
    text = "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AidaError(f"--write-cohort {target}: cannot write there ({error.strerror}).") from error


def _draft_labels(found: dict[str, str], obs: pd.DataFrame) -> dict[str, Any]:
    """Propose the merged type Treg and the sets CD4_T and T: by ids where there are some, else by exact names."""
    labels: dict[str, Any] = {key.split(".")[1]: found[key] for key in ("labels.column", "labels.ids") if key in found}
    if "column" not in labels:
        return labels
    if "ids" not in labels:
        tregs = [str(v) for v in obs[labels["column"]].unique() if str(v).casefold() in _TREG_NAMES]
        return labels | ({"merge": {"Treg": tregs}} if tregs else {})
    pairs = obs[[labels["column"], labels["ids"]]].drop_duplicates().dropna().astype(str)
    treg = ontology.descendants("CL:0000815").difference(*map(ontology.descendants, _NOT_TREG))
    wanted = {"CD4_T": treg | ontology.descendants("CL:0000624"), "T": ontology.descendants("CL:0000084")}

    def having(terms: frozenset[str]) -> list[str]:
        inside = pairs[labels["ids"]].isin(terms)
        # A label with ids in and out of the set is left for the reader to decide.
        return sorted(set(pairs.loc[inside, labels["column"]]) - set(pairs.loc[~inside, labels["column"]]))

    tregs = having(treg)
    merge = {"merge": {"Treg": tregs}} if tregs else {}
    sets = {name: having(terms) for name, terms in wanted.items()}
    return labels | merge | {"sets": {name: members for name, members in sets.items() if members}}
