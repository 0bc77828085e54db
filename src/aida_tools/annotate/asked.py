"""Which annotators a run asks for: what each needs, and what a cohort cannot give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aida_tools.annotate.registry import ANNOTATORS, PUBLISHED, Annotator, base, find
from aida_tools.core.cohort_file import CellxgeneSource, CohortConfig
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.names import AUTHOR, BLOOD, GATE, SOFT, THINNED

#: Scans: of the counts as they are, and thinned.
SCAN, SCAN_THINNED = "scan", "scan-thinned"
#: Who labels where nobody is named: the first that all cohorts can have.
DEFAULTS = (AUTHOR, BLOOD, GATE)


class Training(Protocol):
    """A classifier trained in the run: the cohort and the annotator it learns from, and in how many folds."""

    @property
    def cohort(self) -> str:
        """Name of the cohort."""

    @property
    def annotator(self) -> str:
        """Whose labels it learns."""

    @property
    def folds(self) -> int:
        """Number of folds; 1 is a single classifier."""


def no_counts(cohort: CohortConfig) -> str:
    """Say why a cohort has no counts; empty if it has."""
    only_obs = isinstance(cohort.source, CellxgeneSource) and cohort.source.route == "obs"
    return "fetches only the cell table ('source.route: obs'). Set 'source.route: full'" if only_obs else ""


def _no_labels(cohort: CohortConfig) -> str:
    lacks = cohort.labels.column is None and cohort.labels.ids is None
    return "names no label column ('labels.column'). Name it" if lacks else ""


def _no_proteins(cohort: CohortConfig) -> str:
    lacks = cohort.proteins is None
    return "has no block 'proteins'. Say there which protein is which marker" if lacks else ""


_LACKS: dict[str, Callable[[CohortConfig], str]] = {
    "labels": _no_labels,
    "proteins": _no_proteins,
    "scan": no_counts,
    "fetched": no_counts,
}


def lacks(annotator: Annotator, cohort: CohortConfig) -> str:
    """Say what a cohort file lacks for an annotator and how to mend it; empty if nothing."""
    found = (_LACKS[need](cohort) for need in annotator.needs if need in _LACKS)
    return next((text for text in found if text), "")


def scan_of(name: str) -> str | None:
    """Return the scan an annotator takes its labels from; None if it needs none."""
    if "scan" not in find(name).needs:
        return None
    return SCAN_THINNED if name.removesuffix(SOFT).endswith(THINNED) else SCAN


@dataclass(frozen=True)
class Asked:
    """The annotators a run asks for.

    Attributes
    ----------
    names
        Annotators, the primary one first, variants (`NAME-thinned`, `NAME:soft`) included.
    train
        Classifiers trained in the run: name -> how.
    classifier_folder
        Folder of the other classifiers.
    """

    names: Sequence[str]
    train: Mapping[str, Training] = field(default_factory=dict)
    classifier_folder: Path = Path("classifiers")

    def entry(self, name: str) -> Annotator:
        """Return the entry of an annotator of this run."""
        training = self.train.get(base(name))
        return find(name, training.folds if training else 1)

    @property
    def labellers(self) -> list[str]:
        """The annotators that have a folder of labels, each once, in the order of the run."""
        return list(dict.fromkeys(name.removesuffix(SOFT) for name in self.names))

    @property
    def label_folders(self) -> list[str]:
        """The annotators whose labels this run makes: those it compares, and those classifiers learn from."""
        return list(dict.fromkeys([*self.labellers, *(training.annotator for training in self.train.values())]))

    @property
    def members(self) -> list[str]:
        """The annotators a consensus is of: all others of the run, on the counts as they are."""
        others = [name for name in self.labellers if "annotators" not in self.entry(name).needs]
        return [name for name in others if not name.endswith(THINNED)]

    def classifiers_of(self, name: str) -> list[str]:
        """Return the classifiers an annotator is made of; folds are classifiers of their own."""
        return list(self.entry(name).classifiers)

    def classifiers_of_scan(self, scan: str) -> list[str]:
        """Return all classifiers a scan is to apply, each once."""
        wanted = [one for name in self.labellers if scan_of(name) == scan for one in self.classifiers_of(name)]
        return list(dict.fromkeys(wanted))

    def expected_of_scan(self, scan: str) -> list[str]:
        """Return the classifiers whose expected counts a scan is to sum."""
        soft = [name for name in self.names if name.endswith(SOFT) and scan_of(name) == scan]
        return [one for name in soft for one in self.classifiers_of(name)]

    def default(self, cohorts: Sequence[CohortConfig]) -> str:
        """Return who labels if nobody is named.

        Returns
        -------
        The authors, where every cohort has their labels; else `blood`, where its classifiers are installed; else
        `gate`.
        """
        for name in DEFAULTS:
            entry = find(name)
            installed = all((self.classifier_folder / one).is_dir() for one in entry.classifiers)
            if installed and not any(lacks(entry, cohort) for cohort in cohorts):
                return name
        return DEFAULTS[-1]

    def check(self, cohorts: Sequence[str], source: Path | str) -> None:
        """Check that the annotators can be had, and their variants.

        Parameters
        ----------
        cohorts
            Names of the cohorts of the run.
        source
            The run file, for messages.

        Raises
        ------
        AidaError
            Naming the key, the value and the fix.
        """
        self._check_training(cohorts, source)
        for name in self.names:
            key, entry = f"{source}: key 'annotators', value '{name}'", self.entry(name)
            known = (*ANNOTATORS, *PUBLISHED, *self.train)
            if entry.name not in known and not (self.classifier_folder / entry.name).is_dir():
                raise AidaError(
                    f"{key}: there is no classifier '{entry.name}' in {self.classifier_folder}. "
                    f"{did_you_mean(entry.name, known)} For a classifier of your own, bring it (`aida-tools classifier "
                    "import`), or train it (`aida-tools classifier train`, or key 'train' of this file)."
                )
            if name != entry.name and "scan" not in entry.needs:
                raise AidaError(
                    f"{key}: only an annotator that reads a scan can be thinned or soft. Name '{entry.name}'."
                )
            if name.endswith(SOFT) and not entry.soft:
                raise AidaError(
                    f"{key}: '{entry.name}' gives no calibrated probabilities, so it has no expected counts. Take a "
                    "classifier that was trained here (key 'train') or by `aida-tools classifier train`."
                )
            if "annotators" in entry.needs and len(self.members) < 2:
                raise AidaError(
                    f"{key}: '{name}' is made of the other annotators of this run and needs two of them at least."
                )

    def _check_training(self, cohorts: Sequence[str], source: Path | str) -> None:
        for name, training in self.train.items():
            key = f"{source}: key 'train.{name}"
            if training.cohort not in cohorts:
                known = ", ".join(cohorts)
                raise AidaError(f"{key}.cohort', value '{training.cohort}': not a cohort of this run ({known}).")
            used = any(base(one) == name for one in self.names)
            if used and training.folds > 1 and len(cohorts) > 1:
                raise AidaError(
                    f"{key}.folds', value {training.folds}: folds label the donors of '{training.cohort}' only, and "
                    "this run has other cohorts. Set 'folds: 1', or run the cohorts apart."
                )

    def check_cohort(self, path: str, cohort: CohortConfig, source: Path | str) -> None:
        """Check that a cohort has what the annotators read.

        Parameters
        ----------
        path
            The cohort file.
        cohort
            What it says.
        source
            The run file, for messages.

        Raises
        ------
        AidaError
            Naming the annotator, the cohort file and the fix.
        """
        learnt = [training.annotator for training in self.train.values() if training.cohort == cohort.name]
        for name in (*self.names, *learnt):
            entry = self.entry(name)
            if lack := lacks(entry, cohort):
                raise AidaError(
                    f"{source}: key 'annotators': '{name}' ({entry.words}) cannot label cohort '{cohort.name}': "
                    f"{path} {lack}, or choose another annotator."
                )
