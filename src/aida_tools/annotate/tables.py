"""What annotators and the training of classifiers write beside the labels, which are a contract of the core."""

from __future__ import annotations

from aida_tools.annotate.learn import ROLES
from aida_tools.core.schema import Column, Table, declare, number, share, text, whole

PROTEIN_GATES = declare(
    Table(
        "protein_gates",
        step="annotate",
        what="a batch and protein: where the boundary between its low and its high cells lies",
        columns=(
            text("batch", "`unknown` where none is recorded", empty=False),
            text("marker", "the protein", empty=False),
            text("among", "the cells it is looked at in"),
            whole("n_cells", "these cells", unit="cells", empty=False),
            text(
                "source",
                "`mixture`: two populations were found; `fixed`: given by the user; `one`: no two populations; `few`: "
                "too few cells",
                levels=("mixture", "fixed", "one", "few"),
                empty=False,
            ),
            number("threshold", "the boundary", unit="counts"),
            number("mean_low", "mean of the low cells", unit="arcsinh(counts / 5)"),
            number("mean_high", "mean of the high cells", unit="arcsinh(counts / 5)"),
            number("sd", "standard deviation of either", unit="arcsinh(counts / 5)", low=0),
            share("share_high", "share of the high cells"),
            number("separation", "distance of the means in standard deviations"),
        ),
    )
)
DONORS = declare(
    Table(
        "donors",
        step="classifier",
        what="a donor and what the training of this classifier used it for",
        columns=(
            text("donor_id", empty=False, unique=True),
            text("role", levels=ROLES, empty=False),
        ),
    )
)


def _judged(*more: Column) -> tuple[Column, ...]:
    """Describe how well a class is recognised in the donors that were kept for the test."""
    return (
        *more,
        text("label", "the class", empty=False),
        whole("n", "cells of the class", unit="cells", empty=False),
        whole("n_called", "cells that were called so", unit="cells", empty=False),
        number("n_expected", "sum of the probabilities of the class", unit="cells", low=0, empty=False),
        share("recall", "cells of the class that were called so"),
        share("precision", "cells called so that are of the class"),
        share("f1", "harmonic mean of recall and precision"),
    )


EVALUATION = declare(
    Table("evaluation", step="classifier", what="a class, in the test donors of this classifier", columns=_judged())
)
EVALUATION_BY_SITE = declare(
    Table(
        "evaluation_by_site",
        step="classifier",
        what="a site and class, in the test donors of this classifier",
        columns=_judged(text("site", empty=False)),
    )
)
RELIABILITY = declare(
    Table(
        "reliability",
        step="classifier",
        what="a tenth of the range of the probability of the called class, in the test donors of this classifier",
        columns=(
            whole("bin", "0 is the lowest", empty=False),
            share("probability", "mean probability", empty=False),
            share("accuracy", "share that was called rightly", empty=False),
            whole("n", unit="cells", low=1, empty=False),
        ),
    )
)
