"""Training classifiers on a labelled cohort, to carry its labels to another or to check them against their own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.annotate import learn
from aida_tools.annotate.classifiers import check_name
from aida_tools.annotate.expression import TARGET, choose_genes, gather_expression
from aida_tools.annotate.folds import ROLE
from aida_tools.annotate.tables import DONORS
from aida_tools.cohort.source import SOURCE, counts_file
from aida_tools.core.cohort_file import load_cohort
from aida_tools.core.errors import AidaError
from aida_tools.core.files import file_of, staged
from aida_tools.core.names import fold_names
from aida_tools.core.schema import write_tables
from aida_tools.core.tables import CELLS, LABELS, SETS, read_cells, read_denominators
from aida_tools.core.words import left_out
from aida_tools.scan.classifier import LinearClassifier, probabilities, save_linear
from aida_tools.scan.stores import open_counts
from aida_tools.scan.tables import LABEL_MAP

_CLIP = 10.0
#: Cells scored at a time.
_BLOCK = 4096
#: Bytes that the dense arrays of folds fitted at the same time may take; one fold at least is fitted.
_DENSE = 512e6


def _label_map(labels: pd.DataFrame, sets: pd.DataFrame, cell_type_id: pd.Series, column: str) -> pd.DataFrame:
    """Say what each class is counted as: what it was counted as where the classifier was trained."""
    known = pd.DataFrame({"label": labels[column], "cell_type": labels["cell_type"], "cell_type_id": cell_type_id})
    known = known.dropna(subset=["label", "cell_type"]).drop_duplicates()
    member = sets.groupby("cell_type")["denominator"].agg(",".join)
    rows = []
    for name, group in known.groupby("label", observed=True):
        types, ids = group["cell_type"].unique(), group["cell_type_id"].dropna().unique()
        if len(types) > 1:
            raise AidaError(
                f"label '{name}' is counted as {', '.join(map(str, types))}: train on the counted types instead."
            )
        cd4 = "CD4_T" in str(member.get(types[0])).split(",")
        treg = "in" if types[0] == "Treg" else "out" if cd4 else None
        rows.append((name, types[0], ids[0] if len(ids) == 1 else None, member.get(types[0]), treg))
    return pd.DataFrame(rows, columns=LABEL_MAP.names)


@dataclass(frozen=True)
class Labelled:
    """The labelled cells of a cohort.

    Attributes
    ----------
    label
        Class of each cell, array of shape (n_cells,); -1 for none.
    classes
        Names of the classes.
    donor
        Donor of each cell, array of shape (n_cells,).
    donors
        Names of the donors.
    site
        Name of the site of each cell, array of shape (n_cells,).
    is_control
        Whether a donor is a control, array of shape (n_donors,).
    """

    label: NDArray[np.intp]
    classes: NDArray[np.str_]
    donor: NDArray[np.intp]
    donors: NDArray[np.object_]
    site: NDArray[np.object_]
    is_control: NDArray[np.bool_]

    def split(self, n_folds: int, rng: np.random.Generator, source: Path | str) -> NDArray[np.int8]:
        """Give every donor its role in every fold, array of shape (n_folds, n_donors).

        Controls are one person in batch after batch: nothing is learnt from them, nor judged by them.

        Raises
        ------
        AidaError
            If there are too few donors for so many folds.
        """
        people = np.flatnonzero(~self.is_control)
        largest = 1 if n_folds == 1 else -(-len(people) // n_folds)
        if len(people) < max(n_folds, largest + 2) or len(self.classes) < 2:
            raise AidaError(
                f"{source}: {len(people)} donors (controls aside) and {len(self.classes)} classes, for {n_folds} "
                "fold(s). A classifier needs two classes, and in every fold a donor to learn from, one to calibrate on "
                "and one to be tested on."
            )
        first = np.unique(self.donor, return_index=True)[1]
        strata = pd.factorize(self.site[first], sort=True)[0]
        roles = np.full((n_folds, len(self.donors)), learn.UNUSED, dtype=np.int8)
        roles[:, people] = learn.split_donors(strata[people], n_folds, rng)
        return roles


@dataclass(frozen=True)
class Fold:
    """What one fold has to work with: the drawn cells, which all folds share, and its own genes.

    Attributes
    ----------
    expression
        log1p expression of all drawn cells and the genes of all folds, shape (n_drawn, n_genes).
    genes
        Columns of the genes of this fold.
    label
        Class of each drawn cell, array of shape (n_drawn,).
    learn, calibrate, test
        Which drawn cells are for what, arrays of shape (n_drawn,).
    sizes
        Cells of each class among all those of the donors to learn from, array of shape (n_classes,).
    """

    expression: sp.csr_matrix
    genes: NDArray[np.intp]
    label: NDArray[np.intp]
    learn: NDArray[np.bool_]
    calibrate: NDArray[np.bool_]
    test: NDArray[np.bool_]
    sizes: NDArray[np.intp]


@dataclass(frozen=True)
class Fitted:
    """A fitted fold: its classes (of all), the parameters of `LinearClassifier`, and the scores of its test cells."""

    present: NDArray[np.intp]
    parameters: dict[str, Any]
    scores: NDArray[np.float64]


def fit_fold(fold: Fold, penalty: float) -> Fitted:
    """Fit and calibrate the classifier of one fold, and score its test cells.

    Classes no donor to learn from has are left out.
    """
    present = np.flatnonzero(np.bincount(fold.label[fold.learn], minlength=len(fold.sizes)))
    place = np.full(len(fold.sizes), -1)
    place[present] = np.arange(len(present))
    y = place[fold.label]
    weights = learn.class_weights(fold.label[fold.learn], fold.sizes)
    mine = fold.expression[fold.learn][:, fold.genes]
    coef, intercept, mean, scale = learn.fit(mine, y[fold.learn], weights, _CLIP, penalty)
    del mine

    def score(which: NDArray[np.bool_]) -> NDArray[np.float64]:
        rows = np.flatnonzero(which)
        parts = [
            learn.standardise(fold.expression[rows[i : i + _BLOCK]][:, fold.genes], mean, scale, _CLIP) @ coef.T
            for i in range(0, len(rows), _BLOCK)
        ]
        return np.vstack(parts) + intercept if parts else np.empty((0, len(present)))

    known = fold.calibrate & (y >= 0)
    temperature = learn.fit_temperature(score(known), y[known])
    parameters = {
        "coef": coef, "intercept": intercept, "mean": mean.astype(np.float64), "scale": scale.astype(np.float64),
        "clip": _CLIP, "target": TARGET, "link": "softmax", "temperature": temperature,
    }  # fmt: skip
    return Fitted(present, parameters, score(fold.test))


def evaluation(
    classifier: LinearClassifier,
    fitted: Fitted,
    truth: NDArray[np.intp],
    sites: NDArray[np.object_],
    classes: list[str],
) -> dict[str, pd.DataFrame]:
    """Judge a classifier by its test cells: tables `evaluation`, `reliability` and `evaluation_by_site`."""
    probability = np.zeros((len(truth), len(classes)))
    probability[:, fitted.present] = probabilities(classifier, fitted.scores)
    by_class, reliability = learn.evaluate(truth, probability, classes)
    by_site = []
    for site in sorted(set(sites)):
        here = sites == site
        table, _ = learn.evaluate(truth[here], probability[here], classes)
        by_site.append(table.assign(site=site)[["site", *table.columns]])
    return {"evaluation": by_class, "reliability": reliability, "evaluation_by_site": pd.concat(by_site)}


def read_labelled(cells_path: Path, labels_path: Path, label: str) -> tuple[Labelled, pd.DataFrame]:
    """Read the cells of a cohort with their labels, and what each label is counted as.

    Raises
    ------
    AidaError
        If the labels are of other cells.
    """
    cells = read_cells(cells_path, columns=["cell_id", "donor_id", "site", "is_control", "cell_type_id"])
    labels = read_cells(labels_path / LABELS.file, columns=["cell_id", "cell_type", "label"])
    if not np.array_equal(labels["cell_id"].to_numpy(), cells["cell_id"].to_numpy()):
        raise AidaError(
            f"{labels_path / LABELS.file}: its cells are not those of {cells_path}. Run `aida-tools annotate` again."
        )
    codes, classes = pd.factorize(labels[label], sort=True)
    donor, donors = pd.factorize(cells["donor_id"])
    is_control = cells["is_control"].groupby(donor).any().to_numpy(bool)
    site = cells["site"].astype(object).fillna("unknown").to_numpy(object)
    names = np.array([str(c) for c in classes])
    label_map = _label_map(labels, read_denominators(labels_path / SETS.file), cells["cell_type_id"], label)
    return Labelled(codes, names, donor, np.asarray(donors, dtype=object), site, is_control), label_map


def train_classifier(
    cohort_path: Path,
    fetched: Path,
    cells_path: Path,
    labels_path: Path,
    out: Path,
    *,
    name: str,
    folds: int = 1,
    label: str = "cell_type",
    genes_per_class: int = 100,
    cells_per_class: int = 2000,
    penalty: float = 3e-4,
    seed: int = 1,
) -> None:
    """Train a classifier on the labels of a cohort; test and calibrate it on donors it has not seen.

    Parameters
    ----------
    cohort_path, fetched
        The cohort file, and the folder in which `fetch` left its results.
    cells_path
        `cells.parquet` or its folder, for the donors.
    labels_path
        Folder of an annotator, `author` as a rule, whose labels are learnt.
    out
        Folder of classifiers; the classifier becomes a folder in it.
    name
        Its name as an annotator.
    folds
        Above 1: K-fold by donor. So many classifiers `NAME.1`, `NAME.2` ... are trained, and `annotate --annotator
        NAME` labels each donor by the classifier that did not see it. Sites are spread over the folds. Controls (one
        person in batch after batch) are neither learnt from nor judged by, but may be labelled.
    label
        `cell_type`, the counted types, or `label`, as the annotator gave them.
    genes_per_class
        Genes each class may name as features.
    cells_per_class
        About how many cells of a class each classifier learns from, at most: bounds memory and time, whatever the size
        of the cohort.
    penalty
        Strength of the L2 penalty.
    seed
        Seed of the split of donors and of the draw of cells.

    Raises
    ------
    AidaError
        If there are too few donors or classes. A class none of a fold's donors to learn from has is left out of its
        classifier, with a warning.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    check_name(name)
    cohort = load_cohort(cohort_path)
    cells_path = file_of(cells_path, CELLS.file)
    cells, label_map = read_labelled(cells_path, labels_path, label)
    _report_unused(cells)
    rng = np.random.default_rng(seed)
    roles = cells.split(folds, rng, cells_path)
    names = fold_names(name, folds)
    rows, in_pool, in_natural = learn.draw_cells(cells.label, roles[:, cells.donor], cells_per_class, rng)
    y, role = cells.label[rows], roles[:, cells.donor[rows]]
    learning = (role == learn.LEARN) & in_pool
    sizes = [_check_fold(cells, mine, name) for mine, name in zip(roles, names, strict=True)]
    source = counts_file(fetched)
    with open_counts(source.path, source.format, cohort.counts_layer) as counts:
        genes = choose_genes(counts, rows, np.where(learning, y, -1), len(cells.classes), genes_per_class)
        every = np.unique(np.concatenate(genes))
        expression = gather_expression(counts, rows, every)
        ids, symbols = (known.astype(str) for known in (counts.genes.ids, counts.genes.symbols))

    def fit(k: int) -> Fitted:
        calibrate, test = ((role[k] == which) & in_natural for which in (learn.CALIBRATE, learn.TEST))
        return fit_fold(
            Fold(expression, np.searchsorted(every, genes[k]), y, learning[k], calibrate, test, sizes[k]), penalty
        )

    # Threads of the matrix products would fight those of the folds, and cost more than they bring.
    dense = 4 * max(len(chosen) * int(mine.sum()) for chosen, mine in zip(genes, learning, strict=True))
    at_once = max(1, min(os.cpu_count() or 1, folds, int(_DENSE // dense)))
    with threadpool_limits(1), ThreadPoolExecutor(at_once) as pool:
        fitted = list(pool.map(fit, range(folds)))
    inputs = [cohort_path, fetched / SOURCE, cells_path, labels_path / LABELS.file, labels_path / SETS.file]
    config = {
        "folds": folds, "label": label, "genes_per_class": genes_per_class, "cells_per_class": cells_per_class,
        "penalty": penalty,
    }  # fmt: skip
    for k, (classifier_name, one) in enumerate(zip(names, fitted, strict=True)):
        about = {
            "origin": f"trained by aida-tools on cohort '{cohort.name}', annotator '{labels_path.name}'",
            "licence": cohort.licence or "that of the cohort",
            "citation": cohort.citation,
            **_about(cells, roles[k], int(learning[k].sum()), cells_per_class),
            "seed": seed,
        }
        classifier = LinearClassifier(
            name=classifier_name, genes=ids[genes[k]], symbols=symbols[genes[k]], classes=cells.classes[one.present],
            about=about, **one.parameters,
        )  # fmt: skip
        test = (role[k] == learn.TEST) & in_natural
        tables = evaluation(classifier, one, y[test], cells.site[rows[test]], cells.classes.tolist())
        with staged(out / classifier_name, step="classifier train", inputs=inputs, config=config, seed=seed) as staging:
            save_linear(classifier, staging)
            LABEL_MAP.write(label_map[label_map["label"].isin(classifier.classes)], staging)
            DONORS.write(_donor_roles(cells, roles[k], k, folds), staging)
            write_tables(tables, staging)


def _report_unused(cells: Labelled) -> None:
    """Say which donors and cells no fold learns from."""
    said = []
    if n := int(cells.is_control.sum()):
        said.append(left_out("donor", n, len(cells.donors), {"control": n}))
    if n := int((cells.label < 0).sum()):
        said.append(left_out("cell", n, len(cells.label), {"no label": n}))
    if said:
        click.echo(f"aida-tools: not learnt from: {'; '.join(said)}", err=True)


def _check_fold(cells: Labelled, roles: NDArray[np.int8], name: str) -> NDArray[np.intp]:
    """Count the cells of each class that a classifier may learn from, array of shape (n_classes,); name what it cannot.

    Raises
    ------
    AidaError
        If it has less than two classes to learn, or no labelled cell to calibrate on or to be tested on.
    """
    role, another = roles[cells.donor], "Another --seed splits the donors differently."
    sizes = np.bincount(cells.label[(role == learn.LEARN) & (cells.label >= 0)], minlength=len(cells.classes))
    if (sizes > 0).sum() < 2:
        raise AidaError(f"classifier '{name}': its donors to learn from have less than two classes. {another}")
    for which in (learn.CALIBRATE, learn.TEST):
        if not ((role == which) & (cells.label >= 0) & (sizes[cells.label] > 0)).any():
            raise AidaError(
                f"classifier '{name}': its donors to {learn.ROLES[which]} have no cell of a class it knows. {another}"
            )
    if (sizes == 0).any():
        lacking = ", ".join(cells.classes[sizes == 0])
        click.echo(
            f"aida-tools: warning: classifier '{name}' will not know {lacking}: no donor to learn from has such a "
            f"cell. {another}",
            err=True,
        )
    return sizes


def _about(cells: Labelled, roles: NDArray[np.int8], n_cells: int, cells_per_class: int) -> dict[str, Any]:
    """Say in numbers what a classifier was made from."""
    n_donors = [int((roles == which).sum()) for which in (learn.LEARN, learn.CALIBRATE, learn.TEST)]
    controls = f"; {int(cells.is_control.sum())} controls left out" if cells.is_control.any() else ""
    return {
        "donors": "{} to learn from, {} to calibrate, {} to test".format(*n_donors) + controls,
        "cells": f"{n_cells} to learn from, about {cells_per_class} a class at most",
    }


def _donor_roles(cells: Labelled, roles: NDArray[np.int8], k: int, folds: int) -> pd.DataFrame:
    """Say which donors a classifier has seen; controls, whom none has seen, go round the folds as test donors."""
    roles = roles.copy()
    controls = np.flatnonzero(cells.is_control)
    roles[controls[k::folds]] = learn.TEST
    seen = np.flatnonzero(roles != learn.UNUSED)
    named = np.array(learn.ROLES, dtype=object)[roles[seen]]
    return pd.DataFrame({"donor_id": cells.donors[seen], ROLE: named})
