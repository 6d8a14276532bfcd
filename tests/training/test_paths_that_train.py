"""Shared weights: which paths are drawn, trained and counted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_supernet import (
    FLOAT32,
    POOL,
    REAL_ROWS,
    STEPS,
    WHOLE,
    assert_close,
    material,
    plain_step,
    recipe,
    run,
    start,
    trace_of,
    trainer,
)

from bnao_jax import data, sampler
from bnao_jax.training.optimizer import sgd
from bnao_jax.training.supernet import Material, make_train


def test_path_per_device_averages_the_gradients_of_the_paths(key):
    train, begin = trainer(2, path_per_device=True), start()
    for step in range(STEPS):
        state, (report,) = run(train, key, (1,), start(step=step))
        assert report.counts.sum() == 2
        if report.counts.max() == 1:
            break
    rows = np.flatnonzero(report.counts)
    assert len(rows) == 2  # some step draws two architectures
    # Which device drew which is not told.
    found = [
        plain_step(begin.params, trace_of(begin), key, step, POOL[order])
        for order in (rows, rows[::-1])
    ]
    close = [
        all(np.allclose(state.params[name], params[name], **FLOAT32) for name in params)
        for params, _, _ in found
    ]
    assert close in ([True, False], [False, True])


def test_paths_that_are_not_in_the_pool_train_and_do_not_count(key):
    architecture = np.array([2, 1], np.int32)
    paths_of = sampler.anywhere("always the same", lambda key: jnp.asarray(architecture))
    train = trainer(1, paths=paths_of)
    begin = start()
    state, (report,) = run(train, key, (1,))
    params, trace, loss = plain_step(begin.params, trace_of(begin), key, 0, architecture[None])
    np.testing.assert_allclose(report.loss, loss, **FLOAT32)
    assert_close(state.params, params, **FLOAT32)
    assert_close(trace_of(state), trace, **FLOAT32)
    assert report.counts.sum() == 0
    _, (report,) = run(train, key, (STEPS,), given=material(WHOLE[::-1], len(WHOLE)))
    row = np.flatnonzero((WHOLE[::-1] == architecture).all(1))
    np.testing.assert_array_equal(np.flatnonzero(report.counts), row)
    assert report.counts.sum() == STEPS


# Draws and counts


@functools.cache
def counter(devices, path_per_device):
    """Training of a net whose logits are a row of one matrix, whatever the image."""
    pick = lambda params, images, a, *_: jnp.tile(params["rows"][a], (len(images), 1))
    masks = lambda params, a: {"rows": (jnp.arange(len(POOL)) == a[0])[:, None]}
    settings = recipe(
        batch_size=devices,
        optimizer=sgd(momentum_decay=0.0),
        augmentation=data.Augmentation((0.0,), (1.0,), flip=False, pad=0),
    )
    return make_train(
        *(pick, masks, settings, jax.local_devices()[:devices]),
        sampler=sampler.proportional(),
        path_per_device=path_per_device,
    )


SIZES = np.array([1, 4, 0, 2, 3, 0])


def counted(devices, path_per_device, steps):
    """The counts of many steps, and the rows of weights that they moved."""
    examples = devices * steps
    images, labels = np.zeros((examples, 1, 1, 1), np.uint8), np.zeros(examples, np.int32)
    pool = np.arange(len(SIZES), dtype=np.int32)[:, None]
    state = start({"rows": np.zeros((len(SIZES), 2), np.float32)})
    given = Material(images, labels, sampler.proportional().prepare(pool, SIZES), np.int32(STEPS))
    train = counter(devices, path_per_device)
    state, report = train(state, given, jax.random.key(3), np.int32(steps))
    return np.asarray(report.counts), np.asarray(state.params["rows"]).any(1)


@pytest.mark.parametrize("devices, path_per_device", [(1, False), (2, True)])
def test_counts_follow_the_sizes(devices, path_per_device):
    steps = 2000 // devices
    counts, moved = counted(devices, path_per_device, steps)
    assert counts.sum() == steps * devices
    expected = np.asarray(sampler.expected_counts(sampler.log_proportional(SIZES), 2000))
    real = SIZES > 0
    np.testing.assert_array_equal(counts > 0, real)
    np.testing.assert_array_equal(moved, real)
    chi_square = ((counts - expected)[real] ** 2 / expected[real]).sum()
    assert chi_square < 16.3  # three degrees of freedom: one in a thousand


def test_padding_is_never_trained(key):
    state, (report,) = run(trainer(1), key)
    assert report.counts.sum() == STEPS and not report.counts[REAL_ROWS:].any()
    for name in ("first", "second"):  # only the padding makes the last choice
        np.testing.assert_array_equal(state.params[name][2], start().params[name][2])
        assert (state.params[name][:2] != start().params[name][:2]).any()


def test_devices_draw_different_paths(key):
    train, state, different = trainer(2, path_per_device=True), start(), 0
    for _ in range(2 * STEPS):
        state, (report,) = run(train, key, (1,), state)
        assert report.counts.sum() == 2
        different += report.counts.max() == 1
    # 3/4 of the pairs differ: none or all of 12 would have chance 6e-8 and 0.03
    assert 0 < different
