"""What is planted in the SYNTHETIC cohort, and the record of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aida_tools.sample import composition, design

FOCUS, FOCUS_SET = "Treg", "CD4_T"
#: Invented effects on the log scale: for Treg log odds ratios of its share of CD4 T cells, for the others changes
#: of the log weight. SG_Chinese, female, 40 years is the reference; age is in decades. None is quoted from anywhere.
EFFECTS: dict[str, dict[str, float]] = {
    "population: SG_Indian": {"Treg": float(np.log(1.4))},
    "population: Korean": {"Treg": float(np.log(0.65))},
    "population: Thai": {"CD14+_Monocyte": -0.35, "CD16+_Monocyte": -0.35, "Myeloid": -0.35},
    "population: Indian": {"Treg": float(np.log(1.2)), "CD16+_NK": -0.3},
    "age": {"Treg": 0.06, "CD8+_T_naive": -0.25, "CD4+_T_naive": -0.05, "CD8+_T_GZMBhi": 0.12},
    "sex: male": {"Treg": -0.1, "naive_B": -0.25, "memory_B_IGHMhi": -0.25, "memory_B_IGHMlo": -0.25, "B": -0.25},
}
#: Invented standard deviations of the random effects: level -> (Treg, other types).
SDS = {"donor_id": (0.25, 0.30), "batch": (0.10, 0.10), "site": (0.15, 0.10)}
#: Sites differ in how many T cells the annotators could not resolve.
UNRESOLVED, UNRESOLVED_SITE_SD = ("CD4+_T", "T", "CD8+_T"), 0.3
#: Cells are deeper where reads in introns count.
INTRON_DEPTH = 1.25


def sets(types: pd.DataFrame) -> dict[str, np.ndarray]:
    """Tell which types each denominator unites: its name -> mask of shape (n_types,)."""
    return {
        FOCUS_SET: types["level2"].eq("CD4+_T").to_numpy(),
        "T": types["level1"].eq("T").to_numpy(),
        "all": np.ones(len(types), bool),
    }


def _odds(shares: np.ndarray) -> np.ndarray:
    return shares / (1 - shares)


def describe(
    samples: pd.DataFrame, types: pd.DataFrame, effects: dict[str, pd.DataFrame], options: dict[str, Any]
) -> dict[str, Any]:
    """State what was planted, in the words and numbers a comparison should find.

    Parameters
    ----------
    samples
        From `design.make_samples`.
    types
        Table of cell types: `label, level1, level2, n_cells`.
    effects
        The drawn random effects: level (site, batch, donor_id) -> table of members by type.
    options
        The options of the cohort, repeated in the result.

    Returns
    -------
    What `truth.json` holds: plain numbers and text.
    """
    names = types["label"].tolist()
    base = types["n_cells"].to_numpy(float)
    members_of = sets(types)
    focus = names.index(FOCUS)
    populations = [p for site in design.SITES.values() for p in site.populations if p in set(samples["population"])]
    terms = composition.covariates(populations, ["female"] * len(populations), np.full(len(populations), 40.0))
    eta = composition.fixed_effects(terms, EFFECTS, names)
    shares = composition.type_shares(eta, base, members_of[FOCUS_SET], focus)
    site_of = {p: code for code, site in design.SITES.items() for p in site.populations}
    site_effect = effects["site"][FOCUS]
    by_population = {}
    for i, population in enumerate(populations):
        odds = {
            d: _odds(shares[[0, i], focus] / shares[:, members].sum(axis=1)[[0, i]])
            for d, members in members_of.items()
        }
        site_difference = site_effect[site_of[population]] - site_effect["SG"]
        by_population[population] = {
            "odds_ratio": {d: o[1] / o[0] for d, o in odds.items()},
            "share": {d: o[1] / (1 + o[1]) for d, o in odds.items()},
            "odds_ratio_with_site": {FOCUS_SET: float(np.exp(eta[i, focus] - eta[0, focus] + site_difference))},
        }
    traps = samples[samples["trap"] != ""].set_index("trap")["donor_id"].to_dict()
    return {
        "notice": "SYNTHETIC cohort. Every effect below is invented; none is a result of AIDA or of any study.",
        "options": options,
        "focus": FOCUS,
        "reference": {"population": "SG_Chinese", "sex": "female", "age": 40},
        "meaning": (
            "Population effects on Treg are odds ratios of Treg among CD4 T cells (denominator CD4_T) between donors "
            "of the same sex, age, donor, batch and site effect. The size of the set does not depend on them. The odds "
            "ratios for T and all cells follow from these and from the shifts of the other types, at the reference sex "
            "and age. "
            "odds_ratio_with_site is what a comparison between sites can see: the population effect times the "
            "difference of the drawn site effects, which the data cannot tell apart."
        ),
        "populations": by_population,
        "effects": {"scale": "log odds ratio in CD4_T for Treg, log weight for others; age per decade", **EFFECTS},
        "sds": {
            "scale": "logit of the share in CD4_T for Treg, log weight for others",
            **{level: {FOCUS: a, "others": b} for level, (a, b) in SDS.items()},
            "site_unresolved": dict.fromkeys(UNRESOLVED, UNRESOLVED_SITE_SD),
        },
        "drawn": {
            "site": {site: row.to_dict() for site, row in effects["site"].iterrows()},
            "batch": effects["batch"][FOCUS].to_dict(),
            "donor": effects["donor_id"][FOCUS].to_dict(),
        },
        "base": {
            "source": "AIDA v2 cells by published cell type; gamma-delta T and memory B are halved between two parts",
            "cells": dict(zip(names, types["n_cells"].tolist(), strict=True)),
        },
        "processing": {
            "site_depth": {code: site.depth for code, site in design.SITES.items()},
            "intron_depth": INTRON_DEPTH,
            "intron_batches": sorted(set(samples.loc[samples["introns"], "batch"])),
        },
        "traps": {**traps, "controls": sorted(set(samples.loc[samples["is_control"], "donor_id"]))},
    }
