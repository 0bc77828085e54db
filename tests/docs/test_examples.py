"""The examples in docstrings do what they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
MODULES = sorted(
    ".".join(p.relative_to(SOURCE).with_suffix("").parts) for p in SOURCE.rglob("*.py") if ">>> " in p.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str) -> None:
    done = doctest.testmod(import_module(name))
    assert done.attempted > 0
    assert done.failed == 0, f"see the output; also by `python -m doctest` on {name}"


def test_there_are_examples() -> None:
    assert {"aida_tools.api", "aida_tools.compose.wide"} <= set(MODULES)
