"""What the comparison can detect, and what a new one could: closed forms from the cohort's own spread."""
