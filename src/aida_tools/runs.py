"""What a run asks of each step: who labels the cells, by which models of which scan, and the commands' options."""

from __future__ import annotations

from pathlib import Path

from aida_tools.config import CellxgeneSource, CohortConfig, RunConfig
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.tables import (
    ACTINN,
    AUTHOR,
    BLOOD,
    BLOOD_SENSITIVE,
    CONSENSUS,
    GATE,
    PROTEIN,
    SOFT,
    STCAT,
    THINNED,
    fold_names,
)

#: Models that `aida-tools model add` brings, and the annotators that are made of both of them.
PUBLISHED = (ACTINN, STCAT)
OF_BOTH = (BLOOD, BLOOD_SENSITIVE)
#: Scans: of the counts as they are, and thinned.
SCAN, SCAN_THINNED = "scan", "scan-thinned"


def base(name: str) -> str:
    """Return an annotator's name without what is done to its counts."""
    return name.removesuffix(SOFT).removesuffix(THINNED)


def labellers(run: RunConfig) -> list[str]:
    """Return the annotators that have a folder of labels, each once, in the order of the run."""
    return list(dict.fromkeys(name.removesuffix(SOFT) for name in run.annotators))


def label_folders(run: RunConfig) -> list[str]:
    """Return the annotators whose labels this run makes: those it compares, and those models learn from."""
    return list(dict.fromkeys([*labellers(run), *(training.annotator for training in run.train.values())]))


def reads_counts(name: str) -> bool:
    """Say whether an annotator needs the counts of the cells."""
    return base(name) not in (AUTHOR, CONSENSUS)


def scan_of(name: str) -> str | None:
    """Return the scan an annotator takes its labels from; none for labels of authors, proteins and consensus."""
    if base(name) in (AUTHOR, PROTEIN, CONSENSUS):
        return None
    return SCAN_THINNED if name.removesuffix(SOFT).endswith(THINNED) else SCAN


def members(run: RunConfig) -> list[str]:
    """Return the annotators a consensus is of: all others of the run, on the counts as they are."""
    return [name for name in labellers(run) if name != CONSENSUS and not name.endswith(THINNED)]


def models_of(run: RunConfig, name: str) -> list[str]:
    """Return the models an annotator is made of; folds are models of their own."""
    name = base(name)
    if name in OF_BOTH:
        return list(PUBLISHED)
    if name in (AUTHOR, GATE, PROTEIN, CONSENSUS):
        return []
    return fold_names(name, run.train[name].folds if name in run.train else 1)


def models_of_scan(run: RunConfig, scan: str) -> list[str]:
    """Return all models a scan is to apply, each once."""
    wanted = [model for name in labellers(run) if scan_of(name) == scan for model in models_of(run, name)]
    return list(dict.fromkeys(wanted))


