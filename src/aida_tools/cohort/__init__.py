"""Where a cohort's data come from, and what its columns and labels mean."""
