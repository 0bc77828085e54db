"""Figures of how sure the labels are."""

from aida_tools.agreement.figures import depth, errors, matrix, scores

__all__ = ["depth", "errors", "matrix", "scores"]
