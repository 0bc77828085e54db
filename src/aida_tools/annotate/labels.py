"""From an annotator's labels to counted types: the table in config that says which label is what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.cohort.ontology import check_cell_type
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.schema import read_tsv
from aida_tools.scan.tables import LABEL_MAP

#: What an annotator must say of each label; its file may have further columns.
COLUMNS = tuple(name for name in LABEL_MAP.names if name != "treg")


def read_label_map(path: Path) -> pd.DataFrame:
    """Read the table that maps an annotator's labels: `label, cell_type, cell_type_id, sets`.

    Returns
    -------
    Table with unique `label`, the counted type it is united under, its Cell Ontology id (missing where there is
    none), and the denominators the type belongs to, separated by commas.

    Raises
    ------
    AidaError
        For a missing column, a repeated label, an unknown or deprecated id, or a type whose labels differ in sets.
    """
    table = read_tsv(path)
    for column in COLUMNS:
        if column not in table.columns:
            raise AidaError(f"{path}: column '{column}' is missing. {did_you_mean(column, table.columns)}")
    for column in ("label", "cell_type"):
        empty = np.flatnonzero(table[column].isna())
        if len(empty):
            raise AidaError(f"{path}: column '{column}', row {empty[0] + 1}: empty.")
    repeated = np.flatnonzero(table["label"].duplicated())
    if len(repeated):
        raise AidaError(
            f"{path}: column 'label', row {repeated[0] + 1}: '{table['label'].iloc[repeated[0]]}' occurs twice."
        )
    for row, term in enumerate(table["cell_type_id"]):
        if pd.notna(term):
            check_cell_type(term, f"{path}: column 'cell_type_id', row {row + 1}")
    table["sets"] = table["sets"].fillna("")
    ambiguous = table.groupby("cell_type", sort=False)["sets"].nunique()
    if (ambiguous > 1).any():
        name = ambiguous.index[ambiguous > 1][0]
        raise AidaError(
            f"{path}: column 'sets': the labels counted as '{name}' list different sets. Give them all the same."
        )
    return table[list(COLUMNS)]


def map_labels(labels: pd.Series, label_map: pd.DataFrame, source: Path | str) -> tuple[pd.Series, pd.DataFrame]:
    """Turn an annotator's labels into counted types and denominators.

    Parameters
    ----------
    labels
        Label of each cell, shape (n_cells,); missing stays missing.
    label_map
        See `read_label_map`.
    source
        The table's file, for the message.

    Returns
    -------
    cell_type
        Counted type of each cell, categorical, shape (n_cells,).
    sets
        Table `denominator, cell_type`.

    Raises
    ------
    AidaError
        Listing the labels the table does not have.
    """
    holes = sorted(set(labels.dropna().unique()) - set(label_map["label"]))
    if holes:
        raise AidaError(f"{source}: column 'label': no row for {', '.join(holes)}. Say what each is counted as.")
    types = sorted(label_map["cell_type"].unique())
    to_type = label_map.set_index("label")["cell_type"]
    cell_type = labels.map(to_type).astype(pd.CategoricalDtype(types))
    members = label_map.drop_duplicates("cell_type").assign(denominator=lambda t: t["sets"].str.split(","))
    sets = members.explode("denominator").query("denominator != ''")[["denominator", "cell_type"]]
    return cell_type.rename("cell_type"), sets.sort_values(["denominator", "cell_type"]).reset_index(drop=True)
