"""The options of `aida-tools atlas`."""

from __future__ import annotations

from aida_tools.core.options import SEED, option, options


@options
class Options:
    """A sketch of the cells and its place in the plane. Needs the counts."""

    cells: int = option(default=50_000, help="Most cells of the sketch; rare types are over-sampled.", ge=20)
    genes: int = option(default=2000, help="Highly variable genes that the sketch and the embedding use.", ge=3)
    harmony: bool = option(default=False, help="Correct for batches by Harmony; needs the package harmonypy (GPL).")
    seed: int = option(default=SEED, ge=0, help="Seed of the draw of cells and of the embedding.")
    threads: int | None = option(default=None, help="Threads at work; default: all cores.", ge=1)
