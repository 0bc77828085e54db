"""What `compare` writes, beside the samples of the core: the estimates, and what they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError
from aida_tools.core.names import EMPTY_STATUSES, SEXES, STATUSES
from aida_tools.core.schema import Table, declare, flag, number, read_tsv, share, text, whole

_OF = (
    text("annotator", "who labelled the cells", empty=False),
    text("denominator", "what the share is of", empty=False),
    text("cell_type", empty=False),
)
_MODEL = text("model", "the statistical model", empty=False)

ESTIMATES = declare(
    Table(
        "estimates",
        step="compare",
        what="a model, contrast, formula, cell type, denominator and annotator",
        columns=(
            text("cohort", "name of the cohort", empty=False),
            text("annotator", "who labelled the cells", empty=False),
            text("cell_type", empty=False),
            text("denominator", "what the share is of", empty=False),
            _MODEL,
            text("contrast", "`column: a - b`; for a number just its column", empty=False),
            text("formula", "right side that it was fitted with", empty=False),
            flag(
                "superseded", "whether the same contrast with a term for the site stands beside it, which is to be read"
            ),
            text("status", "what the estimate can be taken for", levels=STATUSES, empty=False),
            text("aliased_with", "the sites and batches that cannot be told from the populations"),
            number(
                "estimate",
                "side a against side b; empty only where the status says that there is none",
                unit="of the model: log odds ratio, log10 ratio ...",
            ),
            number("std_error", unit="of the model", low=0),
            number("statistic", "t of the estimate"),
            number("df", "degrees of freedom", low=0),
            share("p_value", "of no difference, two-sided"),
            share(
                "q_value", "adjusted within its family: Holm for the focus type, false discovery rate for the others"
            ),
            number("ci_low", "lower end of the 95 % interval", unit="of the model"),
            number("ci_high", "upper end of the 95 % interval", unit="of the model"),
            share("share_a", "standardised share of side a"),
            share("share_b", "standardised share of side b"),
            whole("n_samples_a", "samples of side a", unit="samples"),
            whole("n_samples_b", "samples of side b", unit="samples"),
            whole("n_batches", "batches of both sides", unit="batches"),
            whole("n_zero", "samples of both sides without a cell of the type", unit="samples"),
            number("site_leak", "largest part of a site's unknown effect that enters the estimate", low=0),
            number("site_spread", "sum of the squared leaks of sites: its variance where sites vary by 1", low=0),
            number("batch_leak", "largest part of a batch's effect that enters the estimate", low=0),
            number("n_effective", "samples of the smaller side that the estimate rests on", unit="samples", low=0),
            text("batch_variance", "whose standard deviation of batches it has: `by site`, or `pooled` over sites"),
            text("note", "why there is no estimate, or what to know of it"),
        ),
    )
)
SHARES = declare(
    Table(
        "shares",
        step="compare",
        what="a sample, annotator, denominator and cell type, used in the models or not",
        columns=(
            text("sample_id", empty=False),
            text("donor_id", "the person", empty=False),
            text("population", "code of a population"),
            text("site"),
            text("batch"),
            text("sex", levels=SEXES, empty=False),
            number("age", unit="years", low=0, high=120),
            flag("is_control", "whether the donor is a control"),
            *_OF,
            number("n", "cells of the type; empty where only shares are known", unit="cells", low=0),
            number("total", "cells of the denominator; empty where only shares are known", unit="cells", low=0),
            share("share", "`n` of `total`"),
            flag("included", "whether the models used this share"),
        ),
    )
)
DESIGN = declare(
    Table(
        "design",
        step="compare",
        what="a population at a site in a batch: the samples that the models used",
        columns=(
            text("population", "code of a population"),
            text("site"),
            text("batch"),
            whole("n_donors", unit="donors", empty=False),
            whole("n_samples", unit="samples", empty=False),
            whole("n_cells", unit="cells", empty=False),
            text("aliased_with", "the sites and batches that cannot be told from the population"),
        ),
    )
)
CONTROLS = declare(
    Table(
        "controls",
        step="compare",
        what="a control sample, annotator, denominator and cell type",
        columns=(
            text("site"),
            text("batch"),
            *_OF,
            text("donor_id", "the control", empty=False),
            number("n", "cells of the type; empty where only shares are known", unit="cells", low=0),
            number("total", "cells of the denominator; empty where only shares are known", unit="cells", low=0),
            share("share", "`n` of `total`", empty=False),
            share("ci_low", "lower end of the 95 % Wilson interval, from the number of cells alone"),
            share("ci_high", "upper end of that interval"),
        ),
    )
)
EXCLUDED = declare(
    Table(
        "excluded",
        step="compare",
        what="a sample that the models did not use; for want of cells in a denominator, once for each of those",
        columns=(
            text("sample_id", empty=False),
            text("donor_id", "the person", empty=False),
            text("population", "code of a population"),
            text("reason", "why it was left out", empty=False),
        ),
    )
)
TESTS = declare(
    Table(
        "tests",
        step="compare",
        what="a test over all populations at once, of a cell type, denominator, annotator and model",
        columns=(
            *_OF,
            _MODEL,
            text("test", "which test of which hypothesis", empty=False),
            number("statistic", "F"),
            number("df", "degrees of freedom of the hypothesis", low=0),
            number("df_residual", "degrees of freedom of the error", low=0),
            share("p_value"),
            text("note", "what the test cannot tell apart, or why there is none"),
        ),
    )
)
STANDARDISED = declare(
    Table(
        "standardised",
        step="compare",
        what="a contrast of a model that gives shares: both sides as if all samples were of that side",
        columns=(
            *_OF,
            _MODEL,
            text("contrast", "`column: a - b`", empty=False),
            text("status", "as in `estimates.tsv`", levels=STATUSES, empty=False),
            share("share_a", "standardised share of side a"),
            share("share_a_low", "lower end of its 95 % interval"),
            share("share_a_high", "upper end of its 95 % interval"),
            share("share_b", "standardised share of side b"),
            share("share_b_low", "lower end of its 95 % interval"),
            share("share_b_high", "upper end of its 95 % interval"),
            number("difference", "share a less share b", low=-1, high=1),
            number("difference_low", "lower end of its 95 % interval"),
            number("difference_high", "upper end of its 95 % interval"),
            number("ratio", "share a to share b", low=0),
            number("ratio_low", "lower end of its 95 % interval", low=0),
            number("ratio_high", "upper end of its 95 % interval", low=0),
            text("note", "where the sides do not overlap in a covariate"),
        ),
    )
)


def read_estimates(path: Path) -> pd.DataFrame:
    """Read `estimates.tsv`, the tidy result of `compare`.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Table with the columns of `ESTIMATES`, one row a model, contrast, cell type, denominator and annotator.

    Raises
    ------
    AidaError
        Naming file, column, row and value; also when an estimate is empty although its status promises one.
    """
    table = ESTIMATES.check(read_tsv(path), path)
    silent = np.flatnonzero(table["estimate"].isna() & (~table["status"].isin(EMPTY_STATUSES) | table["note"].isna()))
    if len(silent):
        raise AidaError(
            f"{path}: column 'estimate', row {silent[0] + 1}: empty, with status '{table['status'].iloc[silent[0]]}'. "
            f"Only {', '.join(EMPTY_STATUSES)} may have no estimate, and 'note' must say why."
        )
    return table
