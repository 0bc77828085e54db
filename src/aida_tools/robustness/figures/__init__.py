"""Figures that question an estimate: other specifications, site effects, label errors, permuted data, refits."""

from aida_tools.robustness.figures import bias, refits, specifications

__all__ = ["bias", "refits", "specifications"]
