"""One pass over the counts, block by block: quality, marker gate, model scores, and sums by sample and label."""
