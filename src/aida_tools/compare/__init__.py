"""Shares of cell types compared between populations: designs, contrasts, models and their statuses.

The donor is the unit. Kernels (`ols`, `propeller`, `quasibinomial`, `betabinomial`, `mixed`, ...) take and return
arrays; `models` is their registry; `run` reads and writes the tables.
"""
