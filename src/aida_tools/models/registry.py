"""The models that there are, the primary one first. Each is described in its own file; all else reads it here."""

from __future__ import annotations

from aida_tools.models import (
    betabinomial,
    by_batch,
    clr,
    cluster,
    log10_ols,
    mixed,
    propeller,
    quasi_share,
    quasibinomial,
)
from aida_tools.models.model import Model

#: Name -> model.
MODELS: dict[str, Model] = {}


def register(model: Model) -> Model:
    """Add a model: it can then be named wherever a model can be."""
    MODELS[model.name] = model
    return model


for _model in (
    mixed.MODEL, cluster.MODEL, by_batch.MODEL, betabinomial.MODEL, quasibinomial.MODEL, propeller.LOGIT,
    propeller.ASIN, clr.CLR, clr.TWO_CLASS, log10_ols.MODEL, quasi_share.MODEL,
):  # fmt: skip
    register(_model)
