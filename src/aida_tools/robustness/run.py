"""The runner of `aida-tools robustness`: from what `compare` wrote to how it would have come out otherwise."""

from __future__ import annotations

from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aida_tools.core.files import staged
from aida_tools.core.options import recorded
from aida_tools.core.schema import write_tables
from aida_tools.results.refit import load_comparison
from aida_tools.robustness.labels import check_errors, label_tables, parse_errors
from aida_tools.robustness.leave_out import leave_out_table
from aida_tools.robustness.permutations import permutation_tables
from aida_tools.robustness.sites import site_tables
from aida_tools.robustness.specifications import Levels, specification_tables
from aida_tools.robustness.step import Options


def robustness(folder: Path, out: Path, *, options: Options | None = None) -> None:
    """Question the comparison in a folder.

    Parameters
    ----------
    folder
        What `aida-tools compare` wrote.
    out
        Folder for the tables.
    options
        What to try.

    Raises
    ------
    AidaError
        If the folder is not what `compare` writes, or an option does not fit it; nothing is written then.
    """
    options = options or Options()
    labels = options.sensitivity, options.specificity
    check_errors("--sensitivity, --specificity", labels)
    compared = load_comparison(folder, step="robustness")
    by_site = parse_errors(options.labels_at, sorted(compared.samples["site"].dropna().unique()))
    levels = Levels.asked(options, compared.options.get("cohort", {}))
    # The matrices are small: threads of the linear algebra library would only wait for one another.
    with threadpool_limits(1):
        tables = {
            **site_tables(compared),
            "leave_one_out": leave_out_table(compared, threads=options.threads),
            **permutation_tables(compared, permutations=options.permutations, seed=options.seed),
            **label_tables(compared, default=labels, by_site=by_site),
            **specification_tables(
                compared, levels=levels, limit=options.specifications, seed=options.seed, threads=options.threads
            ),
        }
    inputs = [folder / name for name in ("compare.json", "samples.tsv", "shares.tsv", "estimates.tsv")]
    with staged(out, step="robustness", inputs=inputs, config=recorded(options), seed=options.seed) as staging:
        write_tables(tables, staging)
