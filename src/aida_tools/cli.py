"""The command line: names of the commands and their paths, one step each.

Every command imports its room only when it runs, so that none waits for a library it does not need.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from aida_tools import __version__
from aida_tools.defaults import default_file
from aida_tools.errors import AidaError
from aida_tools.files import mark_start, published

_EXISTING = click.Path(path_type=Path)
_OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
_POPULATIONS = click.option(
    "--populations",
    type=_EXISTING,
    default=partial(default_file, "populations.tsv"),
    show_default="config/populations.tsv, or the package's",
    help="Table of population codes, labels, ontology ids and colours.",
)

_GATE = click.option(
    "--gate",
    type=_EXISTING,
    default=partial(default_file, "annotators/gate.tsv"),
    show_default="config/annotators/gate.tsv, or the package's",
    help="Genes of the marker gate.",
)
_MODELS = click.option(
    "--models",
    "model_folder",
    type=click.Path(path_type=Path),
    default=Path("models"),
    show_default=True,
    help="Folder of models.",
)


_ALSO = click.option(
    "--also",
    multiple=True,
    type=_EXISTING,
    metavar="DIR",
    help="Folder of a later step (robustness, power, claims ...) to show as well; may be repeated.",
)


#: Command -> the obvious next one; {out} is what was written, {near} the folder around it, the rest are arguments.
#: Words in capitals are for the user to fill in.
_NEXT = {
    "sample": "aida-tools inspect {out}/sample.h5ad --write-cohort COHORT.yaml",
    "inspect": "aida-tools fetch {write_cohort} --out results/NAME/fetch",
    "fetch": "aida-tools cells {cohort} {out} --out {near}/cells",
    "cells": "aida-tools annotate {cohort} {out} --annotator author --out {near}/annotate/author",
    "scan": "aida-tools annotate {cohort} {near}/cells {out} --annotator gate --out {near}/annotate/gate",
    "annotate": "aida-tools counts {cells} {out} --out COUNTS_DIR",
    "counts": "aida-tools compare {out}/counts.tsv {out}/samples.tsv --denominators {out}/denominators.tsv "
    "--one-vs-rest --out {near}/compare",
    "import-counts": "aida-tools compare {out}/counts.tsv {out}/samples.tsv --one-vs-rest --out {near}/compare",
    "compare": "aida-tools figures {out} --out {near}/figures",
    "figures": "aida-tools report {compared} {out} --out {near}/report",
}


def next_step(command: str, params: dict[str, Any]) -> str:
    """Return the command line that usually follows; empty where there is no one such."""
    known = {name: shlex.quote(str(value)) for name, value in params.items() if value}
    if "out" in known:
        known["near"] = shlex.quote(str(params["out"].parent))
    try:
        return _NEXT.get(command, "").format(**known)
    except KeyError:  # Such as `inspect` without --write-cohort.
        return ""


class _Command(click.Command):
    """A command that says at its end what it wrote, how long it took and, to a person, what comes next."""

    def invoke(self, ctx: click.Context) -> Any:
        started = time.monotonic()
        result = super().invoke(ctx)
        for folder in published():
            names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != "provenance.json")
            files = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            click.echo(f"Wrote {folder}{os.sep}: {files} ({time.monotonic() - started:.1f} s)", err=True)
        following = next_step(str(self.name), ctx.params)
        if following and sys.stderr.isatty():
            click.echo(f"next: {following}", err=True)
        return result


class _Group(click.Group):
    """Commands in the order of the pipeline; errors of the user's making without a traceback."""

    command_class = _Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AidaError as error:
            click.echo(f"aida-tools: {error}", err=True)
            ctx.exit(1)
        except BrokenPipeError:
            # The reader of our output left (`| head`): not our user's problem.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="aida-tools")
def main() -> None:
    """Rerun, question and extend the AIDA comparison of regulatory T cell shares.

    Each command does one step and writes only under --out; `snakemake` runs them all.
    """
    mark_start()


@main.command()
@_OUT
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the generator.")
@click.option("--donors-per-batch", type=click.IntRange(2), default=15, show_default=True, help="Donors in one batch.")
@click.option(
    "--cells-per-donor",
    type=click.IntRange(10),
    default=120,
    show_default=True,
    help="Mean cells of a donor.",
)
@click.option(
    "--batches",
    multiple=True,
    metavar="SITE=N",
    help="Number of batches of a site; may be repeated. Default: SG=8, KR=4, JP=4, TH=2, IN=2.",
)
def sample(out: Path, seed: int, donors_per_batch: int, cells_per_donor: int, batches: tuple[str, ...]) -> None:
    """Make the SYNTHETIC sample cohort, in the shape of AIDA v2, with its planted truth."""
    from aida_tools.sample.run import parse_batches, write_sample

    write_sample(
        out,
        seed=seed,
        donors_per_batch=donors_per_batch,
        cells_per_donor=cells_per_donor,
        batches=parse_batches(batches),
    )


