"""The graph network: it embeds graphs and predicts their scores.

Shapes: P graphs, N nodes of T types (see `bnao_jax.graph`), H hidden units.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from bnao_jax.shuffling import shuffle

LAYERS, HIDDEN = 4, 64


class GCN(nn.Module):
    """Graph convolutions ReLU(BN(A X W + b)), read at a node that reads all others.

    A has self loops and is not normalised by degree; X are one-hot types.

    Attributes:
      types: T.
      hidden: H.
      layers: graph convolutions.
    """

    types: int
    hidden: int = HIDDEN
    layers: int = LAYERS

    @nn.compact
    def __call__(self, adjacency, types, *, valid=None):
        """Predicted scores float32[P] in (0, 1) and embeddings float32[P, H].

        Args:
          adjacency: bool[P, N, N].
          types: int32[P, N].
          valid: bool[P], the graphs of a training batch whose statistics count; None for the
            statistics that training has left.
        """
        nodes = types.shape[1]
        edges = jnp.zeros((len(types), nodes + 1, nodes + 1)).at[:, :nodes, :nodes].set(adjacency)
        edges = jnp.maximum(edges.at[:, nodes].set(1.0), jnp.eye(nodes + 1)[None])
        x = jax.nn.one_hot(
            jnp.pad(types, ((0, 0), (0, 1)), constant_values=self.types), 1 + self.types
        )
        mask = None if valid is None else valid[:, None, None]
        for _ in range(self.layers):
            x = nn.Dense(self.hidden)(edges @ x)
            x = nn.BatchNorm(use_running_average=valid is None, momentum=0.9)(x, mask=mask)
            x = nn.relu(x)
        embedding = x[:, -1]
        return nn.sigmoid(nn.Dense(1)(embedding)[:, 0]), embedding


class Fitted(NamedTuple):
    """A graph network's variables after a fit.

    Attributes:
      params: its weights.
      batch_stats: means and variances of its norms.
      loss: mean loss over the last epoch, float32[].
    """

    params: Any
    batch_stats: Any
    loss: jax.Array


@functools.partial(jax.jit, static_argnums=(0,), static_argnames=("batch_size",))
def fit(
    gcn: GCN, key, adjacency, types, targets, *, count, epochs, batch_size, learning_rate
) -> Fitted:
    """A graph network `Fitted` from scratch, by Adam, to targets [P] in (0, 1).

    The loss of a graph is exp(t − 1)(t̂ − t)², so that good scores weigh more. Every epoch visits
    the graphs in a new order.

    Args:
      gcn: the network.
      key: random key, consumed.
      adjacency, types, targets: the graphs [P, …] and their targets.
      count: how many of them are valid; the rest is padding. It is traced, as are epochs and
        learning_rate, so that pools padded to one size share one program.
      epochs, batch_size, learning_rate: of the fit.
    """
    init_key, order_key = jax.random.split(key)
    size = len(targets)
    start = gcn.init(init_key, adjacency[:1], types[:1], valid=jnp.ones(1, bool))
    adam = optax.adam(learning_rate)
    batches = (count + batch_size - 1) // batch_size

    def loss(params, batch_stats, rows, valid):
        variables = {"params": params, "batch_stats": batch_stats}
        (predicted, _), changed = gcn.apply(
            variables, adjacency[rows], types[rows], valid=valid, mutable=["batch_stats"]
        )
        wanted = targets[rows]
        losses = jnp.exp(wanted - 1) * (predicted - wanted) ** 2
        return jnp.where(valid, losses, 0).sum() / valid.sum(), changed["batch_stats"]

    def step(number, carry):
        order, params, batch_stats, state, total = carry
        at = number * batch_size + jnp.arange(batch_size)
        valid = at < count
        rows = jnp.where(valid, order[jnp.minimum(at, size - 1)], order[0])
        (value, batch_stats), gradient = jax.value_and_grad(loss, has_aux=True)(
            params, batch_stats, rows, valid
        )
        updates, state = adam.update(gradient, state)
        share = valid.sum() / count
        return (
            order,
            optax.apply_updates(params, updates),
            batch_stats,
            state,
            total + share * value,
        )

    def epoch(number, carry):
        order = shuffle(jax.random.fold_in(order_key, number), size, count)
        return lax.fori_loop(0, batches, step, (order, *carry[:3], jnp.float32(0)))[1:]

    carry = start["params"], start["batch_stats"], adam.init(start["params"]), jnp.float32(0)
    params, batch_stats, _, total = lax.fori_loop(0, epochs, epoch, carry)
    return Fitted(params, batch_stats, total)


@functools.partial(jax.jit, static_argnums=0)
def embed(gcn: GCN, fitted: Fitted, adjacency, types):
    """Predicted scores float32[P] and embeddings float32[P, H] of graphs."""
    variables = {"params": fitted.params, "batch_stats": fitted.batch_stats}
    return gcn.apply(variables, adjacency, types)
