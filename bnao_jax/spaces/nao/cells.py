"""One path through a run of equal cells with shared weights, and its gradient.

Glossary: N equal cells, B nodes, E = 2B edges, S = B + 2 states (the two inputs, then the nodes),
maps `[C, H, W, batch]`.

The path is a loop over cells of a loop over edges, static or traced (`nn.choose`). The states of
all cells lie in one buffer that is written in place. The gradient is written by hand and needs
these states and the statistics of the norms alone. Its loops run backwards over a buffer of state
gradients, and recompute the operation of each edge from the state that the edge reads. Automatic
differentiation would keep the residuals of all branches, and build a buffer of zeros for every
state that is read.

Recomputing costs little: the gradient of a 1x1 convolution needs the depthwise output before it in
any case.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bnao_jax.nn import layers, operations
from bnao_jax.nn.layers import halve, norm, pointwise, relu
from bnao_jax.nn.static_or_traced import choose, fold, is_static
from bnao_jax.spaces.nao.outline import CELL_INPUTS, EDGES_PER_NODE, loose_ends

NORMS = 2  # statistics kept for each edge: the most norms any operation has


class Path(NamedTuple):
    """The choices of one kind of cell: tuples of integers, or traced arrays.

    Attributes:
      inputs: state that each edge reads, `[E]`.
      operations: operation of each edge, `[E]`.
      loose: whether no edge reads the state, `[S]`.
      order: the loose states, then the others, `[S]`.
      count: number of loose states.
    """

    inputs: tuple
    operations: tuple
    loose: tuple
    order: tuple
    count: int


def static_path(inputs, choices) -> Path:
    """The path of choices that are numbers; hashable."""
    inputs, choices = np.asarray(inputs), np.asarray(choices)
    loose = loose_ends(inputs, len(inputs) // EDGES_PER_NODE)
    order = np.argsort(~loose, stable=True)
    as_tuple = lambda values: tuple(int(v) for v in values)
    return Path(*map(as_tuple, (inputs, choices, loose, order)), int(loose.sum()))


def traced_path(inputs, choices) -> Path:
    """The path of traced choices int32[E]."""
    loose = loose_ends(inputs, inputs.shape[0] // EDGES_PER_NODE)
    return Path(inputs, choices, loose, jnp.argsort(~loose), jnp.sum(loose))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is the same on every path.

    Attributes:
      candidates: the candidate operations.
      stride: 1 for normal cells, 2 for a reduction cell.
      axis_name: device axis of batch statistics, None for each device's own.
      path: the choices, where they are static.
    """

    candidates: tuple
    stride: int
    axis_name: str | None = None
    path: Path | None = None


# Access to stacked trees. Rows are Python integers or traced.


def _starts(rows, dimensions):
    return [jnp.int32(row) for row in (*rows, *(0,) * (dimensions - len(rows)))]


def _take(tree, *rows):
    def take(array):
        starts = _starts(rows, array.ndim)
        sizes = (*(1,) * len(rows), *array.shape[len(rows) :])
        return lax.dynamic_slice(array, starts, sizes).reshape(array.shape[len(rows) :])

    return jax.tree.map(take, tree)


def _put(tree, values, *rows):
    def put(array, value):
        value = value.astype(array.dtype)[(None,) * len(rows)]
        return lax.dynamic_update_slice(array, value, _starts(rows, array.ndim))

    return jax.tree.map(put, tree, values)


def _pick(values, row):
    """Entry `row` of a tuple of integers or of an array."""
    return values[row] if is_static(row) and isinstance(values, tuple) else jnp.asarray(values)[row]


def _where(condition, yes, no):
    if is_static(condition):
        return yes if condition else no
    return jnp.where(condition, yes, no)


def _factors(drop, edge, dtype):
    """Drop-path factors of an edge of a cell, to multiply maps `[C, H, W, batch]`."""
    return _take(drop, edge).astype(dtype)[None, None, None]


