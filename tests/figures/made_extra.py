"""Made-up tables of the steps after `compare`, by their contracts, for the tests of their figures."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

KOREAN, MALAY = "population: Korean - rest", "population: SG_Malay - rest"


def specification() -> pd.DataFrame:
    """Return 2 x 2 x 3 x 2 x 2 x 2 specifications of two contrasts, some without an estimate."""
    rng = np.random.default_rng(4)
    choices = {
        "denominator": ["CD4_T", "all"], "annotator": ["author", "gate"],
        "model": ["betabinomial-mixed", "propeller-logit", "log10-ols"], "covariates": ["age + sex", "none"],
        "donors": ["at least 800 cells", "all"], "unresolved": ["counted", "left out"],
    }  # fmt: skip
    rows = []
    for contrast, centre in ((KOREAN, -0.35), (MALAY, 0.05)):
        for i, values in enumerate(product(*choices.values())):
            estimate = centre + 0.3 * (values[1] == "gate") + rng.normal(0, 0.05)
            known = i != 7
            rows.append(
                {
                    "contrast": contrast, "specification": i, "primary": i == 0,
                    **dict(zip(choices, values, strict=True)),
                    "status": "between-site" if known else "not-converged",
                    "estimate": estimate if known else np.nan,
                    "log_odds_ratio": estimate if known else np.nan,
                    "log_odds_ci_low": estimate - 0.25 if known else np.nan,
                    "log_odds_ci_high": estimate + 0.25 if known else np.nan,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def site_bound() -> pd.DataFrame:
    """Return four contrasts: two that a site effect could explain, one that needs none, one without an estimate."""
    return pd.DataFrame(
        {
            "contrast": [KOREAN, "population: Thai - rest", "population: Japanese - rest", "population: Indian - rest"],
            "status": ["bounded", "bounded", "includes-no-difference", "too-few"],
            "site_sd_bound": [0.14, 0.05, 0.0, np.nan],
            "share_b": [0.04] * 4, "share_shift": [0.006, 0.002, 0.0, np.nan],
            "spread": [1.2, 1.2, 1.3, np.nan],
            "batch_sd": [0.1] * 4, "batch_sd_low": [0.02] * 4, "batch_sd_high": [0.18] * 4,
            "control_site_sd": [0.12] * 4, "control_site_sd_low": [0.0] * 4, "control_site_sd_high": [4.0] * 4,
            "keeps_sign": [0.83, 0.7, 0.55, np.nan], "keeps_interval": [0.4, 0.2, 0.02, np.nan],
            "plausible_site_sd": [0.18] * 4, "plausible_site_sd_high": [0.5] * 4, "rests_on": "a half-normal",
        }
    )  # fmt: skip


def site_prior() -> pd.DataFrame:
    """Return a half-normal and what the controls make of it."""
    sd = np.linspace(0, 1, 51)
    start, density = (np.exp(-((sd / scale) ** 2) / 2) / scale for scale in (0.3, 0.2))
    return pd.DataFrame({"site_sd": sd, "start": start, "density": density})


def misclassification_grid() -> pd.DataFrame:
    """Return a plane of corrected log odds ratios with an impossible corner."""
    sensitivity, specificity = np.meshgrid(np.linspace(-0.2, 0.2, 21), np.linspace(-0.01, 0.01, 21))
    estimate = -0.35 - 1.1 * sensitivity + 40 * specificity
    estimate[specificity > 0.0095] = np.nan
    return pd.DataFrame(
        {
            "contrast": KOREAN, "sensitivity_difference": sensitivity.ravel(),
            "specificity_difference": specificity.ravel(), "estimate": estimate.ravel(),
            "ci_low": estimate.ravel() - 0.2, "ci_high": estimate.ravel() + 0.2,
        }
    )  # fmt: skip


def permutation() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two tests of one contrast, and the histograms of their permuted statistics."""
    rng = np.random.default_rng(1)
    edges = np.linspace(-8, 8, 65)
    tests, bins = [], []
    for name, scale, statistic in (("mixed-logit", 1.0, -4.2), ("ols-log10", 2.0, -6.1)):
        drawn = rng.normal(0, scale, 2000)
        counts, _ = np.histogram(drawn, edges)
        bins.append(pd.DataFrame({"test": name, "bin_low": edges[:-1], "bin_high": edges[1:], "n": counts}))
        tests.append(
            {
                "contrast": KOREAN, "scheme": "batches between sites", "test": name, "n_permutations": 2000,
                "statistic": statistic, "critical": 2.1, "p_value": np.mean(np.abs(drawn) >= abs(statistic)) + 1 / 2001,
                "rejection_rate": np.mean(np.abs(drawn) > 2.1),
            }
        )  # fmt: skip
    return pd.DataFrame(tests), pd.concat(bins, ignore_index=True).assign(contrast=KOREAN)