@main.command()
@click.argument("cohort", type=_EXISTING)
@_OUT
def fetch(cohort: Path, out: Path) -> None:
    """Get the data of a COHORT file: make, check, read over HTTP ranges or download them."""
    from aida_tools.cohort.fetch import fetch as run

    run(cohort, out)


@main.command()
@click.argument("file", type=_EXISTING)
@click.option("--write-cohort", type=click.Path(path_type=Path), help="Draft a cohort file for this data here.")
def inspect(file: Path, write_cohort: Path | None) -> None:
    """Show what a FILE holds: columns, levels, counts, donors, and what looks like what."""
    from aida_tools.cohort.inspect import inspect as run

    click.echo(run(file, write_cohort=write_cohort))


@main.command()
@click.argument("cohort", type=_EXISTING)
@click.argument("fetched", type=_EXISTING)
@_POPULATIONS
@_OUT
def cells(cohort: Path, fetched: Path, populations: Path, out: Path) -> None:
    """Make cells.parquet of a COHORT file from what `fetch` left in FETCHED."""
    from aida_tools.cohort.cells import make_cells

    make_cells(cohort, fetched, populations, out)


@main.command()
@click.argument("cohort", type=_EXISTING)
@click.argument("fetched", type=_EXISTING)
@_OUT
@_GATE
@_MODELS
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Model to label cells by: its name in --models or its path; may be repeated.",
)
@click.option(
    "--samples", type=_EXISTING, help="cells.parquet, or its folder; --pseudobulk, --expected and --thin need it."
)
@click.option(
    "--pseudobulk", multiple=True, metavar="NAME", help="Also sum the counts by sample and by labels of NAME: author, "
    "gate or a model; may be repeated.",
)  # fmt: skip
@click.option(
    "--expected", multiple=True, metavar="NAME", help="Also sum the calibrated probabilities of model NAME by sample "
    "and class; may be repeated.",
)  # fmt: skip
@click.option(
    "--thin",
    type=_EXISTING,
    metavar="SCAN",
    help="Match depth: keep as many UMIs of every site as the shallowest has, by this scan of all counts (folder or "
    "scan.parquet).",
)
@click.option(
    "--thin-by", default="site", show_default=True, metavar="COLUMN", help="What to match: site, batch or another "
    "column of cells.parquet.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of --thin.")
@click.option("--cells", metavar="A:B", help="Scan only these rows of the file (from 0, B not included).")
@click.option("--part", metavar="K/N", help="Scan only the K-th of N parts of the file, instead of --cells.")
@click.option("--block", type=click.IntRange(1), default=2048, show_default=True, help="Cells a block.")
@click.option("--threads", type=click.IntRange(1), help="Threads at work; default: all cores.")
def scan(cohort: Path, fetched: Path, out: Path, gate: Path, samples: Path | None, **options: Any) -> None:
    """Read the counts once: quality, marker gate, model scores, sums by sample.

    Writes scan.parquet, a row a cell, and what --pseudobulk, --expected and --thin ask for: pseudobulk.NAME.h5ad,
    expected.NAME.parquet, thinning.tsv. --block and --threads are settings of memory and speed and do not change
    the result; `scan-gather` puts scans of parts of a file together.
    """
    from aida_tools.scan.run import scan as run

    run(cohort, fetched, out, gate_path=gate, samples_path=samples, **options)


@main.command("scan-gather")
@click.argument("scans", type=_EXISTING, nargs=-1, required=True)
@_OUT
def scan_gather(scans: tuple[Path, ...], out: Path) -> None:
    """Put SCANS of parts of a file (`scan --part K/N` or `--cells A:B`) together, as if scanned at once.

    The parts may be named in any order; together they must hold every cell once.
    """
    from aida_tools.scan.gather import gather

    gather(scans, out)