class _Cell:
    """The steps of a cell, forward and backward.

    The states of normal cells fill one buffer `[N, S, maps]`. A reduction cell has two, its inputs
    `[1, 2, maps]` being twice as large as its nodes `[1, B, maps]`; an edge that reads one of the
    inputs then has stride 2. Gradients of the states of the present cell lie in buffers without
    the axis of cells.
    """

    def __init__(self, settings, path):
        self.settings = settings
        self.path = settings.path if settings.path is not None else path
        self.static = settings.path is not None
        self.split = settings.stride == 2
        self.edges = len(settings.path.inputs) if self.static else path.inputs.shape[0]
        self.nodes = self.edges // EDGES_PER_NODE
        self.states = self.nodes + CELL_INPUTS

    def buffers(self, cells, maps):
        """Room for the states of so many cells; `maps` is like an input."""
        room = lambda states, *shape: jnp.zeros((cells, states, *shape), maps.dtype)
        if not self.split:
            return (room(self.states, *maps.shape),)
        c, h, w, b = maps.shape
        return room(CELL_INPUTS, *maps.shape), room(self.nodes, c, -(-h // 2), -(-w // 2), b)

    def place(self, state):
        """Rows of a state in each buffer; only that in its own buffer counts."""
        if not self.split:
            return (state,)
        if is_static(state):
            return min(state, CELL_INPUTS - 1), max(state - CELL_INPUTS, 0)
        return jnp.minimum(state, CELL_INPUTS - 1), jnp.maximum(state - CELL_INPUTS, 0)

    def home(self, state):
        """The number of a state's own buffer."""
        if not self.split:
            return 0
        return int(state >= CELL_INPUTS) if is_static(state) else (state >= CELL_INPUTS) * 1

    def node_row(self, edge):
        """Row, in the last buffer, of the node that an edge belongs to."""
        return edge // EDGES_PER_NODE + (0 if self.split else CELL_INPUTS)

    # Edges. What is added to an output is added in the branch that is taken: behind the choice it
    # would be one more pass over the maps.

    def branches(self, function, at):
        """`function(operation, stride)` for each operation, reading buffer `at`."""
        stride = self.settings.stride if at == 0 else 1
        return [functools.partial(function, op, stride) for op in self.settings.candidates]

    def readers(self, at):
        """How many edges read buffer `at`, and a function from 0, 1, ... to them, ascending."""
        inputs = self.path.inputs
        if not self.split:
            return self.edges, lambda k: k
        if self.static:
            edges = [edge for edge, state in enumerate(inputs) if self.home(state) == at]
            return len(edges), edges.__getitem__
        apart = (inputs >= CELL_INPUTS) != bool(at)
        order = jnp.argsort(apart)
        return jnp.sum(~apart), lambda k: order[k]

    def forward_edge(self, n, edge, buffers, weights, given, drop):
        """The node of an edge of cell n with its output added; statistics `[NORMS, 2, C]`."""
        state = _pick(self.path.inputs, edge)
        rows, node = self.place(state), (n, self.node_row(edge))

        def run(at, operation, stride, weights, given):
            x = _take(buffers[at], n, rows[at])
            y, used = operations.apply(
                operation, stride, x, weights, given=given, axis_name=self.settings.axis_name
            )
            used += [layers.initial_statistics((x.shape[0],))] * (NORMS - len(used))
            y = y if drop is None else y * _factors(drop, edge, y.dtype)
            begun = edge % EDGES_PER_NODE > 0
            y += _where(begun, _take(buffers[-1], *node), jnp.zeros_like(y))
            return y, jnp.stack(used)

        branches = []
        for at in range(len(buffers)):
            branches += self.branches(functools.partial(run, at), at)
        index = _pick(self.path.operations, edge) + self.home(state) * len(self.settings.candidates)
        return choose(index, branches, weights, given)

    def backward_edge(self, at, n, edge, buffers, d_buffers, weights, statistics, drop):
        """Gradient of the state read, with an edge's part added, and of the edge's weights.

        `statistics` are those used by the forward pass, and whether they were given.
        """
        row = self.place(_pick(self.path.inputs, edge))[at]
        used, were_given = statistics
        statistics = {"given" if were_given else "recalled": used}

        def run(operation, stride, weights):
            def output(x, weights):
                return operations.apply(
                    operation, stride, x, weights, axis_name=self.settings.axis_name, **statistics
                )[0]

            g = _take(d_buffers[-1], self.node_row(edge))
            g = g if drop is None else g * _factors(drop, edge, g.dtype)
            dx, d_weights = jax.vjp(output, _take(buffers[at], n, row), weights)[1](g)
            return dx + _take(d_buffers[at], row), d_weights

        branches = self.branches(run, at)
        dx, d_weights = choose(_pick(self.path.operations, edge), branches, weights)
        return (*d_buffers[:at], _put(d_buffers[at], dx, row), *d_buffers[at + 1 :]), d_weights

    # Loose ends: ReLU and a block of a 1x1 convolution each, summed.

    def term(self, at, x, matrix, halving, **statistics):
        """The contribution of one loose state, and the statistics of its halving."""
        used = layers.initial_statistics((x.shape[0],))
        if self.split and at == 0:
            x = halve(x, **halving["linear"])
            x, used = norm(x, **halving["norm"], **statistics, axis_name=self.settings.axis_name)
        return pointwise(relu(x), matrix), used

    def halving(self, weights, row):
        """Weights of the halving of an unused input of a reduction cell."""
        return _take(weights["halve"], row) if self.split else None

    def loose(self, at):
        """How many loose states are in buffer `at`, and their first place in the path's order."""
        count, inputs = self.path.count, self.path.loose[:CELL_INPUTS]
        if not self.split:
            return count, 0
        of_inputs = sum(inputs) if self.static else jnp.sum(inputs)
        return (of_inputs, 0) if at == 0 else (count - of_inputs, of_inputs)

    def forward_loose(self, n, buffers, weights, given):
        """Sum over loose states, before the norm, and the statistics of their halvings."""
        total = jnp.zeros(buffers[-1].shape[2:], buffers[-1].dtype)
        carry = total, layers.initial_statistics((CELL_INPUTS, total.shape[0]))
        for at in range(len(buffers)):
            count, first = self.loose(at)

            def add(place, carry, at=at, first=first):
                total, used = carry
                state = _pick(self.path.order, first + place)
                row = self.place(state)[at]
                statistics = None if given is None or at > 0 else _take(given["halve"], row)
                halving = self.halving(weights, row) if at == 0 else None
                matrix = _take(weights["combine"], state)
                x = _take(buffers[at], n, row)
                term, of_halving = self.term(at, x, matrix, halving, given=statistics)
                used = _put(used, of_halving, row) if self.split and at == 0 else used
                return total + term, used

            carry = fold(count, add, carry, static=self.static)
        return carry

    def backward_loose(self, n, buffers, weights, statistics, gradient):
        """Gradients of all states, zero where they are not loose, and of the weights.

        `statistics` are those used by the forward pass, and whether they were given.
        """
        used, were_given = statistics
        key = "given" if were_given else "recalled"
        d_buffers = tuple(jnp.zeros(buffer.shape[1:], buffer.dtype) for buffer in buffers)
        zeros = jax.tree.map(jnp.zeros_like, (weights["combine"], weights.get("halve")))
        carry = d_buffers, *zeros
        for at in range(len(buffers)):
            count, first = self.loose(at)

            def visit(place, carry, at=at, first=first):
                d_buffers, d_combine, d_halve = carry
                state = _pick(self.path.order, first + place)
                row = self.place(state)[at]
                halves = self.split and at == 0
                of_halving = {key: _take(used["halve"], row)} if halves else {}
                term = lambda x, m, h: self.term(at, x, m, h, **of_halving)[0]
                matrix = _take(weights["combine"], state)
                halving = self.halving(weights, row) if halves else None
                x = _take(buffers[at], n, row)
                dx, d_matrix, d_halving = jax.vjp(term, x, matrix, halving)[1](gradient)
                d_buffers = (*d_buffers[:at], _put(d_buffers[at], dx, row), *d_buffers[at + 1 :])
                d_halve = _put(d_halve, d_halving, row) if halves else d_halve
                return d_buffers, _put(d_combine, d_matrix, state), d_halve

            carry = fold(count, visit, carry, static=self.static)
        return carry


def initial_statistics(cells, edges, width):
    """Room for the statistics float32[..., 2, C] of every norm of N cells."""
    leads = {"edges": (cells, edges, NORMS), "combine": (cells,), "halve": (cells, CELL_INPUTS)}
    return {name: layers.initial_statistics((*lead, width)) for name, lead in leads.items()}


def _of_cell(weights, n):
    """A cell's weights, without those of its edges."""
    return _take({name: stack for name, stack in weights.items() if name != "edges"}, n)


def _forward(settings, keep, path, weights, inputs, drop, given):
    """Runs all cells; returns outputs, statistics, and what the gradient needs if `keep`."""
    cell = _Cell(settings, path)
    first, second, third = inputs
    cells = weights["norm"]["scale"].shape[0]
    statistics = initial_statistics(cells, cell.edges, first.shape[0])
    buffers = cell.buffers(cells if keep else 1, first)
    sums = jnp.zeros((cells if keep else 1, *buffers[-1].shape[2:]), first.dtype)

    def run_cell(n, carry):
        first, second, statistics, buffers, sums = carry
        cell_weights, cell_given = _of_cell(weights, n), None if given is None else _take(given, n)
        factors = None if drop is None else _take(drop, n)
        row = n if keep else 0  # without a gradient all cells share one room
        buffers = (_put(_put(buffers[0], first, row, 0), second, row, 1), *buffers[1:])

        def run_edge(edge, carry):
            buffers, statistics = carry
            edge_given = None if given is None else _take(cell_given["edges"], edge)
            edge_weights = _take(weights["edges"], n, edge)
            node, used = cell.forward_edge(row, edge, buffers, edge_weights, edge_given, factors)
            buffers = (*buffers[:-1], _put(buffers[-1], node, row, cell.node_row(edge)))
            return buffers, _put(statistics, used, n, edge)

        carry = buffers, statistics["edges"]
        buffers, of_edges = fold(cell.edges, run_edge, carry, static=cell.static)
        total, of_halves = cell.forward_loose(row, buffers, cell_weights, cell_given)
        sum_given, w = None if given is None else cell_given["combine"], cell_weights["norm"]
        out, used = norm(total, **w, given=sum_given, axis_name=settings.axis_name)
        statistics = {
            "edges": of_edges,
            "combine": _put(statistics["combine"], used, n),
            "halve": _put(statistics["halve"], of_halves, n),
        }
        follower = second if third is None else _where(n == 0, third, second)
        return follower, out, statistics, buffers, _put(sums, total, row)

    carry = first, second, statistics, buffers, sums
    if cell.split:  # one cell, whose output is smaller than its inputs
        carry = run_cell(0, carry)
    else:
        carry = fold(cells, run_cell, carry, static=cell.static)
    follower, out, statistics, buffers, sums = carry
    return (follower, out), statistics, (buffers, sums)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run_cells(settings, path, weights, inputs, drop, given):
    """Runs N equal cells along one path.

    Args:
      settings: the `Settings`, with the path where it is static.
      path: the traced `Path`, or None.
      weights: tree of stacks: `edges` `[N, E, …]` as in `operations.apply`, `combine`
        `[N, S, C, C]`, `norm`, and for a reduction cell `halve` `[N, 2, …]`.
      inputs: maps of the first and the second input of the first cell, and the first input of the
        second cell where that is not the first cell's second input (else None).
      drop: factors `[N, E, batch]` on the edges' outputs, or None.
      given: statistics as returned, or None for the batch's own.

    Returns:
      the inputs of a cell that would follow (the second is the output), and the statistics of all
      norms, which carry no gradient.
    """
    return _forward(settings, False, path, weights, inputs, drop, given)[:2]


def _run_forward(settings, path, weights, inputs, drop, given):
    outputs, statistics, saved = _forward(settings, True, path, weights, inputs, drop, given)
    third = None if inputs[2] is None else ()  # only whether there was one
    used = statistics, None if given is None else ()  # and whether they were given
    return (outputs, statistics), (path, weights, drop, used, saved, third)


def _run_backward(settings, residuals, gradients):
    path, weights, drop, (statistics, given), (buffers, sums), third = residuals
    were_given = given is not None
    cell = _Cell(settings, path)
    cells = weights["norm"]["scale"].shape[0]

    def run_cell(n, carry):
        d_follower, d_out, _, d_weights = carry
        cell_weights, used = _of_cell(weights, n), _take(statistics, n)
        factors = None if drop is None else _take(drop, n)

        def normalised(total, w):
            of_sum = {"given" if were_given else "recalled": used["combine"]}
            return norm(total, **w, **of_sum, axis_name=settings.axis_name)[0]

        d_total, d_norm = jax.vjp(normalised, _take(sums, n), cell_weights["norm"])[1](d_out)
        loose = cell.backward_loose(n, buffers, cell_weights, (used, were_given), d_total)
        d_buffers, d_combine, d_halve = loose
        carry = d_buffers, d_weights["edges"]
        for at in reversed(range(len(buffers))):  # a node's gradient is whole before an input's
            count, number = cell.readers(at)

            def run_edge(k, carry, at=at, number=number):
                d_buffers, d_edges = carry
                edge = number(k)
                at_edge = at, n, edge, buffers, d_buffers
                of_edge = _take(weights["edges"], n, edge), (_take(used["edges"], edge), were_given)
                d_buffers, dw = cell.backward_edge(*at_edge, *of_edge, factors)
                return d_buffers, _put(d_edges, dw, n, edge)

            carry = fold(count, run_edge, carry, static=cell.static, reverse=True)
        (d_inputs, *_), d_edges = carry
        d_cell = {"norm": d_norm, "combine": d_combine}
        if cell.split:
            d_cell["halve"] = d_halve
        d_others = {name: _put(d_weights[name], value, n) for name, value in d_cell.items()}
        d_first, d_second = d_inputs[0], d_inputs[1]
        follows = d_follower
        if third is not None:
            follows = _where(n == 0, jnp.zeros_like(d_follower), d_follower)
        return d_first, d_second + follows, d_follower, {"edges": d_edges, **d_others}

    (d_follower, d_out), _ = gradients
    carry = d_follower, d_out, d_follower, jax.tree.map(jnp.zeros_like, weights)
    if cell.split:
        carry = run_cell(0, carry)
    else:
        carry = fold(cells, run_cell, carry, static=cell.static, reverse=True)
    d_first, d_second, d_third, d_weights = carry
    d_inputs = d_first, d_second, None if third is None else d_third
    return None, d_weights, d_inputs, None, None


run_cells.defvjp(_run_forward, _run_backward)
