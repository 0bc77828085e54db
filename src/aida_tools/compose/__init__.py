"""From labelled cells to the counts door: how many cells of each type in each sample."""
