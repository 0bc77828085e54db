"""One pass over the counts, block by block: quality, marker gate, classifier scores, and sums by sample and label."""
