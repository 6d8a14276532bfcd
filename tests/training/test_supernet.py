"""Shared weights: any number of devices, any cuts, and a plain reference give the same training."""

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_supernet import (
    BATCH,
    CHOICES,
    DECAY,
    EXAMPLES,
    FLOAT32,
    MEAN,
    MOMENTUM,
    POOL,
    RATE,
    STD,
    STEPS,
    UNIFORM,
    WHOLE,
    assert_close,
    assert_equal,
    images_of_classes,
    material,
    plain_gradient,
    plain_step,
    recipe,
    run,
    start,
    toy,
    toy_params,
    toy_path,
    trace_of,
    trainer,
)

from bnao_jax import data, sampler
from bnao_jax.nn.initialization import initialize
from bnao_jax.parallel import AXIS
from bnao_jax.spaces.nao.outline import Outline
from bnao_jax.spaces.nao.supernet import Supernet, on_path
from bnao_jax.training import rates_and_momenta
from bnao_jax.training.loss import cross_entropy
from bnao_jax.training.supernet import make_material, make_train


@pytest.mark.parametrize("devices", [1, 4])
def test_local_statistics_average_the_gradients_of_the_shards(key, devices):
    state, losses = start(), []
    params, trace = state.params, trace_of(state)
    for step in range(3):
        state, (report,) = run(trainer(devices), key, (1,), state)
        row = int(report.counts.argmax())
        architectures = POOL[[row] * devices]
        params, trace, loss = plain_step(params, trace, key, step, architectures)
        np.testing.assert_allclose(report.loss, loss, **FLOAT32)
        losses.append(loss)
    assert_close(state.params, params, **FLOAT32)
    assert_close(trace_of(state), trace, **FLOAT32)
    assert state.step == 3


LEAST, MOST = 0.5, 2.0
COSTS = np.exp(-np.arange(len(WHOLE)))  # the exponents are evenly spaced between these
EXPONENTS = np.linspace(LEAST, MOST, len(WHOLE))


