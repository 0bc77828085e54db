"""Draw the figures of a comparison and write them with their captions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aida_tools.compare.results import load_results
from aida_tools.config import load_populations
from aida_tools.figures.plates import Plate, plates
from aida_tools.figures.style import Palette, save
from aida_tools.files import staged, write_json


def draw_figures(compare: Path, populations: Path, out: Path, *, also: Iterable[Path] = ()) -> list[Plate]:
    """Draw the figures of a comparison.

    Parameters
    ----------
    compare
        Folder that `aida-tools compare` wrote.
    populations
        `populations.tsv`.
    also
        Folders of later steps (`robustness`, `power` ...), whose tables allow further figures.
    out
        Folder for `NAME.pdf`, `.svg`, `.png` (300 dpi) and `.tsv` of each figure, and `figures.json`, which lists them
        with their captions.

    Raises
    ------
    AidaError
        If a table is missing or is not what `compare` writes.
    """
    folders = [Path(compare), *map(Path, also)]
    results = load_results(folders[0], also=folders[1:])
    palette = Palette(load_populations(populations))
    inputs = [*(p for f in folders for p in sorted(f.glob("*.tsv"))), folders[0] / "compare.json", Path(populations)]
    drawn = plates(results, palette)
    with staged(Path(out), step="figures", inputs=inputs) as folder:
        for plate in drawn:
            save(plate.draw(), plate.table, folder / plate.stem)
        listed = [{key: getattr(p, key) for key in ("number", "stem", "title", "caption", "alt")} for p in drawn]
        codes = palette.order(results.shares["population"].dropna())
        write_json(folder / "figures.json", {"figures": listed, "populations": {c: palette.label(c) for c in codes}})
    return drawn