def recalibrated() -> pd.DataFrame:
    """Return two contrasts with controls and one without."""
    return pd.DataFrame(
        {
            "contrast": [KOREAN, "population: Thai - rest", "population: Japanese - rest"],
            "status": ["recalibrated", "recalibrated", "no-controls"],
            "estimate": [-0.4, 0.2, 0.0], "ci_low": [-0.6, 0.0, -0.2], "ci_high": [-0.2, 0.4, 0.2],
            "recalibrated": [-0.3, 0.1, np.nan], "recalibrated_ci_low": [-0.9, -0.9, np.nan],
            "recalibrated_ci_high": [0.3, 1.1, np.nan],
        }
    )  # fmt: skip


def leave_one_out() -> pd.DataFrame:
    """Return one contrast with all samples, without each of three batches, and without each of two sites."""
    rows = [("none", None, -0.4), ("batch", "B1", -0.35), ("batch", "B2", -0.45), ("batch", "B3", -0.41)]
    rows += [("site", "JP", -0.3), ("site", "TH", -0.5)]
    table = pd.DataFrame(rows, columns=["unit", "left_out", "estimate"]).assign(contrast=KOREAN)
    return table.assign(ci_low=table["estimate"] - 0.2, ci_high=table["estimate"] + 0.2, change=table["estimate"] + 0.4)


def power_curves() -> pd.DataFrame:
    """Return two plans inside a site and between sites."""
    ratio = np.round(np.exp(np.linspace(0, np.log(2), 12)), 4)
    frames = []
    for plan in ("70 donors in 5 batches at 1 site against 70 in 5 at 1 site, 700 cells a donor", "20 donors in 2"):
        for kind, site_sd in (("within-site", 0.0), ("between-site", 0.1), ("between-site", 0.2)):
            power = 0.05 + 0.95 * (1 - np.exp(-(np.log(ratio) ** 2) / (0.1 + site_sd)))
            frames.append(
                pd.DataFrame({"plan": plan, "kind": kind, "site_sd": site_sd, "odds_ratio": ratio, "power": power})
            )
    return pd.concat(frames, ignore_index=True)


def agreement() -> pd.DataFrame:
    """Return two annotators that agree on most cells of twelve types; Treg is confirmed in 60 of 100."""
    types = ["Treg", "CD4_naive", "CD4_memory", "CD8", "NK", "B", "monocyte", *(f"rare type {i}" for i in range(5))]
    rows = []
    for i, a in enumerate(types):
        for j, b in enumerate(types):
            n = (
                (60 if a == "Treg" else 1000 - 60 * i)
                if a == b
                else 40
                if (a, b) == ("Treg", "CD4_memory")
                else (i * j) % 3
            )
            n = 0 if a == "Treg" and b not in ("Treg", "CD4_memory") else n
            rows.append(
                {"annotator_a": "author", "annotator_b": "gate", "cell_type_a": a, "cell_type_b": b, "n_cells": n}
            )
    return pd.DataFrame(rows)


def agreement_by_depth() -> pd.DataFrame:
    """Return the sensitivity for Treg at three sites in ten bins of depth."""
    rows = [
        {"site": site, "depth": d, "estimate": (p := (18 + 2 * d - 3 * k) / 40), "low": p - 0.1, "high": p + 0.1}
        for k, site in enumerate(("JP", "KR", "SG"))
        for d in range(1, 11)
    ]
    return pd.DataFrame(rows)


def sketch() -> pd.DataFrame:
    """Return 3,000 cells of six types in the plane, of three sites, with the expression of two genes."""
    rng = np.random.default_rng(2)
    types = ["CD4_naive", "CD8", "NK", "B", "monocyte", "Treg"]
    centres = dict(zip(types, [(0, 0), (4, 1), (6, -3), (-5, 4), (-6, -4), (1, 2.2)], strict=True))
    drawn = rng.choice(types, 3000, p=[0.3, 0.2, 0.15, 0.1, 0.22, 0.03])
    xy = np.array([centres[t] for t in drawn]) + rng.normal(0, 0.8, (3000, 2))
    site = rng.choice(["JP", "KR", "SG"], 3000)
    table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "cell_type": drawn, "site": site, "batch": site + "_B1"})
    table["expr:FOXP3"] = np.where(drawn == "Treg", rng.exponential(1.0, 3000), 0)
    return table.assign(**{"expr:CD4": 0.0})


def claims() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return three claims and the contrasts of two of them."""
    said = pd.DataFrame(
        {
            "claim": ["a", "b", "c"],
            "statement": [
                "Koreans have the lowest share of Treg.",
                "The share falls with age.",
                "It makes people ill.",
            ],
            "verdict": ["not supported", "supported", "not testable with these data"],
        }
    )
    contrasts = pd.DataFrame(
        {
            "claim": ["a", "a", "b", "c"],
            "contrast": ["population: Korean - Japanese", "population: Korean - SG_Malay", "age", "age"],
            "status": ["between-site", "between-site", "within-site", "not-estimable"],
            "estimate": [-0.2, -0.5, -0.27, np.nan], "ci_low": [-0.5, -0.8, -0.3, np.nan],
            "ci_high": [0.1, -0.2, -0.2, np.nan], "unit": [None, None, "per 10 years", None],
        }
    )  # fmt: skip
    return said, contrasts
