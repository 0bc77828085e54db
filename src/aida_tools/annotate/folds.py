"""Classifiers trained in folds: which of them did not see a donor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aida_tools.annotate.learn import ROLES, TEST
from aida_tools.annotate.tables import DONORS
from aida_tools.core.errors import AidaError
from aida_tools.core.files import read_json, sha256
from aida_tools.core.schema import read_tsv
from aida_tools.scan.classifier import RECORD

DONOR, ROLE = "donor_id", "role"


def find_folds(name: str, known: Sequence[str]) -> list[str]:
    """Find the folds of an annotator among the classifiers of a scan, in order."""
    numbers = sorted(int(rest) for k in known if (rest := k.removeprefix(f"{name}.")) != k and rest.isdecimal())
    return [f"{name}.{k}" for k in numbers]


def check_scanned_with(folds: Sequence[str], classifier_folder: Path, scan_path: Path) -> None:
    """Check that a scan was made with the classifiers as they are now: a newer training has other test donors.

    Raises
    ------
    AidaError
        If not. A scan whose record does not list its classifiers is believed.
    """
    path = scan_path.parent / "provenance.json"
    if not path.is_file():
        return
    inputs = read_json(path, absent="", broken="Run `aida-tools scan` again.").get("inputs", [])
    scanned = {item.get("sha256") for item in inputs if item.get("path") == RECORD}
    for name in folds:
        if scanned and sha256(classifier_folder / name / RECORD) not in scanned:
            raise AidaError(
                f"{scan_path}: '{name}' in {classifier_folder} is not the classifier of this scan. Scan again."
            )


def assign_donors(folds: Sequence[str], classifier_folder: Path, donors: pd.Series) -> pd.Series:
    """Find for every donor the fold that has not seen it.

    Parameters
    ----------
    folds
        Names of the classifiers.
    classifier_folder
        Folder of classifiers, with the `donors.tsv` of each.
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
        path = classifier_folder / name / DONORS.file
        table = read_tsv(path)
        for column in (DONOR, ROLE):
            if column not in table.columns:
                raise AidaError(
                    f"{path}: column '{column}' is missing. Run `aida-tools classifier train --folds` again."
                )
        odd = sorted(set(table[ROLE].dropna()) - set(ROLES))
        if odd:
            raise AidaError(f"{path}: column '{ROLE}': value '{odd[0]}' must be one of {', '.join(ROLES)}.")
        parts.append(pd.Series(k, index=table.loc[table[ROLE] == ROLES[TEST], DONOR]))
    unseen = pd.concat(parts)
    twice = sorted(set(unseen.index[unseen.index.duplicated()]) & set(donors))
    if twice:
        raise AidaError(
            f"{classifier_folder / folds[0] / DONORS.file}: donor {twice[0]} is a test donor of another fold too. The "
            "folds come from different trainings: run `aida-tools classifier train --folds` again."
        )
    lacking = sorted(set(donors) - set(unseen.index))
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise AidaError(
            f"{classifier_folder / folds[0] / DONORS.file}: {', '.join(lacking[:5])}{more} is a test donor in none of "
            f"the folds {', '.join(folds)}, so every fold may have learnt from it. Train the folds on this cohort; if "
            f"the donors are new to all folds, name one fold ({folds[0]}) as the annotator."
        )
    return unseen.reindex(donors.to_numpy())
