"""Training of shared weights: many steps per dispatch, each along one or more drawn architectures.

Shapes: P rows of the padded pool, D decisions, B images in the global batch, N in the train part, K
paths of a step.
Knows neither space nor strategy: it takes functions of weights, images and an architecture.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bnao_jax import data
from bnao_jax.nn.layers import DropPath
from bnao_jax.parallel import AXIS, check_batch, mean_over_devices, over_devices, own_rows
from bnao_jax.sampler import Prepared, Sampler
from bnao_jax.training.loss import cross_entropy, zeros
from bnao_jax.training.recipe import Recipe


class State(NamedTuple):
    """What training changes: weights, optimizer state, and the step within the round."""

    params: dict
    optimizer: tuple
    step: jax.Array


class Material(NamedTuple):
    """What a round trains on.

    Attributes:
      images: train images uint8[N, H, W, C].
      labels: int32[N].
      prepared: the padded pool, as the sampler prepared it.
      total_steps: int32, the steps of the round, which rates and drop path go by.
      rules: what each rule of the paths prepared.
    """

    images: jax.Array
    labels: jax.Array
    prepared: Prepared
    total_steps: jax.Array
    rules: tuple[Any, ...] = ()


def make_material(
    train_part, pool, costs, capacity, sampler: Sampler, rules=(), *, total_steps
) -> Material:
    """The material of a round.

    Args:
      train_part: (images uint8[N, H, W, C], labels int32[N]).
      pool: int32[P, D].
      costs: parameters of the networks alone, int[P].
      capacity: the rows that the pool is padded to, so that pools share one compiled program.
      sampler: draws from the pool.
      rules: `rates_and_momenta.PathRule`s.
      total_steps: the steps of the round.
    """
    padding = capacity - len(pool)
    pool = np.pad(np.asarray(pool, np.int32), ((0, padding), (0, 0)))
    costs = np.pad(np.asarray(costs, np.float64), (0, padding))
    prepared = sampler.prepare(pool, costs)
    of_rules = tuple(rule.prepare(prepared, costs) for rule in rules)
    return Material(*train_part, prepared, np.int32(total_steps), of_rules)


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


def initial_state(recipe: Recipe, params) -> State:
    """The state before the first step of a round: momentum starts at zero."""
    return State(params, zeros(jax.eval_shape(recipe.optimizer.init, params)), np.int32(0))


def _blamed(architectures, failing):
    """The last device's first failing path of `[K, D]`; where all is well, or the sum, any path."""
    device = lax.axis_index(AXIS)
    last = lax.pmax(jnp.where(failing.any(), device, 0), AXIS)
    return lax.psum(jnp.where(device == last, architectures[jnp.argmax(failing)], 0), AXIS)


