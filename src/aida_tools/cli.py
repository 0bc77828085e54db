"""The command line: names of the commands and their paths, one step each.

Every command imports its room only when it runs, so that none waits for a library it does not need.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from aida_tools import __version__, rooms
from aida_tools.agreement.step import Options as AgreementOptions
from aida_tools.annotate.step import TrainOptions
from aida_tools.atlas.step import Options as AtlasOptions
from aida_tools.compare.step import Options as CompareOptions
from aida_tools.core.defaults import default_file
from aida_tools.core.errors import AidaError
from aida_tools.core.files import mark_start, published
from aida_tools.core.options import command_options
from aida_tools.core.steps import STEPS, Step
from aida_tools.sample.step import Options as SampleOptions

rooms.load("step")

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
_CLASSIFIERS = click.option(
    "--classifiers",
    "classifier_folder",
    type=click.Path(path_type=Path),
    default=Path("classifiers"),
    show_default=True,
    help="Folder of classifiers.",
)
_CLASSIFIERS_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of classifiers; the new one becomes a folder in it.",
)
_COHORT = click.option(
    "--cohort",
    "cohort_path",
    type=_EXISTING,
    metavar="FILE",
    help="Cohort file, for its name and title, its covariates, strata and unresolved labels.",
)
_COMPARED = click.argument("compared", metavar="COMPARE_DIR", type=_EXISTING)

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


def _models() -> list[tuple[str, str]]:
    from aida_tools.models.registry import MODELS

    return [(name, model.words) for name, model in MODELS.items()]


def _annotators() -> list[tuple[str, str]]:
    from aida_tools.annotate.registry import ANNOTATORS

    known = [(name, entry.words) for name, entry in ANNOTATORS.items()]
    return [*known, ("NAME", "a classifier of the scan, or the common name of classifiers in folds")]


#: Command -> what its help lists below the options: a heading, and the names there are with what they are.
_LISTED: dict[str, tuple[str, Callable[[], list[tuple[str, str]]]]] = {
    "compare": ("Models", _models),
    "annotate": ("Annotators", _annotators),
}


class _Command(click.Command):
    """A command that says at its end what it wrote, how long it took and, to a person, what comes next."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        heading, known = _LISTED.get(str(self.name), ("", list))
        if heading:
            with formatter.section(heading):
                formatter.write_dl(known())
        super().format_epilog(ctx, formatter)

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
    """Commands in the order of the pipeline."""

    command_class = _Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class _Main(_Group):
    """Its own commands, with the later steps where they belong; errors of the user's making without a traceback."""

    group_class = _Group

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = list(self.commands)
        place = names.index("figures")
        return [*names[:place], *STEPS, *names[place:]]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _later_step(STEPS[cmd_name]) if cmd_name in STEPS else super().get_command(ctx, cmd_name)

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


def _later_step(step: Step) -> click.Command:
    """Make the command of a step that reads what `compare` wrote."""

    def run(compared: Path, out: Path, options: Any) -> None:
        step(compared, out, options=options)

    decorated = _COMPARED(_OUT(command_options(step.options)(run)))
    return click.command(step.name, cls=_Command, help=step.help)(decorated)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="aida-tools")
def main() -> None:
    """Rerun, question and extend the AIDA comparison of regulatory T cell shares.

    Each command does one step and writes only under --out; `snakemake` runs them all.
    """
    mark_start()


