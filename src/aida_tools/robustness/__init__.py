"""Would the answer have been another one? Sites, controls, single batches, permutations, labels, choices.

Reads only what `compare` wrote. Kernels (`reml`, `bound`, `controls`, `permute`, `misclassify`) take and return arrays;
`refit` runs the models of `compare` again on other samples, counts and formulas; one module a table makes the tables;
`run` reads and writes them.
"""