@pytest.mark.parametrize("path_rate, shared", [(False, None), (True, None), (True, 1)])
def test_strict_fairness_adds_the_gradients_of_disjoint_paths(key, path_rate, shared):
    paths_of = sampler.strictly_fair((CHOICES, CHOICES), shared)
    rules = (rates_and_momenta.complexity_losses(LEAST, MOST),) if path_rate else ()
    train = trainer(1, paths=paths_of, rules=rules)
    given = make_material(
        images_of_classes(), WHOLE, COSTS, len(WHOLE), paths_of, rules, total_steps=STEPS
    )
    begin, step = start(step=2), 2
    params, trace = begin.params, trace_of(begin)
    state, (report,) = run(train, key, (1,), begin, given)
    rows = np.flatnonzero(report.counts)
    paths = WHOLE[rows]
    assert report.counts.max() == 1 and sorted(paths[:, 0]) == [0, 1, 2]
    assert sorted(paths[:, 1]) == [0, 1, 2] if shared is None else len(set(paths[:, 1])) == 1
    images, labels = images_of_classes()
    order = data.batch_indices(jax.random.split(key)[0], step, EXAMPLES, BATCH)
    images = (images[order] / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    found = [plain_gradient(params, images, labels[order], path) for path in paths]
    np.testing.assert_allclose(report.loss, np.mean([loss for loss, _ in found]), **FLOAT32)
    factors = (1 - step / STEPS) ** EXPONENTS[rows] if path_rate else np.ones(CHOICES)
    gradients = [
        jax.tree.map(lambda g, f=factor: f * g, gradient)
        for factor, (_, gradient) in zip(factors, found, strict=True)
    ]
    total = jax.tree.map(lambda *parts: np.sum(parts, 0), *gradients)
    on = {"second": np.unique(paths[:, 1])}
    for name, gradient in total.items():
        at = on.get(name, ...)
        moved = gradient + DECAY * params[name] + MOMENTUM * trace[name]
        np.testing.assert_allclose(trace_of(state)[name][at], moved[at], **FLOAT32)
        expected = params[name] - RATE * moved
        np.testing.assert_allclose(state.params[name][at], expected[at], **FLOAT32)
    off = np.setdiff1d(np.arange(CHOICES), on["second"])
    np.testing.assert_array_equal(state.params["second"][off], params["second"][off])


# Devices and cuts


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_with_synchronous_statistics_devices_do_not_matter(key, devices):
    one, (report,) = run(trainer(1, AXIS, randomness=True), key)
    many, (same,) = run(trainer(devices, AXIS, randomness=True), key)
    assert_close(many, one, **FLOAT32)
    assert_close(same, report, **FLOAT32)


def test_flips_crops_and_drop_path_take_part(key):
    plain, _ = run(trainer(1), key)
    random, _ = run(trainer(1, AXIS, randomness=True), key)
    assert not np.allclose(plain.params["head"], random.params["head"], atol=1e-2)


@pytest.mark.parametrize("devices", [1, 2])
def test_cuts_between_dispatches_do_not_matter(key, devices):
    train = trainer(devices, AXIS, randomness=True)
    whole, (report,) = run(train, key)
    cut, reports = run(train, key, (1, 3, 2))
    assert_equal(cut, whole)
    assert_equal(sum(r.counts for r in reports), report.counts)
    weighted = sum(n * r.loss for n, r in zip((1, 3, 2), reports, strict=True))
    np.testing.assert_allclose(weighted / STEPS, report.loss, rtol=1e-5)


@pytest.fixture
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_supernet_on_one_and_two_devices(key, quick_compilation):
    outline = Outline(channels=4, cells=1, classes=5, operations="tiny", nodes=1)
    rng = np.random.default_rng(0)
    pool = np.asarray(outline.decisions.random(jax.random.key(1), 3))
    images = rng.integers(0, 256, (2 * BATCH, 8, 8, 3), np.uint8)
    labels = (np.arange(2 * BATCH) % 5).astype(np.int32)
    given = make_material((images, labels), pool, np.ones(3), 3, UNIFORM, total_steps=STEPS)
    # Outside of the mapping no axis has the name; the weights are the same without it.
    any_images = jnp.zeros((BATCH, 8, 8, 3))
    params = initialize(Supernet(outline), jax.random.key(2), any_images, jnp.asarray(pool[0]))
    params = jax.device_get(params)  # each run donates its own copy
    net = Supernet(outline, axis_name=AXIS)
    apply = lambda params, images, architecture, drop_path, _: net.apply(
        {"params": params}, images, architecture, drop_path=drop_path
    )
    augmentation = data.Augmentation((0.5,) * 3, (0.3,) * 3, pad=1)
    settings = recipe(augmentation=augmentation, drop_path_keep=0.8)

    def trained(devices):
        masks = functools.partial(on_path, outline)
        local = jax.local_devices()[:devices]
        train = make_train(apply, masks, settings, local, sampler=UNIFORM)
        state, (report,) = run(train, key, (2,), start(params), given)
        return state.params, report

    with ThreadPoolExecutor() as pool_of_threads:  # compilation takes nearly all the time
        (one, report), (two, same) = pool_of_threads.map(trained, (1, 2))
    assert_close(same, report, **FLOAT32)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, params)
    assert np.mean([m > 1e-3 for m in jax.tree.leaves(moved)]) > 0.5
    # Relative to how far the leaf moved; two steps apart, 1e-5 of it was seen.
    jax.tree.map(
        lambda a, b, m: np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * m), one, two, moved
    )


def test_batch_must_divide_over_devices():
    with pytest.raises(ValueError, match="9 is not divisible by 2"):
        make_train(toy, toy_path, recipe(batch_size=9), jax.local_devices()[:2], sampler=UNIFORM)


# Weights off the path


def test_weights_off_the_path_keep_value_and_momentum(key):
    begin = start()
    state, (report,) = run(trainer(1), key, (1,))
    architecture = POOL[report.counts.argmax()]
    for name, choice in zip(("first", "second"), architecture, strict=True):
        off = np.arange(CHOICES) != choice
        for now, before in ((state.params, begin.params), (trace_of(state), trace_of(begin))):
            np.testing.assert_array_equal(now[name][off], before[name][off])
            assert (now[name][choice] != before[name][choice]).all()


