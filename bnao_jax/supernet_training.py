"""Training of shared weights: many steps per dispatch, each along one or more drawn architectures.

Shapes: P rows of the padded pool, D decisions, B images in the global batch, N in the train part, K
paths of a step.
Knows neither space nor strategy: it takes functions of weights, images and an architecture.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bnao_jax import data, optimizer, sampler
from bnao_jax.data import Augmentation
from bnao_jax.nn.layers import DropPath
from bnao_jax.parallel import AXIS, check_batch, mean_over_devices, over_devices, own_rows


class State(NamedTuple):
    """What training changes: weights, optimizer state, and the step within the round."""

    params: dict
    optimizer: tuple
    step: jax.Array


class Material(NamedTuple):
    """What a round trains on: train images uint8[N, H, W, C], labels int32[N], the padded pool.

    `pool` is int32[P, D], `log_weights` float32[P] with -inf in the padding (see `sampler`),
    `exponents` float32[P] where the rates depend on the path (see `optimizer`), else None. `places`
    is the row of each architecture of the whole space, in the order of `sampler.numbers`, where all
    are in the pool and a step draws several, else None.
    """

    images: jax.Array
    labels: jax.Array
    pool: jax.Array
    log_weights: jax.Array
    exponents: jax.Array | None = None
    places: jax.Array | None = None


class Report(NamedTuple):
    """What a dispatch of steps did.

    Attributes:
      loss: mean training loss.
      accuracy: mean training accuracy, 0..1.
      counts: int32[P], how often each row of the pool was trained.
      failed_step: first step within the round whose loss was not finite, or -1.
      failed: int32[D], an architecture that it trained.
    """

    loss: jax.Array
    accuracy: jax.Array
    counts: jax.Array
    failed_step: jax.Array
    failed: jax.Array


class Paths(NamedTuple):
    """What a step trains.

    Attributes:
      architectures: int32[K, D].
      rows: int32[K], where they are in the pool; P where they are not.
    """

    architectures: jax.Array
    rows: jax.Array


def draw_one(key, material):
    """One of the `Paths` of the pool, drawn by the material's log weights."""
    rows = sampler.draw(key, material.log_weights, (1,))
    return Paths(material.pool[rows], rows)


def draw_fairly(options, shared=None):
    """Returns `(key, material) -> Paths`, K of them; see `sampler.strictly_fair`."""

    def draw(key, material):
        pool = sampler.strictly_fair(key, options, shared)
        return Paths(pool, material.places[sampler.numbers(pool, options)])

    return draw


def draw_anywhere(draw_architecture):
    """Returns `(key, material) -> Paths`: one of `key -> int32[D]`, in the pool or not."""

    def draw(key, material):
        architecture = draw_architecture(key)[None]
        same = (material.pool == architecture).all(1) & (material.log_weights > -jnp.inf)
        row = jnp.where(same.any(), jnp.argmax(same), len(same))
        return Paths(architecture, row[None])

    return draw


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the supernet is trained.

    Attributes:
      batch_size: images in a global batch, over all devices.
      total_steps: steps of a round.
      learning_rate: function of the step within the round.
      optimizer: transformation whose update takes `learning_rate` and `mask`, see `optimizer.sgd`.
      augmentation: what happens to training images.
      label_smoothing: 0..1.
      drop_path_keep: keep probability at the last cell and the last step, or None.
      draw: function (key, material) to the `Paths` of a step. All see the same images; their
        gradients are added.
      path_per_device: whether each device draws its own paths.
      frozen_off_path: whether weights off the path are spared weight decay and momentum.
      path_rate: None, or how the rate depends on the path: "own", by its own exponent, or "mean",
        by the mean over all paths as they are drawn; the optimizer then takes `exponents`. "loss":
        each path's loss is weighted instead, as it has to be where a step trains several.
      group: None, or a function of an architecture int32[D] to its group; the optimizer then takes
        `group`, that of the first path.
    """

    batch_size: int
    total_steps: int
    learning_rate: Callable
    optimizer: optax.GradientTransformationExtraArgs
    augmentation: Augmentation
    label_smoothing: float = 0.0
    drop_path_keep: float | None = None
    draw: Callable = draw_one
    path_per_device: bool = False
    frozen_off_path: bool = True
    path_rate: str | None = None
    group: Callable | None = None


def cross_entropy(logits, labels, smoothing=0.0):
    """Mean cross entropy of logits [B, classes] against labels [B], smoothed."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()


def zeros(shapes):
    """Host arrays of zeros for a tree of shapes and dtypes."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def initial_state(recipe: Recipe, params) -> State:
    """The state before the first step of a round: momentum starts at zero."""
    return State(params, zeros(jax.eval_shape(recipe.optimizer.init, params)), np.int32(0))


def _blamed(architectures, failing):
    """The last device's first failing path of `[K, D]`; where all is well, or the sum, any path."""
    device = lax.axis_index(AXIS)
    last = lax.pmax(jnp.where(failing.any(), device, 0), AXIS)
    return lax.psum(jnp.where(device == last, architectures[jnp.argmax(failing)], 0), AXIS)


