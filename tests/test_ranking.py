import numpy as np
import pytest

from bnao_jax.ranking import kendall_tau, pairwise_accuracy


@pytest.mark.parametrize(
    "predicted, actual, expected",
    [
        ([1, 2, 3], [10, 20, 30], 1.0),
        ([3, 2, 1], [10, 20, 30], 0.0),
        ([1, 2, 2], [10, 20, 30], 2 / 3),  # a tie in one list only is wrong
        ([1, 2, 2], [10, 20, 20], 1.0),  # a tie in both is right
        ([1, 3, 2, 4], [1, 2, 3, 4], 5 / 6),
    ],
)
def test_pairs_by_hand(predicted, actual, expected):
    assert pairwise_accuracy(predicted, actual) == pytest.approx(expected)


@pytest.mark.parametrize("levels", [3, 1000])
def test_kendall_tau_counts_pairs(levels):
    a, b = np.random.default_rng(0).integers(0, levels, (2, 40))
    first, second = np.triu_indices(40, 1)
    signs = [np.sign(x[first] - x[second]) for x in (a, b)]
    expected = np.sum(signs[0] * signs[1]) / np.sqrt(np.prod([np.sum(s != 0) for s in signs]))
    assert kendall_tau(a, b) == pytest.approx(expected)
    assert kendall_tau(a, -a) == pytest.approx(-1)


@pytest.mark.parametrize("agreement", [pairwise_accuracy, kendall_tau])
def test_too_few_and_mismatched(agreement):
    assert np.isnan(agreement([1.0], [2.0]))
    with pytest.raises(ValueError, match="one length"):
        agreement([1, 2], [1, 2, 3])
