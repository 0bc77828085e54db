"""Make the embedded SYNTHETIC cohort and write it, with its truth beside it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import staged, write_json
from aida_tools.sample import composition, design, expression
from aida_tools.sample.step import Options
from aida_tools.sample.truth import (
    EFFECTS,
    FOCUS,
    FOCUS_SET,
    INTRON_DEPTH,
    SDS,
    UNRESOLVED,
    UNRESOLVED_SITE_SD,
    describe,
    sets,
)

#: Log-scale spread of the cells' depth, and of single genes between donors, batches and sites and with introns.
DEPTH_SD, GENE_SDS = 0.30, {"donor_id": 0.12, "batch": 0.08, "site": 0.15}
INTRON_GENE_SD = 0.3
BLOCK = 4096
_DEFAULT = Options()


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
            raise AidaError(f"--batches: value '{text}' must look like SG=8: a site, '=' and a whole number.")
        if site.strip() in batches:
            raise AidaError(f"--batches: site '{site.strip()}' is given twice. Name each site once.")
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
            raise AidaError(f"batches: unknown site '{site}'. {did_you_mean(site, design.SITES)}")
        if not 0 <= number <= 999 or (site == "SG" and number == 0):
            low = 1 if site == "SG" else 0
            raise AidaError(f"batches: site '{site}': value {number} must be from {low} to 999.")
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


class Cohort(NamedTuple):
    """Who has how many cells of which type."""

    samples: pd.DataFrame
    types: pd.DataFrame
    effects: dict[str, pd.DataFrame]
    """Drawn random effects: level (donor_id, batch, site) -> its members by type."""
    counts: np.ndarray
    """Cells, shape (n_samples, n_types)."""


def draw_cohort(
    batches: Mapping[str, int], donors_per_batch: int, cells_per_donor: int, streams: Sequence[np.random.Generator]
) -> Cohort:
    """Draw the samples and their cell types; see `write_sample` for the sizes.

    Parameters
    ----------
    batches, donors_per_batch, cells_per_donor
        Sizes; all sites are named.
    streams
        Sources of random numbers of the design, the effects and the cells.
    """
    types = _table("types")
    names = types["label"].tolist()
    focus = names.index(FOCUS)
    samples = design.make_samples(batches, donors_per_batch, cells_per_donor, streams[0])
    effects = _random_effects(samples, names, streams[1])
    terms = composition.covariates(
        samples["population"].tolist(), samples["sex"].tolist(), samples["age"].to_numpy(float)
    )
    eta = composition.fixed_effects(terms, EFFECTS, names)
    for level, drawn in effects.items():
        eta += drawn.loc[samples[level]].to_numpy()
    no_focus = samples["trap"].eq("no_treg").to_numpy()
    eta[no_focus, focus] = -np.inf
    shares = composition.type_shares(eta, types["n_cells"].to_numpy(float), sets(types)[FOCUS_SET], focus)
    counts = streams[2].multinomial(samples["n_cells"], shares)
    # A reader who takes CL:0011024 for Treg must be caught at every size: there, Treg is zero and dnT is not.
    for row in np.flatnonzero(no_focus):
        counts[row, counts[row].argmax()] -= 1
        counts[row, names.index("dnT")] += 1
    return Cohort(samples, types, effects, counts)


def write_sample(
    out: Path,
    *,
    seed: int = _DEFAULT.seed,
    donors_per_batch: int = _DEFAULT.donors_per_batch,
    cells_per_donor: int = _DEFAULT.cells_per_donor,
    batches: Mapping[str, int] | None = None,
) -> None:
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
        For an unknown site, an impossible number of batches, or fewer than three donors in all.
    """
    # anndata is slow to import, and a mistyped option should be told at once.
    per_site = check_batches(batches or {})
    if sum(per_site.values()) * donors_per_batch < 3:
        raise AidaError(
            f"batches: one batch of {donors_per_batch} donors is too small. Ask for at least 3 donors in all."
        )
    from aida_tools.sample import h5ad

    options = {"donors_per_batch": donors_per_batch, "cells_per_donor": cells_per_donor, "batches": per_site}
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)]
    samples, types, effects, counts = draw_cohort(per_site, donors_per_batch, cells_per_donor, streams[:3])
    rng_cells, rng_genes, rng_names = streams[3:]

    # Cells in the file's order: by library, mixed within it.
    kind = np.repeat(np.tile(np.arange(len(types)), len(samples)), counts.ravel())
    sample = np.repeat(np.arange(len(samples)), counts.sum(axis=1))
    lane = rng_cells.integers(1, 3, len(sample))
    order = np.lexsort((rng_cells.random(len(sample)), lane, pd.factorize(samples["batch"])[0][sample]))
    kind, sample, lane = kind[order], sample[order], lane[order]
    library = np.char.add(samples["batch"].to_numpy(str)[sample], np.array(["", "_L001", "_L002"])[lane])

    genes = _table("genes")
    rates = type_rates(types, genes, _table("markers"))
    factors = _gene_factors(samples, genes, rng_genes)
    depth = samples["depth"].to_numpy() * np.where(samples["introns"], INTRON_DEPTH, 1)
    depth = depth[sample] * np.exp(rng_cells.normal(0, DEPTH_SD, len(sample)))

    def blocks() -> Iterator[sparse.csr_matrix]:
        for start in range(0, len(sample), BLOCK):
            cells = slice(start, start + BLOCK)
            yield expression.draw_counts(rates, kind[cells], factors, sample[cells], depth[cells], rng_cells)

    with staged(out, step="sample", config=options, seed=seed, details={"synthetic": True}) as staging:
        obs = h5ad.make_obs(h5ad.sample_obs(samples, seed), types, sample, kind, library, seed=seed, rng=rng_names)
        title = "SYNTHETIC cohort in the shape of AIDA v2 (aida-tools sample)"
        h5ad.write_h5ad(staging / "sample.h5ad", obs, genes, blocks(), title)
        write_json(staging / "truth.json", describe(samples, types, effects, {"seed": seed, **options}))
