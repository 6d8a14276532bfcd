import numpy as np
import pytest

from bnao_jax import ranking
from bnao_jax.ranking import kendall_tau, pairwise_accuracy, pairwise_accuracy_within


@pytest.mark.parametrize(
    "predicted, actual, expected",
    [
        ([1, 2, 3], [10, 20, 30], 1.0),
        ([3, 2, 1], [10, 20, 30], 0.0),
        ([1, 2, 2], [10, 20, 30], 2.5 / 3),  # a tie in one list only counts one half
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


@pytest.mark.parametrize("levels", [2, 7, 1000])
def test_pairs_are_those_of_a_list_of_pairs(levels):
    a, b = np.random.default_rng(1).integers(0, levels, (2, 60))
    groups = np.random.default_rng(2).integers(0, 5, 60) * 10
    first, second = np.triu_indices(60, 1)
    signs = np.sign(a[first] - a[second]), np.sign(b[first] - b[second])
    right = (signs[0] == signs[1]) + 0.5 * ((signs[0] == 0) != (signs[1] == 0))
    assert pairwise_accuracy(a, b) == right.mean()
    inside = groups[first] == groups[second]
    assert pairwise_accuracy_within(a, b, groups) == right[inside].mean()
    assert np.isnan(pairwise_accuracy_within(a, b, np.arange(60)))


def test_figures_by_hand():
    actual = np.arange(100) / 100
    predicted = actual.copy()
    predicted[[99, 94]] = predicted[[94, 99]]  # the best is one of the best twentieth no more
    found = ranking.figures(predicted, actual, np.arange(100) // 50)
    assert found["precision_at_top_1_percent"] == 0
    assert found["precision_at_top_5_percent"] == 0.8
    assert found["precision_at_top_10_percent"] == 1
    assert found["accuracy_of_best"] == 0.94
    wrong = 2 * 4 + 1  # pairs that the exchange turns round
    assert found["pairwise_accuracy"] == pytest.approx(1 - wrong / 4950)
    assert found["kendall_tau"] == pytest.approx(1 - 2 * wrong / 4950)
    assert found["kendall_tau_better_half"] == pytest.approx(1 - 2 * wrong / 1225)
    assert found["pairwise_accuracy_within_groups"] == pytest.approx(1 - wrong / (2 * 1225))
    assert found["spearman"] == pytest.approx(1 - 6 * 2 * 25 / (100 * (100**2 - 1)))


def test_chance_is_one_half_with_ties():
    rng = np.random.default_rng(0)
    shares = [pairwise_accuracy(rng.integers(0, 9, 40), rng.permutation(40)) for _ in range(300)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.01)


def test_equals_share_the_last_places():
    """The order of the pool decides nothing."""
    predicted, actual = np.array([3.0, 1, 1, 1]), np.array([4.0, 3, 2, 1])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        share = ranking.precision_at_top(predicted[order], actual[order], 0.5)
        assert share == pytest.approx((1 + 1 / 3) / 2)
        constant = ranking.figures(np.zeros(4), actual[order])
        assert constant["accuracy_of_best"] == 2.5
        assert constant["precision_at_top_1_percent"] == 0.25


def test_means_and_combinations():
    # The 95 % t-interval of three values reaches t(.975, 2) = 4.3027 standard errors.
    assert ranking.mean_and_reach([1.0, 2.0, 3.0]) == (
        2.0,
        pytest.approx(4.3027 / 3**0.5, rel=1e-4),
    )
    assert np.isnan(ranking.mean_and_reach([1.0])[1])
    np.testing.assert_allclose(ranking.standardised([1, 3]), [-1, 1])
    assert ranking.standardised([0.1] * 3).tolist() == [0, 0, 0]  # their mean is not .1
    np.testing.assert_allclose(ranking.standardised([5], among=[1, 3]), [3])
    assert ranking.rank_sum([5, 7, 7], [30, 20, 10]).tolist() == [1 + 3, 2.5 + 2, 2.5 + 1]
