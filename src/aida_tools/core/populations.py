"""The table of populations: codes, names, ontology ids and colours."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.schema import read_tsv


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
            raise AidaError(f"{path}: column '{column}' is missing. {did_you_mean(column, table.columns)}")
    for row, record in enumerate(table.to_dict("records"), start=1):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", str(record["colour"])):
            raise AidaError(
                f"{path}: column 'colour', row {row}: value '{record['colour']}' must be of the form #1b9e77."
            )
    repeated = table["code"][table["code"].duplicated()]
    if len(repeated):
        raise AidaError(f"{path}: column 'code', row {repeated.index[0] + 1}: value '{repeated.iloc[0]}' occurs twice.")
    return table
