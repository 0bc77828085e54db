"""Cell Ontology, HsapDv and PATO terms, offline through `cellxgene-ontology-guide`."""

from __future__ import annotations

import functools
import importlib.metadata
import re

from aida_tools.core.errors import AidaError

_CELL_ONTOLOGY_ID = re.compile(r"CL:\d{7}")
_ANY_ID = re.compile(r"[A-Za-z]+:\d+")


@functools.cache
def _parser():  # type: ignore[no-untyped-def]  # the library has no types
    from cellxgene_ontology_guide.ontology_parser import OntologyParser

    return OntologyParser()


def is_cell_type_id(text: str) -> bool:
    """Whether a text has the form of a Cell Ontology id (`CL:0000815`), known or not."""
    return _CELL_ONTOLOGY_ID.fullmatch(text) is not None


def is_term_id(text: str) -> bool:
    """Whether a text has the form of an ontology id (`HsapDv:0000131`), known or not."""
    return _ANY_ID.fullmatch(text) is not None


def term_label(term: str) -> str | None:
    """Return the name of a term of any ontology of the guide, or None if it has no such term."""
    try:
        return str(_parser().get_term_label(term))
    except (KeyError, ValueError):
        return None


def is_deprecated(term: str) -> bool:
    """Whether a known term was withdrawn from its ontology."""
    return bool(_parser().is_term_deprecated(term))


def replacement(term: str) -> str | None:
    """Return the term that a deprecated one was replaced by, if the ontology names one."""
    found = _parser().get_term_replacement(term)
    return str(found) if found and is_term_id(str(found)) else None


def check_cell_type(term: str, where: str) -> str:
    """Check that a Cell Ontology id exists and is in use.

    Parameters
    ----------
    term
        The id, such as `CL:0000815`.
    where
        File and key or column it stands in, for the message.

    Returns
    -------
    The name of the term.

    Raises
    ------
    AidaError
        If the id is not of the Cell Ontology, or is deprecated.
    """
    name = term_label(term) if is_cell_type_id(term) else None
    if name is None:
        version = importlib.metadata.version("cellxgene-ontology-guide")
        raise AidaError(
            f"{where}: value '{term}' is not a Cell Ontology id known to cellxgene-ontology-guide {version}. "
            "Ids look like CL:0000815 (regulatory T cell): correct it, or update that package if the id is new."
        )
    if is_deprecated(term):
        new = replacement(term)
        hint = f"Use '{new}' ({term_label(new)}) instead." if new else "It has no replacement: choose another term."
        raise AidaError(f"{where}: value '{term}' ({name}) is deprecated in the Cell Ontology. {hint}")
    return name


def descendants(term: str) -> frozenset[str]:
    """Return a Cell Ontology term and all terms below it (`is_a` and `part_of`, as the guide has them)."""
    return frozenset({term, *_parser().get_term_descendants(term)})
