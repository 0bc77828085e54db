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
def _gammas(x: float) -> tuple[float, float, float]:  # pragma: no cover
    """Return log gamma, digamma and trigamma of x > 0: recurrence up to 10, then their asymptotic series."""
    product, shift1, shift2 = 1.0, 0.0, 0.0
    while x < _SHIFT:
        product *= x
        shift1 += 1.0 / x
        shift2 += 1.0 / (x * x)
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
    return lgamma, digamma, trigamma


@_jit
def _rise(y: float, a: float) -> tuple[float, float, float]:  # pragma: no cover
    """Return log gamma, digamma and trigamma at a + y less those at a, without cancellation for small whole y."""
    if y == 0.0:
        return 0.0, 0.0, 0.0
    if y <= 12.0 and y == math.floor(y):
        product, d1, d2 = 1.0, 0.0, 0.0
        for k in range(int(y)):
            x = a + k
            product *= x
            d1 += 1.0 / x
            d2 -= 1.0 / (x * x)
        if 1e-280 < product < 1e280:
            return math.log(product), d1, d2
    high, low = _gammas(a + y), _gammas(a)
    return high[0] - low[0], high[1] - low[1], high[2] - low[2]


@_jit
def terms(
    y: float, n: float, eta: float, tau: float
) -> tuple[float, float, float, float, float, float]:  # pragma: no cover
    """Return one sample's log-likelihood (without the binomial coefficient) and its derivatives.

    Returns
    -------
    l, l_eta, l_tau, l_eta_eta, l_eta_tau, l_tau_tau
    """
    if eta > 30.0:
        eta = 30.0
    elif eta < -30.0:
        eta = -30.0
    mu = 1.0 / (1.0 + math.exp(-eta))
    nu = 1.0 / (1.0 + math.exp(eta))
    phi = math.exp(tau)
    a0, a1, a2 = _rise(y, mu * phi)
    b0, b1, b2 = _rise(n - y, nu * phi)
    c0, c1, c2 = _rise(n, phi)
    v = mu * nu
    g_phi = mu * a1 + nu * b1 - c1
    h_phi = mu * mu * a2 + nu * nu * b2 - c2
    l_eta = phi * (a1 - b1) * v
    l_eta_eta = phi * phi * (a2 + b2) * v * v + l_eta * (nu - mu)
    l_eta_tau = l_eta + phi * phi * v * (mu * a2 - nu * b2)
    return a0 + b0 - c0, l_eta, phi * g_phi, l_eta_eta, l_eta_tau, phi * phi * h_phi + phi * g_phi


@_jit
def all_terms(counts: np.ndarray, totals: np.ndarray, eta: np.ndarray, tau: float) -> np.ndarray:  # pragma: no cover
    """Return `terms` of every sample, shape (6, n)."""
    out = np.empty((6, len(counts)))
    for i in range(len(counts)):
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i], out[5, i] = terms(counts[i], totals[i], eta[i], tau)
    return out


@_jit
def _mode(
    counts: np.ndarray, totals: np.ndarray, eta: np.ndarray, lo: int, hi: int, tau: float, sd: float, start: float
) -> tuple[float, float]:  # pragma: no cover
    """Return the mode of a batch's standardised intercept given its samples, lo to hi, and its spread there."""
    u, width = start, 1.0
    for _ in range(50):
        slope, curve = -u, -1.0
        for i in range(lo, hi):
            t = terms(counts[i], totals[i], eta[i] + sd * u, tau)
            slope += sd * t[1]
            curve += sd * sd * t[3]
        # Far from the mode the beta-binomial can be convex; the prior's curvature is a safe step there.
        width = 1.0 / math.sqrt(-curve) if curve < -0.1 else 1.0
        step = slope * width * width
        u += max(-2.0, min(2.0, step))
        if abs(step) < 1e-8:
            break
    return u, width


