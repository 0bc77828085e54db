"""What every model is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True, eq=False)
class Data:
    """The types of one denominator in n samples.

    Attributes
    ----------
    counts
        Count of each type, shape (n, k).
    totals
        Count of the denominator in each sample, above 0, shape (n,).
    design
        Independent columns with an intercept, shape (n, p).
    groups
        Batch of each sample as codes 0 ... g - 1, shape (n,); None where no batch is recorded.
    sites
        Site of each batch as codes, shape (g,): batches of one site vary alike. None where all do.
    donors
        Donor of each sample as codes, shape (n,), where some have several samples; else None.
    robust
        Whether empirical Bayes guards against types with outlying variances.
    unit
        What is counted, for sentences: `cell`, `UMI`.
    """

    counts: np.ndarray
    totals: np.ndarray
    design: np.ndarray
    groups: np.ndarray | None = None
    robust: bool = True
    unit: str = "cell"
    sites: np.ndarray | None = None
    donors: np.ndarray | None = None
    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def remember[T](self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made under a key: one model's step can be another's, too."""
        if key not in self._known:
            self._known[key] = make()
        known: T = self._known[key]
        return known

    @property
    def crowded(self) -> str:
        """Say if coefficients are so many that maximum likelihood understates the variance; else empty."""
        n, p = self.design.shape
        return f"{p} coefficients for {n} samples: maximum likelihood understates the variance" if 10 * p > n else ""

    @property
    def codes(self) -> np.ndarray:
        """The batch codes; one batch for all where none is recorded."""
        return np.zeros(len(self.totals), dtype=int) if self.groups is None else self.groups

    @property
    def n_groups(self) -> int:
        """Number of batches, 0 where none is recorded."""
        return 0 if self.groups is None else int(self.groups.max()) + 1


class Estimate(NamedTuple):
    """A contrast of a fit: its value, standard error, and degrees of freedom of its t statistic."""

    value: float
    std_error: float
    df: float


@dataclass(frozen=True, eq=False)
class Fit:
    """One model of one cell type.

    Attributes
    ----------
    coef, cov
        Coefficients, shape (p,), and their covariance, shape (p, p), on the scale of the model's link.
    df
        Degrees of freedom for t tests; infinite for normal ones.
    converged
        Whether the numbers may be used; `message` says why not, and `status` is then the row's.
    loglik
        Log-likelihood at the estimate; not a number for models without one.
    precision
        Precision phi of the beta-binomial (variance factor 1 + (n - 1) / (phi + 1)), or the dispersion of the
        quasi-binomial, or the residual variance of a linear model.
    used
        Samples the fit is made from, shape (n,); None for all.
    weights
        What each of the samples used tells of its linear predictor: working weights, shape (n_used,); None if all weigh
        alike.
    batch_sd
        Standard deviation of the intercept of each batch on the link scale, shape (g,); None for models without one.
    pooled
        Batches whose standard deviation is that of all sites together, shape (g,), boolean.
    donor_sd
        Standard deviation of the donors' intercept, 0 for models without one.
    df_of
        Degrees of freedom of a contrast, where they differ by contrast.
    """

    coef: np.ndarray
    cov: np.ndarray
    df: float = np.inf
    converged: bool = True
    message: str = ""
    status: str = "not-converged"
    loglik: float = np.nan
    precision: float = np.nan
    used: np.ndarray | None = None
    weights: np.ndarray | None = field(default=None, repr=False)
    batch_sd: np.ndarray | None = None
    pooled: np.ndarray | None = None
    donor_sd: float = 0.0
    df_of: Callable[[np.ndarray], float] | None = field(default=None, repr=False)

    @property
    def group_sd(self) -> float:
        """Standard deviation of all intercepts of a sample together: batches, in the mean, and donors."""
        batches = 0.0 if self.batch_sd is None else float(np.mean(self.batch_sd**2))
        return float(np.sqrt(batches + self.donor_sd**2))

    def contrast(self, weights: np.ndarray) -> Estimate:
        """Return the estimate of `weights @ coef`, for weights of shape (p,)."""
        variance = float(weights @ self.cov @ weights)
        df = self.df if self.df_of is None else self.df_of(weights)
        return Estimate(float(weights @ self.coef), float(np.sqrt(max(variance, 0.0))), df)


def failed(p: int, message: str, status: str = "not-converged") -> Fit:
    """Return a fit without numbers, with the reason in a sentence."""
    nothing = np.full(p, np.nan)
    return Fit(nothing, np.full((p, p), np.nan), np.nan, converged=False, message=message, status=status)


def no_counts(p: int) -> Fit:
    """Return the fit of a type that no sample has."""
    return failed(p, "no sample has any of this type", "too-few")
