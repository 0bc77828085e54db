"""Made-up output of `compare`, in the shape of the real thing, for the tests of figures and report.

The numbers are drawn, not fitted: estimates are log odds ratios of group means with a plausible error. That is
enough to test that what is drawn and said is what the tables hold.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from aida_tools.compare.tables import ESTIMATES, STANDARDISED, TESTS
from aida_tools.core.schema import write_tsv
from aida_tools.figures import run
from aida_tools.results.results import Results

#: Cell type -> its share of all cells.
TYPES = {
    "CD4+_T_naive": 0.125,
    "CD4+_T_cm": 0.087,
    "CD4+_T_em": 0.02,
    "CD4+_T_cyt": 0.011,
    "Treg": 0.0122,
    "CD4+_T": 0.032,
    "CD8+_T_naive": 0.07,
    "CD8+_T_GZMKhi": 0.022,
    "CD8+_T_GZMBhi": 0.037,
    "MAIT": 0.018,
    "gdT_GZMKhi": 0.012,
    "gdT_GZMBhi": 0.012,
    "dnT": 0.0004,
    "T": 0.043,
    "CD16+_NK": 0.12,
    "CD56+_NK": 0.005,
    "naive_B": 0.029,
    "memory_B_IGHMhi": 0.014,
    "memory_B_IGHMlo": 0.014,
    "Plasma_Cell": 0.0013,
    "CD14+_Monocyte": 0.16,
    "CD16+_Monocyte": 0.037,
    "cDC2": 0.01,
    "pDC": 0.003,
    "Platelet": 0.012,
}
CD4 = ["CD4+_T_naive", "CD4+_T_cm", "CD4+_T_em", "CD4+_T_cyt", "Treg", "CD4+_T"]
#: Site -> (institute, batches, populations of its libraries).
SITES = {
    "SG": ("HEL", 6, ("SG_Chinese", "SG_Malay", "SG_Indian")),
    "JP": ("RIK", 3, ("Japanese",)),
    "KR": ("SGI", 3, ("Korean",)),
    "TH": ("MAH", 2, ("Thai",)),
    "IN": ("NIB", 1, ("Indian",)),
}
MODELS = (
    "betabinomial-mixed",
    "betabinomial",
    "quasibinomial",
    "propeller-logit",
    "propeller-asin",
    "log10-ols",
)
REASONS = {
    "population": "population 'Indian' is left out by the run's configuration",
    "cells": "fewer than 800 cells",
    "control": "control sample",
}


def _samples(
    rng: np.random.Generator, sites: dict[str, tuple[str, int, tuple[str, ...]]], donors: int, controls: bool
) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    number = 0
    for site, (institute, batches, populations) in sites.items():
        for b in range(1, batches + 1):
            batch = f"{site}_{institute}_B{b:03d}"
            for d in range(donors):
                number += 1
                rows.append(
                    {
                        "donor_id": f"{site}_{institute}_H{number:03d}",
                        "population": populations[d % len(populations)],
                        "site": site,
                        "batch": batch,
                        "sex": ("female", "male")[int(rng.random() < 0.45)],
                        "age": int(rng.integers(19, 70)),
                        "is_control": False,
                    }
                )
            if controls:
                rows.append(
                    {
                        "donor_id": ("LONZA3038016", "LONZA3038097")[b % 2],
                        "population": "European",
                        "site": site,
                        "batch": batch,
                        "sex": "male",
                        "age": 25,
                        "is_control": True,
                    }
                )
    table = pd.DataFrame(rows)
    table.insert(0, "sample_id", table["donor_id"] + "|" + table["batch"])
    table["n_cells"] = rng.negative_binomial(12, 12 / (12 + 2000), len(table)) + 800
    return table


def _shares(samples: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    base = np.array(list(TYPES.values())) / sum(TYPES.values())
    counts = np.zeros((len(samples), len(base)), dtype=int)
    for i, row in enumerate(samples.itertuples()):
        p = base * np.exp(rng.normal(0, 0.3, len(base)))
        p[list(TYPES).index("Treg")] *= {"Korean": 0.7, "SG_Malay": 1.15}.get(row.population, 1.0)
        counts[i] = rng.multinomial(row.n_cells, p / p.sum())
    counts[1, list(TYPES).index("Treg")] = 0
    wide = pd.DataFrame(counts, columns=list(TYPES))
    frames = []
    for denominator, members in (("CD4_T", CD4), ("all", list(TYPES))):
        total = wide[members].sum(axis=1)
        for cell_type in members:
            frame = samples.drop(columns="n_cells").assign(
                annotator="author", denominator=denominator, cell_type=cell_type, n=wide[cell_type], total=total
            )
            frames.append(frame.assign(share=frame["n"] / frame["total"]))
    return pd.concat(frames, ignore_index=True)


def _estimates(shares: pd.DataFrame, models: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    used = shares[shares["included"]]
    for (denominator, cell_type), table in used.groupby(["denominator", "cell_type"], sort=False):
        table = table.assign(samples=1, zero=(table["n"] == 0).astype(int))
        groups = table.groupby("population", sort=False)[["n", "total", "samples", "zero"]].sum().T.to_dict()
        whole = {key: sum(g[key] for g in groups.values()) for key in ("n", "total", "samples", "zero")}
        rest = {p: {key: whole[key] - g[key] for key in whole} for p, g in groups.items()}
        sites = {p: set(g["site"]) for p, g in table.groupby("population", sort=False)}
        n_batches = table["batch"].nunique()
        contrasts = [(p, "rest") for p in groups] if len(groups) > 2 else []
        contrasts += list(combinations(groups, 2)) if denominator == "CD4_T" and cell_type == "Treg" else []
        # The focus under every model, the other types under the primary one.
        for model in models if contrasts and cell_type == "Treg" else models[:1]:
            for a, b in contrasts:
                left, right = groups[a], rest[a] if b == "rest" else groups[b]
                others = set().union(*(s for p, s in sites.items() if p == b or (b == "rest" and p != a)))
                row: dict[str, object] = dict.fromkeys(ESTIMATES.names)
                status = "within-site" if sites[a] == others else "between-site"
                row |= {
                    "cohort": "sample",
                    "annotator": "author",
                    "cell_type": cell_type,
                    "denominator": denominator,
                    "model": model,
                    "contrast": f"population: {a} - {b}",
                    "formula": "~ population + age + sex",
                    "superseded": False,
                    "status": status,
                    "n_samples_a": left["samples"],
                    "n_samples_b": right["samples"],
                    "n_batches": n_batches,
                    "n_zero": left["zero"] + right["zero"],
                }
                if status == "between-site":
                    row["aliased_with"] = f"site {'+'.join(sorted(sites[a]))}"
                p = [(g["n"] + 0.5) / (g["total"] + 1) for g in (left, right)]
                if min(left["samples"], right["samples"]) < 2:
                    row |= {"status": "too-few", "note": f"{a} has {left['samples']} sample; a comparison needs two."}
                elif cell_type == "dnT" and model == "betabinomial-mixed":
                    row |= {"status": "not-converged", "note": "the likelihood is flat: too few cells of this type."}
                else:
                    estimate = float(np.log(p[0] / (1 - p[0])) - np.log(p[1] / (1 - p[1])))
                    error = 0.4 * np.sqrt(1 / left["samples"] + 1 / right["samples"])
                    if model == "log10-ols":
                        estimate, error = np.log10(p[0] / p[1]), 0.43 * error
                    df = float(n_batches - 3)
                    q = float(stats.t.ppf(0.975, df))
                    row |= {
                        "estimate": estimate,
                        "std_error": error,
                        "statistic": estimate / error,
                        "df": df,
                        "p_value": float(2 * stats.t.sf(abs(estimate / error), df)),
                        "ci_low": estimate - q * error,
                        "ci_high": estimate + q * error,
                        "share_a": p[0],
                        "share_b": p[1],
                    }
                rows.append(row)
    table = pd.DataFrame(rows, columns=ESTIMATES.names)
    if not table.empty:
        table["p_value"] = table["p_value"].astype(float)
        for _, group in table.dropna(subset="p_value").groupby(["denominator", "model", "contrast"]):
            table.loc[group.index, "q_value"] = stats.false_discovery_control(group["p_value"])
    return table


def write_compare(
    out: Path,
    *,
    sites: dict[str, tuple[str, int, tuple[str, ...]]] | None = None,
    donors_per_batch: int = 15,
    controls: bool = True,
    models: tuple[str, ...] = MODELS,
    synthetic: bool = True,
    drop: tuple[str, ...] = ("Indian",),
    rename: dict[str, str] | None = None,
    seed: int = 1,
) -> Path:
    """Write a folder as `aida-tools compare` does; return it."""
    rng = np.random.default_rng(seed)
    samples = _samples(rng, sites or SITES, donors_per_batch, controls)
    if rename:
        samples["donor_id"] = samples["donor_id"].replace(rename)
    if len(samples) > 5:
        samples.loc[5, "n_cells"] = 612
    shares = _shares(samples, rng)
    reason = pd.Series(pd.NA, index=samples.index, dtype=object)
    reason[samples["population"].isin(drop)] = REASONS["population"]
    reason[samples["n_cells"] < 800] = REASONS["cells"]
    reason[samples["is_control"]] = REASONS["control"]
    excluded = samples.assign(reason=reason).dropna(subset="reason")
    shares["included"] = ~shares["sample_id"].isin(excluded["sample_id"])
    used = samples[reason.isna()]

    out.mkdir(parents=True, exist_ok=True)
    write_tsv(samples, out / "samples.tsv")
    write_tsv(shares, out / "shares.tsv")
    estimates = _estimates(shares, models)
    write_tsv(estimates, out / "estimates.tsv")
    keys = ["annotator", "denominator", "cell_type", "model", "contrast", "status", "share_a", "share_b"]
    sides = estimates.loc[estimates["share_a"].notna() & (estimates["model"] == models[0]), keys]
    ends = {f"share_{s}_{end}": sides[f"share_{s}"] * by for s in "ab" for end, by in (("low", 0.9), ("high", 1.1))}
    STANDARDISED.write(STANDARDISED.frame(sides.assign(**ends)), out)
    design = (
        used.groupby(["population", "site", "batch"], sort=False)
        .agg(n_donors=("donor_id", "nunique"), n_samples=("sample_id", "size"), n_cells=("n_cells", "sum"))
        .reset_index()
    )
    alone = {p: s for s, (_, _, ps) in (sites or SITES).items() if len(ps) == 1 for p in ps}
    design["aliased_with"] = design["population"].map(
        lambda p: f"{p} = site {alone[p]}, and nobody else" if p in alone else None
    )
    write_tsv(design, out / "design.tsv")
    control = shares[shares["is_control"]].copy()
    interval = stats.beta.interval(0.95, control["n"] + 0.5, control["total"] - control["n"] + 0.5)
    control["ci_low"], control["ci_high"] = interval
    columns = ["site", "batch", "annotator", "denominator", "cell_type", "donor_id", "n", "total", "share"]
    write_tsv(control[[*columns, "ci_low", "ci_high"]], out / "controls.tsv")
    write_tsv(excluded[["sample_id", "donor_id", "population", "reason"]], out / "excluded.tsv")
    tests = pd.DataFrame(
        [["author", "CD4_T", "Treg", m, "Wald", 31.2, 5.0, 8.5e-6, None] for m in models],
        columns=["annotator", "denominator", "cell_type", "model", "test", "statistic", "df", "p_value", "note"],
    )
    TESTS.write(TESTS.frame(tests if not estimates.empty else []), out)

    def totals(table: pd.DataFrame) -> dict[str, int]:
        return {
            "samples": len(table),
            "donors": int(table["donor_id"].nunique()),
            "cells": int(table["n_cells"].sum()),
        }

    options = {
        "cohort": {
            "name": "sample",
            "title": "SYNTHETIC sample cohort in the shape of AIDA v2" if synthetic else "A cohort",
            "synthetic": synthetic,
            "citation": "",
            "licence": "",
        },
        "focus": "Treg",
        "annotator": "author",
        "denominator": "CD4_T",
        "model": models[0] if models else None,
        "annotators": ["author"],
        "denominators": {"CD4_T": CD4, "all": None},
        "models": list(models),
        "formula": "~ population + age + sex",
        "seed": seed,
        "min_cells": 800,
        "robust": True,
        "exclude_populations": list(drop),
        "before": totals(samples),
        "after": totals(used),
        "excluded": {str(k): int(v) for k, v in excluded["reason"].value_counts().items()},
    }
    (out / "compare.json").write_text(json.dumps(options, indent=2), encoding="utf-8")
    return out


@contextmanager
def light_pictures() -> Iterator[None]:
    """Save figures as the page shows them, in SVG and a coarse PNG with their tables: PDF takes most of the time."""

    def save(figure: Figure, table: pd.DataFrame, stem: Path) -> list[Path]:
        write_tsv(table, stem.with_suffix(".tsv"))
        paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
        for path in paths:
            figure.savefig(path, dpi=40)
        return paths

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "save", save)
        yield


def beside(results: Results, tables: dict[str, pd.DataFrame]) -> Results:
    """Return results with the tables of later steps."""
    return dataclasses.replace(results, tables=results.tables | tables)
