"""What `robustness` writes: how the comparison would have come out otherwise."""

from __future__ import annotations

from aida_tools.core.names import EMPTY_STATUSES, ESTIMATED, STATUSES
from aida_tools.core.schema import Column, Table, declare, flag, number, share, text, whole

_LOGS = "Estimates and their limits are natural logarithms of odds ratios unless the column says otherwise."
_LOG_ODDS, _LOG_RATIO = "log odds", "log odds ratio"
_CONTRAST = text("contrast", "`population: a - b`", empty=False)
_NOTE = text("note", "why something is missing, or what to know of it")


def _estimate(unit: str = _LOG_RATIO) -> tuple[Column, ...]:
    """Describe an estimate with its error and its interval."""
    return (
        number("estimate", "side a against side b", unit=unit),
        number("std_error", "its standard error", unit=unit, low=0),
        number("df", "its degrees of freedom", low=0),
        number("ci_low", "lower end of its 95 % interval", unit=unit),
        number("ci_high", "upper end of its 95 % interval", unit=unit),
    )


def _spread(name: str, what: str) -> tuple[Column, ...]:
    """Describe a standard deviation with its interval."""
    return (
        number(name, f"standard deviation {what}", unit=_LOG_ODDS, low=0),
        number(f"{name}_low", "lower end of its 95 % interval", unit=_LOG_ODDS, low=0),
        number(f"{name}_high", "upper end of its 95 % interval", unit=_LOG_ODDS, low=0),
    )


_SHARES = (
    share("share_a", "standardised share of side a"),
    share("share_b", "standardised share of side b"),
)
_SAMPLES = (
    whole("n_samples_a", "samples of side a", unit="samples"),
    whole("n_samples_b", "samples of side b", unit="samples"),
)

