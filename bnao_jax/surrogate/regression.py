"""Bayesian linear regression by evidence maximisation, and what a sigmoid makes of its belief.

Shapes: P data, F features. In float64 on the host: F is small.
"""

from typing import NamedTuple

import numpy as np

ITERATIONS = 300
TOLERANCE = 1e-6  # relative change of the precisions at which they have converged
LARGEST = 1e12  # precision of features that carry nothing, or of noise where there is none
# Gauss-Hermite quadrature for a standard normal variable.
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


class Posterior(NamedTuple):
    """Belief about weights.

    Attributes:
      mean: float64[F].
      covariance: float64[F, F].
      alpha: precision of the prior of each weight.
      beta: precision of the noise.
    """

    mean: np.ndarray
    covariance: np.ndarray
    alpha: float
    beta: float


def posterior(features, targets) -> Posterior:
    """The posterior of weights after targets [P] at features [P, F]; there is no intercept.

    S = (αI + βΦᵀΦ)⁻¹ and m = βSΦᵀy, with the α and β that make the targets most likely (MacKay,
    "Bayesian Interpolation", 1992; Bishop, "Pattern Recognition and Machine Learning", 3.5).

    Raises:
      ValueError: shapes do not fit, or something is not finite.
    """
    features, targets = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if features.ndim != 2 or targets.shape != features.shape[:1] or not len(targets):
        raise ValueError(f"features {features.shape} and targets {targets.shape} do not fit")
    if not (np.isfinite(features).all() and np.isfinite(targets).all()):
        raise ValueError("features and targets must be finite")
    values, vectors = np.linalg.eigh(features.T @ features)
    values = np.maximum(values, 0.0)
    along = vectors.T @ (features.T @ targets)
    alpha, beta = 1.0, 1.0 / max(float(np.var(targets)), 1 / LARGEST)
    for _ in range(ITERATIONS):
        mean = beta * along / (alpha + beta * values)  # in the eigenvectors
        gamma = np.sum(beta * values / (alpha + beta * values))  # weights that the data determine
        error = np.sum((targets - features @ (vectors @ mean)) ** 2)
        before = alpha, beta
        alpha = min(gamma / max(np.sum(mean**2), 1 / LARGEST), LARGEST)
        beta = min(max(len(targets) - gamma, 1e-9) / max(error, 1 / LARGEST), LARGEST)
        alpha = max(alpha, 1 / LARGEST)
        if np.allclose((alpha, beta), before, rtol=TOLERANCE, atol=0):
            break
    scale = 1 / (alpha + beta * values)
    covariance = (vectors * scale) @ vectors.T
    return Posterior(vectors @ (beta * scale * along), covariance, alpha, beta)


def predict(belief: Posterior, features):
    """Mean and variance, float64[P] each, of a new target at features [P, F]."""
    features = np.asarray(features, np.float64)
    of_weights = np.einsum("pf,fg,pg->p", features, belief.covariance, features)
    return features @ belief.mean, 1 / belief.beta + of_weights


def sigmoid_moments(mean, variance):
    """Mean and standard deviation of sigmoid(x), x normal: float64[P] each, by quadrature.

    BONAS takes closed forms, whose error in the deviation exceeds the deviation itself where that
    is small: .112 instead of .025 for a standard deviation of x of .1 around 0.
    """
    mean, deviation = np.asarray(mean, np.float64), np.sqrt(np.asarray(variance, np.float64))
    x = mean[..., None] + deviation[..., None] * POINTS
    values = 0.5 * (1 + np.tanh(0.5 * x))
    expected = values @ WEIGHTS
    return expected, np.sqrt(((values - expected[..., None]) ** 2) @ WEIGHTS)
