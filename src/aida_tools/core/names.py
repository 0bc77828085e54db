"""Names that several rooms share: annotators and their variants, statuses."""

from __future__ import annotations

from collections.abc import Iterable

#: Variants of an annotator NAME: `NAME-thinned` is it on counts thinned to one depth, `NAME:soft` its expected counts.
THINNED, SOFT = "-thinned", ":soft"
#: Annotators that are always there; the published classifiers that can be brought; the annotators made of both of them.
AUTHOR, GATE, PROTEIN, CONSENSUS = "author", "gate", "protein", "consensus"
ACTINN, STCAT = "actinn", "stcat"
BLOOD, BLOOD_SENSITIVE = "blood", "blood-sensitive"

#: The cell type in question where none is named.
FOCUS = "Treg"

SEXES = ("female", "male", "unknown")
#: Statuses of a contrast with an estimate, the strongest first.
ESTIMATED = ("within-site", "indirect", "between-batch", "between-site")
#: Statuses that allow an empty estimate; their `note` then says why.
EMPTY_STATUSES = ("not-estimable", "too-few", "not-converged")
STATUSES = (*ESTIMATED, *EMPTY_STATUSES)


def weakest_of(statuses: Iterable[str]) -> str:
    """Return the status that says least."""
    return max(statuses, key=STATUSES.index)


def fold_names(name: str, folds: int) -> list[str]:
    """Return the names of the classifiers of all folds: `NAME.1`, `NAME.2` ...; of one alone, just its name."""
    return [name] if folds == 1 else [f"{name}.{k}" for k in range(1, folds + 1)]
