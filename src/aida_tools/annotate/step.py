"""The options of `aida-tools classifier train`."""

from __future__ import annotations

from typing import Literal

from aida_tools.core.options import SEED, option, options


@options
class TrainOptions:
    """How a classifier learns the labels of a cohort."""

    label: Literal["cell_type", "label"] = option(
        default="cell_type",
        help="Learn the counted types (`cell_type`), or the labels as the annotator gave them (`label`).",
    )
    folds: int = option(
        default=1,
        help="1: a single classifier, to be carried to other cohorts. K above 1: K-fold by donor, so that each donor "
        "is labelled by the classifier that did not see it.",
        ge=1,
    )
    genes_per_class: int = option(default=100, help="Genes that each class may name as features.", ge=1)
    cells_per_class: int = option(default=2000, help="Most cells of a class to learn from.", ge=10)
    penalty: float = option(default=3e-4, help="Strength of the L2 penalty.", gt=0)
    seed: int = option(default=SEED, ge=0, help="Seed of the split of donors and of the draw of cells.")