@main.command()
@click.argument("cohort", type=_EXISTING)
@click.argument("cells", type=_EXISTING)
@click.argument("scan", type=_EXISTING, required=False)
@click.option(
    "--annotator",
    required=True,
    help="author, protein, gate, blood, blood-sensitive, a model of the scan, or the name of models in folds.",
)
@click.option("--fetched", type=_EXISTING, help="Folder of `fetch`, for `protein`, which reads the data's proteins.")
@click.option(
    "--label-map",
    type=_EXISTING,
    help="What each label is counted as; default: the model's own, or config/annotators/NAME.labels.tsv.",
)
@_MODELS
@_OUT
def annotate(cohort: Path, cells: Path, scan: Path | None, annotator: str, out: Path, **options: Any) -> None:
    """Label the CELLS of a COHORT by one annotator; all but `author` and `protein` need the folder of SCAN."""
    from aida_tools.annotate.run import annotate as run

    run(cohort, cells, scan, annotator, out, **options)


@main.command()
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
def consensus(labels: tuple[Path, ...], out: Path) -> None:
    """Make one annotator of several LABELS: what more than half say, or within the narrowest set they agree on."""
    from aida_tools.annotate.run import consensus as run

    run(labels, out)


@main.group()
def model() -> None:
    """Models that label cells: bring, convert, train, show. They are kept in a form that cannot carry code."""


@model.command("add")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of models; this one goes into it.")
@click.option("--label-map", type=_EXISTING, help="What each label is counted as; classes it lacks are left out.")
@click.option("--wheels", type=_EXISTING, help="Folder with the wheels, where there is no network.")
def model_add(name: str, out: Path, label_map: Path | None, wheels: Path | None) -> None:
    """Bring the published model NAME (actinn, stcat) from its wheel, without installing or running it."""
    from aida_tools.annotate.published import add_model

    add_model(name, out, label_map=label_map, wheels=wheels)


@model.command("import")
@click.argument("file", type=_EXISTING)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of models; this one goes into it.")
@click.option("--name", help="Its name as an annotator; default: that of the file.")
@click.option("--label-map", type=_EXISTING, help="Table that says what each of its labels is counted as.")
def model_import(file: Path, out: Path, name: str | None, label_map: Path | None) -> None:
    """Convert a CellTypist model (FILE.pkl) without running what is in the pickle."""
    from aida_tools.annotate.models import import_model

    import_model(file, out, name=name, label_map=label_map)


@model.command("train")
@click.argument("cohort", type=_EXISTING)
@click.argument("fetched", type=_EXISTING)
@click.argument("cells", type=_EXISTING)
@click.argument("labels", type=_EXISTING)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of models; this one goes into it.")
@click.option("--name", required=True, help="Its name as an annotator.")
@click.option(
    "--label",
    type=click.Choice(["cell_type", "label"]),
    default="cell_type",
    show_default=True,
    help="Learn the counted types, or the labels as LABELS gives them.",
)
@click.option(
    "--folds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Above 1: train NAME.1, NAME.2 ...; every donor is unseen by one, which `annotate --annotator NAME` asks.",
)
@click.option("--genes-per-class", type=click.IntRange(1), default=100, show_default=True, help="Features a class.")
@click.option("--cells-per-class", type=click.IntRange(10), default=2000, show_default=True, help="Cells a class.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of donors' split and draw.")
def model_train(cohort: Path, fetched: Path, cells: Path, labels: Path, out: Path, **options: Any) -> None:
    """Train a model on LABELS (a folder of `annotate`) of a COHORT; test it on donors it has not seen."""
    from aida_tools.annotate.train import train_model

    train_model(cohort, fetched, cells, labels, out, **options)


@model.command("show")
@click.argument("name")
@_MODELS
def model_show(name: str, model_folder: Path) -> None:
    """Show classes, genes, source, licence and digest of the model NAME (or of its folder)."""
    from aida_tools.annotate.models import show_model

    click.echo(show_model(name, model_folder))


@main.command()
@click.argument("cells", type=_EXISTING)
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
def counts(cells: Path, labels: tuple[Path, ...], out: Path) -> None:
    """Count the cell types in every sample of CELLS, for each folder of LABELS (one per annotator).

    An annotator with calibrated probabilities (expected.tsv) also gives expected counts, as NAME:soft.
    """
    from aida_tools.compose.run import compose

    compose(cells, labels, out)


