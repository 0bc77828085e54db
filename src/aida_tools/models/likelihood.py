r"""The beta-binomial log-likelihood and its derivatives, compiled.

With share :math:`\mu = \mathrm{expit}(\eta)` and precision :math:`\phi = e^\tau`, a count y of n has

.. math:: \ell = \log\frac{\Gamma(y + \mu\phi)}{\Gamma(\mu\phi)} + \log\frac{\Gamma(n - y + (1-\mu)\phi)}
          {\Gamma((1-\mu)\phi)} - \log\frac{\Gamma(n + \phi)}{\Gamma(\phi)} + \log\binom{n}{y}

and variance :math:`n\mu(1-\mu)(1 + (n-1)/(\phi+1))`. Counts may be real (expected counts of a soft annotator).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit as _njit


def _jit[F: Callable[..., Any]](function: F) -> F:
    """Compile a function, once for all processes."""
    compiled: Any = _njit(cache=True, nogil=True)(function)
    return cast(F, compiled)


_HALF_LOG_2PI = 0.9189385332046727
_SHIFT = 10.0


@_jit
def _gammas(x: float) -> tuple[float, float, float, float]:  # pragma: no cover
    """Return log gamma and its first three derivatives at x > 0: recurrence up to 10, then their asymptotic series."""
    product, shift1, shift2, shift3 = 1.0, 0.0, 0.0, 0.0
    while x < _SHIFT:
        product *= x
        shift1 += 1.0 / x
        shift2 += 1.0 / (x * x)
        shift3 -= 2.0 / (x * x * x)
        x += 1.0
    log, r = math.log(x), 1.0 / x
    s = r * r
    lgamma = (
        (x - 0.5) * log - x + _HALF_LOG_2PI
        + r * (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - s * (691 / 360360))))))
        - math.log(product)
    )  # fmt: skip
    digamma = (
        log - 0.5 * r - shift1
        - s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s * (1 / 132 - s * (691 / 32760))))))
    )  # fmt: skip
    trigamma = (
        r + 0.5 * s + shift2
        + r * s * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * (5 / 66 - s * (691 / 2730))))))
    )  # fmt: skip
    tetragamma = shift3 - s * (
        1 + r + s * (1 / 2 - s * (1 / 6 - s * (1 / 6 - s * (3 / 10 - s * (5 / 6 - s * (691 / 210))))))
    )  # fmt: skip
    return lgamma, digamma, trigamma, tetragamma


@_jit
def _rise(y: float, a: float) -> tuple[float, float, float, float]:  # pragma: no cover
    """Return `_gammas` at a + y less those at a, without cancellation for small whole y."""
    if y == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    if y <= 12.0 and y == math.floor(y):
        product, d1, d2, d3 = 1.0, 0.0, 0.0, 0.0
        for k in range(int(y)):
            x = a + k
            product *= x
            d1 += 1.0 / x
            d2 -= 1.0 / (x * x)
            d3 += 2.0 / (x * x * x)
        if 1e-280 < product < 1e280:
            return math.log(product), d1, d2, d3
    high, low = _gammas(a + y), _gammas(a)
    return high[0] - low[0], high[1] - low[1], high[2] - low[2], high[3] - low[3]


@_jit
def terms(
    y: float, n: float, eta: float, tau: float
) -> tuple[float, float, float, float, float, float, float, float]:  # pragma: no cover
    """Return one sample's log-likelihood (without the binomial coefficient) and its derivatives.

    Returns
    -------
    l, l_eta, l_tau, l_eta_eta, l_eta_tau, l_tau_tau, l_eta_eta_eta, l_eta_eta_tau
    """
    if eta > 30.0:
        eta = 30.0
    elif eta < -30.0:
        eta = -30.0
    mu = 1.0 / (1.0 + math.exp(-eta))
    nu = 1.0 / (1.0 + math.exp(eta))
    phi = math.exp(tau)
    a, b = mu * phi, nu * phi
    a0, a1, a2, a3 = _rise(y, a)
    b0, b1, b2, b3 = _rise(n - y, b)
    c0, c1, c2, _ = _rise(n, phi)
    # v is the slope of the share in eta, w that of v, and z that of w.
    v = mu * nu
    w, z = v * (nu - mu), v * (1 - 6 * v)
    g_phi = mu * a1 + nu * b1 - c1
    h_phi = mu * mu * a2 + nu * nu * b2 - c2
    first, second = phi * (a1 - b1), phi * phi * (a2 + b2)
    l_eta = first * v
    l_ee = second * v * v + first * w
    l_et = l_eta + phi * v * (a * a2 - b * b2)
    l_eee = phi * phi * phi * v * v * v * (a3 - b3) + 3 * second * v * w + first * z
    l_eet = v * v * (2 * second + phi * phi * (a * a3 + b * b3)) + w * (first + phi * (a * a2 - b * b2))
    return a0 + b0 - c0, l_eta, phi * g_phi, l_ee, l_et, phi * phi * h_phi + phi * g_phi, l_eee, l_eet


@_jit
def all_terms(counts: np.ndarray, totals: np.ndarray, eta: np.ndarray, tau: float) -> np.ndarray:  # pragma: no cover
    """Return `terms` of every sample, shape (8, n)."""
    out = np.empty((8, len(counts)))
    for i in range(len(counts)):
        found = terms(counts[i], totals[i], eta[i], tau)
        for k in range(8):
            out[k, i] = found[k]
    return out
