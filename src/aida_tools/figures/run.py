"""Draw the figures of a comparison and write them with their captions."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from aida_tools.compare.results import Results, load_results
from aida_tools.config import load_populations
from aida_tools.figures.plates import Plate, plates
from aida_tools.figures.style import Palette, save
from aida_tools.files import staged, write_json


def _plates(folders: Sequence[Path], populations: Path) -> tuple[list[Plate], Results, Palette]:
    results, palette = load_results(folders[0], also=folders[1:]), Palette(load_populations(populations))
    return plates(results, palette), results, palette


def _save_every(step: int, first: int, drawn: Iterable[Plate], folder: Path) -> None:
    for plate in list(drawn)[first::step]:
        save(plate.draw(), plate.table, folder / plate.stem)


def _read_and_save(step: int, first: int, folders: Sequence[Path], populations: Path, folder: Path) -> None:
    """Draw a share of the figures in a process of its own, which reads the tables for itself."""
    _save_every(step, first, _plates(folders, populations)[0], folder)


def _save_all(drawn: list[Plate], folders: Sequence[Path], populations: Path, folder: Path, threads: int) -> None:
    if threads == 1:
        return _save_every(1, 0, drawn, folder)
    # New processes, not forks of one that has threads; Ctrl-C is for the first of them to answer.
    calm = signal.signal, (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(threads - 1, get_context("spawn"), *calm) as pool:
        rest = [pool.submit(_read_and_save, threads, k, folders, populations, folder) for k in range(1, threads)]
        _save_every(threads, 0, drawn, folder)
        for job in rest:
            job.result()
    return None


def draw_figures(
    compare: Path, populations: Path, out: Path, *, also: Iterable[Path] = (), threads: int = 1
) -> list[Plate]:
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
    threads
        How many figures are drawn at a time (each in a process of its own: matplotlib has no threads).

    Raises
    ------
    AidaError
        If a table is missing or is not what `compare` writes.
    """
    folders = [Path(compare), *map(Path, also)]
    drawn, results, palette = _plates(folders, populations)
    inputs = [*(p for f in folders for p in sorted(f.glob("*.tsv"))), folders[0] / "compare.json", Path(populations)]
    with staged(Path(out), step="figures", inputs=inputs) as folder:
        _save_all(drawn, folders, Path(populations), folder, threads)
        listed = [{key: getattr(p, key) for key in ("number", "stem", "title", "caption", "alt")} for p in drawn]
        codes = palette.order(results.shares["population"].dropna())
        write_json(folder / "figures.json", {"figures": listed, "populations": {c: palette.label(c) for c in codes}})
    return drawn
