"""The runner of `aida-tools robustness`: what `compare` wrote in, tables of how it would have come out otherwise out.

The columns of each table are described in the module that makes it: `sites`, `leave_out`, `permutations`, `labels`,
`specifications`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aida_tools.files import staged
from aida_tools.robustness.inputs import FILES, load
from aida_tools.robustness.labels import check_errors, label_tables, parse_errors
from aida_tools.robustness.leave_out import leave_out_table
from aida_tools.robustness.permutations import permutation_tables
from aida_tools.robustness.sites import site_tables
from aida_tools.robustness.specifications import Levels, specification_tables
from aida_tools.tables import write_tsv


@dataclass(frozen=True)
class Options:
    """What to try; see `aida-tools robustness --help`."""

    permutations: int = 10_000
    specifications: int = 1000
    sensitivity: float = 1.0
    specificity: float = 1.0
    labels_at: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = Levels.unresolved
    covariates: tuple[str, ...] = Levels.covariates
    strata: tuple[str, ...] = Levels.strata
    seed: int = 1


def robustness(folder: Path, out: Path, *, options: Options | None = None, threads: int = 2) -> None:
    """Question the comparison in a folder.

    Parameters
    ----------
    folder
        What `aida-tools compare` wrote.
    out
        Folder for the tables.
    options
        What to try.
    threads
        How many refits run at a time; does not affect results.

    Raises
    ------
    AidaError
        If the folder is not what `compare` writes, or an option does not fit it; nothing is written then.
    """
    options = options or Options()
    labels = options.sensitivity, options.specificity
    check_errors("--sensitivity, --specificity", labels)
    compared = load(folder)
    by_site = parse_errors(options.labels_at, sorted(compared.samples["site"].dropna().unique()))
    levels = Levels(options.unresolved, options.covariates, options.strata)
    # The matrices are small: threads of the linear algebra library would only wait for one another.
    with threadpool_limits(1):
        tables = {
            **site_tables(compared),
            "leave_one_out": leave_out_table(compared, threads=threads),
            **permutation_tables(compared, permutations=options.permutations, seed=options.seed),
            **label_tables(compared, default=labels, by_site=by_site),
            **specification_tables(
                compared, levels=levels, limit=options.specifications, seed=options.seed, threads=threads
            ),
        }
    inputs = [folder / name for name in FILES]
    with staged(out, step="robustness", inputs=inputs, config=asdict(options), seed=options.seed) as staging:
        for name, table in tables.items():
            write_tsv(table, staging / f"{name}.tsv")
