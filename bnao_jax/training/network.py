"""Training of one network alone: many steps per dispatch, running norm statistics.

Shapes: B images in the global batch, N in the train part.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bnao_jax import data
from bnao_jax.measures import measure
from bnao_jax.nn.layers import DropPath
from bnao_jax.parallel import AXIS, check_batch, mean_over_devices, over_devices, own_rows
from bnao_jax.training.loss import cross_entropy, zeros
from bnao_jax.training.recipe import Recipe

STATISTICS_MOMENTUM = 0.1  # of the running statistics; the first batch counts in full


class State(NamedTuple):
    """What training changes: weights, running norm statistics, optimizer state, step.

    `average` is a running mean of the weights, or () where there is none.
    """

    params: dict
    statistics: dict
    optimizer: tuple
    step: jax.Array
    average: dict | tuple = ()

    @property
    def weights(self):
        """The weights to evaluate with: the running mean, where there is one."""
        return self.average or self.params


def make_step(network, recipe: Recipe):
    """Returns `step(state, images, labels, key) -> (State, float32[2])`, under `over_devices`.

    One step on the present device's rows, uint8[B / devices, H, W, C], of a batch; the last two
    are loss and accuracy of the whole batch. Random draws are functions of the key and the step.
    """

    def loss_of(params, images, labels, drop_path, dropout_key):
        logits, changed = network.apply(
            {"params": params},
            images,
            train=True,
            drop_path=drop_path,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        logits, auxiliary = logits if isinstance(logits, tuple) else (logits, None)
        loss = total = cross_entropy(logits, labels, recipe.label_smoothing)
        if auxiliary is not None:
            extra = cross_entropy(auxiliary, labels, recipe.label_smoothing)
            total = loss + recipe.auxiliary_weight * extra
        accuracy = jnp.mean(jnp.argmax(logits, -1) == labels)
        return total, (loss, accuracy, changed.get("batch_stats", {}))

    def step(state, images, labels, key):
        keys = jax.random.split(jax.random.fold_in(key, state.step), 3)
        augment_key, drop_key, dropout_key = keys
        rows = own_rows(recipe.batch_size)
        images = recipe.augmentation(data.example_keys(augment_key, rows), images)
        drop_path = None
        if recipe.drop_path_keep is not None:
            drop_path = DropPath(recipe.keep(state.step), data.example_keys(drop_key, rows))
        dropout_key = jax.random.fold_in(dropout_key, lax.axis_index(AXIS))
        gradient = jax.grad(loss_of, has_aux=True)
        gradients, sums = gradient(state.params, images, labels, drop_path, dropout_key)
        gradients, (loss, accuracy, used) = mean_over_devices((gradients, sums))
        rate = jnp.where(state.step == 0, 1.0, STATISTICS_MOMENTUM)
        statistics = jax.tree.map(lambda s, u: s + rate * (u - s), state.statistics, used)
        updates, optimizer = recipe.optimizer.update(
            gradients,
            state.optimizer,
            state.params,
            learning_rate=recipe.rate(state.step),
        )
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if recipe.average_decay is not None:
            new = 1 - recipe.average_decay
            average = jax.tree.map(lambda a, p: a + new * (p - a), average, params)
        state = State(params, statistics, optimizer, state.step + 1, average)
        return state, jnp.stack([loss, accuracy])

    return step


def make_train(network, recipe: Recipe, devices):
    """Returns the compiled `train(state, images, labels, key, steps) -> (State, loss, accuracy)`.

    `steps` steps (traced) are taken from `state.step` on, within one epoch. The state is donated.
    Loss and accuracy are means over the steps, of the main head and of the training batches.

    Args:
      network: linen module; `apply(variables, images, train=True, drop_path=…)` gives logits or,
        with an auxiliary head, a pair of them.
      recipe: the recipe.
      devices: the devices; their number divides the batch.
    """
    check_batch(recipe.batch_size, devices)
    take_step = make_step(network, recipe)

    def train(state, images, labels, key, steps):
        examples = labels.shape[0]
        epoch = state.step // data.steps_per_epoch(examples, recipe.batch_size)
        order_key, step_key = jax.random.split(key)
        permutation = data.epoch_permutation(order_key, epoch, examples)

        def one_more(_, carry):
            state, sums = carry
            batch = data.batch_at(permutation, state.step, recipe.batch_size)
            rows = batch[own_rows(recipe.batch_size)]
            state, means = take_step(state, images[rows], labels[rows], step_key)
            return state, sums + means

        state, sums = lax.fori_loop(0, steps, one_more, (state, jnp.zeros(2)))
        return state, *(sums / steps)

    return over_devices(train, devices, donate=(0,))


def initial_state(network, recipe: Recipe, params, images):
    """The state before the first step; `images` is any batch `[B, H, W, C]`, for shapes."""

    def statistics(params, images):
        rngs = {"dropout": jax.random.key(0)}
        return network.apply(
            {"params": params}, images, train=True, rngs=rngs, mutable=["batch_stats"]
        )[1]

    shapes = jax.eval_shape(statistics, params, images).get("batch_stats", {})
    momentum = zeros(jax.eval_shape(recipe.optimizer.init, params))
    average = () if recipe.average_decay is None else jax.tree.map(np.array, params)
    return State(params, zeros(shapes), momentum, np.int32(0), average)


def make_logits(network, mean, std, *, statistics="stored"):
    """Returns `logits(state, images)` for evaluation: float32[B, classes] of uint8[B, H, W, C].

    Norms use the running statistics ("stored"), or those of each batch ("batch").
    """
    stored = statistics == "stored"

    def logits(state, images):
        variables = {"params": state.weights}
        if stored:
            variables |= {"batch_stats": state.statistics}
        images = data.normalise(images, np.array(mean), np.array(std))
        return network.apply(variables, images, given=stored)

    return logits


def make_evaluate(network, mean, std, batch_size, classes, *, statistics="stored"):
    """Returns the compiled `evaluate(state, images, labels) -> measures.Measures`.

    At most `batch_size` images are passed through at once. `statistics` is as in `make_logits`.
    """
    logits_of = make_logits(network, mean, std, statistics=statistics)

    @jax.jit
    def evaluate(state, images, labels):
        logits = functools.partial(logits_of, state)
        return measure(logits, images, labels, min(batch_size, images.shape[0]), classes)

    return evaluate
