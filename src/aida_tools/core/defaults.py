"""The tables that commands use where none is named: those of `config/` here, else those that came with the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def default_file(name: str) -> Path:
    """Find a file of the configuration, such as `populations.tsv` or `annotators/gate.tsv`.

    Parameters
    ----------
    name
        Its path inside `config/`.

    Returns
    -------
    The one in `config/` of the working directory where there is one, so that a clone's edits count; else the one of
    the wheel (its build takes `config/` in), or of the clone that an editable install points to. Where there is none,
    the first place, for a message.
    """
    places = [Path("config"), _PACKAGE / "defaults", _PACKAGE.parents[1] / "config"]
    return next((p / name for p in places if (p / name).is_file()), places[0] / name)
