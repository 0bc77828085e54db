"""What `power` writes: what could have been found, and what a new population would take."""

from __future__ import annotations

from aida_tools.core.names import STATUSES
from aida_tools.core.schema import Table, declare, number, share, text, whole
from aida_tools.power.plan import Plan

_LOGS = "Estimates and their limits are natural logarithms of odds ratios unless the column says otherwise."
_LOG_ODDS, _LOG_RATIO = "log odds", "log odds ratio"
_DONOR_SD = number("donor_sd", "standard deviation between donors", unit=_LOG_ODDS, low=0)
_BATCH_SD = number("batch_sd", "standard deviation between batches", unit=_LOG_ODDS, low=0)
_STD_ERROR = number("std_error", unit=_LOG_RATIO, low=0)
_DF = number("df", "degrees of freedom", low=0)
_MDOR = number("mdor", "minimal detectable odds ratio, above 1: its inverse is as detectable", low=1)


_WORDS = text("plan", "the plan in words", empty=False)
_KIND = text(
    "kind",
    "whether both populations share every batch, or have batches and sites of their own",
    levels=("within-site", "between-site"),
    empty=False,
)
_SITE_SD = number("site_sd", "assumed standard deviation between sites", unit=_LOG_ODDS, low=0, empty=False)

POWER = declare(
    Table(
        "power",
        step="power",
        title="What could have been found",
        section="power",
        note=_LOGS,
        what="a contrast, cell type, denominator and annotator: the smallest odds ratio that could have been found",
        columns=(
            text("annotator", "who labelled the cells", empty=False),
            text("denominator", "what the share is of", empty=False),
            text("cell_type", empty=False),
            text("model", "the first of the comparison that gives odds ratios", empty=False),
            text("contrast", "as in `estimates.tsv`", empty=False),
            text("status", "as in `estimates.tsv`", levels=STATUSES, empty=False),
            number("estimate", "that was found", unit=_LOG_RATIO),
            number("ci_low", "lower end of its 95 % interval", unit=_LOG_RATIO),
            number("ci_high", "upper end of its 95 % interval", unit=_LOG_RATIO),
            _STD_ERROR,
            _DF,
            _MDOR,
            share("share", "mean share of the type"),
            number("cells", "median of the denominator in a sample", unit="cells", low=0),
            _DONOR_SD,
            _BATCH_SD,
            text("spread_note", "why a standard deviation is missing"),
            number(
                "std_error_spread",
                "standard error that the spread of donors and batches and the allotment of donors alone lead to expect",
                unit=_LOG_RATIO,
                low=0,
            ),
            number("mdor_spread", "minimal detectable odds ratio by that standard error", low=1),
            text("note", "what to know of it"),
        ),
    )
)
PLANS = declare(
    Table(
        "plans",
        step="power",
        title="Plans for new populations",
        section="power",
        note=_LOGS,
        what="a plan for a new population of the focus type in the primary denominator",
        columns=(
            text("source", "who thought of it", levels=("asked", "as this cohort", "range"), empty=False),
            _WORDS,
            *(
                whole(name, f"{name.replace('_', ' ')} of the plan", low=1, empty=False)
                for name in Plan.__dataclass_fields__
            ),
            _KIND,
            _SITE_SD,
            _STD_ERROR,
            _DF,
            _MDOR,
            share(
                "false_positive_rate",
                "how often a test that leaves the sites out finds a difference between equal populations",
            ),
            text("note", "why something is missing"),
            text("cell_type", empty=False),
            text("denominator", "what the share is of", empty=False),
            _DONOR_SD,
            _BATCH_SD,
        ),
    )
)
POWER_CURVES = declare(
    Table(
        "power_curves",
        step="power",
        what="a plan and odds ratio",
        columns=(
            _WORDS,
            _KIND,
            _SITE_SD,
            number("odds_ratio", low=1, empty=False),
            share("power", "to find it, at 0.05"),
        ),
    )
)
