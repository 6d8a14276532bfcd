"""How well one list of numbers ranks another."""

import numpy as np


def pairwise_accuracy(predicted, actual) -> float:
    """Share of pairs that both lists put in the same order, 0..1; NaN with fewer than two.

    A pair tied in one list and not in the other counts as wrong, tied in both as right (Luo et
    al., "Neural Architecture Optimization", 2018, https://arxiv.org/abs/1808.07233).
    """
    predicted, actual = np.asarray(predicted), np.asarray(actual)
    if predicted.shape != actual.shape or predicted.ndim != 1:
        raise ValueError(f"two vectors of one length, not {predicted.shape} and {actual.shape}")
    if len(predicted) < 2:
        return float("nan")
    first, second = np.triu_indices(len(predicted), 1)
    order = lambda values: np.sign(values[first] - values[second])
    return float(np.mean(order(predicted) == order(actual)))
