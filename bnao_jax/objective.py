"""What an architecture is scored by: what shared weights reach on its path, alone or with its size.

Shapes: P architectures.
"""

from typing import NamedTuple

import numpy as np

from bnao_jax.ranking import standardised

KINDS = {  # in words
    "accuracy": "validation accuracy",
    "loss": "negative validation loss",
    "accuracy_and_size": "standardised accuracy and size",
    "loss_and_size": "standardised negative loss and size",
}


class Measured(NamedTuple):
    """What is known of architectures.

    Attributes:
      accuracy: float[P], 0..1, on validation images.
      loss: float[P], nats, on the same images.
      params: int[P], parameters of the networks alone.
    """

    accuracy: np.ndarray
    loss: np.ndarray
    params: np.ndarray


def score(kind: str, measured: Measured, *, size_weight=1.0, among: Measured | None = None):
    """Scores float64[P], higher is better.

    Args:
      kind: "accuracy"; "loss", which is negated; "accuracy_and_size" and "loss_and_size", the same
        standardised, plus `size_weight` times the standardised logarithm of the parameters.
      measured: of the architectures.
      size_weight: to be fixed beforehand, not fitted to what it is judged by.
      among: whose means and standard deviations standardise; by default those measured.

    Raises:
      ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    among = measured if among is None else among
    plain, _, with_size = kind.partition("_and_")
    reached = _reached(plain, measured)
    if not with_size:
        return reached
    size = standardised(np.log(measured.params), np.log(among.params))
    return standardised(reached, _reached(plain, among)) + size_weight * size


def _reached(plain, measured):
    values = np.asarray(getattr(measured, plain), np.float64)
    return -values if plain == "loss" else values
