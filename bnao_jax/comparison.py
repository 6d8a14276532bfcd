"""Whether one group is better than another: differences of means with Student's t-intervals.

>>> better = difference([0.91, 0.93, 0.92], [0.81, 0.79, 0.80])
>>> round(better.mean, 2), better.verdict
(0.12, 'better')
>>> difference([0.91, 0.80, 0.85], [0.88, 0.81, 0.86]).verdict
'not shown'
"""

from typing import NamedTuple

import numpy as np
import scipy  # which loads scipy.stats where it is first used

CONFIDENCE = 0.95


class Difference(NamedTuple):
    """A difference of two means.

    Attributes:
      mean: the first mean less the second.
      low, high: the ends of its confidence interval; NaN where a group is too small for one.
    """

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Of the first: "better" or "worse" where the interval excludes 0, else "not shown"."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "not shown"


def interval(values, confidence=CONFIDENCE) -> tuple[float, float, float]:
    """(mean, low, high) of the mean of some values; NaN for the ends of fewer than two."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan"), float("nan")
    return _around(values.mean(), values.var(ddof=1) / len(values), len(values) - 1, confidence)


def difference(first, second, confidence=CONFIDENCE) -> Difference:
    """The difference of the means of two independent groups, by Welch's t-interval.

    Welch, "The generalization of 'Student's' problem when several different population variances
    are involved", Biometrika 34, 1947.
    """
    first, second = (np.asarray(values, np.float64) for values in (first, second))
    mean = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2:
        return Difference(mean, float("nan"), float("nan"))
    parts = np.array([values.var(ddof=1) / len(values) for values in (first, second)])
    sizes = np.array([len(first), len(second)])
    spread = (parts**2 / (sizes - 1)).sum()
    freedom = parts.sum() ** 2 / spread if spread else sizes.sum() - 2
    return Difference(*_around(mean, parts.sum(), freedom, confidence))


def paired(first, second, confidence=CONFIDENCE) -> Difference:
    """The mean difference of pairs, for example of two systems with the same seeds."""
    pairs = zip(first, second, strict=True)
    return Difference(*interval([a - b for a, b in pairs], confidence))


def _around(mean, variance, freedom, confidence):
    """(mean, low, high), `variance` being that of the mean."""
    reach = scipy.stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance)
    return float(mean), float(mean - reach), float(mean + reach)
