"""Design matrices: what they span, and which contrasts they can estimate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.errors import FormulaicError

from aida_tools.core.errors import AidaError
from aida_tools.design.contrasts import REST, Contrast, rest_of
from aida_tools.design.formula import TRANSFORMS, ParsedFormula

#: A column whose part outside the others is below this share of its length counts as aliased.
TOLERANCE = 1e-8


def independent_columns(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the columns that are not combinations of those before them.

    Parameters
    ----------
    matrix
        Shape (n, p).

    Returns
    -------
    kept
        Indices of the independent columns, shape (rank,), in order.
    null
        One column per aliased column: the combination of all columns that is zero, shape (p, p - rank).
    """
    n, p = matrix.shape
    length = np.linalg.norm(matrix, axis=0)
    basis = np.empty((n, min(n, p)))
    kept: list[int] = []
    for j in range(p):
        column = matrix[:, j]
        residual = column.copy()
        for _ in range(2):  # Once more against rounding.
            residual -= basis[:, : len(kept)] @ (basis[:, : len(kept)].T @ residual)
        size = np.linalg.norm(residual)
        if len(kept) < min(n, p) and size > TOLERANCE * max(length[j], 1e-300):
            basis[:, len(kept)] = residual / size
            kept.append(j)
    aliased = [j for j in range(p) if j not in kept]
    null = np.zeros((p, len(aliased)))
    if aliased:
        null[kept] = -np.linalg.lstsq(matrix[:, kept], matrix[:, aliased], rcond=None)[0]
        null[aliased, np.arange(len(aliased))] = 1
    return np.array(kept, dtype=int), null


def unseen(matrix: np.ndarray) -> np.ndarray:
    """Return the directions that a matrix takes to less than `TOLERANCE`.

    Parameters
    ----------
    matrix
        Shape (n, p), its columns scaled to a length of about 1.

    Returns
    -------
    Orthonormal directions, shape (p, q).
    """
    _, sizes, vectors = np.linalg.svd(np.linalg.qr(matrix, mode="r"), full_matrices=True)
    return np.asarray(vectors[int((sizes > TOLERANCE).sum()) :].T)