def make_train(apply, on_path, recipe: Recipe, devices):
    """Returns the compiled `train(state, material, key, steps) -> (State, Report)`.

    One program serves all architectures, all pools of one padded size and all numbers of steps.
    `steps` steps (traced) are taken from `state.step` on; they must not leave the epoch. The state
    is donated. Every random draw is a function of the key and of the step, and, for images, of
    their place in the global batch, so that neither the cuts between dispatches nor the number of
    devices changes it.

    Args:
      apply: function (params, images [B, H, W, C], architecture int32[D], drop_path) to logits.
      on_path: function (params, architecture) to a tree of masks, see `optimizer`.
      recipe: the recipe.
      devices: the devices; their number divides the batch.
    """
    check_batch(recipe.batch_size, devices)

    def loss_of(params, images, labels, architecture, drop_path):
        logits = apply(params, images, architecture, drop_path)
        accuracy = jnp.mean(jnp.argmax(logits, -1) == labels)
        return cross_entropy(logits, labels, recipe.label_smoothing), accuracy

    def drop_path_of(step, key):
        if recipe.drop_path_keep is None:
            return None
        keep = 1 - (1 - recipe.drop_path_keep) * (step + 1) / recipe.total_steps
        return DropPath(keep, data.example_keys(key, own_rows(recipe.batch_size)))

    def of_path(material, paths):
        """What the optimizer is told about the paths."""
        told = {} if recipe.group is None else {"group": recipe.group(paths.architectures[0])}
        if recipe.path_rate == "own":
            told |= {"exponents": material.exponents[paths.rows]}
        elif recipe.path_rate == "mean":
            shares = jax.nn.softmax(material.log_weights)
            told |= {"exponents": material.exponents, "shares": shares}
        return told

    def along(state, batch, architecture, drop_path):
        """(loss, accuracy), gradients of one path."""
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        return gradient(state.params, *batch, architecture, drop_path)

    def along_all(state, batch, material, paths, drop_path):
        """(losses [K], mean accuracy), the sum of the gradients of all paths."""
        architectures = paths.architectures
        if len(architectures) == 1:
            (loss, accuracy), gradients = along(state, batch, architectures[0], drop_path)
            return (loss[None], accuracy), gradients
        weights = jnp.ones(len(architectures))
        if recipe.path_rate == "loss":
            passed = state.step / recipe.total_steps
            weights = optimizer.complexity_factors(passed, material.exponents[paths.rows])

        def add(total, path):
            architecture, weight = path
            found, gradients = along(state, batch, architecture, drop_path)
            return jax.tree.map(lambda t, g: t + weight * g, total, gradients), found

        zero = jax.tree.map(jnp.zeros_like, state.params)
        gradients, (losses, accuracies) = lax.scan(add, zero, (architectures, weights))
        return (losses, accuracies.mean()), gradients

    def path_of(params, architectures):
        """Masks of the weights on any of the paths, here or on another device."""
        mask = on_path(params, architectures[0])
        if len(architectures) > 1:
            masks = jax.vmap(on_path, (None, 0))(params, architectures)
            mask = jax.tree.map(lambda m: m.any(0), masks)
        if recipe.path_per_device:
            mask = jax.tree.map(lambda m: lax.pmax(m.astype(jnp.int32), AXIS) > 0, mask)
        return mask

    def train(state, material, key, steps):
        examples = material.labels.shape[0]
        epoch = state.step // data.steps_per_epoch(examples, recipe.batch_size)
        order_key, step_key = jax.random.split(key)
        permutation = data.epoch_permutation(order_key, epoch, examples)

        def take_step(_, carry):
            state, report = carry
            keys = jax.random.split(jax.random.fold_in(step_key, state.step), 3)
            draw_key, augment_key, drop_key = keys
            if recipe.path_per_device:
                draw_key = jax.random.fold_in(draw_key, lax.axis_index(AXIS))
            paths = recipe.draw(draw_key, material)
            batch = data.training_batch(
                *(augment_key, material.images, material.labels, permutation, state.step),
                batch_size=recipe.batch_size,
                rows=own_rows(recipe.batch_size),
                augmentation=recipe.augmentation,
            )
            drop_path = drop_path_of(state.step, drop_key)
            found, gradients = along_all(state, batch, material, paths, drop_path)
            blamed = _blamed(paths.architectures, ~jnp.isfinite(found[0]))
            (losses, accuracy), gradients = mean_over_devices((found, gradients))
            loss = losses.mean()
            mask = path_of(state.params, paths.architectures) if recipe.frozen_off_path else None
            updates, momentum = recipe.optimizer.update(
                gradients,
                state.optimizer,
                state.params,
                learning_rate=recipe.learning_rate(state.step),
                mask=mask,
                **of_path(material, paths),
            )
            trained = jnp.zeros_like(report.counts).at[paths.rows].add(1, mode="drop")
            if recipe.path_per_device:
                trained = lax.psum(trained, AXIS)
            failed = ~jnp.isfinite(loss) & (report.failed_step < 0)
            report = Report(
                loss=report.loss + loss,
                accuracy=report.accuracy + accuracy,
                counts=report.counts + trained,
                failed_step=jnp.where(failed, state.step, report.failed_step),
                failed=jnp.where(failed, blamed, report.failed),
            )
            params = optax.apply_updates(state.params, updates)
            return State(params, momentum, state.step + 1), report

        counts = jnp.zeros(material.pool.shape[0], jnp.int32)
        nothing = jnp.zeros_like(material.pool[0])
        report = Report(jnp.float32(0), jnp.float32(0), counts, jnp.int32(-1), nothing)
        state, report = lax.fori_loop(0, steps, take_step, (state, report))
        return state, report._replace(loss=report.loss / steps, accuracy=report.accuracy / steps)

    return over_devices(train, devices, donate=(0,))