def test_weights_off_the_path_move_by_momentum_and_decay_when_not_frozen(key):
    begin = start()
    state, (report,) = run(trainer(1, freeze_off_path=False), key, (1,))
    architecture = POOL[report.counts.argmax()]
    for name, choice in zip(("first", "second"), architecture, strict=True):
        off = np.arange(CHOICES) != choice
        before = begin.params[name][off]
        trace = DECAY * before + MOMENTUM * trace_of(begin)[name][off]
        np.testing.assert_allclose(trace_of(state)[name][off], trace, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(
            state.params[name][off], before - RATE * trace, rtol=1e-5, atol=1e-7
        )


# Programs, failures, learning


@pytest.fixture
def compiled():
    """The durations of the compilations so far in the test."""
    durations, name = [], "/jax/core/compile/backend_compile_duration"
    listen = lambda event, seconds, **_: durations.append(seconds) if event == name else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield durations
    jax.monitoring.unregister_event_duration_listener(listen)


def test_one_program_for_all_pools_steps_and_lengths(key, compiled):
    apply = functools.partial(toy, axis_name=None)
    train = make_train(apply, toy_path, recipe(), jax.local_devices()[:2], sampler=UNIFORM)
    first, second = material(), material(POOL[::-1].copy(), rows=2, total_steps=2 * STEPS)
    other_key = jax.random.key(7)
    state, _ = train(start(), first, key, np.int32(2))
    assert compiled
    compiled.clear()
    for given, steps in ((first, 1), (second, 3)):  # states of the program, and from the host
        state, _ = train(state, given, other_key, np.int32(steps))
    train(start(), second, key, np.int32(4))
    assert compiled == []


def test_learning_rate_is_that_of_the_step(key):
    train = trainer(1, learning_rate=lambda step, total_steps: RATE * (step % 2))
    state = start()
    for step in range(4):
        before = state.params["head"]
        state, _ = run(train, key, (1,), state)
        assert (state.params["head"] != before).any() == step % 2


def test_rates_and_drop_path_go_by_the_length_of_the_round(key):
    train = trainer(1, learning_rate=lambda step, total_steps: RATE * (total_steps == 2 * STEPS))
    heads = [
        run(train, key, (1,), given=material(total_steps=total))[0].params["head"]
        for total in (STEPS, 2 * STEPS)
    ]
    np.testing.assert_array_equal(heads[0], start().params["head"])
    assert np.abs(heads[1] - heads[0]).max() > 1e-4
    # The first half of a round twice as long drops half as much.
    dropping = trainer(1, randomness=True)
    losses = [
        run(dropping, key, (1,), given=material(total_steps=total))[1][0].loss
        for total in (STEPS, 2 * STEPS)
    ]
    assert losses[0] != losses[1]
    assert recipe(drop_path_keep=0.6).keep(STEPS - 1) == pytest.approx(0.6)
    assert recipe(drop_path_keep=0.6).keep(STEPS - 1, 2 * STEPS) == pytest.approx(0.8)


def test_first_failure_is_reported():
    key = jax.random.key(3)  # its third step is the first to make the other choice
    _, reports = run(trainer(1), key, (1,) * STEPS)
    assert {int(r.failed_step) for r in reports} == {-1}
    rows = [int(r.counts.argmax()) for r in reports]
    broken = next(step for step in range(1, STEPS) if POOL[rows[step], 1] != POOL[rows[0], 1])
    assert broken < STEPS - 1  # later steps fail as well
    params = toy_params()
    params["second"][POOL[rows[broken], 1]] = np.inf
    _, (report,) = run(trainer(1), key, state=start(params))
    # The weights are broken for good, the step before the first failure was not.
    assert report.failed_step == broken
    np.testing.assert_array_equal(report.failed, POOL[rows[broken]])
    assert not np.isfinite(report.loss)


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    plain = -(np.log(0.5) + np.log(0.8)) / 2
    # Smoothing 0.3 leaves 0.8 for the label and 0.1 for the others.
    first = -0.8 * np.log(0.5) - 0.2 * np.log(0.25)
    second = -0.8 * np.log(0.8) - 0.2 * np.log(0.1)
    labels = jnp.array([0, 2])
    np.testing.assert_allclose(cross_entropy(logits, labels), plain, rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(logits, labels, 0.3), (first + second) / 2, rtol=1e-6)


def test_loss_falls(key):
    _, reports = run(trainer(1), key, (STEPS,) * 10)
    assert reports[-1].loss < 0.3 * reports[0].loss
    assert reports[-1].accuracy > 0.9 > reports[0].accuracy
