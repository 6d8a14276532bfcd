import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnao_jax import sampler

SIZES = np.array([1.0, 2.0, 3.0, 10.0, 0.0, 0.0])  # the last two are padding
DRAWS = 20_000
CHI_SQUARE_999 = 16.27  # 0.999 quantile with 3 degrees of freedom


STRATA = np.array([0, 2, 2, 2, -1, -1])


@pytest.mark.parametrize(
    "weights, shares",
    [
        (sampler.log_proportional(SIZES), SIZES),
        (sampler.log_proportional(SIZES, 2.0), SIZES**2),
        (sampler.log_proportional(SIZES, 0.0), SIZES > 0),
        (sampler.log_stratified(STRATA), np.array([3, 1, 1, 1, 0, 0])),
    ],
    ids=["proportional", "square", "uniform", "stratified"],
)
def test_frequencies_follow_the_rule(weights, shares, key):
    counts = np.bincount(np.asarray(sampler.draw_row(key, weights, (DRAWS,))), minlength=6)
    expected = DRAWS * shares / shares.sum()
    np.testing.assert_allclose(sampler.expected_counts(weights, DRAWS), expected, rtol=1e-5)
    real = expected > 0
    assert counts[~real].sum() == 0
    assert np.sum((counts - expected)[real] ** 2 / expected[real]) < CHI_SQUARE_999


def test_shares_of_options_by_hand():
    pool = np.array([[0, 1], [1, 1], [1, 0]], np.int32)
    first, second = sampler.option_shares([5, 3, 2], pool, (3, 2))
    np.testing.assert_allclose(first, [0.5, 0.5, 0.0])
    np.testing.assert_allclose(second, [0.2, 0.8])


def test_draws_in_a_compiled_loop_need_only_the_step(key):
    weights = sampler.log_proportional(SIZES)

    @jax.jit
    def run(first):
        draw = lambda n: sampler.draw_row(jax.random.fold_in(key, first + n), weights)
        return jax.vmap(draw)(jnp.arange(8))

    np.testing.assert_array_equal(run(0)[4:], run(4)[:4])


OPTIONS = (3, 3, 3)


@pytest.mark.parametrize("shared", [None, 1])
def test_strict_fairness_takes_every_option_once(shared, key):
    draw = jax.jit(jax.vmap(lambda k: sampler.draw_fairly(k, OPTIONS, shared)))
    drawn = np.asarray(draw(jax.random.split(key, 3_000)))  # [draws, K, D]
    assert drawn.dtype == np.int32
    for decision in range(3):
        options = np.sort(drawn[:, :, decision], 1)
        if decision == shared:
            assert (options == options[:, :1]).all()
        else:
            assert (options == np.arange(3)).all()
    # Every option of a decision is as likely for the first path, whatever the other decisions take.
    counts = np.bincount(sampler.numbers(drawn[:, 0], OPTIONS), minlength=27)
    assert np.sum((counts - 3_000 / 27) ** 2 / (3_000 / 27)) < 54.05  # 0.999 quantile, 26 degrees


def test_strict_fairness_needs_equal_decisions(key):
    with pytest.raises(ValueError, match=r"as many options at every decision, not \(2, 3\)"):
        sampler.draw_fairly(key, (2, 3))


def test_of_space_takes_every_architecture_equally_often(key):
    options = (2, 4, 3)
    drawn = jax.jit(jax.vmap(lambda k: sampler.of_space(k, options)))(jax.random.split(key, 3_000))
    counts = np.bincount(sampler.numbers(np.asarray(drawn), options), minlength=24)
    assert np.sum((counts - 125) ** 2 / 125) < 49.73  # 0.999 quantile, 23 degrees of freedom


def test_within_takes_every_interval_equally_often_and_all_it_holds(key):
    # Sums of three numbers 0..9: of 1,000, the middle intervals hold most, the last only (9, 9, 9).
    cost = lambda architecture: architecture.sum().astype(jnp.float32)
    draw = lambda key: sampler.of_space(key, (10, 10, 10))
    limits = dict(least=-0.5, most=27.5, step=7.0)
    run = jax.jit(jax.vmap(lambda k: sampler.within(k, draw, cost, **limits)))
    sums = np.asarray(run(jax.random.split(key, 2_000)).sum(1))
    counts = np.bincount(sums // 7, minlength=4)
    assert np.sum((counts - 500) ** 2 / 500) < CHI_SQUARE_999
    ways = np.bincount(np.indices((10, 10, 10)).sum(0).ravel())
    expected = np.concatenate([500 * own / own.sum() for own in np.split(ways, 4)])
    assert np.sum((np.bincount(sums, minlength=28) - expected) ** 2 / expected) < 55.48  # of 27


def test_within_takes_the_nearest_where_nothing_is_within(key):
    cost = lambda architecture: architecture.sum().astype(jnp.float32)
    draw = lambda key: sampler.of_space(key, (3, 3))
    run = lambda key: sampler.within(key, draw, cost, least=10, most=12, step=2, tries=200)
    np.testing.assert_array_equal(jax.jit(run)(key), [2, 2])


def test_numbers_count_through_the_space():
    options = (2, 4, 3)
    pool = np.array(list(itertools.product(*map(range, options))), np.int32)
    np.testing.assert_array_equal(sampler.numbers(pool, options), np.arange(24))
