"""Models trained in folds: which of them has not seen a donor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aida_tools.annotate.learn import ROLES, TEST
from aida_tools.errors import AidaError
from aida_tools.files import read_json, sha256
from aida_tools.scan.model import RECORD
from aida_tools.tables import read_tsv

DONORS, DONOR, ROLE = "donors.tsv", "donor_id", "role"


def find_folds(name: str, known: Sequence[str]) -> list[str]:
    """Find the folds of an annotator among the models of a scan, in order."""
    numbers = sorted(int(rest) for k in known if (rest := k.removeprefix(f"{name}.")) != k and rest.isdecimal())
    return [f"{name}.{k}" for k in numbers]


def check_scanned_with(folds: Sequence[str], model_folder: Path, scan_path: Path) -> None:
    """Check that a scan was made with the models as they are now: who has seen whom may have changed since.

    Raises
    ------
    AidaError
        If not. A scan whose record does not list its models is believed.
    """
    path = scan_path.parent / "provenance.json"
    if not path.is_file():
        return
    inputs = read_json(path, absent="", broken="Run `aida-tools scan` again.").get("inputs", [])
    scanned = {item.get("sha256") for item in inputs if item.get("path") == RECORD}
    for name in folds:
        if scanned and sha256(model_folder / name / RECORD) not in scanned:
            msg = f"{scan_path}: scanned with another model '{name}' than {model_folder / name}. Scan again."
            raise AidaError(msg)


def assign_donors(folds: Sequence[str], model_folder: Path, donors: pd.Series) -> pd.Series:
    """Find for every donor the fold that has not seen it.

    Parameters
    ----------
    folds
        Names of the models.
    model_folder
        Folder of models, with the `donors.tsv` of each.
    donors
        Donors in question, none twice.

    Returns
    -------
    Place in `folds`, indexed by donor.

    Raises
    ------
    AidaError
        If a donor is a test donor of no fold, or of several.
    """
    parts = []
    for k, name in enumerate(folds):
        path = model_folder / name / DONORS
        table = read_tsv(path)
        for column in (DONOR, ROLE):
            if column not in table.columns:
                msg = f"{path}: column '{column}' is missing. Run `aida-tools model train --folds` again."
                raise AidaError(msg)
        odd = sorted(set(table[ROLE].dropna()) - set(ROLES))
        if odd:
            msg = f"{path}: column '{ROLE}': value '{odd[0]}' must be one of {', '.join(ROLES)}."
            raise AidaError(msg)
        parts.append(pd.Series(k, index=table.loc[table[ROLE] == ROLES[TEST], DONOR]))
    unseen = pd.concat(parts)
    twice = sorted(set(unseen.index[unseen.index.duplicated()]) & set(donors))
    if twice:
        msg = (
            f"{model_folder / folds[0] / DONORS}: donor {twice[0]} is a test donor of another fold too. The folds are "
            "of different trainings: run `aida-tools model train --folds` again."
        )
        raise AidaError(msg)
    lacking = sorted(set(donors) - set(unseen.index))
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        msg = (
            f"{model_folder / folds[0] / DONORS}: no fold of {', '.join(folds)} has {', '.join(lacking[:5])}{more} as "
            "a test donor, so none is known not to have learnt from them. Train the folds on this cohort, or name one "
            f"of them ({folds[0]}) as the annotator where the donors are new to all."
        )
        raise AidaError(msg)
    return unseen.reindex(donors.to_numpy())
