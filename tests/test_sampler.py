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
        (sampler.proportional(SIZES), SIZES),
        (sampler.proportional(SIZES, 2.0), SIZES**2),
        (sampler.uniform(SIZES), SIZES > 0),
        (sampler.stratified(STRATA), np.array([3, 1, 1, 1, 0, 0])),
    ],
    ids=["proportional", "square", "uniform", "stratified"],
)
def test_frequencies_follow_the_rule(weights, shares, key):
    counts = np.bincount(np.asarray(sampler.draw(key, weights, (DRAWS,))), minlength=6)
    expected = DRAWS * shares / shares.sum()
    np.testing.assert_allclose(sampler.expected_counts(weights, DRAWS), expected, rtol=1e-5)
    real = expected > 0
    assert counts[~real].sum() == 0
    assert np.sum((counts - expected)[real] ** 2 / expected[real]) < CHI_SQUARE_999


def test_draws_in_a_compiled_loop_need_only_the_step(key):
    weights = sampler.proportional(SIZES)

    @jax.jit
    def run(first):
        draw = lambda n: sampler.draw(jax.random.fold_in(key, first + n), weights)
        return jax.vmap(draw)(jnp.arange(8))

    np.testing.assert_array_equal(run(0)[4:], run(4)[:4])


OPTIONS = (3, 3, 3)


@pytest.mark.parametrize("shared", [None, 1])
def test_strict_fairness_takes_every_option_once(shared, key):
    draw = jax.jit(jax.vmap(lambda k: sampler.strictly_fair(k, OPTIONS, shared)))
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
        sampler.strictly_fair(key, (2, 3))


def test_numbers_count_through_the_space():
    options = (2, 4, 3)
    pool = np.array(list(itertools.product(*map(range, options))), np.int32)
    np.testing.assert_array_equal(sampler.numbers(pool, options), np.arange(24))