@main.command()
@click.argument("cells", type=_EXISTING)
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
@click.option("--scan", type=_EXISTING, help="scan.parquet, or its folder: also look by depth of sequencing.")
@click.option("--truth", metavar="ANNOTATOR", help="Whom the others are held against; default author, else the first.")
@click.option("--focus", metavar="TYPE", default="Treg", show_default=True, help="The cell type in question.")
@click.option("--within", multiple=True, metavar="NAME", help="Also within this set of types, such as CD4_T.")
@click.option(
    "--unresolved", multiple=True, metavar="TYPE", help="Label of unresolved cells; default CD4+_T, T, unresolved."
)
def agreement(cells: Path, labels: tuple[Path, ...], scan: Path | None, out: Path, **options: Any) -> None:
    """Hold annotators of the same CELLS against each other: a folder of LABELS for each.

    Agreement and error by site, batch, donor and depth, with intervals from cells and between donors; precision-recall
    curves and calibration where labels have scores; and for X beside X-thinned, whether the share moves with depth.
    """
    from aida_tools.agreement.run import Options
    from aida_tools.agreement.run import agreement as run

    given = {name: value for name, value in options.items() if value not in ((), None)}
    run(cells, labels, out, scan_path=scan, options=Options(**given))


@main.command()
@click.argument("cohort", type=_EXISTING)
@click.argument("fetched", type=_EXISTING)
@click.argument("cells_parquet", metavar="CELLS", type=_EXISTING)
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
@click.option("--cells", type=click.IntRange(20), default=50_000, show_default=True, help="Most cells of the sketch.")
@click.option("--genes", type=click.IntRange(3), default=2000, show_default=True, help="Highly variable genes.")
@click.option("--harmony", is_flag=True, help="Correct for batches by Harmony; needs the package harmonypy (GPL).")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of everything random.")
@click.option("--threads", type=click.IntRange(1), help="Threads at work; default: all cores.")
def atlas(
    cohort: Path, fetched: Path, cells_parquet: Path, labels: tuple[Path, ...], out: Path, **options: Any
) -> None:
    """Draw a sketch of the cells that keeps rare types, and place it in the plane (UMAP): atlas.h5ad, sketch.tsv.

    The rare types of the first folder of LABELS are kept. A sketch is not proportional: it is to look at.
    """
    from aida_tools.atlas.run import atlas as run

    run(cohort, fetched, cells_parquet, labels, out, **options)


@main.command("import-counts")
@click.argument("table", type=_EXISTING)
@click.option(
    "--column", multiple=True, metavar="NAME=COLUMN", help="A column that is not a cell type: population=group."
)
@click.option(
    "--id-pattern", help="Regular expression on the first column; named groups become columns of samples.tsv."
)
@_OUT
def import_counts(table: Path, column: tuple[str, ...], id_pattern: str | None, out: Path) -> None:
    """Turn a wide TABLE of counts (a row a sample, a column a cell type) into counts.tsv and samples.tsv."""
    from aida_tools.compose.wide import import_counts as run

    for pair in column:
        if "=" not in pair:
            msg = f"--column {pair}: write NAME=COLUMN, such as population=group."
            raise click.UsageError(msg)
    run(table, out, columns=dict(pair.split("=", 1) for pair in column), pattern=id_pattern)


@main.command()
@click.argument("counts", type=_EXISTING)
@click.argument("samples", type=_EXISTING)
@_OUT
@click.option("--model", "models", multiple=True, metavar="NAME", help="May be repeated, primary first; default: all.")
@click.option("--formula", default="~ population + age + sex", show_default=True, help="Columns of SAMPLES.")
@click.option("--contrast", "contrasts", multiple=True, help="'population: A - B', 'population: A - rest', 'age'.")
@click.option("--one-vs-rest", is_flag=True, help="Also compare each population with all others together.")
@click.option("--denominator", "denominators", multiple=True, metavar="NAME=TYPE,...|all", help="Shares of what.")
@click.option("--denominators", "denominators_path", type=_EXISTING, help="Table of sets of types, as `counts` writes.")
@click.option("--focus", metavar="TYPE", help="The cell type in question; default Treg, where it is counted.")
@click.option("--batch", default="batch", show_default=True, help="Column of SAMPLES with the batch or library.")
@click.option("--site", default="site", show_default=True, help="Column of SAMPLES with the site.")
@click.option("--min-cells", type=click.IntRange(0), default=0, show_default=True, help="Leave out smaller samples.")
@click.option("--robust/--no-robust", default=True, show_default=True, help="Robust empirical Bayes in propeller.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of whatever is drawn.")
@click.option("--cohort", type=_EXISTING, help="Cohort file, for its name and title.")
@click.option("--exclude-population", "exclude_populations", multiple=True, metavar="CODE", help="Leave it out.")
@click.option("--primary-denominator", metavar="NAME", help="The one the report is about; default the first.")
@click.option("--primary-annotator", metavar="NAME", help="The one the report is about; default the first.")
def compare(
    counts: Path, samples: Path, out: Path, denominators_path: Path | None, cohort: Path | None, **options: Any
) -> None:
    """Compare shares of cell types between populations: COUNTS.tsv and SAMPLES.tsv to estimates with a status."""
    from aida_tools.compare.run import Options
    from aida_tools.compare.run import compare as run

    run(counts, samples, out, options=Options(**options), denominators_path=denominators_path, cohort_path=cohort)


