"""Make the embedded SYNTHETIC cohort and write its truth beside it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from aida_tools.errors import AidaError, did_you_mean
from aida_tools.files import staged, write_json
from aida_tools.sample import composition, design, expression

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
#: Log-scale spread of the cells' depth, and of single genes between donors, batches and sites and with introns.
DEPTH_SD, GENE_SDS = 0.30, {"donor_id": 0.12, "batch": 0.08, "site": 0.15}
INTRON_DEPTH, INTRON_GENE_SD = 1.25, 0.3
FOCUS, FOCUS_SET = "Treg", "CD4_T"
BLOCK = 4096


def parse_batches(values: tuple[str, ...] | list[str]) -> dict[str, int]:
    """Read `SITE=N` options.

    Returns
    -------
    Site code -> number of batches, for the sites that were named.

    Raises
    ------
    AidaError
        For anything that is not a known site, `=` and a whole number; see `check_batches`.
    """
    batches: dict[str, int] = {}
    for text in values:
        site, equals, number = text.partition("=")
        if not equals or not number.strip().isdecimal():
            msg = f"--batches: value '{text}' must look like SG=8: a site, '=' and a whole number."
            raise AidaError(msg)
        if site.strip() in batches:
            msg = f"--batches: site '{site.strip()}' is given twice. Name each site once."
            raise AidaError(msg)
        batches[site.strip()] = int(number)
    check_batches(batches)
    return batches


def check_batches(batches: Mapping[str, int]) -> dict[str, int]:
    """Fill the numbers of batches with their defaults.

    Raises
    ------
    AidaError
        If a site is unknown, a number is out of 0 to 999, or Singapore, the home of the reference population, has none.
    """
    for site, number in batches.items():
        if site not in design.SITES:
            msg = f"batches: unknown site '{site}'. {did_you_mean(site, design.SITES)}"
            raise AidaError(msg)
        if not 0 <= number <= 999 or (site == "SG" and number == 0):
            low = 1 if site == "SG" else 0
            msg = f"batches: site '{site}': value {number} must be from {low} to 999."
            raise AidaError(msg)
    return {site: batches.get(site, spec.batches) for site, spec in design.SITES.items()}


def _table(name: str) -> pd.DataFrame:
    return pd.read_csv(Path(__file__).with_name(f"{name}.tsv"), sep="\t", keep_default_na=False)


def type_rates(types: pd.DataFrame, genes: pd.DataFrame, markers: pd.DataFrame) -> np.ndarray:
    """Make the expected UMIs of every type from scanpy's 700 real cells and the table of markers.

    Parameters
    ----------
    types, genes, markers
        The tables beside this module. A marker's `where` lists `type=UMIs`, a type being a name of any level; the
        narrower name wins over the wider.

    Returns
    -------
    Expected UMIs at depth 1, shape (n_types, n_genes).
    """
    import scanpy as sc

    with warnings.catch_warnings():
        # The data set predates today's AnnData format; that is scanpy's business.
        warnings.simplefilter("ignore")
        cells = sc.datasets.pbmc68k_reduced()
    log = pd.DataFrame(cells.raw.X.toarray(), columns=cells.raw.var_names)
    counts = np.rint(np.expm1(log) * cells.obs["n_counts"].to_numpy()[:, None] / 1e4)
    counts = counts.reindex(columns=genes["symbol"], fill_value=0.0).to_numpy(np.float64)
    groups = cells.obs["bulk_labels"].to_numpy(str)
    rates = np.array([expression.mean_profile(counts, groups, base.split(";")) for base in types["base"]])
    names = types[["level1", "level2", "label", "author_cell_type"]].to_numpy()
    column = {symbol: j for j, symbol in enumerate(genes["symbol"])}
    for symbol, elsewhere, where in markers.itertuples(index=False):
        if elsewhere:
            rates[:, column[symbol]] = float(elsewhere)
        changes = [
            ((names == name).any(axis=1), float(value)) for name, value in (w.split("=") for w in where.split(";") if w)
        ]
        for rows, value in sorted(changes, key=lambda change: -change[0].sum()):
            rates[rows, column[symbol]] = value
    return rates * types["scale"].to_numpy(float)[:, None]


def _random_effects(samples: pd.DataFrame, types: list[str], rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Draw the random effects: level -> table of its members by type."""
    drawn = {}
    for level, (focus_sd, sd) in SDS.items():
        members = pd.unique(samples[level])
        sds = np.array([focus_sd if t == FOCUS else sd for t in types])
        if level == "site":
            sds[[types.index(t) for t in UNRESOLVED]] = UNRESOLVED_SITE_SD
        drawn[level] = pd.DataFrame(rng.normal(0, sds, (len(members), len(types))), index=members, columns=types)
    return drawn


