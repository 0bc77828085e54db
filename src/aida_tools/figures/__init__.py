"""Figures: tidy tables in, matplotlib figures out, one function a figure."""

from aida_tools.figures.agreement import label_errors
from aida_tools.figures.annotation import annotation
from aida_tools.figures.atlas import atlas
from aida_tools.figures.claimed import claims_forest
from aida_tools.figures.contrasts import forest
from aida_tools.figures.covariates import age_and_sex
from aida_tools.figures.depth_matched import depth_matched
from aida_tools.figures.design import controls, design_map
from aida_tools.figures.heatmap import shifts
from aida_tools.figures.label_scores import label_curves
from aida_tools.figures.planning import power_curves
from aida_tools.figures.robustness import (
    leave_one_out,
    permutation_null,
    recalibrated,
    specification_curve,
    tipping_points,
)
from aida_tools.figures.shares import composition, share_by_population, share_by_sample
from aida_tools.figures.style import DOUBLE, SINGLE, Palette, save

__all__ = [
    "DOUBLE",
    "SINGLE",
    "Palette",
    "age_and_sex",
    "annotation",
    "atlas",
    "claims_forest",
    "composition",
    "controls",
    "depth_matched",
    "design_map",
    "forest",
    "label_curves",
    "label_errors",
    "leave_one_out",
    "permutation_null",
    "power_curves",
    "recalibrated",
    "save",
    "share_by_population",
    "share_by_sample",
    "shifts",
    "specification_curve",
    "tipping_points",
]
