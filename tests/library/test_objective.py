"""Each kind of score by hand."""

import numpy as np
import pytest

from bnao_jax.objective import KINDS, Measured, score

MEASURED = Measured(
    np.array([0.2, 0.4, 0.9], np.float32), np.array([2.0, 1.0, 3.0]), np.array([100, 1_000, 10_000])
)


def test_plain_kinds_are_what_was_measured():
    assert score("accuracy", MEASURED).astype(np.float32).tolist() == MEASURED.accuracy.tolist()
    assert score("loss", MEASURED).tolist() == [-2, -1, -3]


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_with_size_both_are_standardised(weight):
    size = np.array([-1, 0, 1]) * np.sqrt(1.5)
    expected = np.array([0, 1, -1]) * np.sqrt(1.5) + weight * size
    found = score("loss_and_size", MEASURED, size_weight=weight)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_others_are_standardised_as_those_they_are_compared_with():
    few = Measured(*(column[1:] for column in MEASURED))
    for kind in KINDS:
        expected = score(kind, MEASURED)[1:]
        np.testing.assert_allclose(score(kind, few, among=MEASURED), expected)


def test_where_all_are_alike_only_the_rest_counts():
    alike = MEASURED._replace(accuracy=np.full(3, 0.1), params=np.full(3, 7))
    assert score("accuracy_and_size", alike).tolist() == [0, 0, 0]


def test_unknown_kind():
    with pytest.raises(ValueError, match="kind must be one of accuracy, loss"):
        score("size", MEASURED)
