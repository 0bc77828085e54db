"""Draw the figures of a comparison and write them with their captions."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from aida_tools import rooms
from aida_tools.core.files import staged, write_json
from aida_tools.core.populations import load_populations
from aida_tools.figures.registry import FIGURES, Plate
from aida_tools.figures.style import Palette, save
from aida_tools.results.page import page_order
from aida_tools.results.results import Results, load_results


def plates(results: Results, palette: Palette) -> dict[str, Plate]:
    """Return the figures that the tables allow, by key, in the order of the page: number 1 is the first."""
    rooms.load("figures")
    rooms.load("section")
    sections = [section.key for section in page_order(entry.section for entry in FIGURES.values())]
    entries = sorted(FIGURES.values(), key=lambda entry: (sections.index(entry.section), entry.place))
    made = {entry.key: entry.make(results, palette) for entry in entries}
    return {key: plate for key, plate in made.items() if plate is not None}


def _plates(folders: Sequence[Path], populations: Path) -> tuple[dict[str, Plate], Results, Palette]:
    results = load_results(folders[0], also=folders[1:])
    # One set for all figures: a population has the same colour in each.
    palette = Palette(load_populations(populations)).among(results.shares["population"].dropna())
    return plates(results, palette), results, palette


def _save_every(step: int, first: int, drawn: Iterable[Plate], folder: Path) -> None:
    for plate in list(drawn)[first::step]:
        save(plate.draw(), plate.table, folder / plate.stem)


def _read_and_save(step: int, first: int, folders: Sequence[Path], populations: Path, folder: Path) -> None:
    """Draw a share of the figures in a process of its own, which reads the tables for itself."""
    _save_every(step, first, _plates(folders, populations)[0].values(), folder)


def _save_all(drawn: Collection[Plate], folders: Sequence[Path], populations: Path, folder: Path, threads: int) -> None:
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
) -> dict[str, Plate]:
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
        _save_all(drawn.values(), folders, Path(populations), folder, threads)
        listed = [
            {"key": key, "number": number, "section": FIGURES[key].section}
            | {part: getattr(plate, part) for part in ("stem", "title", "caption", "alt")}
            for number, (key, plate) in enumerate(drawn.items(), start=1)
        ]
        codes = palette.order(results.shares["population"].dropna())
        write_json(folder / "figures.json", {"figures": listed, "populations": {c: palette.label(c) for c in codes}})
    return drawn
