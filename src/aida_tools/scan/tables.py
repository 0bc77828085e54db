"""What a scan writes, and the label map in the folder of a classifier, which a scan reads."""

from __future__ import annotations

from aida_tools.core.schema import Table, declare, number, share, text, whole

SCAN = declare(
    Table(
        "scan",
        step="scan",
        form="parquet",
        open="`NAME:label`, `NAME:probability`, `NAME:margin` and margins of single types for the gate and every "
        "classifier; `count:GENE`, UMIs of the genes of the gate",
        what="a cell, in the order of the file",
        columns=(
            text("cell_id", empty=False),
            whole("total", "all counts of the cell", unit="UMIs", empty=False),
            whole("n_genes", "genes with a count", unit="genes", empty=False),
            number("pct_mito", "counts of mitochondrial genes", unit="%", low=0, high=100),
        ),
    )
)
THINNING = declare(
    Table(
        "thinning",
        step="scan",
        what="a level (of the site, as a rule) whose counts were thinned to the depth of the shallowest",
        columns=(
            text("level", empty=False, unique=True),
            whole("n_cells", "cells with counts", unit="cells", empty=False),
            number("median_depth", "of these cells", unit="UMIs", low=0),
            share("keep", "share of its UMIs that a cell keeps", empty=False),
            text("note", "why a level is left as it is"),
        ),
    )
)
EXPECTED_LABELS = declare(
    Table(
        "expected.CLASSIFIER",
        step="scan",
        form="parquet",
        what="a sample and class of a classifier",
        columns=(
            text("sample_id", empty=False),
            text("label", "the class", empty=False),
            number("n_expected", "sum of the calibrated probabilities", unit="cells", low=0, empty=False),
        ),
    )
)
LABEL_MAP = declare(
    Table(
        "labels",
        step="classifier",
        what="a label of a classifier, or of another annotator, and what it is counted as",
        columns=(
            text("label", empty=False, unique=True),
            text("cell_type", "the type it is counted as", empty=False),
            text("cell_type_id", "its Cell Ontology id"),
            text("sets", "the denominators with this type, separated by commas"),
            text("treg", "whether its score is one of Treg, or of what Treg is told from", levels=("in", "out")),
        ),
    )
)
