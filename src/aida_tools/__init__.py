"""Rerun, question and extend the AIDA comparison of regulatory T cell shares."""

__version__ = "0.1.0"