@dataclass(frozen=True, eq=False)
class Design:
    """A design matrix over the samples, reduced to independent columns for fitting.

    Attributes
    ----------
    matrix
        The independent columns, shape (n, rank).
    names
        Their names, as the formula library gives them.
    aliased
        Names of the columns left out because they are combinations of others. A contrast that would need
        them is not estimable; any other is the same whichever of them is left out.
    full
        All columns, shape (n, p).
    """

    matrix: np.ndarray
    names: list[str]
    aliased: list[str]
    full: np.ndarray
    _all_names: list[str]
    _kept: np.ndarray
    _null: np.ndarray
    _spec: Any
    _data: pd.DataFrame
    _cache: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns of the samples it is made of."""
        return tuple(self._data.columns)

    def rows_at(self, column: str, level: str) -> np.ndarray:
        """Return the design of the samples as if all were at one level of a column, shape (n, p), all columns."""
        if (column, level) not in self._cache:
            self._cache[column, level] = self._rows_at(column, level)
        return self._cache[column, level]

    def _rows_at(self, column: str, level: str) -> np.ndarray:
        needed = {place: self._needs(term) for term, place in self._spec.term_slices.items()}
        there = np.flatnonzero(self._data[column] == level)
        if not len(there) or any(column in of and of != {column} for of in needed.values()):
            return self._rows(self._data.assign(**{column: level}))
        # A term of this column alone is the same in all samples of a level: no need to evaluate the formula again.
        rows = self.full.copy()
        for place, of in needed.items():
            if of == {column}:
                rows[:, place] = self.full[there[0], place]
        return rows

    def _needs(self, term: Any) -> set[str]:
        """Return the columns of the samples that a term is made of."""
        return {str(v) for v in self._spec.term_variables[term]} & set(self._data.columns)

    def _rows(self, data: pd.DataFrame) -> np.ndarray:
        return np.asarray(self._spec.get_model_matrix(data, context=TRANSFORMS), dtype=float)

    def sides(self, contrast: Contrast) -> tuple[np.ndarray, np.ndarray]:
        """Return the design rows of both sides of a contrast for every sample, each of shape (n, p), all columns.

        The rest has the rows of each of its levels, one below the other, so that populations weigh alike however many
        donors were recruited of each; in samples of `dummy_samples` it is one level.
        """
        if contrast.a:
            others = [contrast.b]
            if contrast.b == REST and not (self._data[contrast.column] == REST).any():
                others = rest_of(contrast.a, self._data[contrast.column])
            return self.rows_at(contrast.column, contrast.a), np.vstack(
                [self.rows_at(contrast.column, level) for level in others]
            )
        column = self._data[contrast.column]
        up, down = (self._data.assign(**{contrast.column: column + step}) for step in (0.5, -0.5))
        return self._rows(up), self._rows(down)

    def vector(self, contrast: Contrast) -> np.ndarray:
        """Return the contrast as weights on all columns: the mean difference of its sides, shape (p,).

        With interactions this is the difference averaged over the samples at hand; for a number it is the
        mean slope over one unit.
        """
        a, b = self.sides(contrast)
        return np.asarray(a.mean(axis=0) - b.mean(axis=0))

    def estimable(self, vector: np.ndarray) -> bool:
        """Tell whether the data fix the value of a contrast (it is orthogonal to the null space)."""
        return bool(np.all(np.abs(vector @ self._null) <= TOLERANCE * max(1.0, np.abs(vector).max())))

    def reduce(self, vector: np.ndarray) -> np.ndarray:
        """Return the weights on the independent columns only, shape (rank,)."""
        return np.asarray(vector[self._kept])

    def why_not(self, contrast: Contrast, vector: np.ndarray) -> str:
        """Say in words what a contrast that is not estimable is confounded with.

        A side that is a combination of another term's columns, such as a population with batches of its own, is named
        with what it shares; otherwise the terms of the singular combination are listed.
        """
        ties = [tie for level in (contrast.a, contrast.b) if level for tie in self._ties(contrast.column, level)]
        if ties:
            return f"{'; '.join(ties)}: with that in the formula, {contrast.words()} cannot be estimated"
        involved = np.abs(self._null[:, np.abs(vector @ self._null) > TOLERANCE]).max(axis=1) > TOLERANCE
        names = [readable(name) for name, on in zip(self._all_names, involved, strict=True) if on]
        return f"the design is singular here: {', '.join(n for n in names if n != 'Intercept')} cannot be told apart"

    def _ties(self, column: str, level: str) -> list[str]:
        """Name the terms that alone fix who is of a level."""
        on = (self._data[column] == level).to_numpy()
        ties = []
        for term, place in self._spec.term_slices.items():
            needed = self._needs(term)
            if column in needed or len(needed) != 1:
                continue
            columns = np.column_stack([np.ones(len(on)), self.full[:, place]])
            basis = np.linalg.svd(columns, full_matrices=False)
            span = basis.U[:, TOLERANCE * basis.S[0] < basis.S]
            if np.abs(on - span @ (span.T @ on)).max() < 1e-6:
                (other,) = needed
                values = self._data.loc[on, other].astype(str).unique()
                ties.append(f"all samples of {level}, and no others, are of {other} {shorten(list(values))}")
        return ties

    def spans(self, columns: np.ndarray) -> bool:
        """Tell whether the given columns, shape (n, m), are combinations of the design's."""
        if not columns.shape[1]:
            return True
        basis = np.linalg.qr(self.matrix)[0]
        return bool(np.abs(columns - basis @ (basis.T @ columns)).max() < 1e-6)


def readable(name: str) -> str:
    """Turn a column name such as `site[T.KR]` into words: `site KR`."""
    return re.sub(r"\[(?:T\.)?([^\]]*)\]", r" \1", name)


def shorten(names: list[str]) -> str:
    """Write a list of names, or its ends when it is long."""
    names = sorted(names)
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)})"


def build_design(formula: ParsedFormula, samples: pd.DataFrame) -> Design:
    """Evaluate a formula over the samples.

    Parameters
    ----------
    formula
        A checked formula.
    samples
        Complete cases of its columns, n rows.

    Raises
    ------
    AidaError
        If a transform cannot be computed (such as a spline of a text column).
    """
    data = samples[list(formula.variables)].reset_index(drop=True)
    try:
        matrix = Formula(formula.text).get_model_matrix(data, context=TRANSFORMS, na_action="raise", output="numpy")
    except (FormulaicError, ValueError, TypeError) as error:
        raise AidaError(
            f"--formula '{formula.text}': cannot be evaluated on the samples ({' '.join(str(error).split())[:160]})."
        ) from error
    full = np.asarray(matrix, dtype=float)
    names = [str(c) for c in matrix.model_spec.column_names]
    if not np.isfinite(full).all():
        bad = names[int(np.argmin(np.isfinite(full).all(axis=0)))]
        raise AidaError(f"--formula '{formula.text}': term '{readable(bad)}' gives values that are not finite.")
    kept, null = independent_columns(full)
    aliased = [names[j] for j in range(len(names)) if j not in kept]
    return Design(full[:, kept], [names[j] for j in kept], aliased, full, names, kept, null, matrix.model_spec, data)


def dummy_samples(samples: pd.DataFrame, column: str, level: str) -> pd.DataFrame:
    """Return the samples with a column reduced to one level and `rest`, as the reference study's 0/1 dummies."""
    return samples.assign(**{column: samples[column].where(samples[column] == level, REST)})
