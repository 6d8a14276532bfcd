"""One path through a run of equal cells with shared weights, and its gradient.

Glossary: N equal cells, E = 6 edges, maps `[C, H, W, batch]`.

The operations are static or traced (`nn.choose`). The gradient is written by hand, as for the NAO
cell: differentiating a choice automatically keeps the residuals of all branches. What is kept of a
cell is the states of its nodes and the statistics of the norms; an edge's gradient is that of its
own operation, recomputed from the state it reads.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from bnao_jax.nn import layers, operations
from bnao_jax.nn.static_or_traced import choose
from bnao_jax.spaces.nasbench201.outline import CANDIDATES, EDGES, NODES


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is the same on every path.

    Attributes:
      axis_name: device axis of batch statistics, None for each device's own.
      path: the operation of each edge, where they are static.
    """

    axis_name: str | None = None
    path: tuple[int, ...] | None = None


def initial_statistics(cells, width):
    """Room for the statistics float32[N, E, 2, C] of the norms of N cells."""
    return layers.initial_statistics((cells, len(EDGES), width))


def run_cells(settings, choices, weights, x, given):
    """The output of N cells in a row and the statistics float32[N, E, 2, C] of their norms.

    Args:
      settings: the settings.
      choices: int32[E], traced, or None where `settings.path` is static.
      weights: for each convolution `[N, E, C, C, K, K]`.
      x: maps `[C, H, W, batch]`.
      given: statistics to normalise with, or None for the batch's own.
    """
    step = lambda x, cell: _cell(settings, choices, cell[0], x, cell[1])
    return lax.scan(step, x, (weights, given))


def _chosen(settings, choices, at):
    return choices[at] if settings.path is None else settings.path[at]


def _apply(operation, axis_name, weights, x, **statistics):
    """The operation with norms that have neither scale nor offset; and their statistics."""
    width = x.shape[0]
    used = layers.initial_statistics((width,))
    if operation.full:
        norm = {"scale": jnp.ones(width), "offset": jnp.zeros(width)}
        unit = {"linear": {"kernel": weights[operation.name]}, "norm": norm}
        statistics = {key: values[None] for key, values in statistics.items()}
        y, (used,) = operations.apply(
            operation, 1, x, {operation.name: [unit]}, axis_name=axis_name, **statistics
        )
        return y, used
    return operations.apply(operation, 1, x, {})[0], used


# All edges of equal maps do the same: each kind of them is traced and lowered once.


@functools.partial(jax.jit, static_argnums=(0, 1))
def _edge(operation, axis_name, weights, x, total, given):
    """An edge's output, added to `total` if there is one, and its statistics."""
    y, used = _apply(operation, axis_name, weights, x, **given)
    # Inside the choice: behind it the sum would be one more pass over the maps.
    return y if total is None else total + y, used


@functools.partial(jax.jit, static_argnums=(0, 1))
def _edge_gradients(operation, axis_name, weights, x, total, statistics, g):
    """The gradients of an edge's input, added to `total` if there is one, and of its weights."""
    of_edge = statistics if operation.full else {}
    output = lambda x, weights: _apply(operation, axis_name, weights, x, **of_edge)[0]
    dx, d_weights = jax.vjp(output, x, weights)[1](g)
    return dx if total is None else total + dx, d_weights


def _row(tree, at):
    return jax.tree.map(lambda stack: stack[at], tree)


def _forward(settings, choices, weights, x, given):
    """The states of the nodes, the first being x, and the statistics `[E, 2, C]`."""

    def run(at, total, operation, x):
        edge_given = {} if given is None else {"given": given[at]}
        return _edge(operation, settings.axis_name, _row(weights, at), x, total, edge_given)

    states, statistics = [x], []
    for at, (node, read) in enumerate(EDGES):
        total = states[node] if node < len(states) else None
        branches = [functools.partial(run, at, total, op) for op in CANDIDATES.values()]
        y, used = choose(_chosen(settings, choices, at), branches, states[read])
        states[node:] = [y]
        statistics.append(used)
    return states, jnp.stack(statistics)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _cell(settings, choices, weights, x, given):
    states, statistics = _forward(settings, choices, weights, x, given)
    return states[-1], statistics


def _cell_fwd(settings, choices, weights, x, given):
    states, statistics = _forward(settings, choices, weights, x, given)
    saved = choices, weights, states[:-1], statistics, given is None
    return (states[-1], statistics), saved


def _cell_bwd(settings, saved, gradients):
    choices, weights, states, statistics, recalled = saved
    key = "recalled" if recalled else "given"

    def run(at, total, g, operation, x):
        edge = _row(weights, at), x, total, {key: statistics[at]}, g
        return _edge_gradients(operation, settings.axis_name, *edge)

    d_states, d_weights = [None] * (NODES - 1) + [gradients[0]], [None] * len(EDGES)
    for at, (node, read) in reversed(list(enumerate(EDGES))):
        partial = functools.partial(run, at, d_states[read], d_states[node])
        branches = [functools.partial(partial, op) for op in CANDIDATES.values()]
        choice = _chosen(settings, choices, at)
        d_states[read], d_weights[at] = choose(choice, branches, states[read])
    d_weights = jax.tree.map(lambda *edges: jnp.stack(edges), *d_weights)
    return None, d_weights, d_states[0], None


_cell.defvjp(_cell_fwd, _cell_bwd)
