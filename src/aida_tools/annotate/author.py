"""The authors' labels, counted as the cohort file says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aida_tools.annotate.annotation import SCORES, Annotation
from aida_tools.annotate.card import Card
from aida_tools.annotate.inputs import Inputs
from aida_tools.cohort.labels import resolve_labels
from aida_tools.core.cohort_file import load_cohort
from aida_tools.core.errors import AidaError
from aida_tools.core.tables import read_cells


def from_author(inputs: Inputs) -> Annotation:
    """Take the authors' labels as the cohort file says they are counted.

    Raises
    ------
    AidaError
        If the cohort has no labels, or its file names one that is not there.
    """
    cells = read_cells(inputs.cells_path, columns=["cell_id", "author_label", "cell_type_id"])
    label = cells["author_label"].astype(object)
    if label.isna().all():
        label = cells["cell_type_id"].astype(object)
    if label.isna().all():
        raise AidaError(
            f"{inputs.cohort_path}: the cells of this cohort have no labels, so the annotator 'author' has nothing to "
            "take. Name the obs column under 'labels.column', or choose another annotator, such as gate."
        )
    labels = load_cohort(inputs.cohort_path).labels
    cell_type, sets = resolve_labels(labels, cells["author_label"], cells["cell_type_id"], str(inputs.cohort_path))
    table = pd.DataFrame({"cell_id": cells["cell_id"], "cell_type": cell_type, "label": label.astype("category")})
    rows = [(name, member) for name, members in sets.items() for member in members]
    column = labels.column or labels.ids
    text = f"Cell types are the labels the authors gave, of the column '{column}', united as the cohort file says"
    members = pd.DataFrame(rows, columns=["denominator", "cell_type"])
    return Annotation(table.assign(**dict.fromkeys(SCORES, np.nan)), members, Card(inputs.annotator, text))
