"""Learning a linear model from labelled cells: the arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

#: What a donor's cells are for; all cells of a donor share it.
TRAIN, CALIBRATE, TEST = 0, 1, 2
_SHARES = (0.6, 0.2, 0.2)


def split_donors(donors: NDArray[np.integer], n_donors: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Give every donor to training, calibration or testing, 3 : 1 : 1, each getting one at least.

    Parameters
    ----------
    donors
        Donor of each cell, array of shape (n_cells,), values in [0, n_donors).
    n_donors
        Number of donors, at least 3.
    rng
        Source of the random order.

    Returns
    -------
    `TRAIN`, `CALIBRATE` or `TEST` of each cell, array of shape (n_cells,).
    """
    n_each = max(1, round(_SHARES[CALIBRATE] * n_donors))
    role = np.full(n_donors, TRAIN, dtype=np.int8)
    order = rng.permutation(n_donors)
    role[order[:n_each]] = CALIBRATE
    role[order[n_each : 2 * n_each]] = TEST
    return role[donors]


def draw_cells(
    labels: NDArray[np.integer], roles: NDArray[np.int8], per_class: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw the cells to learn from: of every class at most so many for training, the rest as they come.

    Parameters
    ----------
    labels
        Class of each cell, array of shape (n_cells,); -1 is never drawn.
    roles
        See `split_donors`.
    per_class
        Most cells of a class for training; as many cells in all, times half the number of classes, are drawn at
        random for calibration and for testing, so that these have the natural composition.
    rng
        Source of the draw.

    Returns
    -------
    rows
        The drawn cells, ascending.
    weights
        How many cells of the training donors each stands for, mean 1 over the training cells; 1 for the others.
    """
    drawn, weights = [], []
    n_classes = int(labels.max()) + 1
    for k in range(n_classes):
        mine = np.flatnonzero((labels == k) & (roles == TRAIN))
        taken = mine if len(mine) <= per_class else rng.choice(mine, per_class, replace=False)
        drawn.append(taken)
        weights.append(np.full(len(taken), len(mine) / max(len(taken), 1)))
    scale = np.concatenate(weights).mean() if weights else 1.0
    weights = [w / scale for w in weights]
    for role in (CALIBRATE, TEST):
        mine = np.flatnonzero((labels >= 0) & (roles == role))
        most = max(per_class, per_class * n_classes // 2)
        drawn.append(mine if len(mine) <= most else rng.choice(mine, most, replace=False))
        weights.append(np.ones(len(drawn[-1])))
    rows = np.concatenate(drawn)
    order = np.argsort(rows)
    return rows[order], np.concatenate(weights)[order]


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


def fit(
    expression: sp.csr_matrix, labels: NDArray[np.integer], weights: NDArray[np.float64], clip: float, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit a multinomial logistic regression on expression divided by its standard deviation and cut off.

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
    Weights of shape (n_classes, n_genes), intercepts of shape (n_classes,), standard deviations of shape (n_genes,).
    """
    from sklearn.linear_model import LogisticRegression

    mean = np.asarray(expression.mean(axis=0)).ravel()
    variance = np.asarray(expression.multiply(expression).mean(axis=0)).ravel() - mean**2
    scale = np.sqrt(np.maximum(variance, 0))
    scale[scale == 0] = 1.0
    standard = expression.multiply(1 / scale).tocsr()
    standard.data = np.minimum(standard.data, clip)
    classifier = LogisticRegression(C=1 / (penalty * len(labels)), max_iter=500, tol=1e-3)
    classifier.fit(standard, labels, sample_weight=weights)
    coef, intercept = classifier.coef_, classifier.intercept_
    if len(coef) == 1:
        coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    return coef, intercept, scale


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
