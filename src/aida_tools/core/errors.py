"""The one error a user sees: what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AidaError(Exception):
    """A problem with the input that its user can mend.

    The message names the file, the column, row or key, the value, and the fix.
    The command line prints it without a traceback and exits with status 1.
    """


def as_sentence(message: str) -> str:
    """Return what pydantic says of a wrong value as a sentence."""
    text = message.removeprefix("Value error, ")
    return text if text.endswith((".", "?")) else f"{text}."


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant by a mistyped one; None where none is near."""
    folded: dict[str, str] = {}
    for known_name in sorted(known):
        folded.setdefault(known_name.casefold(), known_name)
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str], *, show: int = 12) -> str:
    """Describe what was probably meant by a mistyped name.

    Parameters
    ----------
    name
        The name that was not found.
    known
        The names that exist.
    show
        How many of the known names to list when none is near.

    Returns
    -------
    A sentence: the nearest known name, or else the list of known names.

    Examples
    --------
    >>> did_you_mean("min_cell", ["min_cells", "models"])
    "Did you mean 'min_cells'?"
    """
    names = sorted({str(k) for k in known})
    if near := closest(name, names):
        return f"Did you mean '{near}'?"
    if not names:
        return "There is none."
    listed = ", ".join(names[:show])
    return f"Known: {listed}{', ...' if len(names) > show else ''}."
