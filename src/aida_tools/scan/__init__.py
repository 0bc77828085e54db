"""One pass over the counts: quality, marker gate, model scores and pseudobulk sums, block by block."""