def expected_of_scan(run: RunConfig, scan: str) -> list[str]:
    """Return the models whose expected counts a scan is to sum."""
    soft = [name for name in run.annotators if name.endswith(SOFT) and scan_of(name) == scan]
    return [model for name in soft for model in models_of(run, name)]


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
    models are installed; else `gate`.

    Raises
    ------
    AidaError
        Naming the key, the cohort and the fix.
    """
    names: dict[str, str] = {}
    for path, cohort in cohorts.items():
        if cohort.name in names:
            msg = f"{source}: key 'cohorts': {path} and {names[cohort.name]} both have the name '{cohort.name}'."
            raise AidaError(msg)
        names[cohort.name] = path
    if not run.annotators:
        run = run.model_copy(update={"annotators": [_default_annotator(run, cohorts)]})
    _check_annotators(run, names, source)
    for path, cohort in cohorts.items():
        _check_cohort(run, path, cohort, source)
    return run


def _default_annotator(run: RunConfig, cohorts: dict[str, CohortConfig]) -> str:
    if all(cohort.labels.column is not None or cohort.labels.ids is not None for cohort in cohorts.values()):
        return AUTHOR
    installed = all((Path(run.model_folder) / name).is_dir() for name in PUBLISHED)
    return BLOOD if installed else GATE


def _check_annotators(run: RunConfig, cohorts: dict[str, str], source: Path | str) -> None:
    for name, training in run.train.items():
        if training.cohort not in cohorts:
            known = ", ".join(cohorts)
            msg = f"{source}: key 'train.{name}.cohort', value '{training.cohort}': not a cohort of this run ({known})."
            raise AidaError(msg)
        used = [one for one in labellers(run) if base(one) == name]
        if used and training.folds > 1 and len(cohorts) > 1:
            msg = (
                f"{source}: key 'train.{name}.folds', value {training.folds}: folds label the donors of "
                f"'{training.cohort}' only, and this run has other cohorts. Set 'folds: 1', or run them apart."
            )
            raise AidaError(msg)
    for name in run.annotators:
        known_to_exist = (AUTHOR, GATE, PROTEIN, CONSENSUS, *OF_BOTH, *PUBLISHED, *run.train)
        if base(name) not in known_to_exist and not (Path(run.model_folder) / base(name)).is_dir():
            msg = (
                f"{source}: key 'annotators', value '{name}': there is no model '{base(name)}' in {run.model_folder}. "
                f"{did_you_mean(base(name), known_to_exist)} A model of your own: bring it (`aida-tools model import` "
                "or `model train`), or train it in this run ('train')."
            )
            raise AidaError(msg)
        if scan_of(name) is None and name != base(name):
            msg = f"{source}: key 'annotators', value '{name}': only labels from a scan have a variant of that kind."
            raise AidaError(msg)
        if name.endswith(SOFT) and not models_of(run, name):
            msg = (
                f"{source}: key 'annotators', value '{name}': the gate gives no calibrated probabilities, so there "
                "are no expected counts. Take a trained model."
            )
            raise AidaError(msg)
    if CONSENSUS in run.annotators and len(members(run)) < 2:
        msg = f"{source}: key 'annotators': 'consensus' is of the others listed, and needs two of them at least."
        raise AidaError(msg)


def _check_cohort(run: RunConfig, path: str, cohort: CohortConfig, source: Path | str) -> None:
    learnt = [t.annotator for t in run.train.values() if t.cohort == cohort.name]
    if AUTHOR in (*run.annotators, *learnt) and cohort.labels.column is None and cohort.labels.ids is None:
        msg = (
            f"{source}: key 'annotators' asks for the authors' labels ('author'), but {path} names no label column "
            "('labels.column'). Name it, or use another annotator ('gate')."
        )
        raise AidaError(msg)
    if PROTEIN in run.annotators and cohort.proteins is None:
        msg = (
            f"{source}: key 'annotators' asks for protein gates ('protein'), but {path} has no block 'proteins'. Say "
            "there which protein is which marker, or leave the annotator out."
        )
        raise AidaError(msg)
    counting = [f"annotator '{name}'" for name in run.annotators if reads_counts(name)]
    counting += ["key 'atlas'"] if run.atlas else []
    if counting and isinstance(cohort.source, CellxgeneSource) and cohort.source.route == "obs":
        msg = (
            f"{source}: {counting[0]} reads the counts, but {path} fetches only the cell table "
            "('source.route: obs'). Set 'source.route: full', or keep to the annotator 'author'."
        )
        raise AidaError(msg)


def train_options(run: RunConfig, name: str) -> list[str]:
    """Translate how a model is to be trained into the options of `aida-tools model train`."""
    training = run.train[name]
    numbers = {
        "--folds": training.folds,
        "--genes-per-class": training.genes_per_class,
        "--cells-per-class": training.cells_per_class,
        "--seed": run.seed,
    }
    return [word for flag, number in numbers.items() for word in (flag, str(number))]


def compare_options(run: RunConfig) -> list[str]:
    """Translate a run into the options of `aida-tools compare`.

    Returns
    -------
    The arguments, each an item, ready to be quoted for a shell.
    """
    options = ["--formula", run.formula, "--focus", run.focus, "--min-cells", str(run.min_cells)]
    options += ["--seed", str(run.seed), "--robust" if run.robust else "--no-robust"]
    options += ["--primary-denominator", run.denominator, "--primary-annotator", run.annotators[0]]
    for flag, values in (
        ("--model", run.models),
        ("--contrast", run.contrasts),
        ("--exclude-population", run.exclude_populations),
    ):
        for value in values:
            options += [flag, value]
    return [*options, "--one-vs-rest"] if run.one_vs_rest else options


def robustness_options(run: RunConfig) -> list[str]:
    """Translate a run into the options of `aida-tools robustness`, as `compare_options` does."""
    numbers = {"--seed": run.seed, "--permutations": run.permutations, "--specifications": run.specifications}
    return [word for flag, number in numbers.items() for word in (flag, str(number))]


def atlas_options(run: RunConfig) -> list[str]:
    """Translate the sketch a run asks for into the options of `aida-tools atlas`; none if it asks for none."""
    if run.atlas is None:
        return []
    numbers = {"--cells": run.atlas.cells, "--genes": run.atlas.genes, "--seed": run.seed}
    options = [word for flag, number in numbers.items() for word in (flag, str(number))]
    return [*options, "--harmony"] if run.atlas.harmony else options
