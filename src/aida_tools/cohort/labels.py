"""From the authors' labels to counted types, and from sets of labels to sets of counted types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.cohort.ontology import check_cell_type, descendants, is_cell_type_id
from aida_tools.core.cohort_file import Labels
from aida_tools.core.errors import AidaError, did_you_mean


@dataclass(frozen=True)
class _Vocabulary:
    """The distinct pairs of author label and Cell Ontology id in a cohort, and what a word means among them."""

    labels: NDArray[np.object_]
    """Label of each pair, shape (n_pairs,); None where the cells have none."""
    ids: NDArray[np.object_]
    """Id of each pair, shape (n_pairs,); None where the cells have none."""
    known: frozenset[str]
    """All labels, those without a cell included."""
    below: bool
    """Whether an id also stands for the terms below it."""
    source: str

    def _with_id(self, term: str) -> NDArray[np.bool_]:
        terms = list(descendants(term)) if self.below else [term]
        return np.isin(self.ids.astype(str), terms) | np.isin(self.labels.astype(str), terms)

    def match(self, word: str, key: str) -> NDArray[np.bool_]:
        """Find the pairs that a label or an id stands for: exactly, never by a part of its name."""
        if not is_cell_type_id(word):
            if word not in self.known:
                raise AidaError(
                    f"{self.source}: key '{key}', value '{word}': no cell has this label. "
                    + did_you_mean(word, self.known)
                )
            return np.asarray(self.labels == word)
        name = check_cell_type(word, f"{self.source}: key '{key}'")
        mask = self._with_id(word)
        if not mask.any():
            present = {i for i in self.ids if i is not None}
            hint = did_you_mean(word, present) if present else "Name the obs column that holds the ids: labels.ids."
            deeper = " or one below it" if self.below else ""
            raise AidaError(f"{self.source}: key '{key}', value '{word}' ({name}): no cell has this id{deeper}. {hint}")
        return mask

    def match_all(self, words: Iterable[str], key: str) -> NDArray[np.bool_]:
        """Unite what the words stand for, then take away what those with a leading `-` stand for."""
        keep, drop = np.zeros((2, len(self.labels)), dtype=bool)
        for word in words:
            if not word.startswith("-") or word in self.known:
                keep |= self.match(word, key)
            elif is_cell_type_id(word[1:]):
                # An absent id may be taken away: one list then serves every cohort.
                check_cell_type(word[1:], f"{self.source}: key '{key}'")
                drop |= self._with_id(word[1:])
            else:
                drop |= self.match(word[1:], key)
        return keep & ~drop


def resolve_labels(
    labels: Labels, author_label: pd.Series, cell_type_id: pd.Series, source: str = "cohort file"
) -> tuple[pd.Series, dict[str, list[str]]]:
    """Say what each cell is counted as, and which counted types make up each denominator.

    A cell is counted as its author label (or, in a cohort without labels, its Cell Ontology id) unless
    `labels.merge` unites it with others under a new name, or `labels.exclude` leaves it out.
    Words of the cohort file are exact labels or exact ids; `labels.descendants` makes an id stand for the terms
    below it too; a leading `-` takes away (`[CL:0000815, -CL:0000795]`: regulatory T cells, but not CD8 ones).

    Parameters
    ----------
    labels
        The `labels` part of the cohort file.
    author_label, cell_type_id
        One value per cell, shape (n_cells,); either may be all missing. Categories that no cell has are
        known words nevertheless.
    source
        The cohort file, for messages.

    Returns
    -------
    cell_type
        Counted type of every cell, categorical, shape (n_cells,), with the index of `author_label`;
        missing where a cell has no label or is excluded.
    sets
        Denominator -> its counted types, sorted.

    Raises
    ------
    AidaError
        Naming key and value: a label or id that no cell has, a deprecated or unknown id, a label in two merged
        types, a merged type named like a label it does not hold, a set that holds only a part of a counted type.
    """
    pair_of_cell, pair_labels, pair_ids, known = _pairs(author_label, cell_type_id)
    words = _Vocabulary(pair_labels, pair_ids, known, labels.descendants, source)
    counted = pair_ids if all(label is None for label in pair_labels) else pair_labels
    counted = _merge(labels.merge, words, counted)
    for word in labels.exclude:
        mask = counted == word if word in labels.merge else words.match(word, "labels.exclude")
        counted = np.where(mask, np.array(None, dtype=object), counted)
    sets = {name: _members(name, listed, words, counted, labels.merge) for name, listed in labels.sets.items()}
    types = sorted({c for c in counted if c is not None} | {m for members in sets.values() for m in members})
    codes = pd.Categorical(counted, categories=types).codes
    cell_type = pd.Categorical.from_codes(codes[pair_of_cell], categories=pd.Index(types, dtype=str))
    return pd.Series(cell_type, index=author_label.index, name="cell_type"), sets


def _pairs(
    author_label: pd.Series, cell_type_id: pd.Series
) -> tuple[NDArray[np.integer], NDArray[np.object_], NDArray[np.object_], frozenset[str]]:
    """Reduce the cells to their distinct pairs of label and id: some tens, however many the cells."""
    labels, ids = author_label.astype("category").cat, cell_type_id.astype("category").cat
    width = len(ids.categories) + 1
    flat = (labels.codes.to_numpy().astype(np.int64) + 1) * width + ids.codes.to_numpy() + 1
    pair_of_cell, pairs = pd.factorize(flat)
    pair_labels = np.array([None, *labels.categories.astype(str)], dtype=object)[pairs // width]
    pair_ids = np.array([None, *ids.categories.astype(str)], dtype=object)[pairs % width]
    return pair_of_cell, pair_labels, pair_ids, frozenset(labels.categories.astype(str))


def _merge(merge: dict[str, list[str]], words: _Vocabulary, counted: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give the pairs of each merged type its name."""
    merged = np.full(len(counted), None, dtype=object)
    for name, members in merge.items():
        key = f"labels.merge.{name}"
        mask = words.match_all(members, key)
        for i in np.flatnonzero(mask & (merged != None)):  # noqa: E711  # elementwise
            raise AidaError(
                f"{words.source}: key '{key}': '{counted[i]}' is also in labels.merge.{merged[i]}. List it in one."
            )
        for i in np.flatnonzero((counted == name) & ~mask):
            raise AidaError(
                f"{words.source}: key '{key}': the data have a label '{name}' (id {words.ids[i]}) that is not among "
                "its members and would be counted with them. Add it to the list, or give the merged type another name."
            )
        merged[mask] = name
    return np.where(merged == None, counted, merged)  # noqa: E711


def _members(
    name: str, listed: list[str], words: _Vocabulary, counted: NDArray[np.object_], merge: dict[str, list[str]]
) -> list[str]:
    """Turn the words of one set into counted types, refusing to take a part of a type."""
    key = f"labels.sets.{name}"
    # A merged type belongs to the set by its name even where no cell has it: its counts are then zeros.
    found = {word for word in listed if word in merge}
    mask = np.isin(counted.astype(str), list(found)) | words.match_all([w for w in listed if w not in merge], key)
    for cell_type in sorted({c for c in counted if c is not None} - found):
        same = counted == cell_type
        if mask[same].all():
            found.add(cell_type)
        elif mask[same].any():
            i = np.flatnonzero(same & ~mask)[0]
            raise AidaError(
                f"{words.source}: key '{key}': counted type '{cell_type}' is only partly in this set (cells with label "
                f"'{words.labels[i]}' and id {words.ids[i]} are not). List all of it, or count its parts separately."
            )
    return sorted(found)
