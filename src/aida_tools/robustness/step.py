"""The step `robustness` and its options."""

from __future__ import annotations

from aida_tools.core.options import SEED, option, options
from aida_tools.core.steps import Step, register


@options
class Options:
    """What to try beside the reported comparison."""

    permutations: int = option(default=10_000, help="Permutations per contrast.", ge=1)
    specifications: int = option(default=1000, help="Most specifications of the specification curve.", ge=1)
    covariates: tuple[str, ...] = option(
        default=(),
        help="Columns of samples.tsv that the specification curve also adjusts for, one at a time; default: the "
        "covariates of the cohort file.",
        flag="--covariate",
        metavar="COLUMN",
    )
    strata: tuple[str, ...] = option(
        default=(),
        help="Columns of samples.tsv whose levels the specification curve also looks at one by one; default: the "
        "strata of the cohort file.",
        flag="--stratum",
        metavar="COLUMN",
    )
    unresolved: tuple[str, ...] = option(
        default=(),
        help="Cell types of cells that could not be resolved further; default: the unresolved labels of the "
        "cohort file.",
        flag="--unresolved",
        metavar="TYPE",
    )
    sensitivity: float = option(default=1.0, help="Sensitivity of the labels at every site.", ge=0, le=1)
    specificity: float = option(default=1.0, help="Specificity of the labels at every site.", ge=0, le=1)
    labels_at: tuple[str, ...] = option(
        default=(),
        help="Sensitivity and specificity of the labels at single sites.",
        flag="--labels-at",
        metavar="SITE=SENSITIVITY,SPECIFICITY",
    )
    seed: int = option(default=SEED, ge=0, help="Seed of the permutations and of the choice of specifications.")
    threads: int = option(default=2, help="Models fitted at a time.", ge=1)


STEP = register(
    Step(
        name="robustness",
        help="Question what COMPARE_DIR found: site effects, controls, batches, permutations, labels, specifications.",
        options=Options,
        run="aida_tools.robustness.run:robustness",
    )
)
