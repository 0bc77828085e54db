"""The embedded SYNTHETIC cohort: AIDA v2's shape, invented effects, the truth written beside it.

`types.tsv` holds AIDA's published cell numbers and Cell Ontology terms (levels 1, 2 and 4 of rare types are our
reading), with the groups of scanpy's 700 real cells that lend each type its profile; `markers.tsv` the UMIs of genes
that those cells lack or that must tell types apart; `genes.tsv` GENCODE's Ensembl ids of all genes used.
"""
