"""Training and evaluation of one network on batches that the host streams to the devices.

The same step as in `network`, one a dispatch, with the batch as its argument. Two batches are on
their way to the devices while they work, so the host decodes beside them.

Shapes: B images in the global batch, D devices, S pixels a side.
"""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax.measures import Measures, Tally, measures, tally
from bnao_jax.parallel import check_batch, divide, on_host, over_devices
from bnao_jax.training.network import make_step
from bnao_jax.training.recipe import Recipe

AHEAD = 2  # batches on the devices, and steps that they have been told to take


def placed(batches, devices):
    """Yields the batches of `data.streaming.Batches`, each put on the devices before its turn."""
    waiting = collections.deque()
    batches = (divide(parts, devices) for parts in batches)
    waiting.extend(itertools.islice(batches, AHEAD))
    while waiting:
        batch = waiting.popleft()
        waiting.extend(itertools.islice(batches, 1))
        yield batch


def make_train(network, recipe: Recipe, devices):
    """Returns `train(state, batches, key, steps) -> (State, loss, accuracy)`.

    As `network.make_train`, but the next `steps` of `batches` are trained on: an iterator of
    (images uint8[D, B/D, S, S, 3], labels int32[D, B/D]), as `placed` yields them. Crops are the
    host's; the recipe's augmentation is what is left, at least to normalise.
    """
    check_batch(recipe.batch_size, devices)
    take_step = make_step(network, recipe)

    def step(state, images, labels, key):
        return take_step(state, images, labels, jax.random.split(key)[1])

    run = over_devices(step, devices, mapped=(1, 2), donate=(0,))

    def train(state, batches, key, steps):
        results = []
        for _ in range(int(steps)):
            if len(results) >= AHEAD:  # batches of steps that are far ahead would fill the memory
                results[-AHEAD].block_until_ready()
            state, means = run(state, *next(batches), key)
            results.append(means)
        loss, accuracy = np.mean(jax.device_get(results), 0, dtype=np.float64)
        return state, loss, accuracy

    train.program = run
    return train


def make_evaluate(logits, classes, devices):
    """Returns `evaluate(state, batches) -> measures.Measures`, numpy arrays.

    Args:
      logits: function (state, images uint8[B/D, S, S, 3]) to float32[B/D, classes].
      classes: number of classes.
      devices: the devices.

    `batches` yields (images, labels, which of them count), as `placed` yields them.
    """

    def add(state, sums, images, labels, counts):
        return jax.tree.map(jnp.add, sums, tally(logits(state, images), labels, counts, classes))

    # Every device sums its own images; nothing crosses between them before the end.
    run = over_devices(add, devices, mapped=(1, 2, 3, 4), mapped_out=True, donate=(1,))

    def evaluate(state, batches) -> Measures:
        nothing, none = np.zeros(classes, np.int32), np.int32(0)
        start = Tally(np.float32(0), none, nothing, nothing)
        sums = jax.tree.map(lambda leaf: np.stack([leaf] * len(devices)), start)
        for batch in batches:
            sums = run(state, jax.block_until_ready(sums), *batch)
        loss, *counted = on_host(sums)
        total = Tally(loss.sum(dtype=np.float64), *(leaf.sum(0) for leaf in counted))
        return measures(total)

    return evaluate