@_jit
def mixed_loglik(
    counts: np.ndarray,
    totals: np.ndarray,
    design: np.ndarray,
    starts: np.ndarray,
    theta: np.ndarray,
    modes: np.ndarray,
    nodes: np.ndarray,
    log_weights: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray]:  # pragma: no cover
    """Marginal log-likelihood of the beta-binomial with a normal batch intercept, by adaptive Gauss-Hermite.

    Parameters
    ----------
    counts, totals, design
        Samples sorted by batch, shapes (n,), (n,), (n, p).
    starts
        First sample of each batch, and n, shape (g + 1,).
    theta
        Coefficients, log precision, log standard deviation of the intercept, shape (p + 2,).
    modes
        Modes of the standardised intercepts, shape (g,); read as starting values, overwritten.
    nodes, log_weights
        Gauss-Hermite nodes z and log(w) + z^2 for the weight exp(-z^2), shape (q,).

    Returns
    -------
    Value; gradient (p + 2,), the posterior mean of the complete-data score; Hessian (p + 2, p + 2) by Louis'
    identity. Both are those of the exact marginal likelihood up to the error of the quadrature.
    """
    p = design.shape[1]
    tau, sd = float(theta[p]), math.exp(theta[p + 1])
    m, q = p + 2, len(nodes)
    value, gradient, hessian = 0.0, np.zeros(m), np.zeros((m, m))
    # Loops and not array expressions: those take a second to compile.
    log_post, score, point, mean = np.empty(q), np.empty((q, m)), np.empty(m), np.empty(m)
    eta, store = np.zeros(len(counts)), np.empty((q, 5, len(counts)))
    for i in range(len(counts)):
        for c in range(p):
            eta[i] += design[i, c] * theta[c]
    for j in range(len(starts) - 1):
        lo, hi = starts[j], starts[j + 1]
        mode, width = _mode(counts, totals, eta, lo, hi, tau, sd, float(modes[j]))
        modes[j] = mode
        top = -math.inf
        for k in range(q):
            u = mode + math.sqrt(2.0) * width * nodes[k]
            total = log_weights[k] + math.log(width) - 0.5 * u * u - 0.5 * math.log(math.pi)
            for i in range(lo, hi):
                t = terms(counts[i], totals[i], eta[i] + sd * u, tau)
                total += t[0]
                store[k, 0, i], store[k, 1, i], store[k, 2, i], store[k, 3, i], store[k, 4, i] = t[1:]
            log_post[k] = total
            top = max(top, total)
        norm = 0.0
        for k in range(q):
            norm += math.exp(log_post[k] - top)
        value += top + math.log(norm)
        for c in range(m):
            mean[c] = 0.0
        for k in range(q):
            weight = math.exp(log_post[k] - top) / norm
            b = sd * (mode + math.sqrt(2.0) * width * nodes[k])
            for c in range(m):
                score[k, c] = 0.0
            for i in range(lo, hi):
                g_eta, g_tau = store[k, 0, i], store[k, 1, i]
                h_ee, h_et, h_tt = store[k, 2, i], store[k, 3, i], store[k, 4, i]
                for c in range(p):
                    x = design[i, c]
                    score[k, c] += g_eta * x
                    hessian[c, p] += weight * h_et * x
                    hessian[c, p + 1] += weight * h_ee * b * x
                    for d in range(c, p):
                        hessian[c, d] += weight * h_ee * x * design[i, d]
                score[k, p] += g_tau
                score[k, p + 1] += g_eta * b
                hessian[p, p] += weight * h_tt
                hessian[p, p + 1] += weight * h_et * b
                hessian[p + 1, p + 1] += weight * (h_ee * b * b + g_eta * b)
            for c in range(m):
                mean[c] += weight * score[k, c]
        for k in range(q):
            weight = math.exp(log_post[k] - top) / norm
            for c in range(m):
                point[c] = score[k, c] - mean[c]
            for c in range(m):
                for d in range(c, m):
                    hessian[c, d] += weight * point[c] * point[d]
        for c in range(m):
            gradient[c] += mean[c]
    for c in range(m):
        for d in range(c):
            hessian[c, d] = hessian[d, c]
    return value, gradient, hessian
