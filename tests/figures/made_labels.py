"""Made-up tables of `aida-tools agreement`: two annotators beside `author`, one of them on thinned counts too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

LEVELS = (("all", "all"), ("site", "KR"), ("site", "SG"))


def _row(a: str, b: str | None, within: str, measure: str, level: tuple[str, str], *p: float, n: int) -> dict[str, Any]:
    estimate, low, high = p
    return {
        "annotator_a": a, "annotator_b": b, "within": within, "stratum": level[0], "level": level[1],
        "measure": measure, "n_cells": n, "n_donors": 9, "estimate": estimate, "std_error": 0.01, "ci_low": low,
        "ci_high": high, "donor_std_error": 0.01, "donor_ci_low": low, "donor_ci_high": high, "status": "ok",
        "note": None,
    }  # fmt: skip


def agreement() -> pd.DataFrame:
    """Return rates, errors and average precisions."""
    rows = []
    for within in ("all", "CD4_T"):
        for level in LEVELS:
            for name, p in (("author", 0.045), ("gate", 0.05), ("gate-thinned", 0.04)):
                rows.append(_row(name, None, within, "rate", level, p, p - 0.01, p + 0.01, n=1000))
            for name, p in (("gate", 0.7), ("gate-thinned", 0.6)):
                rows.append(_row("author", name, within, "average_precision", level, p, p - 0.1, p + 0.1, n=1000))
                rows.append(_row("author", name, within, "sensitivity", level, p, p - 0.1, p + 0.1, n=45))
                rows.append(_row("author", name, within, "specificity", level, 0.99, 0.98, 0.995, n=955))
                rows.append(_row("author", name, within, "f1", level, p + 0.02, p - 0.1, p + 0.1, n=50))
        for where, p, n in (("KR|1", (0.4, 0.3, 0.5), 20), ("SG|2|10", (0.9, 0.8, 0.95), 20), ("SG|3", (1, 0, 1), 2)):
            rows.append(_row("author", "gate", within, "sensitivity", ("site|depth", where), *p, n=n))
    return pd.DataFrame(rows)


def curves() -> pd.DataFrame:
    """Return curves of ten points, and where the labels stand."""
    rows = []
    for within in ("all", "CD4_T"):
        for stratum, level in LEVELS:
            for k, name in enumerate(("gate", "gate-thinned")):
                keys = {"annotator_a": "author", "annotator_b": name, "within": within}
                keys |= {"stratum": stratum, "level": level}
                for i in range(1, 11):
                    point = {"threshold": 5.0 - i, "recall": i / 10, "precision": 1 - 0.008 * i * (i + k)}
                    rows.append(keys | point | {"point": "curve", "n_called": 5 * i})
                own = {"threshold": np.nan, "recall": 0.6 if within == "CD4_T" else 0.5, "precision": 0.55 - 0.1 * k}
                rows.append(keys | own | {"point": "labels", "n_called": 40})
    return pd.DataFrame(rows)


def calibration() -> pd.DataFrame:
    """Return three bins a level, ratios and errors."""
    rows = []
    for level, ratio in zip(LEVELS, (1.2, 0.8, 2.0), strict=True):
        for k in range(3):
            p = 0.1 + 0.4 * k
            row = _row("author", "gate", "CD4_T", "observed_share", level, 0.8 * p, 0.7 * p, 0.9 * p, n=100)
            rows.append(row | {"bin": 1 + 4 * k, "predicted": p})
        row = _row("author", "gate", "CD4_T", "expected_to_observed", level, ratio, ratio - 0.1, ratio + 0.1, n=300)
        rows.append(row | {"bin": np.nan, "predicted": np.nan})
        row = _row("author", "gate", "CD4_T", "calibration_error", level, 0.02, np.nan, np.nan, n=300)
        rows.append(row | {"bin": np.nan, "predicted": np.nan, "status": "point"})
    return pd.DataFrame(rows)


def thinned() -> pd.DataFrame:
    """Return how the gate's rate changes at matched depth."""
    rows = []
    for within in ("all", "CD4_T"):
        for (stratum, level), change in zip(LEVELS, (-0.01, -0.02, 0.001), strict=True):
            keys = {"annotator": "gate", "within": within, "stratum": stratum, "level": level}
            values = {"rate": 0.05, "rate_thinned": 0.05 + change, "difference": change, "donor_std_error": 0.002}
            limits = {"donor_ci_low": change - 0.004, "donor_ci_high": change + 0.004, "n_cells": 1000, "n_donors": 9}
            rows.append(keys | values | limits | {"status": "ok", "note": None})
        spread = {"annotator": "gate", "within": within, "stratum": "between sites", "level": "highest - lowest"}
        spread |= {"rate": 0.03, "rate_thinned": 0.01, "difference": -0.02, "status": "point", "note": "words"}
        rows.append(spread)
    return pd.DataFrame(rows)


def annotators() -> pd.DataFrame:
    """Return who labelled the cells."""
    gate = ["gate", "the marker gate", False, False, "A marker gate on the counts of one cell at a time."]
    author = ["author", "the authors' labels", True, True, "The labels that came with the data."]
    columns = ["annotator", "kind", "words", "taught", "reference", "description", "thinned"]
    rows = [["author", *author, False], ["gate", *gate, False], ["gate-thinned", *gate, True]]
    made = pd.DataFrame(rows, columns=columns)
    made[["classifiers", "licence", "attribution"]] = None
    return made


def unresolved() -> pd.DataFrame:
    """Return the cells without a definite label."""
    shares = zip(LEVELS, (0.06, 0.04, 0.1), strict=True)
    rows = [_row("author", None, "all", "unresolved", level, p, p - 0.01, p + 0.01, n=5000) for level, p in shares]
    return pd.DataFrame([*rows, *(_row("gate", None, "all", "unresolved", level, 0, 0, 0, n=5000) for level in LEVELS)])


def tables() -> dict[str, pd.DataFrame]:
    """Return all of them by name."""
    made = (agreement, annotators, calibration, curves, thinned, unresolved)
    return {function.__name__: function() for function in made}
