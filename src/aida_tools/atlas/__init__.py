"""A picture of the cohort: a sketch of its cells that keeps the rare ones, embedded and drawn."""