@main.command()
@click.argument("compared", metavar="COMPARE_DIR", type=_EXISTING)
@_OUT
@click.option("--permutations", type=click.IntRange(1), default=10_000, show_default=True, help="Of each contrast.")
@click.option("--specifications", type=click.IntRange(1), default=1000, show_default=True, help="At most so many.")
@click.option("--sensitivity", type=float, default=1.0, show_default=True, help="Of the labels, at every site.")
@click.option("--specificity", type=float, default=1.0, show_default=True, help="Of the labels, at every site.")
@click.option("--labels-at", multiple=True, metavar="SITE=SENSITIVITY,SPECIFICITY", help="Of the labels at one site.")
@click.option("--unresolved", multiple=True, metavar="TYPE", help="Label of unresolved cells; default CD4+_T and T.")
@click.option("--covariate", "covariates", multiple=True, metavar="COLUMN", help="Adjust for it as well, in turn.")
@click.option("--stratum", "strata", multiple=True, metavar="COLUMN", help="Look at each of its levels alone.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the permutations.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Models fitted at a time.")
def robustness(compared: Path, out: Path, threads: int, **options: Any) -> None:
    """Question what COMPARE_DIR found: site effects, controls, batches, permutations, labels, specifications."""
    from aida_tools.robustness.run import Options
    from aida_tools.robustness.run import robustness as run

    given = {name: value for name, value in options.items() if value != ()}
    run(compared, out, options=Options(**given), threads=threads)


@main.command()
@click.argument("compared", metavar="COMPARE_DIR", type=_EXISTING)
@_POPULATIONS
@_ALSO
@_OUT
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Figures drawn at a time.")
def figures(compared: Path, populations: Path, also: tuple[Path, ...], out: Path, threads: int) -> None:
    """Draw the figures of COMPARE_DIR as PDF, SVG and 300-dpi PNG, with their source tables."""
    from aida_tools.figures.run import draw_figures

    draw_figures(compared, populations, out, also=also, threads=threads)


@main.command()
@click.argument("compared", metavar="COMPARE_DIR", type=_EXISTING)
@click.argument("drawn", metavar="FIGURES_DIR", type=_EXISTING)
@click.option("--provenance", multiple=True, type=_EXISTING, metavar="FILE", help="Earlier step's provenance.json.")
@_ALSO
@_OUT
def report(compared: Path, drawn: Path, provenance: tuple[Path, ...], also: tuple[Path, ...], out: Path) -> None:
    """Write one self-contained page on what COMPARE_DIR found, with the pictures of FIGURES_DIR."""
    from aida_tools.report.run import write_report

    write_report(compared, drawn, out, provenance=provenance, also=also)


@main.command()
@click.argument("compare_dir", type=_EXISTING)
@_OUT
@click.option(
    "--plan",
    "plans",
    multiple=True,
    metavar="KEY=N,...",
    help="A new population: donors=70,cells=700,libraries=5[,sites=1][,reference_donors=...]; may be repeated.",
)
@click.option(
    "--site-sd",
    "site_sds",
    type=click.FloatRange(0),
    multiple=True,
    default=(0.0, 0.1, 0.2),
    show_default=True,
    help="Standard deviation between sites to plan for, log-odds scale; may be repeated.",
)
@click.option("--power", type=click.FloatRange(0.05, 0.999, min_open=True), default=0.8, show_default=True)
def power(compare_dir: Path, out: Path, plans: tuple[str, ...], site_sds: tuple[float, ...], power: float) -> None:
    """Tell what COMPARE_DIR could have found (minimal detectable odds ratios), and what a new population would take."""
    from aida_tools.power.run import plan_power

    plan_power(compare_dir, out, plans=plans, site_sds=site_sds, power=power)


@main.command()
@click.argument("compare_dir", type=_EXISTING)
@click.option(
    "--claims",
    "claims_path",
    type=_EXISTING,
    default=partial(default_file, "claims.yaml"),
    show_default="config/claims.yaml, or the package's",
    help="File of claims.",
)
@_OUT
def claims(compare_dir: Path, claims_path: Path, out: Path) -> None:
    """Hold published statements against COMPARE_DIR: supported, not supported, or not testable, and why."""
    from aida_tools.claims.run import check_claims

    check_claims(compare_dir, claims_path, out)


if __name__ == "__main__":
    main()
