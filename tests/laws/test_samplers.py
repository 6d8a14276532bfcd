"""Every sampler goes through the same laws: its stated frequencies, no padding, pure draws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnao_jax import sampler
from bnao_jax.training.supernet import make_material

OPTIONS = (3, 3)
# Of nine architectures; the sizes are far enough apart that every law is told from the others.
SPACE = np.array(list(itertools.product(*map(range, OPTIONS))), np.int32)
SIZES = np.array([100, 150, 200, 300, 400, 500, 700, 900, 1_000])
ORDER = np.array([4, 0, 8, 2, 6, 1, 7, 3, 5])  # of the pool: not that of the space
WHOLE_POOL, WHOLE_SIZES = SPACE[ORDER], SIZES[ORDER]
PART = slice(0, 5)  # of it, where a sampler draws from pools
CAPACITY, DRAWS = 12, 4_000
strata_of = lambda pool: pool[:, 0]
total = lambda architecture: architecture.sum().astype(jnp.float32)


def shares_by_strata(pool, sizes):
    strata = strata_of(pool)
    return 1 / np.bincount(strata)[strata] / len(set(strata))


def shares_by_interval(pool, sizes):
    """Sums 0 to 1, 2 to 3, and 4 are as likely, and within them all that have them."""
    interval = pool.sum(1) // 2
    return 1 / np.bincount(interval)[interval] / 3


evenly = lambda pool, sizes: np.full(len(pool), 1 / len(pool))
# The sampler, and the law of the first path: shares of the pool that add up to 1.
SAMPLERS = {
    "proportional": (sampler.proportional(), lambda pool, sizes: sizes / sizes.sum()),
    "square": (sampler.proportional(2.0), lambda pool, sizes: sizes**2 / np.sum(sizes**2)),
    "root": (sampler.proportional(0.5), lambda pool, sizes: sizes**0.5 / np.sum(sizes**0.5)),
    "uniform": (sampler.uniform(), evenly),
    "stratified": (sampler.stratified(strata_of), shares_by_strata),
    "whole_space": (sampler.whole_space(OPTIONS), evenly),
    "constrained": (
        sampler.constrained(OPTIONS, total, least=-0.5, most=5.5, step=2.0),
        shares_by_interval,
    ),
    "strictly_fair": (sampler.strictly_fair(OPTIONS), evenly),
    "strictly_fair, shared": (sampler.strictly_fair(OPTIONS, 1), evenly),
}
# 0.999 quantiles of chi square by the degrees of freedom.
CHI_SQUARE_999 = {4: 18.47, 8: 26.12}


class Case:
    """A sampler, prepared as `make_material` does it, and many draws."""

    def __init__(self, name):
        self.sampler, self.law = SAMPLERS[name]
        rows = slice(None) if self.sampler.name in sampler.WHOLE_SPACE else PART
        self.pool, self.sizes = WHOLE_POOL[rows], WHOLE_SIZES[rows]
        # Strict fairness numbers the whole space; see the law of its own below.
        self.capacity = len(self.pool) if self.sampler.name == "strictly_fair" else CAPACITY
        self.prepared = self.prepare(self.capacity)
        self.keys = jax.random.split(jax.random.key(0), DRAWS)
        self.draw = jax.jit(jax.vmap(self.sampler.draw, (0, None)))
        self.paths = self.draw(self.keys, self.prepared)

    def prepare(self, capacity, pool=None):
        part = np.zeros((1, 4, 4, 1), np.uint8), np.zeros(1, np.int32)
        pool = self.pool if pool is None else pool
        return make_material(part, pool, self.sizes, capacity, self.sampler, total_steps=1).prepared


@pytest.fixture(scope="module", params=SAMPLERS)
def case(request):
    return Case(request.param)


def test_every_name_of_the_settings_is_here():
    assert {made.name for made, _ in SAMPLERS.values()} == set(sampler.NAMES)


def test_shapes_and_types(case):
    architectures, rows = case.paths
    paths = OPTIONS[0] if case.sampler.name == "strictly_fair" else 1
    assert architectures.shape == (DRAWS, paths, len(OPTIONS)) and rows.shape == (DRAWS, paths)
    assert architectures.dtype == rows.dtype == np.int32


def test_frequencies_follow_the_law(case):
    shares = case.law(case.pool, case.sizes.astype(float))
    np.testing.assert_allclose(shares.sum(), 1)
    for path in range(case.paths.rows.shape[1]):  # each of them alone
        counts = np.bincount(case.paths.rows[:, path], minlength=len(case.pool))
        expected = DRAWS * shares
        distance = np.sum((counts - expected) ** 2 / expected)
        assert distance < CHI_SQUARE_999[len(shares) - 1]


def test_rows_point_at_the_architectures(case):
    architectures, rows = case.paths
    np.testing.assert_array_equal(case.prepared.pool[rows], architectures)


def test_padding_is_never_drawn(case):
    assert (np.asarray(case.paths.rows) < len(case.pool)).all()
    log_weights = np.asarray(case.prepared.log_weights)
    np.testing.assert_array_equal(
        np.isneginf(log_weights), np.arange(case.capacity) >= len(case.pool)
    )
    counts = sampler.expected_counts(case.prepared.log_weights, 100)
    np.testing.assert_allclose(counts.sum(), 100, rtol=1e-5)
    assert not counts[len(case.pool) :].any()


def test_draws_are_functions_of_the_key_alone(case):
    few = case.keys[:20]
    again = jax.jit(jax.vmap(case.sampler.draw, (0, None)))(few[::-1], case.prepared)
    for first, second in zip(case.paths, again, strict=True):
        np.testing.assert_array_equal(first[:20], second[::-1])
    rows = np.asarray(case.paths.architectures).reshape(DRAWS, -1)
    assert len(np.unique(rows, axis=0)) >= len(case.pool)  # and other keys draw others


def test_pools_of_one_padded_size_share_a_program(case):
    size = case.draw._cache_size()
    case.draw(case.keys, case.prepare(case.capacity, case.pool[::-1]))
    assert case.draw._cache_size() == size


ANYWHERE = ["whole_space", "constrained"]


@pytest.mark.parametrize("name", ANYWHERE)
def test_what_is_not_in_the_pool_has_the_row_behind_it(name):
    """Nor is it taken for padding, which looks like an architecture."""
    draws, _ = SAMPLERS[name]
    pool = np.concatenate([WHOLE_POOL[:3], np.zeros((2, 2), np.int32)])
    assert pool[:3].any(1).sum() == 2  # one real row is as the padding
    for real in (2, 1):
        costs = np.where(np.arange(5) < real, 10.0, 0.0)
        prepared = draws.prepare(pool, costs)
        architectures, rows = jax.jit(jax.vmap(draws.draw, (0, None)))(
            jax.random.split(jax.random.key(1), 200), prepared
        )
        same = (np.asarray(architectures) == pool[None, :real]).all(-1)
        expected = np.where(same.any(1), same.argmax(1), len(pool))
        np.testing.assert_array_equal(rows[:, 0], expected)
        assert 0 < same.any(1).mean() < 1


def test_strict_fairness_does_not_take_padding_for_the_first_architecture():
    draws = sampler.strictly_fair(OPTIONS)
    pool = np.pad(WHOLE_POOL, ((0, CAPACITY - len(WHOLE_POOL)), (0, 0)))
    prepared = draws.prepare(pool, np.pad(WHOLE_SIZES, (0, CAPACITY - len(WHOLE_SIZES))))
    for seed in range(5):
        architectures, rows = draws.draw(jax.random.key(seed), prepared)
        np.testing.assert_array_equal(pool[rows], architectures)
        assert (np.asarray(rows) < len(WHOLE_POOL)).all()


def test_a_sampler_of_one_s_own_needs_no_registry():
    """Two functions: here always the largest."""

    def prepare(pool, costs):
        return sampler.Prepared(np.asarray(pool), sampler.log_proportional(costs), np.argmax(costs))

    def draw(key, prepared):
        rows = jnp.int32(prepared.extra)[None]
        return sampler.Paths(jnp.asarray(prepared.pool)[rows], rows)

    largest = sampler.Sampler("largest", prepare, draw)
    paths = largest.draw(jax.random.key(0), largest.prepare(WHOLE_POOL, WHOLE_SIZES))
    assert paths.rows.tolist() == [2] and paths.architectures.tolist() == [[2, 2]]


def test_strict_fairness_needs_the_whole_space():
    with pytest.raises(ValueError, match="whole space of 4 architectures; the pool holds 2"):
        sampler.strictly_fair((2, 2)).prepare(np.array([[0, 1], [1, 0]]), np.ones(2))
