"""The runner of `aida-tools robustness`: what `compare` wrote in, tables of how it would have come out otherwise out.

The columns of each table are described in the module that makes it: `sites`, `leave_out`, `permutations`, `labels`,
`specifications`.
"""

from __future__ import annotations

from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aida_tools.files import staged
from aida_tools.robustness.inputs import FILES, load
from aida_tools.robustness.leave_out import leave_out_table
from aida_tools.robustness.sites import site_tables
from aida_tools.tables import write_tsv


def robustness(folder: Path, out: Path, *, threads: int = 2) -> None:
    """Question the comparison in a folder.

    Parameters
    ----------
    folder
        What `aida-tools compare` wrote.
    out
        Folder for the tables.
    threads
        How many refits run at a time; does not affect results.

    Raises
    ------
    AidaError
        If the folder is not what `compare` writes; nothing is written then.
    """
    compared = load(folder)
    # The matrices are small: threads of the linear algebra library would only wait for one another.
    with threadpool_limits(1):
        tables = site_tables(compared)
        tables["leave_one_out"] = leave_out_table(compared, threads=threads)
    with staged(out, step="robustness", inputs=[folder / name for name in FILES], config={"threads": threads}) as here:
        for name, table in tables.items():
            write_tsv(table, here / f"{name}.tsv")
