"""The embedded SYNTHETIC cohort: AIDA v2's shape, invented effects, the truth written beside it."""
