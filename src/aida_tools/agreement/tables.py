"""What `agreement` writes: how far annotators agree, and how often they are wrong."""

from __future__ import annotations

from aida_tools.core.schema import Column, Table, declare, flag, number, share, text, whole

_STATUS = text(
    "status",
    "`ok`; `undefined`: no cell to estimate from; `one_answer`: kappa with an annotator that gives one answer; "
    "`no_spread`: 0 or 1, or the same in every donor, so no interval between donors; `one_donor`: none either; "
    "`no_error`: no spread between donors; `point`: a value that has no interval",
    levels=("ok", "undefined", "one_answer", "no_spread", "one_donor", "no_error", "point"),
    empty=False,
)
_NOTE = text("note", "the status in words")
_WITHIN = text("within", "a set of cell types, or `all` cells with a label", empty=False)
_STRATUM = text(
    "stratum",
    "`all`, `site`, `batch`, `donor`, `depth` (tenths of the cells by depth), `site|depth`",
    empty=False,
)
_LEVEL = text("level", "level of the stratum; of depth, 1 is the shallowest", empty=False)
_PAIR = (
    text("annotator_a", "the one that is looked at, or the reference", empty=False),
    text("annotator_b", "the one that is compared with it"),
)
_CELLS = whole("n_cells", "cells it was estimated from", unit="cells")
_DONORS = whole("n_donors", "donors with such cells", unit="donors")


def _measured(measure: Column) -> tuple[Column, ...]:
    """Describe a measure in a level of a stratum; intervals of kappa and of ratios are not those of shares."""
    return (
        *_PAIR,
        _WITHIN,
        _STRATUM,
        _LEVEL,
        measure,
        _CELLS,
        _DONORS,
        number("estimate", "the measure", low=-1),
        number("std_error", "its standard error, were cells independent", low=0),
        number("ci_low", "lower end of its 95 % interval, were cells independent", low=-1),
        number("ci_high", "upper end of that interval", low=-1),
        number("donor_std_error", "its standard error between donors", low=0),
        number(
            "donor_ci_low",
            "lower end of its 95 % interval between donors: to be preferred, as cells of a donor are alike",
        ),
        number("donor_ci_high", "upper end of that interval"),
        _STATUS,
        _NOTE,
    )


CONFUSION = declare(
    Table(
        "confusion",
        step="agreement",
        what="a pair of annotators and pair of cell types that some cell has",
        columns=(
            text("annotator_a", empty=False),
            text("annotator_b", empty=False),
            text("cell_type_a", "by annotator a; `unlabelled` for cells without a label", empty=False),
            text("cell_type_b", "by annotator b", empty=False),
            whole("n_cells", unit="cells", low=1, empty=False),
        ),
    )
)
AGREEMENT = declare(
    Table(
        "agreement",
        step="agreement",
        what="a measure of the focus type against all others in one level of one stratum",
        columns=_measured(
            text(
                "measure",
                "`rate`: its share of the cells that annotator a puts in the set; `kappa` (Cohen) and `agreement` (the "
                "share of equal answers) among the cells that both put in it; `sensitivity`, `specificity`, "
                "`precision` and `f1` of annotator b with annotator a as the reference, among the cells that the "
                "reference puts in the set and does not leave unresolved; `average_precision`: area of the curve in "
                "`curves.tsv`",
                levels=(
                    "rate",
                    "kappa",
                    "agreement",
                    "sensitivity",
                    "specificity",
                    "precision",
                    "f1",
                    "average_precision",
                ),
                empty=False,
            )
        ),
    )
)
UNRESOLVED = declare(
    Table(
        "unresolved",
        step="agreement",
        what="the share of cells without a definite label (the types named as unresolved, those that end in "
        "`_unresolved`, and no label) in one level of one stratum",
        columns=_measured(text("measure", levels=("unresolved",), empty=False)),
    )
)
CURVES = declare(
    Table(
        "curves",
        step="agreement",
        what="a point of a precision-recall curve, for every annotator with a score of the focus type",
        columns=(
            text("annotator_a", "the reference", empty=False),
            text("annotator_b", "the annotator with the score", empty=False),
            _WITHIN,
            text("stratum", levels=("all", "site"), empty=False),
            _LEVEL,
            text(
                "point",
                "`curve`: cells with at least the threshold called, in 100 steps of recall; `labels`: where the "
                "annotator's own labels stand",
                levels=("curve", "labels"),
                empty=False,
            ),
            number("threshold", "of the score"),
            share("recall", "called cells of the focus type, of all of the focus type"),
            share("precision", "called cells of the focus type, of all called"),
            whole("n_called", unit="cells"),
        ),
    )
)
CALIBRATION = declare(
    Table(
        "calibration",
        step="agreement",
        what="a measure of the probabilities of an annotator, among the cells that the reference puts in its narrowest "
        "set with the focus type",
        columns=(
            *_measured(
                text(
                    "measure",
                    "`observed_share`: share of the focus type in a bin, beside the mean probability; "
                    "`expected_to_observed`: the number of focus cells that the probabilities add up to, divided by "
                    "the number that the reference finds; `calibration_error`: mean distance of probability and share; "
                    "`soft_to_observed`: the sum of the soft counts in all cells, divided by the number that the "
                    "reference finds, with intervals between donors only",
                    levels=("observed_share", "expected_to_observed", "calibration_error", "soft_to_observed"),
                    empty=False,
                )
            ),
            whole("bin", "one of ten of equal width from 0 to 1", low=1),
            share("predicted", "mean probability in the bin"),
        ),
    )
)
THINNED = declare(
    Table(
        "thinned",
        step="agreement",
        what="an annotator that labelled counts thinned to the depth of the shallowest site too, in one level of one "
        "stratum",
        columns=(
            text("annotator", empty=False),
            _WITHIN,
            text(
                "stratum",
                "`between sites`: the distance of the highest and the lowest site; with one site, `between batches`",
                levels=("all", "site", "batch", "between sites", "between batches"),
                empty=False,
            ),
            _LEVEL,
            share("rate", "share of the focus type at full depth"),
            share("rate_thinned", "share of the focus type at matched depth"),
            number("difference", "the second less the first", low=-1, high=1),
            number("donor_std_error", "its standard error between donors, who are their own controls", low=0),
            number("donor_ci_low", "lower end of its 95 % interval", low=-1, high=1),
            number("donor_ci_high", "upper end of its 95 % interval", low=-1, high=1),
            _CELLS,
            _DONORS,
            _STATUS,
            _NOTE,
        ),
    )
)
ANNOTATORS = declare(
    Table(
        "annotators",
        step="agreement",
        what="an annotator, as its `annotator.json` has it",
        columns=(
            text("annotator", empty=False),
            text("kind", "what labels the cells"),
            text("words", "what that is, in a few words"),
            flag("taught", "whether it knows more of a cell than the marker gate"),
            flag("reference", "whether its labels are taken as the truth when others are compared with them"),
            text("description", "how, in a sentence"),
            text("classifiers", "names of the classifiers it is made of"),
            text("licence", "of each classifier"),
            text("attribution", "of each classifier"),
            flag("thinned", "whether it labelled thinned counts"),
        ),
    )
)
DEPTH = declare(
    Table(
        "depth",
        step="agreement",
        what="a tenth of the cells by depth; only with a scan",
        columns=(
            whole("depth", "1 is the shallowest", low=1, empty=False),
            number("least_counts", "depth of its shallowest cell", unit="UMIs", low=0),
            whole("n_cells", unit="cells", empty=False),
        ),
    )
)
