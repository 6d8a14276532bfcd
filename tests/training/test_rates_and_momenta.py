"""Rates by complexity and momenta by group: the published numbers, and the rules in a step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnao_jax import data, sampler
from bnao_jax.spaces.nasbench201 import outline as nasbench201
from bnao_jax.spaces.nasbench201.cost import cost
from bnao_jax.training import rates_and_momenta
from bnao_jax.training.optimizer import sgd
from bnao_jax.training.recipe import Recipe
from bnao_jax.training.supernet import initial_state, make_material, make_train

# Jeon et al., 2025: NAS-Bench-201 at C = 16, N = 5.
SMALLEST, LARGEST = 72_752, 1_524_272
OMEGA, TAU = -1.2327, 17.799
POOL = np.arange(4, dtype=np.int32)[:, None]
COSTS = np.array([SMALLEST, 300_000, LARGEST, 0.0])  # the last is padding
EXPONENTS = [4.0, OMEGA * np.log(300_000) + TAU, 0.25]


def paths(*rows):
    rows = jnp.array(rows, jnp.int32)
    return sampler.Paths(jnp.asarray(POOL)[rows], rows)


def test_published_exponents_of_nas_bench_201():
    complexities = np.array([SMALLEST, 300_000, LARGEST])
    exponents = rates_and_momenta.complexity_exponents(complexities)
    np.testing.assert_allclose(exponents, OMEGA * np.log(complexities) + TAU, atol=1e-3)
    np.testing.assert_allclose(exponents[[0, 2]], [4, 0.25], rtol=1e-6)
    assert rates_and_momenta.complexity_exponents([5, 5]).tolist() == [0.25, 0.25]
    # The slope and the offset themselves, of the line through both ends.
    omega = (exponents[2] - exponents[0]) / np.log(LARGEST / SMALLEST)
    assert round(float(omega), 4) == OMEGA
    assert round(float(exponents[2] - omega * np.log(LARGEST)), 3) == TAU


@pytest.mark.parametrize("passed", [0.0, 0.25, 0.5, 1.0])
def test_the_rate_of_a_path_by_hand(passed):
    rule = rates_and_momenta.complexity_rate()
    arrays = rule.prepare(sampler.uniform().prepare(POOL, COSTS), COSTS)
    for row, exponent in enumerate(EXPONENTS):
        extra = rule.tell(arrays, paths(row), passed)
        assert list(extra) == ["factor"]
        np.testing.assert_allclose(extra["factor"], (1 - passed) ** exponent, rtol=1e-3)


def test_other_powers_by_hand():
    rule = rates_and_momenta.complexity_rate(1.0, 2.0)
    arrays = rule.prepare(None, np.array([1.0, 10.0]))
    factors = [float(rule.tell(arrays, paths(row), 0.5)["factor"]) for row in (0, 1)]
    np.testing.assert_allclose(factors, [0.25, 0.5])


@pytest.mark.parametrize("draws", [sampler.uniform(), sampler.proportional()])
@pytest.mark.parametrize("passed", [0.25, 0.5, 0.75])
def test_the_control_has_the_mean_of_the_factors(draws, passed):
    """The mean is over what is drawn, so that both add up to the same rate; padding is no part."""
    prepared = draws.prepare(POOL, COSTS)
    each, mean = rates_and_momenta.complexity_rate(), rates_and_momenta.mean_complexity_rate()
    arrays = each.prepare(prepared, COSTS), mean.prepare(prepared, COSTS)
    factors = [each.tell(arrays[0], paths(row), passed)["factor"] for row in range(3)]
    shares = np.asarray(jax.nn.softmax(prepared.log_weights))[:3]
    for row in range(3):  # whatever the path
        factor = mean.tell(arrays[1], paths(row), passed)["factor"]
        np.testing.assert_allclose(factor, shares @ np.array(factors), rtol=1e-6)


def test_the_published_mean_rates():
    """A quarter, half and three quarters on: .55, .26, .085 of the first rate, on all of them."""
    pool = nasbench201.everything()
    sizes = cost(nasbench201.Outline(), pool).params
    rule = rates_and_momenta.mean_complexity_rate()
    arrays = rule.prepare(sampler.uniform().prepare(pool, sizes), sizes)
    factors = [float(rule.tell(arrays, None, passed)["factor"]) for passed in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(factors, [0.55, 0.26, 0.085], atol=0.005)


def test_several_paths_get_a_weight_each():
    rule = rates_and_momenta.complexity_losses()
    arrays = rule.prepare(sampler.uniform().prepare(POOL, COSTS), COSTS)
    extra = rule.tell(arrays, paths(2, 0, 1), 0.5)
    assert list(extra) == ["loss_weights"]
    np.testing.assert_allclose(extra["loss_weights"], 0.5 ** np.array(EXPONENTS)[[2, 0, 1]], 1e-3)


def test_groups_are_the_options_at_one_decision():
    rule = rates_and_momenta.separate_momentum(1)
    architectures = jnp.array([[0, 3, 1], [2, 3, 0]])
    extra = rule.tell(
        rule.prepare(None, COSTS), sampler.Paths(architectures, jnp.array([0, 1])), 0.5
    )
    assert extra == {"group": 3}


# In a step: logits are a row of one matrix, whatever the image.

STEPS, RATE, MOMENTUM = 4, 0.5, 0.9


def train_along(rules, groups=None, **options):
    """The weights after each of four steps of one image, and which row each trained."""
    draws = sampler.uniform()
    apply = lambda params, images, a, *_: jnp.tile(params["rows"][a[0]][None], (len(images), 1))
    every = lambda params, a: {"rows": jnp.ones((1, 1), bool)}
    recipe = Recipe(
        batch_size=1,
        total_steps=STEPS,
        learning_rate=lambda step, total_steps: RATE,
        optimizer=sgd(momentum_decay=MOMENTUM, groups=groups),
        augmentation=data.Augmentation((0.0,), (1.0,), flip=False, pad=0),
    )
    train = make_train(apply, every, recipe, jax.local_devices()[:1], sampler=draws, rules=rules)
    part = np.zeros((STEPS, 1, 1, 1), np.uint8), np.zeros(STEPS, np.int32)
    material = make_material(part, POOL[:3], COSTS[:3], 4, draws, rules, total_steps=STEPS)
    state = initial_state(recipe, {"rows": np.zeros((4, 2), np.float32)})
    weights, rows = [np.zeros((4, 2))], []
    for _ in range(STEPS):
        state, report = train(state, material, jax.random.key(8), np.int32(1))
        weights.append(np.asarray(state.params["rows"], np.float64))
        rows.append(int(np.argmax(report.counts)))
    return weights, rows


def gradient(weights, row):
    shares = np.exp(weights[row]) / np.exp(weights[row]).sum()
    return np.where(np.arange(4)[:, None] == row, shares - [1, 0], 0.0)


def reference(weights, rows, factors, groups):
    """The weights after each step, from those before it, in float64."""
    traces, steps = np.zeros((1 + max(groups), 4, 2)), []
    for before, row, factor, group in zip(weights, rows, factors, groups, strict=False):
        traces[group] = gradient(before, row) + MOMENTUM * traces[group]
        steps.append(before - RATE * factor * traces[group])
    return steps


@functools.cache
def drawn():
    return train_along((rates_and_momenta.complexity_rate(),))


def test_a_step_multiplies_its_update_by_the_factor_of_its_path():
    weights, rows = drawn()
    assert len(set(rows)) > 1
    factors = [(1 - step / STEPS) ** EXPONENTS[row] for step, row in enumerate(rows)]
    expected = reference(weights, rows, factors, [0] * STEPS)
    np.testing.assert_allclose(weights[1:], expected, rtol=1e-3, atol=1e-6)


def test_a_step_reads_and_writes_the_momentum_of_its_group_alone():
    weights, rows = train_along((rates_and_momenta.separate_momentum(0),), groups=4)
    assert rows == drawn()[1]  # what the paths tell changes no draw
    expected = reference(weights, rows, [1.0] * STEPS, rows)
    np.testing.assert_allclose(weights[1:], expected, rtol=1e-4, atol=1e-6)


def test_rules_go_together():
    rules = rates_and_momenta.mean_complexity_rate(), rates_and_momenta.separate_momentum(0)
    weights, rows = train_along(rules, groups=4)
    passed = np.arange(STEPS) / STEPS
    factors = np.mean((1 - passed)[:, None] ** np.array(EXPONENTS), 1)
    expected = reference(weights, rows, factors, rows)
    np.testing.assert_allclose(weights[1:], expected, rtol=1e-3, atol=1e-6)
