"""Fitting the controller to scored sequences."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bnao_jax.controller.model import NAO, init
from bnao_jax.controller.settings import Controller
from bnao_jax.shuffling import shuffle


class Fit(NamedTuple):
    """A fit on its way.

    Attributes:
      params: of the controller.
      optimizer: Adam's state.
      epoch: int32[], epochs done.
      losses: mean "mse" and "nll" over the last epoch, float32[]; NaN before the first.
    """

    params: Any
    optimizer: Any
    epoch: jax.Array
    losses: dict


def begin_fit(controller: Controller, key) -> Fit:
    """The fit before its first epoch."""
    params_key, _ = jax.random.split(key)
    params = init(controller, params_key)
    optimizer = _optimizer(0.0, 0.0, 0.0).init(params)
    nothing = jnp.float32(jnp.nan)
    return Fit(params, optimizer, jnp.int32(0), {"mse": nothing, "nll": nothing})


def continue_fit(
    controller: Controller,
    fit: Fit,
    key,
    tokens,
    targets,
    *,
    count=None,
    epochs=1,
    batch_size=100,
    learning_rate=1e-3,
    trade_off=0.8,
    clip=5.0,
    weight_decay=0.0,
) -> Fit:
    """The fit after `epochs` more, trained on tokens [N, D] with targets [N].

    Minimises trade_off * MSE + (1 - trade_off) * NLL (NAO, arXiv 1808.07233), NLL per
    token, by Adam with decoupled weight decay, gradients clipped to a global norm.

    Every epoch visits the rows in a new order; the last minibatch is averaged over the rows it
    has. The order of epoch e follows from (key, e, row) alone, so that a fit in many calls is that
    in one. NLL is that of the masked softmax the decoder emits from (a choice of this library: no
    probability goes to impossible tokens).

    Args:
      key: that of `begin_fit`.
      targets: within [0, 1], where the predictor's sigmoid lies; NaN for a sequence that nobody has
        scored, which encoder and decoder learn all the same (as in Luo et al., "Semi-Supervised
        Neural Architecture Search", 2020, https://arxiv.org/abs/2002.10389).
      count: rows that are valid; those from `count` on are padding of any content. It is traced,
        as all that follow but batch_size: pools padded to one capacity N share one program.

    Raises:
      ValueError: if the shapes of tokens and targets do not fit, if they are out of range, or
        batch_size < 1.
    """
    controller.check(tokens, count)
    _check_targets(targets, count)
    tokens, targets = jnp.asarray(tokens), jnp.asarray(targets, jnp.float32)
    if targets.shape != tokens.shape[:1]:
        raise ValueError(f"targets must be [{tokens.shape[0]}], got {list(targets.shape)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    count = tokens.shape[0] if count is None else count
    numbers = jnp.asarray(count, jnp.int32), jnp.asarray(epochs, jnp.int32)
    rates = [jnp.asarray(x, jnp.float32) for x in (learning_rate, trade_off, clip, weight_decay)]
    tokens = tokens.astype(jnp.int32)
    return run_epochs(controller, batch_size, fit, key, tokens, targets, *numbers, *rates)


def _check_targets(targets, count):
    """Raises ValueError where targets that are on the host are out of range."""
    if not isinstance(targets, np.ndarray) or isinstance(count, jax.Array):
        return
    known = targets[:count]
    if (known < 0).any() or (known > 1).any():
        raise ValueError(
            "targets must lie within 0 and 1, or be NaN for sequences without a score; they "
            f"run from {np.nanmin(known):.4g} to {np.nanmax(known):.4g}"
        )


def fit(controller: Controller, key, tokens, targets, *, epochs=1000, **settings):
    """(params, losses) of a controller trained from scratch.

    `settings` and errors are those of `continue_fit`, `losses` as in `Fit`.
    """
    start = begin_fit(controller, key)
    done = continue_fit(controller, start, key, tokens, targets, epochs=epochs, **settings)
    return done.params, done.losses


def _optimizer(learning_rate, clip, weight_decay):
    adam = optax.adamw(learning_rate, weight_decay=weight_decay)
    return optax.flatten(optax.chain(optax.clip_by_global_norm(clip), adam))


@functools.partial(jax.jit, static_argnums=(0, 1))
def run_epochs(
    controller,
    batch_size,
    fit,
    key,
    tokens,
    targets,
    count,
    epochs,
    learning_rate,
    trade_off,
    clip,
    weight_decay,
):
    """The compiled part of `continue_fit`: its arguments, checked and on the device."""
    optimizer = _optimizer(learning_rate, clip, weight_decay)
    _, order_key = jax.random.split(key)
    batches = (count + batch_size - 1) // batch_size
    scored = jnp.isfinite(targets) & (jnp.arange(len(targets)) < count)
    targets, counts = jnp.where(scored, targets, 0), jnp.stack([scored.sum(), count])

    def loss(params, rows, weights):
        predicted, log_p = NAO(controller).apply({"params": params}, tokens[rows])
        mse = jnp.vdot(weights[0], (predicted - targets[rows]) ** 2)
        nll = -jnp.vdot(weights[1], log_p.mean(axis=1))
        return trade_off * mse + (1 - trade_off) * nll, jnp.stack([mse, nll])

    def step(i, carry):
        order, params, state, losses = carry
        at = i * batch_size + jnp.arange(batch_size)
        valid = at < count
        rows = jnp.where(valid, order[at], order[0])  # padding is not even read: it may hold NaN
        used = jnp.stack([valid & scored[rows], valid])
        sizes = used.sum(axis=1)
        weights = used / jnp.maximum(sizes, 1)[:, None]
        grads, batch_losses = jax.grad(loss, has_aux=True)(params, rows, weights)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return order, params, state, losses + batch_losses * sizes / jnp.maximum(counts, 1)

    def epoch(_, fit):
        order = shuffle(jax.random.fold_in(order_key, fit.epoch), tokens.shape[0], count)
        carry = order, fit.params, fit.optimizer, jnp.zeros(2)
        _, params, state, (mse, nll) = lax.fori_loop(0, batches, step, carry)
        return Fit(params, state, fit.epoch + 1, {"mse": mse, "nll": nll})

    return lax.fori_loop(0, epochs, epoch, fit)
