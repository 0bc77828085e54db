"""Denominators as they are asked for: sets of cell types, whose counts are taken out of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aida_tools.compare.inputs import Inputs
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.words import listed
from aida_tools.design.denominator import Denominator


def parse_denominators(given: tuple[str, ...], table: pd.DataFrame | None) -> dict[str, list[str] | None]:
    """Read `NAME=TYPE,TYPE`, `all`, or the name of a set of the denominators table.

    Parameters
    ----------
    given
        As on the command line; empty for all sets of the table and `all`.
    table
        `denominator, annotator, cell_type`, or None.

    Returns
    -------
    Name -> types; None where the table has them, or for `all`.

    Raises
    ------
    AidaError
        For a name that is neither.
    """
    known = [] if table is None else list(dict.fromkeys(table["denominator"]))
    if not given:
        return dict.fromkeys([*[name for name in known if name != "all"], "all"])
    out: dict[str, list[str] | None] = {}
    for text in given:
        name, equals, types = (part.strip() for part in text.partition("="))
        if equals and types != "all":
            out[name] = [t.strip() for t in types.split(",") if t.strip()]
            if not out[name]:
                raise AidaError(f"--denominator '{text}': no cell type is named after '='.")
        elif types == "all" or name == "all" or name in known:
            out[name] = None
        else:
            hint = did_you_mean(name, [*known, "all"])
            raise AidaError(f"--denominator '{text}': no such set. {hint} Or write NAME=TYPE,TYPE.")
    return out


def make_denominator(
    name: str, types: list[str] | None, annotator: str, counts: pd.DataFrame, n_cells: pd.Series
) -> Denominator:
    """Take the types of a denominator out of the counts.

    Parameters
    ----------
    name, types
        The denominator; `types` None for all.
    annotator
        Whose labels.
    counts
        Samples x types of this annotator.
    n_cells
        Cells of each sample: the total of a table with a single type.

    Raises
    ------
    AidaError
        For a type without counts, and for a single type without a total.
    """
    for cell_type in types or []:
        if cell_type not in counts.columns:
            hint = did_you_mean(cell_type, counts.columns)
            raise AidaError(
                f"denominator '{name}': annotator '{annotator}' has no counts of cell_type '{cell_type}'. {hint}"
            )
    members = list(counts.columns) if types is None else list(dict.fromkeys(types))
    matrix = counts[members].to_numpy(float)
    totals = matrix.sum(axis=1)
    if len(members) == 1:
        # Only `all` may take its total from the samples: what else is in a named set nobody has counted.
        if types is not None or n_cells.isna().any() or np.array_equal(n_cells.to_numpy(float), totals):
            raise AidaError(
                f"denominator '{name}': annotator '{annotator}' has one cell_type only, so every share is 1. "
                "Count the other types too, or, for 'all', give each sample's n_cells in SAMPLES."
            )
        totals = n_cells.to_numpy(float)
    return Denominator(annotator, name, members, matrix, totals)


def _check_annotators(counting: list[str], sets: pd.DataFrame) -> None:
    """Refuse sets of which none is of an annotator of the counts: shares would be of `all`, and nobody would know."""
    owners = list(dict.fromkeys(sets["annotator"].astype(str)))
    if set(owners) & set(counting):
        return
    raise AidaError(
        f"denominators: the sets are of annotator {_quoted(owners)}, the counts of annotator {_quoted(counting)}, so "
        "no set fits the counts. Give both tables the same name in the column 'annotator' (in Python: "
        f"count_cells(cells, labels, annotator='{owners[0]}')); `all` alone (--denominator all) needs no set."
    )


def _quoted(names: list[str]) -> str:
    return listed([f"'{name}'" for name in names[:5]]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def make_denominators(inputs: Inputs, given: tuple[str, ...], sets: pd.DataFrame | None) -> list[Denominator]:
    """Return every denominator under every annotator, over all samples; the primary one first.

    Parameters
    ----------
    inputs
        The checked tables.
    given
        As on the command line; see `parse_denominators`. A table of shares has its own and takes none.
    sets
        `denominator, annotator, cell_type`, or None.

    Raises
    ------
    AidaError
        For an unknown denominator or type, and for sets of which none is of an annotator of the counts.
    """
    if not inputs.has_counts:
        if given:
            raise AidaError("--denominator: the table has shares, whose denominators are fixed (column 'denominator').")
        return [
            Denominator(
                annotator,
                name,
                [str(t) for t in table.columns],
                table.to_numpy(float),
                np.ones(len(table)),
                has_counts=False,
            )
            for (annotator, name), table in inputs.wide.items()
        ]
    wanted = parse_denominators(given, sets)
    asked = [name for name, types in wanted.items() if types is None and name != "all"]
    if sets is not None and asked:
        _check_annotators(inputs.annotators, sets)
    complete = {
        name: [a for (a, _), table in inputs.wide.items() if set(types or []) <= set(table.columns)]
        for name, types in wanted.items()
    }
    out = []
    for (annotator, _), table in inputs.wide.items():
        for name, types in wanted.items():
            members = types
            # Annotators have vocabularies of their own: a set written in one's words is not another's.
            if complete[name] and annotator not in complete[name]:
                absent = next(t for t in types or [] if t not in table.columns)
                inputs.warnings.append(
                    f"denominator '{name}' is left out for annotator '{annotator}', which has no cell_type '{absent}'"
                )
                continue
            if members is None and name != "all" and sets is not None:
                members = list(sets.loc[(sets["denominator"] == name) & (sets["annotator"] == annotator), "cell_type"])
                if not members:
                    inputs.warnings.append(
                        f"denominator '{name}' is left out for annotator '{annotator}', for whom the table of "
                        "denominators has no such set"
                    )
                    continue
                # A coarse vocabulary (`CD4 T cells` and no more) is no reason to refuse what finer ones can tell.
                if len(members) == 1 and sets[sets["denominator"] == name].groupby("annotator").size().max() > 1:
                    inputs.warnings.append(
                        f"denominator '{name}' is left out for annotator '{annotator}', which has only one cell type "
                        f"in it, '{members[0]}': every share would be 1"
                    )
                    continue
            out.append(make_denominator(name, members, annotator, table, inputs.samples["n_cells"]))
    return out
