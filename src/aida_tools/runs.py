"""A run: what its file may say, who labels the cells, and what it asks of each step."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, create_model

from aida_tools import rooms
from aida_tools.agreement.step import Options as AgreementOptions
from aida_tools.annotate.asked import Asked, no_counts
from aida_tools.annotate.registry import base
from aida_tools.annotate.step import TrainOptions
from aida_tools.atlas.step import Options as AtlasOptions
from aida_tools.compare.step import Options as CompareOptions
from aida_tools.core.cohort_file import CohortConfig
from aida_tools.core.config import Closed, parse, read_yaml
from aida_tools.core.errors import AidaError, closest, did_you_mean
from aida_tools.core.names import FOCUS
from aida_tools.core.options import OF_THE_MACHINE, SHARED, fields, option, options
from aida_tools.core.steps import STEPS

rooms.load("step")

_AT_THE_TOP = "It stands at the top of the run file, once for all steps."
#: Options that no block of the run file holds, and why.
ELSEWHERE = {
    **dict.fromkeys(SHARED, _AT_THE_TOP),
    **dict.fromkeys(OF_THE_MACHINE, "It changes no result, so that it is an option of the command only."),
    "primary_annotator": "The first of 'annotators' is the primary one.",
}


@options
class Training(TrainOptions):
    """A classifier trained on a labelled cohort of the run."""

    cohort: str = option(default=..., help="Name of the cohort it learns from.")
    annotator: str = option(default="author", help="Annotator whose labels it learns.")


class RunConfig(Closed):
    """One run: which cohorts, who labels the cells, and the options of each step."""

    results: str = Field("results", description="Folder for all results, relative to the working directory.")
    cohorts: list[str] = Field(min_length=1, description="Cohort files, relative to the working directory.")
    populations: str = Field(
        "config/populations.tsv", description="Table of population codes, labels, ids and colours."
    )
    seed: int = Field(1, ge=0, description="Seed of the random numbers of every step.")
    focus: str = Field(FOCUS, description="Cell type in question.")
    annotators: list[str] = Field(
        default_factory=list,
        description="Who says what a cell is, the primary one first: one of the annotators listed below, or a "
        "classifier of `train` or `classifier_folder`. `NAME-thinned` is NAME on counts thinned to one depth, "
        "`NAME:soft` the expected counts of a trained classifier. Default: the authors' labels; for cohorts without, "
        "`blood` if its classifiers are in "
        "`classifier_folder`, else `gate`.",
    )
    train: dict[str, Training] = Field(
        default_factory=dict, description="Classifiers to train: name -> how. They go to `<results>/classifiers`."
    )
    classifier_folder: str = Field(
        "classifiers", description="Folder of classifiers added or imported, shared by runs."
    )
    thin_by: Literal["site", "batch"] = Field("site", description="What has one depth after thinning.")
    scan_parts: int = Field(
        1, ge=1, description="Number of jobs that the pass over the counts is cut into, for a cluster."
    )
    agreement: AgreementOptions = Field(default_factory=AgreementOptions, description="Comparison of the annotators.")
    atlas: AtlasOptions | None = Field(
        None, description="A picture of a sketch of the cells, drawn only if this block is there: `{cells: 50000}`."
    )
    compare: CompareOptions = Field(default_factory=CompareOptions, description="Comparison of the populations.")


def run_class() -> type[RunConfig]:
    """Return the class of a run file: its own keys, and a block for each step that is registered by now."""
    later: dict[str, Any] = {
        step.name: (
            step.options,
            Field(default_factory=step.options, description=f"Options of the step `{step.name}`."),
        )
        for step in STEPS.values()
    }
    return create_model("RunConfig", __base__=RunConfig, __doc__=RunConfig.__doc__, **later)


def blocks() -> dict[str, type]:
    """Return the blocks of options of a run file: key -> class."""
    found = {}
    for name, field in run_class().model_fields.items():
        kinds = [k for k in (field.annotation, *get_args(field.annotation)) if hasattr(k, "__pydantic_fields__")]
        if kinds and name != "train":
            found[name] = kinds[0]
    return found


def _check_places(values: dict[str, Any], source: Path | str) -> None:
    """Refuse options that stand in the wrong place, naming the right one."""
    own = run_class().model_fields
    homes: dict[str, list[str]] = {}
    for place, kind in blocks().items():
        for name in fields(kind):
            if name not in ELSEWHERE:
                homes.setdefault(name, []).append(place)
    for key in values:
        if key not in own:
            hint = [] if key in homes else [did_you_mean(key, [*own, *homes])]
            if places := homes.get(closest(key, [*own, *homes]) or ""):
                hint.append(f"It belongs to the block {' or '.join(map(repr, places))}.")
            raise AidaError(f"{source}: unknown key '{key}'. {' '.join(hint)}")
    train = values.get("train")
    trained = {f"train.{name}": one for name, one in train.items()} if isinstance(train, dict) else {}
    for place, block in (trained | {name: values[name] for name in blocks() if name in values}).items():
        kind = blocks().get(place, Training)
        for key in block if isinstance(block, dict) else ():
            if key in ELSEWHERE and key in fields(kind):
                raise AidaError(f"{source}: unknown key '{place}.{key}'. {ELSEWHERE[key]}")


def parse_run(values: Any, source: Path | str) -> RunConfig:
    """Check the keys of a run file and fill its defaults; what all steps share stands in every block afterwards.

    Parameters
    ----------
    values
        The keys.
    source
        Where they came from, for messages.

    Raises
    ------
    AidaError
        Naming the file, the key and the value; for an unknown key, the nearest known one, or the block it belongs to.
    """
    if isinstance(values, dict):
        _check_places(values, source)
    run = parse(values, run_class(), source)

    def shared(block: Any) -> Any:
        return block and replace(block, **{name: getattr(run, name) for name in SHARED if name in fields(type(block))})

    update = {name: shared(getattr(run, name)) for name in blocks()}
    update["train"] = {name: shared(training) for name, training in run.train.items()}
    return run.model_copy(update=update)


def load_run(path: Path) -> RunConfig:
    """Read and check a run file; see `parse_run`."""
    return parse_run(read_yaml(Path(path)), path)


def asked(run: RunConfig) -> Asked:
    """Return the annotators a run asks for."""
    return Asked(run.annotators, run.train, Path(run.classifier_folder))


def settle(run: RunConfig, cohorts: dict[str, CohortConfig], source: Path | str) -> RunConfig:
    """Check that a run asks nothing that cannot be given, and settle who labels if it does not say.

    Parameters
    ----------
    run
        The run.
    cohorts
        Its cohorts: path of the cohort file -> cohort.
    source
        The run file, for messages.

    Returns
    -------
    The run with its annotators: by default the authors, where every cohort has their labels; else `blood`, where its
    classifiers are installed; else `gate`. The primary annotator is known to `compare`, the primary denominator to
    `agreement`.

    Raises
    ------
    AidaError
        Naming the key, the cohort and the fix.
    """
    names: dict[str, str] = {}
    for path, cohort in cohorts.items():
        if cohort.name in names:
            raise AidaError(
                f"{source}: key 'cohorts': {path} and {names[cohort.name]} both have the name '{cohort.name}'."
            )
        names[cohort.name] = path
    if not run.annotators:
        run = run.model_copy(update={"annotators": [asked(run).default(list(cohorts.values()))]})
    asked(run).check(list(names), source)
    _check_unseen(run, names, source)
    for path, cohort in cohorts.items():
        asked(run).check_cohort(path, cohort, source)
        if run.atlas and (lack := no_counts(cohort)):
            raise AidaError(
                f"{source}: key 'atlas' needs the counts of cohort '{cohort.name}': {path} {lack}, or leave it out."
            )
    within = run.agreement.within
    if not within and run.compare.primary_denominator not in (None, "all"):
        within = (run.compare.primary_denominator,)
    compare = replace(run.compare, primary_annotator=run.annotators[0])
    return run.model_copy(update={"compare": compare, "agreement": replace(run.agreement, within=within)})


def _check_unseen(run: RunConfig, cohorts: dict[str, str], source: Path | str) -> None:
    """Refuse, or say, that a single classifier labels the very donors it has learnt from."""
    for name, training in run.train.items():
        if training.folds == 1 and name in map(base, run.annotators):
            msg = (
                f"{source}: key 'train.{name}.folds', value 1: classifier '{name}' would label donors of "
                f"'{training.cohort}' that it has learnt from. "
            )
            if len(cohorts) == 1:
                raise AidaError(f"{msg}Set 'folds: 2' or more, so that each donor is labelled by one that did not.")
            print(f"aida-tools: {msg}Do not trust its labels there.", file=sys.stderr)
