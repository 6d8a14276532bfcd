"""Differences of means: known intervals, and how often the verdict is wrong or right."""

import numpy as np
import pytest
import scipy.stats

from bnao_jax import comparison


def test_interval_by_hand():
    # Mean 2, standard error 1 / sqrt(3), t(.975, 2) = 4.3027.
    mean, low, high = comparison.interval([1.0, 2.0, 3.0])
    assert mean == 2 and high - 2 == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    assert low == pytest.approx(4 - high)


def test_welch_as_scipy_has_it():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 5), rng.normal(1, 3, 8)
    result = scipy.stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    ours = comparison.difference(first, second)
    assert (ours.low, ours.high) == pytest.approx((result.low, result.high))


def test_pairs_take_out_what_they_share():
    shared = np.array([0.0, 10.0, 20.0, 30.0])
    first = shared + [1.0, 1.1, 0.9, 1.0]
    assert comparison.paired(first, shared).verdict == "better"
    assert comparison.difference(first, shared).verdict == "not shown"


def test_equal_values_and_single_ones():
    assert comparison.difference([1.0, 1.0], [1.0, 1.0]).verdict == "not shown"
    assert comparison.difference([2.0, 2.0], [1.0, 1.0]).verdict == "better"
    assert comparison.difference([1.0], [0.0, 0.1]).verdict == "not shown"


@pytest.mark.parametrize("true_difference", [0.0, 2.0])
def test_verdicts_of_five_networks_against_five(true_difference):
    """At most 5 % wrong under no difference; right in at least half at two standard deviations."""
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(2_000, 2, 5))
    draws[:, 0] += true_difference
    verdicts = [comparison.difference(*pair).verdict for pair in draws]
    shown = np.mean([verdict != "not shown" for verdict in verdicts])
    if true_difference:
        assert "worse" not in verdicts and shown >= 0.5
    else:
        # Three standard errors of a share of .05 among 2,000 above the 5 % that the law allows.
        assert shown <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2_000)
    print(f"true difference {true_difference}: {shown:.3f} shown")
