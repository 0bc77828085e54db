"""Figures: tidy tables in, matplotlib figures out, one function a figure.

Each stands beside its caption in the room that makes its tables, and is imported when first used.
"""

from importlib import import_module
from typing import Any

#: Function -> module it lives in.
_PUBLIC = {
    "DOUBLE": "aida_tools.figures.style",
    "SINGLE": "aida_tools.figures.style",
    "Palette": "aida_tools.figures.style",
    "save": "aida_tools.figures.style",
    "share_by_population": "aida_tools.figures.shares",
    "share_by_sample": "aida_tools.figures.shares",
    "forest": "aida_tools.figures.contrasts",
    "design_map": "aida_tools.figures.design",
    "controls": "aida_tools.figures.design",
    "shifts": "aida_tools.figures.heatmap",
    "age_and_sex": "aida_tools.figures.covariates",
    "composition": "aida_tools.figures.bars",
    "label_errors": "aida_tools.agreement.figures.errors",
    "annotation": "aida_tools.agreement.figures.matrix",
    "label_curves": "aida_tools.agreement.figures.scores",
    "depth_matched": "aida_tools.agreement.figures.depth",
    "atlas": "aida_tools.atlas.figures",
    "specification_curve": "aida_tools.robustness.figures.specifications",
    "tipping_points": "aida_tools.robustness.figures.bias",
    "site_prior": "aida_tools.robustness.figures.bias",
    "permutation_null": "aida_tools.robustness.figures.refits",
    "recalibrated": "aida_tools.robustness.figures.refits",
    "leave_one_out": "aida_tools.robustness.figures.refits",
    "power_curves": "aida_tools.power.figures",
    "claims_forest": "aida_tools.claims.figures",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'aida_tools.figures' has no attribute '{name}'")
    globals()[name] = value = getattr(import_module(_PUBLIC[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
