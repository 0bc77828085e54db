"""The figures of the comparison itself: `compare` knows no plots."""

from aida_tools.figures import bars, contrasts, covariates, design, heatmap, shares

#: Each declares its figures.
__all__ = ["bars", "contrasts", "covariates", "design", "heatmap", "shares"]
