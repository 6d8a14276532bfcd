"""Laws of successive halving."""

import numpy as np
import pytest

from bnao_jax.halving import LOSS, Halving, kept, stages


def values(count, parts, noise=0.3):
    """Accuracies and losses float32[2, P, G]: of architectures, parts, and noise."""
    rng = np.random.default_rng(0)
    losses = rng.normal(size=(count, 1)) + rng.normal(size=(1, parts))
    losses = losses + noise * rng.normal(size=(count, parts))
    return np.stack([-losses, losses]).astype(np.float32)


def halved(whole):
    """The halving of a table of values, done, and how many of them it asked for."""
    halving, asked = Halving(*whole.shape[1:]), 0
    for rows, part in halving.work():
        halving.record(rows, part, whole[:, rows, part])
        asked += len(rows)
    return halving, asked


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (7, 1), (1, 5), (37, 10), (64, 8), (5, 3)])
def test_it_asks_for_what_it_says(count, parts):
    halving, asked = halved(values(count, parts))
    assert asked == halving.size
    assert halving.seen.min() == (1 if count > 1 else parts) and halving.seen.max() == parts


def test_one_part_is_plain_scoring():
    whole = values(9, 1)
    np.testing.assert_array_equal(halved(whole)[0].scores(), whole[:, :, 0])


def test_half_goes_on_each_time():
    halving, _ = halved(values(100, 10))
    assert [int(sum(halving.seen >= n)) for n in stages(10)] == [100, 50, 25, 13, 7]
    assert kept(1) == 1


def test_scores_of_those_that_were_scored_on_all_are_their_means():
    whole = values(64, 8)
    halving, _ = halved(whole)
    last = halving.seen == 8
    np.testing.assert_allclose(halving.scores()[:, last], whole[:, last].mean(2), rtol=1e-6)


def test_without_noise_all_scores_are_right_and_the_best_go_on():
    """Parts of other difficulty harm nobody."""
    whole = values(64, 8, noise=0.0)
    halving, _ = halved(whole)
    np.testing.assert_allclose(halving.scores(), whole.mean(2), atol=1e-5)
    best = np.argsort(whole[LOSS].mean(1))[: sum(halving.seen == 8)]
    assert (halving.seen[best] == 8).all()


def test_a_loss_that_is_not_finite_does_not_go_on():
    whole = values(8, 4)
    whole[:, 3] = np.nan
    halving, _ = halved(whole)
    assert halving.seen[3] == 1
    scores = halving.scores()
    assert np.isnan(scores[:, 3]).all() and np.isfinite(np.delete(scores, 3, 1)).all()
