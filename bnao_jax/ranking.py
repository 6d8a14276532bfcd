"""How well one list of numbers ranks another."""

import numpy as np
from scipy import stats


def pairwise_accuracy(predicted, actual) -> float:
    """Share of pairs that both lists put in the same order, 0..1; NaN with fewer than two.

    A pair tied in one list and not in the other counts as wrong, tied in both as right (Luo et
    al., "Neural Architecture Optimization", 2018, https://arxiv.org/abs/1808.07233).
    """
    predicted, actual = _vectors(predicted, actual)
    if len(predicted) < 2:
        return float("nan")
    first, second = np.triu_indices(len(predicted), 1)
    order = lambda values: np.sign(values[first] - values[second])
    return float(np.mean(order(predicted) == order(actual)))


def kendall_tau(predicted, actual) -> float:
    """Kendall's tau b of two lists, -1..1, ties corrected for; NaN with fewer than two.

    Kendall, "The Treatment of Ties in Ranking Problems", 1945. NaN, too, where one list is
    constant.
    """
    predicted, actual = _vectors(predicted, actual)
    if len(predicted) < 2:
        return float("nan")
    return float(stats.kendalltau(predicted, actual).statistic)


def _vectors(predicted, actual):
    predicted, actual = np.asarray(predicted), np.asarray(actual)
    if predicted.shape != actual.shape or predicted.ndim != 1:
        raise ValueError(f"two vectors of one length, not {predicted.shape} and {actual.shape}")
    return predicted, actual
