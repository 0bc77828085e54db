"""Learning a linear classifier from labelled cells: the arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

#: What a donor is for in a fold; all cells of a donor share it. `UNUSED` donors are neither learnt from nor tested.
LEARN, CALIBRATE, TEST, UNUSED = 0, 1, 2, -1
ROLES = ("learn", "calibrate", "test")
#: Without folds one donor in five is for testing; of those left over, every so many is for calibration.
_TEST_EVERY, _CALIBRATE_EVERY, _CALIBRATE_EVERY_WITHOUT_FOLDS = 5, 5, 4


def split_donors(strata: NDArray[np.integer], n_folds: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Say for every fold which donors to learn from, to calibrate on and to test on.

    Donors are put in random order within their strata, and roles are dealt out along that order, so that every
    stratum has its share of each.

    Parameters
    ----------
    strata
        Stratum (site) of each donor, array of shape (n_donors,).
    n_folds
        Number of folds: every donor is tested on in exactly one, and calibration takes a fifth of the others. One
        fold tests on a fifth of the donors, and calibrates on another fifth.
    rng
        Source of the random order.

    Returns
    -------
    `LEARN`, `CALIBRATE` or `TEST`, array of shape (n_folds, n_donors). Each is there in every fold, given three
    donors for one fold, else as many donors as folds and two beyond those of the largest fold.
    """
    n_donors = len(strata)
    order = np.lexsort([rng.permutation(n_donors), strata])
    place = np.empty(n_donors, dtype=np.intp)
    place[order] = np.arange(n_donors)
    roles = np.full((n_folds, n_donors), LEARN, dtype=np.int8)
    for k, role in enumerate(roles):
        is_test = place % _TEST_EVERY == 0 if n_folds == 1 else place % n_folds == k
        others = order[~is_test[order]]
        role[others[:: _CALIBRATE_EVERY_WITHOUT_FOLDS if n_folds == 1 else _CALIBRATE_EVERY]] = CALIBRATE
        role[is_test] = TEST
    return roles