def make_train(
    apply,
    on_path,
    recipe: Recipe,
    devices,
    *,
    sampler: Sampler,
    rules=(),
    path_per_device=False,
    freeze_off_path=True,
):
    """Returns the compiled `train(state, material, key, steps) -> (State, Report)`.

    One program serves all architectures, all pools of one padded size, all numbers of steps and all
    lengths of a round: it takes nothing of the recipe's `total_steps`, but the material's.
    `steps` steps (traced) are taken from `state.step` on; they must not leave the epoch. The state
    is donated. Every random draw is a function of the key and of the step, and, for images, of
    their place in the global batch, so that neither the cuts between dispatches nor the number of
    devices changes it; but for dropout, which each device draws for itself.

    Args:
      apply: function (params, images [B, H, W, C], architecture int32[D], drop_path, dropout_key)
        to logits.
      on_path: function (params, architecture) to a tree of masks, see `optimizer`.
      recipe: the recipe.
      devices: the devices; their number divides the batch.
      sampler: draws the paths of a step.
      rules: `rates_and_momenta.PathRule`s: what the paths tell the optimizer.
      path_per_device: whether each device draws its own paths.
      freeze_off_path: whether weights off the path are spared weight decay and momentum.
    """
    check_batch(recipe.batch_size, devices)

    def loss_of(params, images, labels, architecture, *draws):
        logits = apply(params, images, architecture, *draws)
        accuracy = jnp.mean(jnp.argmax(logits, -1) == labels, dtype=jnp.float32)
        return cross_entropy(logits, labels, recipe.label_smoothing), accuracy

    def drop_path_of(step, total_steps, key):
        if recipe.drop_path_keep is None:
            return None
        keep = recipe.keep(step, total_steps)
        return DropPath(keep, data.example_keys(key, own_rows(recipe.batch_size)))

    def of_paths(material, paths, step):
        """The weights of the paths' losses or None, and the extra arguments of the optimizer."""
        passed, extra = step / material.total_steps, {}
        for rule, arrays in zip(rules, material.rules, strict=True):
            extra |= rule.tell(arrays, paths, passed)
        return extra.pop("loss_weights", None), extra

    def along(state, batch, architecture, draws):
        """(loss, accuracy), gradients of one path."""
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        return gradient(state.params, *batch, architecture, *draws)

    def along_all(state, batch, architectures, weights, draws):
        """(losses [K], mean accuracy), the sum of the gradients of all paths."""
        if len(architectures) == 1 and weights is None:
            (loss, accuracy), gradients = along(state, batch, architectures[0], draws)
            return (loss[None], accuracy), gradients
        weights = jnp.ones(len(architectures)) if weights is None else weights

        def add(total, path):
            architecture, weight = path
            loss_and_accuracy, gradients = along(state, batch, architecture, draws)
            return jax.tree.map(lambda t, g: t + weight * g, total, gradients), loss_and_accuracy

        zero = jax.tree.map(jnp.zeros_like, state.params)
        gradients, (losses, accuracies) = lax.scan(add, zero, (architectures, weights))
        return (losses, accuracies.mean()), gradients

    def path_of(params, architectures):
        """Masks of the weights on any of the paths, here or on another device."""
        mask = on_path(params, architectures[0])
        if len(architectures) > 1:
            masks = jax.vmap(on_path, (None, 0))(params, architectures)
            mask = jax.tree.map(lambda m: m.any(0), masks)
        if path_per_device:
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
            if path_per_device:
                draw_key = jax.random.fold_in(draw_key, lax.axis_index(AXIS))
            paths = sampler.draw(draw_key, material.prepared)
            batch = data.training_batch(
                *(augment_key, material.images, material.labels, permutation, state.step),
                batch_size=recipe.batch_size,
                rows=own_rows(recipe.batch_size),
                augmentation=recipe.augmentation,
            )
            dropout_key = jax.random.fold_in(drop_key, 1 + lax.axis_index(AXIS))
            draws = drop_path_of(state.step, material.total_steps, drop_key), dropout_key
            weights, extra = of_paths(material, paths, state.step)
            results, gradients = along_all(state, batch, paths.architectures, weights, draws)
            blamed = _blamed(paths.architectures, ~jnp.isfinite(results[0]))
            (losses, accuracy), gradients = mean_over_devices((results, gradients))
            loss = losses.mean().astype(jnp.float32)
            mask = path_of(state.params, paths.architectures) if freeze_off_path else None
            updates, momentum = recipe.optimizer.update(
                gradients,
                state.optimizer,
                state.params,
                learning_rate=recipe.learning_rate(state.step, material.total_steps),
                mask=mask,
                **extra,
            )
            trained = jnp.zeros_like(report.counts).at[paths.rows].add(1, mode="drop")
            if path_per_device:
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

        pool = material.prepared.pool
        counts = jnp.zeros(pool.shape[0], jnp.int32)
        nothing = jnp.zeros_like(pool[0])
        report = Report(jnp.float32(0), jnp.float32(0), counts, jnp.int32(-1), nothing)
        state, report = lax.fori_loop(0, steps, take_step, (state, report))
        return state, report._replace(loss=report.loss / steps, accuracy=report.accuracy / steps)

    return over_devices(train, devices, donate=(0,))
