"""Figures: tidy tables in, matplotlib figures out, one function a figure."""

from aida_tools.figures.contrasts import forest
from aida_tools.figures.design import controls, design_map
from aida_tools.figures.heatmap import shifts
from aida_tools.figures.shares import composition, share_by_population, share_by_sample
from aida_tools.figures.style import DOUBLE, SINGLE, Palette, save

__all__ = [
    "DOUBLE",
    "SINGLE",
    "Palette",
    "composition",
    "controls",
    "design_map",
    "forest",
    "save",
    "share_by_population",
    "share_by_sample",
    "shifts",
]
