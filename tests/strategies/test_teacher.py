"""Made-up ground truths: what every one of them is."""

import jax
import numpy as np
import pytest
from scipy import stats

from bnao_jax.spaces import shipped
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings
from bnao_jax.teacher import KINDS, Teacher


@pytest.fixture(scope="module")
def space():
    return shipped.make(SpaceSettings(), NetworkSettings(), 10)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_standard_equal_for_equal_networks_and_of_their_seed(kind, space):
    draw = np.random.default_rng(0)
    pool = draw.integers(0, np.array(space.decisions.options), (1_000, 40)).astype(np.int32)
    teacher = Teacher(kind, space, 0)
    values = teacher.of(pool)
    assert abs(values.mean()) < 0.15 and abs(values.std() - 1) < 0.1
    swapped = np.asarray(space.decisions.exchange(jax.random.key(0), pool))
    assert (swapped != pool).any()
    np.testing.assert_allclose(teacher.of(swapped), values)
    np.testing.assert_array_equal(Teacher(kind, space, 0).of(pool), values)
    assert abs(np.corrcoef(Teacher(kind, space, 1).of(pool), values)[0, 1]) < 0.9
    assert len(teacher.of(pool[:0])) == 0


def test_noise_is_of_an_architecture_and_as_large_as_that_of_good_supernets(space):
    draw = np.random.default_rng(0)
    pool = draw.integers(0, np.array(space.decisions.options), (1_000, 40)).astype(np.int32)
    teacher = Teacher("sum", space, 3, noise=1.0)
    scores = teacher.of(pool, "score")
    assert stats.kendalltau(scores, teacher.of(pool)).statistic == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(teacher.of(pool[::-1], "score")[::-1], scores)
    np.testing.assert_array_equal(
        Teacher("sum", space, 3).of(pool, "score"), Teacher("sum", space, 3).of(pool)
    )


def test_what_cannot_be_is_refused(space):
    with pytest.raises(ValueError, match="teacher 'x' is not one of"):
        Teacher("x", space, 0)
    with pytest.raises(ValueError, match="has the columns score and value, not 'z'"):
        Teacher("sum", space, 0).of(np.zeros((1, 40), np.int32), "z")
