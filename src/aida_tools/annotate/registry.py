"""Who can say what a cell is: one entry an annotator, which the run file, the runner and the report ask.

Entries name their function by where it is, so that a run file is checked without loading what reads cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from aida_tools.core.names import (
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

Need = Literal["labels", "scan", "fetched", "proteins", "annotators"]
#: Classifiers that `aida-tools classifier add` brings.
PUBLISHED = (ACTINN, STCAT)


@dataclass(frozen=True)
class Annotator:
    """What is known of an annotator: the only home of what it is called, what it needs and how it labels.

    Attributes
    ----------
    name
        As in `--annotator` and in the run file.
    kind
        What sort of annotator it is, in a word: annotators that differ only in their settings share it.
    words
        What it is, in a few words: `gate (WORDS)`.
    run
        The function that labels, or where that is: `aida_tools.annotate.author:from_author`. Takes the
        `aida_tools.annotate.inputs.Inputs` and returns an `Annotation`. None where a command of its own labels.
    needs
        What it reads beside the cells: `labels` of the authors, a `scan`, the `fetched` data themselves, the data's
        `proteins`, the labels of all other `annotators`.
    taught
        Whether it knows more of a cell than the marker gate.
    reference
        Whether its labels are taken as the truth when others are compared with them.
    classifiers
        Names of the classifiers it is made of.
    soft
        Whether it gives calibrated probabilities, whose sums are the expected counts `NAME:soft`.
    label_map
        Whose table says what its labels are counted as; its own by default.
    """

    name: str
    kind: str
    words: str
    run: str | Callable[[Any], Any] | None
    needs: tuple[Need, ...] = ()
    taught: bool = True
    reference: bool = False
    classifiers: tuple[str, ...] = ()
    soft: bool = False
    label_map: str = ""

    @property
    def reads_counts(self) -> bool:
        """Whether it needs the counts of the cells."""
        return "scan" in self.needs or "fetched" in self.needs

    def __call__(self, inputs: Any) -> Any:
        """Label cells, importing what it takes only now."""
        run: Any = self.run
        if isinstance(run, str):
            module, _, name = run.partition(":")
            run = getattr(import_module(module), name)
        return run(inputs)


#: Name -> annotator.
ANNOTATORS: dict[str, Annotator] = {}


def register(annotator: Annotator) -> Annotator:
    """Add an annotator: it can then be named wherever an annotator can be."""
    ANNOTATORS[annotator.name] = annotator
    return annotator


_ROOM, _BOTH = "aida_tools.annotate", "two published classifiers for blood"
register(Annotator(AUTHOR, "author", "the authors' labels", f"{_ROOM}.author:from_author", ("labels",), reference=True))
register(Annotator(GATE, "gate", "the marker gate", f"{_ROOM}.scanned:from_gate", ("scan",), taught=False))
for _name, _rule, _function in (
    (BLOOD, "where they agree", "from_blood"),
    (BLOOD_SENSITIVE, "their scores added", "from_sensitive_blood"),
):
    _run = f"{_ROOM}.scanned:{_function}"
    register(Annotator(_name, "blood", f"{_BOTH}, {_rule}", _run, ("scan",), classifiers=PUBLISHED, label_map=ACTINN))
_run = f"{_ROOM}.proteins:from_proteins"
register(Annotator(PROTEIN, "protein", "gates on proteins", _run, ("fetched", "proteins"), reference=True))
register(Annotator(CONSENSUS, "consensus", "the labels that the others agree on", None, ("annotators",), taught=False))

_CLASSIFIER = Annotator("", "classifier", "a trained classifier", f"{_ROOM}.scanned:from_classifier", ("scan",))
_FOLDS = replace(_CLASSIFIER, kind="folds", words="classifiers, each used for the donors it did not see")


def base(name: str) -> str:
    """Return an annotator's name without what is done to its counts."""
    return name.removesuffix(SOFT).removesuffix(THINNED)


def find(name: str, folds: int = 1) -> Annotator:
    """Return the entry of an annotator, also if named by a variant; any unknown name is that of a classifier.

    Parameters
    ----------
    name
        The annotator, perhaps `NAME-thinned` or `NAME:soft`.
    folds
        In how many folds a classifier was trained.
    """
    name = base(name)
    if name in ANNOTATORS:
        return ANNOTATORS[name]
    kind = _FOLDS if folds > 1 else _CLASSIFIER
    return replace(kind, name=name, classifiers=tuple(fold_names(name, folds)), soft=name not in PUBLISHED)
