"""What `claims` writes: verdicts, what they rest on, and the shifts of all cell types."""

from __future__ import annotations

from aida_tools.claims.verdict import AGREE, OBJECT, UNASKED, VERDICTS
from aida_tools.core.names import STATUSES
from aida_tools.core.schema import Table, declare, flag, number, share, text, whole

_CLAIM = text("claim", "id of the claim", empty=False)
_NUMBERS = (
    number("estimate", unit="log odds ratio in `unit`"),
    number("ci_low", "lower end of its 95 % interval", unit="log odds ratio in `unit`"),
    number("ci_high", "upper end of its 95 % interval", unit="log odds ratio in `unit`"),
    text("unit", "for how much of a number; empty between populations"),
)
_OTHERS = (
    share("p_twin", "by the cluster-robust model, uncorrected; empty where it could not be asked"),
    share("p_permutation", "by the permutation test, uncorrected; empty where it could not be asked"),
    text(
        "agreement",
        "whether these p-values are on the same side of 0.05 as the primary model's",
        levels=(AGREE, OBJECT, UNASKED),
    ),
    text("unasked", "which of the two could not be asked, and why"),
)

CLAIMS = declare(
    Table(
        "claims",
        step="claims",
        what="a claim and its verdict; the numbers are those of the contrast that speaks least for it",
        columns=(
            _CLAIM,
            text("statement", "the claim in words", empty=False),
            text("source", "who says so"),
            text("cell_types", "the types that were counted together"),
            text("denominator", "what the share is of"),
            text("contrast", "the contrasts that test it"),
            text("direction", "what the claim says of the contrast"),
            text("family", "the claims that are corrected together"),
            text("model", "the statistical model"),
            text("verdict", levels=VERDICTS, empty=False),
            text("evidence", "the verdict's reasons", empty=False),
            *_NUMBERS,
            text("status", "of its weakest contrast", levels=STATUSES),
            share("p_value", "of the claim, the largest of its contrasts'"),
            share("q_value", "false discovery rate within its family and status"),
            *_OTHERS,
            text("note", "remark of the file of claims"),
        ),
    )
)
CLAIM_CONTRASTS = declare(
    Table(
        "claim_contrasts",
        step="claims",
        what="a claim and contrast",
        columns=(
            _CLAIM,
            text("contrast", empty=False),
            text("status", "as in `estimates.tsv`", levels=STATUSES, empty=False),
            *_NUMBERS,
            share("p_value", "of this contrast for the claim"),
            *_OTHERS,
            text("note", "why there is no estimate, or what it is aliased with"),
        ),
    )
)
SHIFTS = declare(
    Table(
        "shifts",
        step="claims",
        what="a cell type in the contrast of a population against the rest, of age or of sex, by rank",
        columns=(
            text("cohort", empty=False),
            text("annotator", "who labelled the cells", empty=False),
            text("denominator", "what the share is of", empty=False),
            text("contrast", empty=False),
            text("kind", "its column: `population`, `sex`, `age` ...", empty=False),
            text("status", "as in `estimates.tsv`", levels=STATUSES, empty=False),
            text("cell_type", empty=False),
            flag("is_focus", "whether this is the focus type"),
            text("model", "the statistical model", empty=False),
            number("estimate", unit="log odds ratio"),
            number("ci_low", "lower end of its 95 % interval", unit="log odds ratio"),
            number("ci_high", "upper end of its 95 % interval", unit="log odds ratio"),
            share("share_a", "standardised share of side a"),
            share("share_b", "standardised share of side b"),
            share("p_value", "of no difference, two-sided"),
            share("q_value", "false discovery rate over the cell types of this one contrast"),
            whole("rank", "by p-value, 1 the first", low=1),
            whole("rank_size", "by the size of the estimate, 1 the first", low=1),
            whole("n_types", "types with an estimate", empty=False),
            text("note", "why there is no estimate"),
        ),
    )
)
