import numpy as np
import pytest

from bnao_jax.ranking import pairwise_accuracy


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


def test_too_few_and_mismatched():
    assert np.isnan(pairwise_accuracy([1.0], [2.0]))
    with pytest.raises(ValueError, match="one length"):
        pairwise_accuracy([1, 2], [1, 2, 3])
