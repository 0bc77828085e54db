"""Wilkinson formulas, read by a library and checked before anything is evaluated.

A formula comes from a configuration file, and formulas are Python inside. So every term is parsed first, and only
names of columns and calls of the functions in `TRANSFORMS` on a column with constant options pass.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.errors import FormulaicError
from formulaic.parser.types import Factor
from formulaic.transforms import TRANSFORMS as _FORMULAIC
from formulaic.utils.stateful_transforms import stateful_transform

from aida_tools.core.errors import AidaError, did_you_mean


@stateful_transform  # type: ignore[untyped-decorator]
def ns(x: Any, df: int = 3, _state: dict[str, Any] | None = None) -> np.ndarray:
    """Natural cubic spline basis, linear beyond the range of the data.

    Parameters
    ----------
    x
        Values, shape (n,).
    df
        Number of columns, at least 1; `df - 1` inner knots at quantiles, as R's `splines::ns`.

    Returns
    -------
    Basis without an intercept, shape (n, df). With the intercept it spans the same functions as R's basis.

    References
    ----------
    Hastie, Tibshirani, Friedman. The Elements of Statistical Learning, 2nd ed., equations 5.4 and 5.5.
    """
    state: dict[str, Any] = {} if _state is None else _state
    values = np.asarray(x, dtype=float)
    if "knots" not in state:
        state["knots"] = np.quantile(values, np.linspace(0, 1, df + 1))
    knots = state["knots"]
    # Scaling by the range keeps the cubes of ages near 1.
    width = float(knots[-1] - knots[0]) or 1.0
    u, k = (values - knots[0]) / width, (knots - knots[0]) / width

    def cube(j: int) -> np.ndarray:
        cubes = np.clip(u - k[j], 0, None) ** 3 - np.clip(u - k[-1], 0, None) ** 3
        return np.asarray(cubes / (k[-1] - k[j] or 1.0))

    last = cube(len(k) - 2)
    return np.column_stack([u, *[cube(j) - last for j in range(len(k) - 2)]])


#: The functions a formula may call.
TRANSFORMS: dict[str, Any] = {
    **{name: _FORMULAIC[name] for name in ("C", "bs", "poly", "center", "scale")},
    "ns": ns,
    "log": np.log,
}


@dataclass(frozen=True)
class ParsedFormula:
    """A formula that may be evaluated.

    Attributes
    ----------
    text
        As it was written.
    terms
        One string a term, without the intercept, such as `age` or `age:sex`.
    columns
        The columns of the samples table that it needs, by term.
    """

    text: str
    terms: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]

    @property
    def variables(self) -> tuple[str, ...]:
        """All columns, each once, in the order of the formula."""
        return tuple(dict.fromkeys(c for term in self.terms for c in self.columns[term]))

    @property
    def categorical(self) -> tuple[str, ...]:
        """The columns that stand in C(): their numbers are names."""
        return tuple(c for term in self.terms for c in self.columns[term] if re.search(rf"\bC\({re.escape(c)}\b", term))

    def without(self, absent: Iterable[str]) -> ParsedFormula:
        """Leave out the terms that need one of these columns."""
        gone = set(absent)
        kept = tuple(t for t in self.terms if not gone & set(self.columns[t]))
        return ParsedFormula("~ " + (" + ".join(kept) or "1"), kept, {t: self.columns[t] for t in kept})

    def plus(self, column: str) -> ParsedFormula:
        """Add a column as a term, if no term needs it yet."""
        if column in self.variables:
            return self
        return ParsedFormula(f"{self.text} + {column}", (*self.terms, column), self.columns | {column: (column,)})


def name_levels(formula: ParsedFormula, samples: pd.DataFrame) -> pd.DataFrame:
    """Turn the numbers of the columns in C() into the names of levels, such as `2019`."""
    numbers = [c for c in formula.categorical if pd.api.types.is_numeric_dtype(samples[c])]
    named = {c: samples[c].map("{:g}".format).where(samples[c].notna(), None) for c in numbers}
    return samples.assign(**named)


def _refuse(text: str, expr: str, why: str) -> AidaError:
    allowed = ", ".join(f"{name}()" for name in TRANSFORMS)
    return AidaError(
        f"--formula '{text}': '{expr}' {why}. A term is a column or one of {allowed} of a column, "
        "with numbers as options, such as ns(age, df=3)."
    )


def _columns_of_call(text: str, expr: str) -> list[str]:
    """Return the columns of a call such as `ns(age, df=3)`, after checking that it is nothing else."""
    try:
        call = ast.parse(expr, mode="eval").body
    except SyntaxError as error:
        raise _refuse(text, expr, "cannot be read") from error
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise _refuse(text, expr, "is not allowed")
    if call.func.id not in TRANSFORMS:
        raise _refuse(text, expr, f"calls '{call.func.id}', which is not allowed")
    if not (call.args and isinstance(call.args[0], ast.Name)):
        raise _refuse(text, expr, "does not name a column first")
    for option in [*call.args[1:], *[k.value for k in call.keywords]]:
        try:
            ast.literal_eval(option)
        except ValueError as error:
            raise _refuse(text, expr, "has an option that is not a constant") from error
    if any(k.arg is None for k in call.keywords):
        raise _refuse(text, expr, "has an option that is not a constant")
    return [call.args[0].id]


def _columns_of_factor(text: str, factor: Factor) -> list[str]:
    if factor.eval_method is Factor.EvalMethod.LOOKUP:
        return [factor.expr]
    if factor.eval_method is Factor.EvalMethod.PYTHON:
        return _columns_of_call(text, factor.expr)
    return []


def parse_formula(text: str, known: Iterable[str]) -> ParsedFormula:
    """Read a one-sided Wilkinson formula, such as `~ population + ns(age, df=3) * sex`.

    Parameters
    ----------
    text
        The formula; the `~` may be left out. An intercept is always in.
    known
        The columns it may name.

    Raises
    ------
    AidaError
        If it cannot be read, has a left side, leaves out the intercept, names an unknown column, or calls
        anything but `TRANSFORMS`.
    """
    columns = list(known)
    try:
        formula = Formula(text if text.lstrip().startswith("~") else f"~ {text}")
        terms = list(formula)
        factors = {str(term): list(term.factors) for term in terms}
    except (FormulaicError, SyntaxError, AttributeError, TypeError) as error:
        why = re.sub(r"\x1b\[[\d;]*m|[⧛⧚]", "", str(error).splitlines()[0])
        raise AidaError(f"--formula '{text}': cannot be read as a one-sided formula ({why[:120]}).") from error
    if "1" not in factors:
        raise AidaError(f"--formula '{text}': leaves out the intercept; the contrasts need it. Remove '0' or '- 1'.")
    needs: dict[str, tuple[str, ...]] = {}
    for term, parts in factors.items():
        if term != "1":
            needs[term] = tuple(dict.fromkeys(c for factor in parts for c in _columns_of_factor(text, factor)))
    for column in (c for group in needs.values() for c in group):
        if column not in columns:
            raise AidaError(
                f"--formula '{text}': there is no column '{column}' in the samples. {did_you_mean(column, columns)}"
            )
    return ParsedFormula(text.strip(), tuple(needs), needs)