def _gene_factors(samples: pd.DataFrame, genes: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Draw how each gene differs between samples, shape (n_samples, n_genes)."""
    log = np.zeros((len(samples), len(genes)))
    for level, sd in GENE_SDS.items():
        code, members = pd.factorize(samples[level])
        log += rng.normal(0, sd, (len(members), len(genes)))[code]
    log += samples["introns"].to_numpy(float)[:, None] * rng.normal(0, INTRON_GENE_SD, len(genes))
    factors = np.exp(log)
    for sex, absent in {"male": "XIST", "female": "RPS4Y1"}.items():
        factors[np.ix_(samples["sex"].eq(sex).to_numpy(), genes["symbol"].eq(absent).to_numpy())] = 0
    return factors


def _odds(shares: np.ndarray) -> np.ndarray:
    return shares / (1 - shares)


def _truth(
    samples: pd.DataFrame, types: pd.DataFrame, effects: dict[str, pd.DataFrame], options: dict[str, Any]
) -> dict[str, Any]:
    """State what was planted, in the words and numbers a comparison should find."""
    names = types["label"].tolist()
    base = types["n_cells"].to_numpy(float)
    sets = _sets(types)
    focus = names.index(FOCUS)
    populations = [p for site in design.SITES.values() for p in site.populations if p in set(samples["population"])]
    terms = composition.covariates(populations, ["female"] * len(populations), np.full(len(populations), 40.0))
    eta = composition.fixed_effects(terms, EFFECTS, names)
    shares = composition.type_shares(eta, base, sets[FOCUS_SET], focus)
    site_of = {p: code for code, site in design.SITES.items() for p in site.populations}
    site_effect = effects["site"][FOCUS]
    by_population = {}
    for i, population in enumerate(populations):
        odds = {d: _odds(shares[[0, i], focus] / shares[:, members].sum(axis=1)[[0, i]]) for d, members in sets.items()}
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
    }  # fmt: skip


def _sets(types: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        FOCUS_SET: types["level2"].eq("CD4+_T").to_numpy(),
        "T": types["level1"].eq("T").to_numpy(),
        "all": np.ones(len(types), bool),
    }


def write_sample(
    out: Path,
    *,
    seed: int = 1,
    donors_per_batch: int = 15,
    cells_per_donor: int = 120,
    batches: Mapping[str, int] | None = None,
) -> None:  # fmt: skip
    """Make the SYNTHETIC cohort in the shape of AIDA v2 and write `sample.h5ad` and `truth.json`.

    Parameters
    ----------
    out
        Folder for the results.
    seed
        The same seed and sizes give the same cohort.
    donors_per_batch, cells_per_donor
        Donors pooled in a batch, besides the control; mean cells of a donor.
    batches
        Site code -> number of batches; the sites not named keep their default.

    Raises
    ------
    AidaError
        For an unknown site or an impossible number of batches.
    """
    from aida_tools.sample import h5ad

    per_site = check_batches(batches or {})
    options = {"donors_per_batch": donors_per_batch, "cells_per_donor": cells_per_donor, "batches": per_site}
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)]
    rng_design, rng_effects, rng_cells, rng_genes, rng_counts, rng_names = streams
    types, genes = _table("types"), _table("genes")
    names = types["label"].tolist()

    samples = design.make_samples(per_site, donors_per_batch, cells_per_donor, rng_design)
    effects = _random_effects(samples, names, rng_effects)
    eta = composition.fixed_effects(
        composition.covariates(samples["population"].tolist(), samples["sex"].tolist(), samples["age"].to_numpy(float)),
        EFFECTS,
        names,
    ) + sum(table.loc[samples[level]].to_numpy() for level, table in effects.items())
    no_focus = samples["trap"].eq("no_treg").to_numpy()
    eta[no_focus, names.index(FOCUS)] = -np.inf
    shares = composition.type_shares(eta, types["n_cells"].to_numpy(float), _sets(types)[FOCUS_SET], names.index(FOCUS))
    counts = rng_cells.multinomial(samples["n_cells"], shares)
    # A reader who takes CL:0011024 for Treg must be caught at every size: there, Treg is zero and dnT is not.
    counts[no_focus, names.index("CD14+_Monocyte")] -= 2
    counts[no_focus, names.index("dnT")] += 2

    kind = np.repeat(np.tile(np.arange(len(names)), len(samples)), counts.ravel())
    sample = np.repeat(np.arange(len(samples)), counts.sum(axis=1))
    lane = rng_cells.integers(1, 3, len(sample))
    order = np.lexsort((rng_cells.random(len(sample)), lane, pd.factorize(samples["batch"])[0][sample]))
    kind, sample, lane = kind[order], sample[order], lane[order]
    library = np.char.add(samples["batch"].to_numpy(str)[sample], np.array(["", "_L001", "_L002"])[lane])

    rates = type_rates(types, genes, _table("markers"))
    factors = _gene_factors(samples, genes, rng_genes)
    depth = samples["depth"].to_numpy() * np.where(samples["introns"], INTRON_DEPTH, 1)
    depth = depth[sample] * np.exp(rng_counts.normal(0, DEPTH_SD, len(sample)))

    def blocks() -> Iterator[sparse.csr_matrix]:
        for start in range(0, len(sample), BLOCK):
            cells = slice(start, start + BLOCK)
            yield expression.draw_counts(rates, kind[cells], factors, sample[cells], depth[cells], rng_counts)

    with staged(out, step="sample", config=options, seed=seed, details={"synthetic": True}) as staging:
        obs = h5ad.make_obs(h5ad.sample_obs(samples, seed), types, sample, kind, library, seed=seed, rng=rng_names)
        title = "SYNTHETIC cohort in the shape of AIDA v2 (aida-tools sample)"
        h5ad.write_h5ad(staging / "sample.h5ad", obs, genes, blocks(), title)
        write_json(staging / "truth.json", _truth(samples, types, effects, {"seed": seed, **options}))
