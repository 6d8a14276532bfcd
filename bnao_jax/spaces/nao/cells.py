"""One path through a run of equal cells with shared weights, and its gradient.

Glossary: N equal cells, B nodes, E = 2B edges, S = B + 2 states (the two inputs, then the nodes),
U units of an operation, maps `[C, H, W, batch]`.

The path is a loop over cells of a loop over edges, static or traced (`nn.choose`). States lie in
one buffer that is written in place. The gradient is written by hand: the backward loops run the
other way over a buffer of state gradients, take each edge's branch alone, and start from the norm
inputs saved on the way. Differentiating the loops automatically would instead keep the residuals
of all branches and build a buffer of zeros for every state that is read.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bnao_jax.nn import layers, operations
from bnao_jax.nn.choose import choose, fold, is_static
from bnao_jax.nn.layers import halve, norm, pointwise, relu
from bnao_jax.spaces.nao.space import CELL_INPUTS, EDGES_PER_NODE, loose_ends

CUTS = 2  # norm inputs kept for each edge: the most any operation has


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
    """The path of known choices, hashable."""
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


def _take(tree, *rows):
    def take(array):
        for row in rows:
            array = lax.dynamic_index_in_dim(array, row, keepdims=False)
        return array

    return jax.tree.map(take, tree)


def _put(tree, values, *rows):
    def put(array, value):
        value = value.astype(array.dtype)[(None,) * len(rows)]
        return lax.dynamic_update_slice(array, value, (*rows, *(0,) * (array.ndim - len(rows))))

    return jax.tree.map(put, tree, values)


def _pick(values, row):
    """Entry `row` of a tuple of integers or of an array."""
    return values[row] if is_static(row) and isinstance(values, tuple) else jnp.asarray(values)[row]


def _where(condition, yes, no):
    if is_static(condition):
        return yes if condition else no
    return jnp.where(condition, yes, no)


def _factors(drop, cell, edge, dtype):
    """Drop-path factors of an edge, to multiply maps `[C, H, W, batch]`."""
    return _take(drop, cell, edge).astype(dtype)[None, None, None]


class _Cell:
    """Forward and backward steps of a cell; states of a normal cell fill one buffer `[S, maps]`.

    A reduction cell has two, since its inputs `[2, maps]` are twice as large as its nodes
    `[B, maps]`. An edge that reads an input of a reduction cell has stride 2.
    """

    def __init__(self, settings, path):
        self.settings = settings
        self.path = settings.path if settings.path is not None else path
        self.static = settings.path is not None
        self.split = settings.stride == 2
        self.edges = len(settings.path.inputs) if self.static else path.inputs.shape[0]
        self.nodes = self.edges // EDGES_PER_NODE
        self.states = self.nodes + CELL_INPUTS

    def place(self, state):
        """Rows of a state in each buffer; only the one of its own buffer counts."""
        if not self.split:
            return (state,)
        if is_static(state):
            return min(state, CELL_INPUTS - 1), max(state - CELL_INPUTS, 0)
        return jnp.minimum(state, CELL_INPUTS - 1), jnp.maximum(state - CELL_INPUTS, 0)

    def is_node(self, state):
        """0 for a state in the first buffer, 1 for one in the second."""
        if not self.split:
            return 0
        return int(state >= CELL_INPUTS) if is_static(state) else (state >= CELL_INPUTS) * 1

    def buffers(self, first, second):
        """Buffers with both inputs in their rows; the others are not yet set."""
        inputs = jnp.stack([first, second])
        c, h, w, b = first.shape
        if not self.split:
            return (jnp.concatenate([inputs, jnp.zeros((self.nodes, c, h, w, b), first.dtype)]),)
        small = (self.nodes, c, -(-h // 2), -(-w // 2), b)
        return inputs, jnp.zeros(small, first.dtype)

    def node_row(self, edge):
        return edge // EDGES_PER_NODE + (0 if self.split else CELL_INPUTS)

    def branches(self, function):
        """`function(operation, stride, buffer)` for each operation, on each buffer."""
        candidates, stride = self.settings.candidates, self.settings.stride
        found = [functools.partial(function, op, stride, 0) for op in candidates]
        if self.split:
            found += [functools.partial(function, op, 1, 1) for op in candidates]
        return found

    def branch(self, edge):
        operation = _pick(self.path.operations, edge)
        offset = len(self.settings.candidates) * self.is_node(_pick(self.path.inputs, edge))
        return operation + offset

    # Edges.

    def forward_edge(self, edge, buffers, weights, given):
        """Output, norm inputs `[CUTS, maps]`, statistics `[CUTS, 2, C]` of one edge."""
        rows = self.place(_pick(self.path.inputs, edge))
        axis_name = self.settings.axis_name

        def apply(operation, stride, at, buffers, weights, given):
            x = _take(buffers[at], rows[at])
            out, cuts, used = operations.forward(
                operation, stride, x, weights, given=given, axis_name=axis_name
            )
            missing = CUTS - len(cuts)
            cuts = cuts + [jnp.zeros_like(out)] * missing
            used = used + [jnp.zeros((2, out.shape[0]), jnp.float32)] * missing
            return out, tuple(cuts), jnp.stack(used)

        return choose(self.branch(edge), self.branches(apply), buffers, weights, given)

    def backward_edge(self, edge, buffers, weights, given, cuts, gradient):
        """Gradients of the state read, one for each buffer, and of the weights."""
        rows = self.place(_pick(self.path.inputs, edge))
        axis_name = self.settings.axis_name

        def apply(operation, stride, at, buffers, weights, given, cuts, gradient):
            x = _take(buffers[at], rows[at])
            dx, d_weights = operations.backward(
                operation, stride, x, weights, cuts, gradient, given=given, axis_name=axis_name
            )
            return self.own(dx, at, buffers), d_weights

        branches = self.branches(apply)
        return choose(self.branch(edge), branches, buffers, weights, given, cuts, gradient)

    @staticmethod
    def own(gradient, at, buffers):
        """The gradient for its own buffer and zeros for the other."""
        zeros = (jnp.zeros(buffer.shape[1:], buffer.dtype) for buffer in buffers)
        return tuple(gradient if n == at else zero for n, zero in enumerate(zeros))

    # Loose ends: ReLU and a block of a 1x1 convolution each, summed.

    def _term(self, at, x, matrix, halving, given):
        """The contribution of one loose state and the statistics of its halving."""
        used = jnp.zeros((2, x.shape[0]), jnp.float32)
        if self.split and at == 0:
            x = halve(x, **halving["linear"])
            x, used = norm(x, **halving["norm"], given=given, axis_name=self.settings.axis_name)
        return pointwise(relu(x), matrix), used

    def _terms(self, function):
        return [functools.partial(function, at) for at in range(2 if self.split else 1)]

    def _halving(self, weights, given, rows):
        """Weights and statistics of the halving of an unused input of a reduction cell."""
        if not self.split:
            return None, None
        return _take(weights["halve"], rows[0]), None if given is None else given["halve"][rows[0]]

    def forward_loose(self, buffers, weights, given):
        """Sum over loose states, before the norm, and the statistics of their halvings."""

        def add(n, carry):
            total, used = carry
            state = _pick(self.path.order, n)
            rows = self.place(state)
            halving, known = self._halving(weights, given, rows)

            def apply(at, matrix, halving, known):
                return self._term(at, _take(buffers[at], rows[at]), matrix, halving, known)

            operands = _take(weights["combine"], state), halving, known
            term, own = choose(self.is_node(state), self._terms(apply), *operands)
            if self.split:
                old = _take(used, rows[0])
                used = _put(used, _where(self.is_node(state) == 0, own, old), rows[0])
            return total + term, used

        start = jnp.zeros(buffers[-1].shape[1:], buffers[-1].dtype)
        used = jnp.zeros((CELL_INPUTS, 2, start.shape[0]), jnp.float32)
        return fold(self.path.count, add, (start, used), static=self.static)

    def backward_loose(self, buffers, weights, given, gradient):
        """Sets the gradient of every state, zero where it is not loose, and of the weights."""

        def visit(state, carry):
            d_buffers, d_combine, d_halve = carry
            rows = self.place(state)
            halving, known = self._halving(weights, given, rows)
            matrix = _take(weights["combine"], state)

            def none(at, matrix, halving, gradient):
                zeros = jax.tree.map(jnp.zeros_like, (matrix, halving))
                return jnp.zeros(buffers[at].shape[1:], buffers[at].dtype), *zeros

            def pull(at, matrix, halving, gradient):
                term = lambda x, m, h: self._term(at, x, m, h, known)[0]
                return jax.vjp(term, _take(buffers[at], rows[at]), matrix, halving)[1](gradient)

            at = int(self.split and state >= CELL_INPUTS)
            loose = _pick(self.path.loose, state)
            loose = int(loose) if is_static(loose) else loose * 1
            branches = [functools.partial(none, at), functools.partial(pull, at)]
            dx, d_matrix, d_halving = choose(loose, branches, matrix, halving, gradient)
            d_buffers = tuple(
                _put(buffer, dx, rows[n]) if n == at else buffer
                for n, buffer in enumerate(d_buffers)
            )
            if at == 0 and self.split:
                d_halve = _put(d_halve, d_halving, rows[0])
            return d_buffers, _put(d_combine, d_matrix, state), d_halve

        zeros = functools.partial(jax.tree.map, jnp.zeros_like)
        carry = zeros(buffers), zeros(weights["combine"]), zeros(weights.get("halve"))
        if self.static or self.split:
            return fold(self.states, visit, carry, static=True)
        return fold(self.states, visit, carry, static=False)


def initial_statistics(cells, edges, width):
    """Room for the statistics float32[..., 2, C] of every norm of N cells."""
    leads = {"edges": (cells, edges, CUTS), "combine": (cells,), "halve": (cells, CELL_INPUTS)}
    return {name: layers.initial_statistics((*lead, width)) for name, lead in leads.items()}


def _forward(settings, keep, path, weights, inputs, drop, given):
    """Runs all cells. Returns outputs, statistics and, if `keep`, what the gradient needs."""
    cell = _Cell(settings, path)
    first, second, third = inputs
    cells = weights["norm"]["scale"].shape[0]
    maps = cell.buffers(first, second)[-1]
    statistics = initial_statistics(cells, cell.edges, first.shape[0])
    saved = None
    if keep:
        stacked = lambda *lead: jnp.zeros((*lead, *maps.shape[1:]), maps.dtype)
        saved = {
            "buffers": jax.tree.map(
                lambda b: jnp.zeros((cells, *b.shape), b.dtype), cell.buffers(first, second)
            ),
            "cuts": tuple(stacked(cells, cell.edges) for _ in range(CUTS)),
            "sums": stacked(cells),
        }

    def run_cell(n, carry):
        first, second, statistics, saved = carry
        own = _take({k: v for k, v in weights.items() if k != "edges"}, n)
        known = None if given is None else _take(given, n)

        def run_edge(edge, carry):
            buffers, statistics, saved = carry
            known_edge = None if known is None else _take(known["edges"], edge)
            edge_weights = _take(weights["edges"], n, edge)
            y, cuts, used = cell.forward_edge(edge, buffers, edge_weights, known_edge)
            if drop is not None:
                y = y * _factors(drop, n, edge, y.dtype)
            row = cell.node_row(edge)
            y = y + _where(edge % EDGES_PER_NODE > 0, _take(buffers[-1], row), jnp.zeros_like(y))
            buffers = (*buffers[:-1], _put(buffers[-1], y, row))
            statistics = {**statistics, "edges": _put(statistics["edges"], used, n, edge)}
            if keep:
                saved = {**saved, "cuts": _put(saved["cuts"], cuts, n, edge)}
            return buffers, statistics, saved

        carry = cell.buffers(first, second), statistics, saved
        carry = fold(cell.edges, run_edge, carry, static=cell.static)
        buffers, statistics, saved = carry
        total, halved = cell.forward_loose(buffers, own, known)
        known_sum = None if known is None else known["combine"]
        out, used = norm(total, **own["norm"], given=known_sum, axis_name=settings.axis_name)
        statistics = {
            "edges": statistics["edges"],
            "combine": _put(statistics["combine"], used, n),
            "halve": _put(statistics["halve"], halved, n),
        }
        if keep:
            saved = {**saved, "sums": _put(saved["sums"], total, n)}
            saved["buffers"] = _put(saved["buffers"], buffers, n)
        follower = second if third is None else _where(n == 0, third, second)
        return follower, out, statistics, saved

    if settings.stride == 2:
        # One cell, whose output is smaller than its inputs.
        _, out, statistics, saved = run_cell(0, (first, second, statistics, saved))
        return (second, out), statistics, saved
    carry = fold(cells, run_cell, (first, second, statistics, saved), static=cell.static)
    return carry[:2], *carry[2:]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run_cells(settings, path, weights, inputs, drop, given):
    """Runs N equal cells along one path.

    Args:
      settings: the `Settings`, with the path where it is static.
      path: the traced `Path`, or None.
      weights: tree of stacks: `edges` `[N, E, …]` as in `operations.forward`, `combine`
        `[N, S, C, C]`, `norm`, and for a reduction cell `halve` `[N, 2, …]`.
      inputs: maps of the first and the second input of the first cell, and the first input of the
        second cell where that is not the first cell's second input (else None).
      drop: factors `[N, E, batch]` on the edges' outputs, or None.
      given: statistics as returned, or None for the batch's own.

    Returns:
      the last two outputs (for N = 1 the first of them is the follower of the inputs), and the
      statistics of all norms, which carry no gradient.
    """
    return _forward(settings, False, path, weights, inputs, drop, given)[:2]


def _run_forward(settings, path, weights, inputs, drop, given):
    outputs, statistics, saved = _forward(settings, True, path, weights, inputs, drop, given)
    third = None if inputs[2] is None else ()  # only whether there was one
    return (outputs, statistics), (path, weights, drop, given, saved, third)


def _run_backward(settings, residuals, gradients):
    path, weights, drop, given, saved, third = residuals
    has_third = third is not None
    cell = _Cell(settings, path)
    cells = weights["norm"]["scale"].shape[0]
    others = {k: v for k, v in weights.items() if k != "edges"}

    def run_cell(n, carry):
        d_follower, d_out, _, d_weights = carry
        buffers, own = _take(saved["buffers"], n), _take(others, n)
        known = None if given is None else _take(given, n)
        total = _take(saved["sums"], n)

        def normalised(total, w):
            known_sum = None if known is None else known["combine"]
            return norm(total, **w, given=known_sum, axis_name=settings.axis_name)[0]

        d_total, d_norm = jax.vjp(normalised, total, own["norm"])[1](d_out)
        d_buffers, d_combine, d_halve = cell.backward_loose(buffers, own, known, d_total)

        def run_edge(edge, carry):
            d_buffers, d_edges = carry
            g = _take(d_buffers[-1], cell.node_row(edge))
            if drop is not None:
                g = g * _factors(drop, n, edge, g.dtype)
            known_edge = None if known is None else _take(known["edges"], edge)
            edge_weights, cuts = _take(weights["edges"], n, edge), _take(saved["cuts"], n, edge)
            dxs, dw = cell.backward_edge(edge, buffers, edge_weights, known_edge, cuts, g)
            rows = cell.place(_pick(cell.path.inputs, edge))
            d_buffers = tuple(
                _put(buffer, _take(buffer, row) + dx, row)
                for buffer, dx, row in zip(d_buffers, dxs, rows, strict=True)
            )
            return d_buffers, _put(d_edges, dw, n, edge)

        carry = d_buffers, d_weights["edges"]
        carry = fold(cell.edges, run_edge, carry, static=cell.static, reverse=True)
        d_buffers, d_edges = carry
        d_own = {"norm": d_norm, "combine": d_combine}
        if cell.split:
            d_own["halve"] = d_halve
        d_others = {k: _put(d_weights[k], v, n) for k, v in d_own.items()}
        d_first, d_second = d_buffers[0][0], d_buffers[0][1]
        follows = _where(n == 0, jnp.zeros_like(d_second), d_follower) if has_third else d_follower
        return d_first, d_second + follows, d_follower, {"edges": d_edges, **d_others}

    (d_follower, d_out), _ = gradients
    carry = d_follower, d_out, d_follower, jax.tree.map(jnp.zeros_like, weights)
    if settings.stride == 2:
        carry = run_cell(0, carry)
    else:
        carry = fold(cells, run_cell, carry, static=cell.static, reverse=True)
    d_first, d_second, d_third, d_weights = carry
    return None, d_weights, (d_first, d_second, d_third if has_third else None), None, None


run_cells.defvjp(_run_forward, _run_backward)
