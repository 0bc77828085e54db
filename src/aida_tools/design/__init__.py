"""What can be asked of a set of samples: formula, contrasts, design matrix, sites, selection. No count is looked at."""