SITE_BOUND = declare(
    Table(
        "site_bound",
        step="robustness",
        title="Site effects that would be enough",
        section="robustness",
        note=_LOGS,
        shown=("contrast", "status", "site_sd_bound", "keeps_sign", "sentence", "rests_on", "note"),
        what="a contrast between sites: how large site effects would have to be to explain it",
        columns=(
            _CONTRAST,
            text(
                "status",
                "whether there is a bound; `includes-no-difference`: with or without site effects",
                levels=(
                    "bounded",
                    "includes-no-difference",
                    "beyond-any-site-effect",
                    "no-site-recorded",
                    *EMPTY_STATUSES,
                ),
                empty=False,
            ),
            text("aliased_with", "the sites and batches that cannot be told from the populations"),
            *_estimate(),
            *_SHARES,
            number("spread", "sum of the squared weights of the sites in the contrast", low=0),
            number(
                "site_sd_bound",
                "the smallest standard deviation between sites at which the 95 % interval includes no difference",
                unit=_LOG_ODDS,
                low=0,
            ),
            number("share_shift", "what one such deviation adds to `share_b`", low=-1, high=1),
            *_spread("batch_sd", "of the batches inside sites"),
            *_spread("control_site_sd", "between sites of the same controls"),
            share("keeps_sign", "share of the plausible site effects under which the contrast keeps its sign"),
            share(
                "keeps_interval",
                "share of them under which the 95 % interval, less the site effect, lies on that side of no difference",
            ),
            number("plausible_site_sd", "middle of the plausible standard deviations between sites", unit=_LOG_ODDS),
            number("plausible_site_sd_high", "95 % of them are below this", unit=_LOG_ODDS),
            text("rests_on", "what decides which site effects are plausible, in words"),
            text("sentence", "all of it in words"),
            _NOTE,
        ),
    )
)
SITE_PRIOR = declare(
    Table(
        "site_prior",
        step="robustness",
        what="a standard deviation between sites, and how plausible it is",
        columns=(
            number("site_sd", "standard deviation between sites", unit=_LOG_ODDS, low=0, empty=False),
            number("start", "density before anything of sites was measured", low=0, empty=False),
            number("density", "density given the controls (and other cohorts)", low=0, empty=False),
        ),
    )
)
RECALIBRATED = declare(
    Table(
        "recalibrated",
        step="robustness",
        title="Recalibrated by the controls",
        section="robustness",
        note=_LOGS,
        what="a contrast between sites, less the difference that the controls measure between the same sites",
        columns=(
            _CONTRAST,
            text("status", "what came of it", levels=("recalibrated", "no-controls", *EMPTY_STATUSES), empty=False),
            *_estimate(),
            *_SHARES,
            number("control_difference", "the difference of the sites by the controls", unit=_LOG_RATIO),
            number("control_std_error", "its standard error", unit=_LOG_RATIO, low=0),
            number("control_df", "its degrees of freedom, from the runs", low=0),
            share("control_share", "share of the average control donor at these sites"),
            share("donor_share", "middle of the shares of both sides, which the correction is applied to"),
            number(
                "false_call_difference",
                "the donors' difference of the sites if false calls, which add to a share, made the controls' one",
                unit=_LOG_RATIO,
            ),
            number("correction_difference", "`control_difference` less that", unit=_LOG_RATIO),
            number("recalibrated", "the estimate less that difference", unit=_LOG_RATIO),
            number("recalibrated_std_error", "its standard error, with both errors", unit=_LOG_RATIO, low=0),
            number("recalibrated_df", "its degrees of freedom (Welch, Satterthwaite)", low=0),
            number("recalibrated_ci_low", "lower end of its 95 % interval", unit=_LOG_RATIO),
            number("recalibrated_ci_high", "upper end of its 95 % interval", unit=_LOG_RATIO),
            share("recalibrated_p_value", "of no difference, two-sided"),
            _NOTE,
        ),
    )
)
CONTROLS_EFFECT = declare(
    Table(
        "controls_effect",
        step="robustness",
        title="What the controls measure",
        section="robustness",
        note=_LOGS,
        what="a quantity that the control samples measure",
        columns=(
            text(
                "quantity",
                "standard deviation between sites or batches (log odds), share of the average control donor at a site, "
                "difference of two sites (log odds ratio)",
                levels=("site_sd", "batch_sd", "share", "difference"),
                empty=False,
            ),
            text("site", "the site of a share; of a difference, the first one"),
            text("other_site", "the site that is subtracted"),
            text("status", "whether there is an estimate", levels=("estimated", "not-estimable"), empty=False),
            *_estimate("of the quantity"),
            whole("n_samples", "control samples", unit="samples", empty=False),
            whole("n_batches", "their batches", unit="batches", empty=False),
            whole("n_cells", "their cells of the denominator", unit="cells", empty=False),
            _NOTE,
        ),
    )
)
PERMUTATION = declare(
    Table(
        "permutation",
        step="robustness",
        title="Permutation tests",
        section="robustness",
        note=_LOGS,
        what="a contrast and test whose labels were permuted",
        columns=(
            _CONTRAST,
            text("status", levels=(*ESTIMATED, "permuted", "not-permutable"), empty=False),
            text(
                "scheme",
                "what is exchanged: donors within batches; batches (samples, where none are recorded) within sites, "
                "between sides of one site, or between sites, which cannot see a site effect; samples within donors",
            ),
            text(
                "test",
                "`mixed-logit`: t of the contrast on logits with random batches, the linear companion of the primary "
                "model; `ols-logit` and `ols-log10` (zeros dropped, as the reference study) ignore batches",
                levels=("mixed-logit", "ols-logit", "ols-log10"),
                empty=False,
            ),
            whole("n_units_a", "exchangeable units of side a"),
            whole("n_units_b", "exchangeable units of side b"),
            text("n_distinct", "number of different arrangements, rounded where it is huge"),
            whole("n_permutations", "permutations that were made"),
            flag("exact", "whether these are all arrangements", empty=True),
            number("statistic", "t of the contrast"),
            number("estimate", "of the test's own model", unit="log odds ratio or log10 ratio"),
            share("p_value", "share of the permutations at least as extreme"),
            share("p_min", "the smallest p-value that the design allows"),
            number("critical", "5 % point of the test's own t", low=0),
            share(
                "rejection_rate",
                "permutations beyond `critical`; an honest test has 0.05. Empty where p < 0.05 cannot be reached",
            ),
            _NOTE,
        ),
    )
)
PERMUTATION_NULL = declare(
    Table(
        "permutation_null",
        step="robustness",
        what="a bin of the histogram of the permuted statistics",
        columns=(
            _CONTRAST,
            text("test", "as in `permutation.tsv`", empty=False),
            number("bin_low", "lower end of the bin", empty=False),
            number("bin_high", "upper end of the bin", empty=False),
            whole("n", "permutations in the bin", empty=False),
        ),
    )
)
LEAVE_ONE_OUT = declare(
    Table(
        "leave_one_out",
        step="robustness",
        title="Without one batch, without one site",
        section="robustness",
        note=_LOGS,
        what="a contrast of the primary model without one batch or one site; without a batch, only the contrasts with "
        "samples in it",
        columns=(
            text("unit", "what is left out", levels=("none", "batch", "site"), empty=False),
            text("left_out", "its name"),
            _CONTRAST,
            text("status", "as in `estimates.tsv`", levels=STATUSES, empty=False),
            *_estimate(),
            share("p_value", "of no difference, two-sided"),
            number("change", "from the estimate with all samples", unit=_LOG_RATIO),
            *_SAMPLES,
            _NOTE,
        ),
    )
)
_MISSED = "empty: no value between 0 and 1 is enough"
MISCLASSIFICATION = declare(
    Table(
        "misclassification",
        step="robustness",
        title="Labelling errors that would be enough",
        section="robustness",
        note=_LOGS,
        what="a contrast corrected for labelling errors, and the errors that would explain it",
        columns=(
            _CONTRAST,
            text("status", "as in `estimates.tsv`", levels=STATUSES, empty=False),
            text("site_a", "sites of side a; the population where both sides are of the same"),
            text("site_b", "those of side b"),
            number("estimate", "side a against side b", unit=_LOG_RATIO),
            number("ci_low", "lower end of its 95 % interval", unit=_LOG_RATIO),
            number("ci_high", "upper end of its 95 % interval", unit=_LOG_RATIO),
            *_SHARES,
            share("sensitivity_a", "assumed of the labels of side a; of several sites, the mean over its samples"),
            share("specificity_a", "assumed of the labels of side a"),
            share("sensitivity_b", "assumed of the labels of side b"),
            share("specificity_b", "assumed of the labels of side b"),
            number("corrected", "the estimate if the labels have these errors", unit=_LOG_RATIO),
            number("corrected_ci_low", "lower end of its 95 % interval", unit=_LOG_RATIO),
            number("corrected_ci_high", "upper end of its 95 % interval", unit=_LOG_RATIO),
            text("lower_specificity_at", "the side with the higher share"),
            share("specificity_drop", f"how much lower the specificity there, for equal true shares; {_MISSED}"),
            share("specificity_drop_significance", f"the same, for an interval that just includes them; {_MISSED}"),
            text("lower_sensitivity_at", "the side with the lower share"),
            share("sensitivity_drop", f"how much lower the sensitivity there, for equal true shares; {_MISSED}"),
            share("sensitivity_drop_significance", f"the same, for an interval that just includes them; {_MISSED}"),
            _NOTE,
        ),
    )
)
_UNSEEN = "empty: no true share can give the measured ones"
MISCLASSIFICATION_GRID = declare(
    Table(
        "misclassification_grid",
        step="robustness",
        what="a contrast and point of a grid of differences between the labels of its sides; the better side has the "
        "assumed errors",
        columns=(
            _CONTRAST,
            number("sensitivity_difference", "side a less side b", low=-1, high=1, empty=False),
            number("specificity_difference", "side a less side b", low=-1, high=1, empty=False),
            number("estimate", f"corrected; {_UNSEEN}", unit=_LOG_RATIO),
            number("ci_low", f"lower end of the 95 % interval, corrected; {_UNSEEN}", unit=_LOG_RATIO),
            number("ci_high", f"upper end of the 95 % interval, corrected; {_UNSEEN}", unit=_LOG_RATIO),
        ),
    )
)
SPECIFICATION = declare(
    Table(
        "specification",
        step="robustness",
        what="a contrast under one specification, a choice of everything that may be chosen",
        columns=(
            _CONTRAST,
            whole("specification", "number of the choice", low=1, empty=False),
            text("denominator", "what the share is of", empty=False),
            text("annotator", "who labelled the cells", empty=False),
            text("model", "the statistical model", empty=False),
            text("covariates", "the formula", empty=False),
            text("donors", "which donors", empty=False),
            text("unresolved", "what becomes of cells that the annotator could not resolve", empty=False),
            flag("primary", "whether this is the reported choice"),
            text("status", "as in `estimates.tsv`", levels=STATUSES, empty=False),
            *_estimate("of the model"),
            share("p_value", "of no difference, two-sided"),
            number("log_odds_ratio", "the estimate on one scale for all, where it can be had", unit=_LOG_RATIO),
            number("log_odds_ci_low", "lower end of its 95 % interval", unit=_LOG_RATIO),
            number("log_odds_ci_high", "upper end of its 95 % interval", unit=_LOG_RATIO),
            *_SAMPLES,
            _NOTE,
        ),
    )
)
SPECIFICATION_SUMMARY = declare(
    Table(
        "specification_summary",
        step="robustness",
        title="Agreement of the specifications",
        section="robustness",
        note=_LOGS,
        what="a contrast over all its specifications",
        columns=(
            _CONTRAST,
            whole("n_possible", "specifications that there are", empty=False),
            whole("n_specifications", "those that were tried", empty=False),
            whole("n_estimated", "those with an estimate", empty=False),
            share("same_sign", "of these, the share that agrees in sign with the reported one"),
            share("excludes_1", "the share whose 95 % interval excludes no difference"),
            share("excludes_1_same_sign", "the share with both"),
            number("minimum", "smallest estimate", unit=_LOG_RATIO),
            number("median", "middle estimate", unit=_LOG_RATIO),
            number("maximum", "largest estimate", unit=_LOG_RATIO),
            text("sentence", "all of it in words"),
        ),
    )
)