@main.command()
@_OUT
@command_options(SampleOptions)
def sample(out: Path, options: SampleOptions) -> None:
    """Make the SYNTHETIC sample cohort, in the shape of AIDA v2, with its planted truth."""
    from aida_tools.sample.run import parse_batches, write_sample

    write_sample(
        out,
        seed=options.seed,
        donors_per_batch=options.donors_per_batch,
        cells_per_donor=options.cells_per_donor,
        batches=parse_batches(options.batches),
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
@_CLASSIFIERS
@click.option(
    "--classifier",
    "classifiers",
    multiple=True,
    metavar="NAME",
    help="Classifier to label cells by: its name in --classifiers or its path; may be repeated.",
)
@click.option(
    "--samples",
    type=_EXISTING,
    help="cells.parquet, or its folder. --pseudobulk, --expected and --thin need it.",
)
@click.option(
    "--pseudobulk",
    multiple=True,
    metavar="NAME",
    help="Annotator (author, gate or a classifier) by whose labels the counts of each sample are also summed; may be "
    "repeated.",
)
@click.option(
    "--expected",
    multiple=True,
    metavar="NAME",
    help="Classifier whose calibrated probabilities are also summed by sample and class; may be repeated.",
)
@click.option(
    "--thin",
    type=_EXISTING,
    metavar="SCAN",
    help="Downsample every site to the depth of the shallowest; SCAN is an earlier scan of all counts (folder or "
    "scan.parquet).",
)
@click.option(
    "--thin-by",
    default="site",
    show_default=True,
    metavar="COLUMN",
    help="What --thin brings to one depth: site, batch or another column of cells.parquet.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of --thin.")
@click.option("--cells", metavar="A:B", help="Scan only these rows of the file, counted from 0; row B is not included.")
@click.option("--part", metavar="K/N", help="Scan only the K-th of N parts of the file (instead of --cells).")
@click.option("--block", type=click.IntRange(1), default=2048, show_default=True, help="Cells read at a time.")
@click.option("--threads", type=click.IntRange(1), help="Threads at work; default: all cores.")
def scan(
    cohort: Path,
    fetched: Path,
    out: Path,
    gate: Path,
    samples: Path | None,
    classifiers: Sequence[str],
    classifier_folder: Path,
    **options: Any,
) -> None:
    """Read the counts once: quality, marker gate, scores of classifiers, sums by sample.

    Writes scan.parquet, one row per cell, and what --pseudobulk, --expected and --thin ask for: pseudobulk.NAME.h5ad,
    expected.NAME.parquet, thinning.tsv. --block and --threads are settings of memory and speed and do not change
    the result; `scan-gather` puts scans of parts of a file together.
    """
    from aida_tools.scan.run import scan as run

    run(
        cohort,
        fetched,
        out,
        gate_path=gate,
        samples_path=samples,
        classifiers=classifiers,
        classifier_folder=classifier_folder,
        **options,
    )


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
    metavar="NAME",
    help="One of the annotators listed below.",
)
@click.option("--fetched", type=_EXISTING, help="Folder of `fetch`. The annotator `protein` needs it.")
@click.option(
    "--label-map",
    type=_EXISTING,
    help="Table that says what each label is counted as; default: the classifier's own, or "
    "config/annotators/NAME.labels.tsv.",
)
@_CLASSIFIERS
@_OUT
def annotate(
    cohort: Path,
    cells: Path,
    scan: Path | None,
    annotator: str,
    out: Path,
    classifier_folder: Path,
    **options: Any,
) -> None:
    """Label the CELLS of a COHORT by one annotator; all but `author` and `protein` need the folder of SCAN."""
    from aida_tools.annotate.run import annotate as run

    run(cohort, cells, scan, annotator, out, classifier_folder=classifier_folder, **options)


@main.command()
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
def consensus(labels: tuple[Path, ...], out: Path) -> None:
    """Make one annotator of several LABELS: the type most of them name, or else the narrowest set they agree on."""
    from aida_tools.annotate.run import consensus as run

    run(labels, out)


@main.group()
def classifier() -> None:
    """Bring, convert, train or show a classifier, which labels cells. It is kept in a form that cannot carry code."""


@classifier.command("add")
@click.argument("name")
@_CLASSIFIERS_OUT
@click.option(
    "--label-map",
    type=_EXISTING,
    help="Table that says what each label is counted as; classes that it lacks are left out.",
)
@click.option("--wheels", type=_EXISTING, help="Folder with the wheels, where there is no network.")
def classifier_add(name: str, out: Path, label_map: Path | None, wheels: Path | None) -> None:
    """Bring the published classifier NAME (actinn, stcat) from its wheel, without installing or running it."""
    from aida_tools.annotate.published import add_classifier

    add_classifier(name, out, label_map=label_map, wheels=wheels)


@classifier.command("import")
@click.argument("file", type=_EXISTING)
@_CLASSIFIERS_OUT
@click.option("--name", help="Name of the classifier as an annotator; default: the name of the file.")
@click.option("--label-map", type=_EXISTING, help="Table that says what each label is counted as.")
def classifier_import(file: Path, out: Path, name: str | None, label_map: Path | None) -> None:
    """Convert a CellTypist classifier (FILE.pkl) without running what is in the pickle."""
    from aida_tools.annotate.classifiers import import_classifier

    import_classifier(file, out, name=name, label_map=label_map)


@classifier.command("train")
@click.argument("cohort", type=_EXISTING)
@click.argument("fetched", type=_EXISTING)
@click.argument("cells", type=_EXISTING)
@click.argument("labels", type=_EXISTING)
@_CLASSIFIERS_OUT
@click.option("--name", required=True, help="Name of the classifier as an annotator.")
@command_options(TrainOptions)
def classifier_train(
    cohort: Path, fetched: Path, cells: Path, labels: Path, out: Path, name: str, options: TrainOptions
) -> None:
    """Train a classifier on LABELS (a folder of `annotate`) of a COHORT; test it on donors it has not seen."""
    from aida_tools.annotate.train import train_classifier

    train_classifier(cohort, fetched, cells, labels, out, name=name, **asdict(options))


@classifier.command("show")
@click.argument("name")
@_CLASSIFIERS
def classifier_show(name: str, classifier_folder: Path) -> None:
    """Show classes, genes, source, licence and digest of the classifier NAME (or of its folder)."""
    from aida_tools.annotate.classifiers import show_classifier

    click.echo(show_classifier(name, classifier_folder))


