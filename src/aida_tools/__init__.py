"""Rerun, question and extend the AIDA comparison of regulatory T cell shares.

`import aida_tools as aida` gives the functions listed below. They take and return tables (or an AnnData object), write
no file, and are imported when first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: The public interface: name -> module it lives in. A name without one is a module itself.
_PUBLIC = {
    "AidaError": "core.errors",
    "load_cohort": "core.cohort_file",
    "load_populations": "core.populations",
    "cells_table": "api",
    "author_labels": "api",
    "gate_cells": "api",
    "count_cells": "api",
    "split_wide": "compose.wide",
    "compare_populations": "api",
    "detectable": "power.detect",
    "read_cells": "core.tables",
    "read_samples": "core.tables",
    "read_counts": "core.tables",
    "read_denominators": "core.tables",
    "read_estimates": "compare.tables",
    "load_results": "results.results",
    "Results": "results.results",
    "figures": "",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'aida_tools' has no attribute '{name}'")
    if not _PUBLIC[name]:
        return import_module(f"{__name__}.{name}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