def draw_cells(
    labels: NDArray[np.integer], roles: NDArray[np.int8], per_class: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw the cells that all folds work with, so that one reading of the counts serves them all.

    Parameters
    ----------
    labels
        Class of each cell, array of shape (n_cells,); -1 is never drawn.
    roles
        Role of each cell's donor in each fold, array of shape (n_folds, n_cells); see `split_donors`.
    per_class
        About how many cells of a class each fold may learn from.
    rng
        Source of the draw.

    Returns
    -------
    rows
        The drawn cells, ascending.
    in_pool
        Which of them may be learnt from: of a class at most so many that a fold's donors hold about `per_class`.
    in_natural
        Which of them are for calibration and testing: drawn at random, so of the natural composition, as many as
        `per_class` times the number of classes.
    """
    n_classes = int(labels.max()) + 1
    known = labels >= 0
    learns = roles == LEARN
    learnable = learns.any(axis=0)
    # A fold's donors hold this share of the pool.
    share = learns[:, learnable].mean()
    pool, natural = np.zeros((2, len(labels)), dtype=bool)
    for k in range(n_classes):
        pool[_some(np.flatnonzero((labels == k) & learnable), int(np.ceil(per_class / share)), rng)] = True
    held = known & ((roles == CALIBRATE) | (roles == TEST)).any(axis=0)
    natural[_some(np.flatnonzero(held), per_class * n_classes, rng)] = True
    rows = np.flatnonzero(pool | natural)
    return rows, pool[rows], natural[rows]


def _some(cells: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return cells if len(cells) <= most else rng.choice(cells, most, replace=False)


def class_weights(drawn: NDArray[np.integer], sizes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weigh drawn cells so that classes count as they do among all cells.

    Parameters
    ----------
    drawn
        Class of each drawn cell, array of shape (n_drawn,).
    sizes
        Cells of each class there are, array of shape (n_classes,).

    Returns
    -------
    How many cells each drawn one stands for, in units of their mean; array of shape (n_drawn,).
    """
    each = sizes / np.maximum(np.bincount(drawn, minlength=len(sizes)), 1)
    weights = each[drawn]
    return np.asarray(weights / weights.mean())


def select_genes(
    sums: NDArray[np.float64], squares: NDArray[np.float64], sizes: NDArray[np.integer], per_class: int
) -> NDArray[np.intp]:
    """Choose the genes that set each class apart from all others together.

    Parameters
    ----------
    sums, squares
        Sums of log1p expression and of its square by class, arrays of shape (n_classes, n_genes).
    sizes
        Cells of each class, array of shape (n_classes,).
    per_class
        How many genes each class may name.

    Returns
    -------
    The genes named by any class, ascending. A class names those with the largest absolute difference of means, in
    units of the standard deviation within the two groups.
    """
    n = sizes.sum()
    named: set[int] = set()
    for k in range(len(sizes)):
        groups = [(sums[k], squares[k], sizes[k]), (sums.sum(0) - sums[k], squares.sum(0) - squares[k], n - sizes[k])]
        means = [s / max(size, 1) for s, _, size in groups]
        within = sum(np.maximum(q - size * m * m, 0) for (_, q, size), m in zip(groups, means, strict=True)) / n
        # The constant keeps genes that are hardly ever seen from being named.
        effect = np.abs(means[0] - means[1]) / (np.sqrt(within) + 0.1)
        best = np.argsort(-effect, kind="stable")[:per_class]
        named.update(best[effect[best] > 0].tolist())
    return np.array(sorted(named), dtype=np.intp)


def standardise(
    expression: sp.csr_matrix, mean: NDArray[np.float32], scale: NDArray[np.float32], clip: float
) -> NDArray[np.float32]:
    """Centre expression, divide it by its standard deviation and cut it off above.

    Dense and of single precision: matrix products are then many times faster than sparse ones of counts.

    Parameters
    ----------
    expression
        log1p expression, shape (n_cells, n_genes).
    mean, scale
        Arrays of shape (n_genes,).
    clip
        Cut-off in standard deviations.
    """
    dense = expression.toarray().astype(np.float32, copy=False)
    dense -= mean
    dense /= scale
    return np.minimum(dense, np.float32(clip), out=dense)


def fit(
    expression: sp.csr_matrix, labels: NDArray[np.integer], weights: NDArray[np.float64], clip: float, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Fit a multinomial logistic regression on standardised expression.

    Parameters
    ----------
    expression
        log1p expression, shape (n_cells, n_genes).
    labels
        Class of each cell, shape (n_cells,), every class of 0..K-1 among them.
    weights
        Weight of each cell, shape (n_cells,).
    clip
        Cut-off in standard deviations.
    penalty
        Strength of the L2 penalty a cell.

    Returns
    -------
    Weights of shape (n_classes, n_genes), intercepts of shape (n_classes,), means and standard deviations of shape
    (n_genes,).
    """
    from sklearn.linear_model import LogisticRegression

    mean = np.asarray(expression.mean(axis=0, dtype=np.float64)).ravel()
    variance = np.asarray(expression.power(2).mean(axis=0, dtype=np.float64)).ravel() - mean**2
    scale = np.sqrt(np.maximum(variance, 0))
    scale[scale == 0] = 1.0
    mean32, scale32 = mean.astype(np.float32), scale.astype(np.float32)
    classifier = LogisticRegression(C=1 / (penalty * len(labels)), max_iter=500, tol=1e-3)
    classifier.fit(standardise(expression, mean32, scale32, clip), labels, sample_weight=weights.astype(np.float32))
    coef, intercept = (part.astype(np.float64) for part in (classifier.coef_, classifier.intercept_))
    if len(coef) == 1:
        coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    return coef, intercept, mean32, scale32


def fit_temperature(scores: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    r"""Find the temperature that makes softmax probabilities fit held-out labels best.

    The :math:`T` that minimises :math:`-\sum_i \log softmax(s_i / T)_{y_i}` (Guo et al. 2017, ICML).

    Parameters
    ----------
    scores
        Array of shape (n_cells, n_classes).
    labels
        Class of each cell, array of shape (n_cells,).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    def loss(log_t: float) -> float:
        scaled = scores / np.exp(log_t)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]))

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def evaluate(
    truth: NDArray[np.integer], probability: NDArray[np.float64], classes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare labels and probabilities with the truth.

    Parameters
    ----------
    truth
        Class of each cell, array of shape (n_cells,).
    probability
        Array of shape (n_cells, n_classes), rows sum to 1.
    classes
        Names of the classes.

    Returns
    -------
    by_class
        `label, n, n_called, n_expected, recall, precision, f1`; `n_expected` is the sum of probabilities. Shares of
        nothing are missing.
    reliability
        `bin, probability, accuracy, n`: ten bins of the probability of the label that was given.
    """
    called = probability.argmax(axis=1)
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(classes):
        hits = int(((called == k) & (truth == k)).sum())
        n, n_called = int((truth == k).sum()), int((called == k).sum())
        rows.append(
            {
                "label": name, "n": n, "n_called": n_called, "n_expected": probability[:, k].sum(),
                "recall": hits / n if n else np.nan, "precision": hits / n_called if n_called else np.nan,
                "f1": 2 * hits / (n + n_called) if n + n_called else np.nan,
            }
        )  # fmt: skip
    best = probability[np.arange(len(truth)), called]
    bins = np.minimum((best * 10).astype(int), 9)
    table = pd.DataFrame({"bin": bins, "probability": best, "accuracy": called == truth})
    means = table.groupby("bin").mean()
    return pd.DataFrame(rows), means.assign(n=table.groupby("bin").size()).reset_index()