@main.command()
@click.argument("cells", type=_EXISTING)
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
def counts(cells: Path, labels: tuple[Path, ...], out: Path) -> None:
    """Count the cell types in every sample of CELLS, for each folder of LABELS (one for each annotator).

    An annotator with calibrated probabilities (expected.tsv) also gives expected counts, as NAME:soft.
    """
    from aida_tools.compose.run import compose

    compose(cells, labels, out)


@main.command()
@click.argument("cells", type=_EXISTING)
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
@click.option("--scan", type=_EXISTING, help="scan.parquet, or its folder: also look by sequencing depth.")
@_COHORT
@command_options(AgreementOptions)
def agreement(
    cells: Path,
    labels: tuple[Path, ...],
    out: Path,
    scan: Path | None,
    cohort_path: Path | None,
    options: AgreementOptions,
) -> None:
    """Compare the annotators of the same CELLS: a folder of LABELS for each.

    Agreement and error by site, batch, donor and depth, with intervals from cells and between donors; precision-recall
    curves and calibration where labels have scores; and for X beside X-thinned, whether the share moves with depth.
    """
    from aida_tools.agreement.run import agreement as run

    run(cells, labels, out, scan_path=scan, cohort_path=cohort_path, options=options)


@main.command()
@click.argument("cohort", type=_EXISTING)
@click.argument("fetched", type=_EXISTING)
@click.argument("cells_parquet", metavar="CELLS", type=_EXISTING)
@click.argument("labels", type=_EXISTING, nargs=-1, required=True)
@_OUT
@command_options(AtlasOptions)
def atlas(
    cohort: Path,
    fetched: Path,
    cells_parquet: Path,
    labels: tuple[Path, ...],
    out: Path,
    options: AtlasOptions,
) -> None:
    """Draw a sketch of the cells that keeps rare types, and place it in the plane (UMAP): atlas.h5ad, sketch.tsv.

    The rare types of the first folder of LABELS are kept. Rare types are over-sampled: do not compute shares from it.
    """
    from aida_tools.atlas.run import atlas as run

    run(cohort, fetched, cells_parquet, labels, out, options=options)


@main.command("import-counts")
@click.argument("table", type=_EXISTING)
@click.option(
    "--column",
    multiple=True,
    metavar="NAME=COLUMN",
    help="Column of TABLE that is not a cell type, such as population=group; may be repeated.",
)
@click.option(
    "--id-pattern",
    metavar="PATTERN",
    help="Regular expression on the first column; its named groups become columns of samples.tsv.",
)
@_OUT
def import_counts(table: Path, column: tuple[str, ...], id_pattern: str | None, out: Path) -> None:
    """Turn a wide TABLE of counts (one row per sample, one column per cell type) into counts.tsv and samples.tsv."""
    from aida_tools.compose.wide import import_counts as run

    for pair in column:
        if "=" not in pair:
            raise click.UsageError(f"--column {pair}: write NAME=COLUMN, such as population=group.")
    run(table, out, columns=dict(pair.split("=", 1) for pair in column), pattern=id_pattern)


@main.command()
@click.argument("counts", type=_EXISTING)
@click.argument("samples", type=_EXISTING)
@_OUT
@click.option(
    "--denominators",
    "denominators_path",
    type=_EXISTING,
    metavar="TABLE",
    help="Table of named sets of cell types, as `counts` writes it.",
)
@_COHORT
@command_options(CompareOptions)
def compare(
    counts: Path,
    samples: Path,
    out: Path,
    denominators_path: Path | None,
    cohort_path: Path | None,
    options: CompareOptions,
) -> None:
    """Compare shares of cell types between populations: COUNTS.tsv and SAMPLES.tsv to estimates with a status."""
    from aida_tools.compare.run import compare as run

    run(counts, samples, out, options=options, denominators_path=denominators_path, cohort_path=cohort_path)


@main.command()
@_COMPARED
@_POPULATIONS
@_ALSO
@_OUT
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Figures drawn at a time.")
def figures(compared: Path, populations: Path, also: tuple[Path, ...], out: Path, threads: int) -> None:
    """Draw the figures of COMPARE_DIR as PDF, SVG and 300-dpi PNG, with their source tables."""
    from aida_tools.figures.run import draw_figures

    draw_figures(compared, populations, out, also=also, threads=threads)


@main.command()
@_COMPARED
@click.argument("drawn", metavar="FIGURES_DIR", type=_EXISTING)
@click.option(
    "--provenance",
    multiple=True,
    type=_EXISTING,
    metavar="FILE",
    help="provenance.json of an earlier step, to show as well; may be repeated.",
)
@_ALSO
@_OUT
def report(compared: Path, drawn: Path, provenance: tuple[Path, ...], also: tuple[Path, ...], out: Path) -> None:
    """Write one self-contained page on what COMPARE_DIR found, with the pictures of FIGURES_DIR."""
    from aida_tools.report.run import write_report

    write_report(compared, drawn, out, provenance=provenance, also=also)


if __name__ == "__main__":
    main()
