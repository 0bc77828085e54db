"""What the comparison can detect, and what a new one could: closed forms from the cohort's own spread."""

#: Wanted power where none is named.
POWER = 0.8
