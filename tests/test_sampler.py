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
