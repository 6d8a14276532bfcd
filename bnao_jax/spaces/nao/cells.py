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
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bnao_jax.nn import layers, operations
from bnao_jax.nn.layers import halve, norm, pointwise, relu
from bnao_jax.nn.packing import Packing
from bnao_jax.nn.stacks import put, starts, take
from bnao_jax.nn.static_or_traced import choose, fold, is_static, pick, where
from bnao_jax.spaces.nao.outline import CELL_INPUTS, EDGES_PER_NODE, loose_ends

NORMS = 2  # statistics kept for each edge: the most norms any operation has


class Path(NamedTuple):
    """The choices of one kind of cell: tuples of integers, or traced arrays.

    Attributes:
      inputs: state that each edge reads, `[E]`.
      operations: operation of each edge, `[E]`.
      loose: whether no edge reads the state, `[S]`.
    """

    inputs: tuple
    operations: tuple
    loose: tuple


def static_path(inputs, choices) -> Path:
    """The path of choices that are numbers; hashable."""
    loose = loose_ends(np.asarray(inputs), len(inputs) // EDGES_PER_NODE)
    return Path(*(tuple(int(v) for v in values) for values in (inputs, choices, loose)))


def traced_path(inputs, choices) -> Path:
    """The path of traced choices int32[E]."""
    return Path(inputs, choices, loose_ends(inputs, inputs.shape[0] // EDGES_PER_NODE))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is the same on every path.

    Attributes:
      candidates: the candidate operations.
      stride: 1 for normal cells, 2 for a reduction cell.
      width: channels C of the nodes.
      axis_name: device axis of batch statistics, None for each device's own.
      path: the choices, where they are static.
    """

    candidates: tuple
    stride: int
    width: int
    axis_name: str | None = None
    path: Path | None = None

    @functools.cached_property
    def packing(self) -> Packing:
        """How an edge's weights are packed."""
        return Packing(self.candidates, self.stride, self.width)


def _factors(drop, edge, dtype):
    """Drop-path factors of an edge of a cell, to multiply maps `[C, H, W, batch]`."""
    return take(drop, edge).astype(dtype)[None, None, None]


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
        divide = operator.floordiv if is_static(edge) else lax.div
        return divide(edge, EDGES_PER_NODE) + (0 if self.split else CELL_INPUTS)

    # Edges. An edge's weights are a row, of which its operation has a segment.

    def start(self, edge):
        """Where the segment of an edge's operation starts in the row of its weights."""
        return pick(self.settings.packing.starts, pick(self.path.operations, edge))

    def segment(self, rows, n, edge):
        """The packed weights of an edge's operation, out of those of all edges `[N, E, P]`."""
        at = starts((n, edge, self.start(edge)), 3)
        return lax.dynamic_slice(rows, at, (1, 1, self.settings.packing.longest))[0, 0]

    def put_segment(self, rows, segment, n, edge):
        """The rows with the segment of an edge's operation."""
        at = starts((n, edge, self.start(edge)), 3)
        return lax.dynamic_update_slice(rows, segment[None, None], at)

    # What is added to an output is added in the branch that is taken: behind the choice it
    # would be one more pass over the maps.

    def branches(self, function, at):
        """`function(operation, stride)` for each operation, reading buffer `at`."""
        stride = self.settings.stride if at == 0 else 1
        return [functools.partial(function, op, stride) for op in self.settings.candidates]

    def readers(self, at):
        """How many edges read buffer `at`, and a function from 0, 1, ... to them, ascending.

        On CUDA all edges are counted, the others coming last: the host would have to wait for the
        length of a loop that only the path knows.
        """
        inputs = self.path.inputs
        if not self.split:
            return self.edges, lambda k: k
        if self.static:
            edges = [edge for edge, state in enumerate(inputs) if self.home(state) == at]
            return len(edges), edges.__getitem__
        apart = (inputs >= CELL_INPUTS) != bool(at)
        order = jnp.argsort(apart)
        count = jnp.sum(~apart, dtype=jnp.int32)
        count = lax.platform_dependent(
            count, cuda=lambda count: jnp.full_like(count, self.edges), default=lambda count: count
        )
        return count, lambda k: order[k]

    def forward_edge(self, n, edge, buffers, weights, given, drop):
        """The node of an edge of cell n with its output added; statistics `[NORMS, 2, C]`.

        `weights` are the packed weights of its operation.
        """
        state = pick(self.path.inputs, edge)
        rows, node = self.place(state), (n, self.node_row(edge))

        def run(at, operation, stride, weights, given):
            x = take(buffers[at], n, rows[at])
            weights = self.settings.packing.unpack_segment(operation, weights, x.dtype)
            y, used = operations.apply(
                operation, stride, x, weights, given=given, axis_name=self.settings.axis_name
            )
            used += [layers.initial_statistics((x.shape[0],))] * (NORMS - len(used))
            y = y if drop is None else y * _factors(drop, edge, y.dtype)
            rem = operator.mod if is_static(edge) else lax.rem  # no signs to look after
            begun = rem(edge, EDGES_PER_NODE) > 0
            y += where(begun, take(buffers[-1], *node), jnp.zeros_like(y))
            return y, jnp.stack(used)

        branches = []
        for at in range(len(buffers)):
            branches += self.branches(functools.partial(run, at), at)
        index = pick(self.path.operations, edge) + self.home(state) * len(self.settings.candidates)
        return choose(index, branches, weights, given)

    def backward_edge(self, at, n, edge, buffers, weights, statistics, drop, carry):
        """The gradients of the states and of the packed weights, with an edge's part added.

        `statistics` are those used by the forward pass, and whether they were given; `carry` are
        the gradients. Those of an edge that does not read buffer `at` are left as they are.
        """
        d_buffers, d_edges = carry
        state, packing = pick(self.path.inputs, edge), self.settings.packing
        row, (used, were_given) = self.place(state)[at], statistics
        statistics = {"given" if were_given else "recalled": used}

        def run(operation, stride, segment):
            def output(x, weights):
                return operations.apply(
                    operation, stride, x, weights, axis_name=self.settings.axis_name, **statistics
                )[0]

            g = take(d_buffers[-1], self.node_row(edge))
            g = g if drop is None else g * _factors(drop, edge, g.dtype)
            x = take(buffers[at], n, row)
            weights = packing.unpack_segment(operation, segment, x.dtype)
            dx, d_weights = jax.vjp(output, x, weights)[1](g)
            return dx + take(d_buffers[at], row), packing.pack_segment(operation, d_weights)

        branches, index = self.branches(run, at), pick(self.path.operations, edge)
        if self.split and not self.static:
            index = jnp.where(self.home(state) == at, index, len(branches))
            branches += [lambda _: (take(d_buffers[at], row), self.segment(d_edges, n, edge))]
        dx, d_segment = choose(index, branches, self.segment(weights, n, edge))
        d_buffers = (*d_buffers[:at], put(d_buffers[at], dx, row), *d_buffers[at + 1 :])
        return d_buffers, self.put_segment(d_edges, d_segment, n, edge)

    # Loose ends: ReLU and a block of a 1x1 convolution each, summed. Those of the last buffer are
    # mixed by one product, in which the blocks of the other states are zero. An input of a
    # reduction cell is halved before.

    def mixed(self, x, combine):
        """The sum of the loose states of the last buffer `[S', maps]`; `combine` `[S, C, C]`."""
        first = len(combine) - len(x)
        if self.static:
            rows = [n for n in range(len(x)) if self.path.loose[first + n]]
            x, combine = (jnp.stack([a[n] for n in rows]) for a in (x, combine[first:]))
        else:
            combine = jnp.where(self.path.loose[:, None, None], combine, 0)[first:]
        wide = jnp.swapaxes(combine, 0, 1).reshape(combine.shape[1], -1)
        return pointwise(relu(x).reshape(-1, *x.shape[2:]), wide)

    def halved(self, x, matrix, halving, **statistics):
        """The contribution of a loose input of a reduction cell, and its halving's statistics."""
        x = halve(x, **halving["linear"])
        x, used = norm(x, **halving["norm"], **statistics, axis_name=self.settings.axis_name)
        return pointwise(relu(x), matrix), used

    def loose_inputs(self, visit, carry):
        """`carry` after `visit(state, carry)` for each loose input of a reduction cell."""
        if not self.split:
            return carry

        def either(state, carry):
            visit_or_not = [lambda carry: carry, functools.partial(visit, state)]
            return choose(pick(self.path.loose, state) * 1, visit_or_not, carry)

        return fold(CELL_INPUTS, either, carry, static=self.static)

    def forward_loose(self, n, buffers, weights, given):
        """Sum over loose states, before the norm, and the statistics of their halvings."""
        total = self.mixed(take(buffers[-1], n), weights["combine"])

        def add(state, carry):
            total, used = carry
            statistics = None if given is None else take(given["halve"], state)
            of_state = take((weights["combine"], weights["halve"]), state)
            term, of_halving = self.halved(take(buffers[0], n, state), *of_state, given=statistics)
            return total + term, put(used, of_halving, state)

        none = layers.initial_statistics((CELL_INPUTS, self.settings.width))
        return self.loose_inputs(add, (total, none))

    def backward_loose(self, n, buffers, weights, statistics, gradient):
        """Gradients of all states, zero where they are not loose, and of the weights.

        `statistics` are those used by the forward pass, and whether they were given.
        """
        used, were_given = statistics
        key = "given" if were_given else "recalled"
        x = take(buffers[-1], n)
        d_last, d_combine = jax.vjp(self.mixed, x, weights["combine"])[1](gradient)

        def visit(state, carry):
            of_halving = {key: take(used["halve"], state)}
            term = lambda *of_state: self.halved(*of_state, **of_halving)[0]
            of_state = take((weights["combine"], weights["halve"]), state)
            back = jax.vjp(term, take(buffers[0], n, state), *of_state)[1]
            return put(carry, back(gradient), state)

        if not self.split:
            return (d_last,), d_combine, None
        d_inputs = jnp.zeros(buffers[0].shape[1:], x.dtype)
        d_halve = jax.tree.map(jnp.zeros_like, weights["halve"])
        d_inputs, d_combine, d_halve = self.loose_inputs(visit, (d_inputs, d_combine, d_halve))
        return (d_inputs, d_last), d_combine, d_halve


def initial_statistics(cells, edges, width):
    """Room for the statistics float32[..., 2, C] of every norm of N cells."""
    leads = {"edges": (cells, edges, NORMS), "combine": (cells,), "halve": (cells, CELL_INPUTS)}
    return {name: layers.initial_statistics((*lead, width)) for name, lead in leads.items()}


def _of_cell(weights, n):
    """A cell's weights, without those of its edges."""
    return take({name: stack for name, stack in weights.items() if name != "edges"}, n)


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
        cell_weights, cell_given = _of_cell(weights, n), None if given is None else take(given, n)
        factors = None if drop is None else take(drop, n)
        row = n if keep else 0  # without a gradient all cells share one room
        buffers = (put(put(buffers[0], first, row, 0), second, row, 1), *buffers[1:])

        def run_edge(edge, carry):
            buffers, statistics = carry
            edge_given = None if given is None else take(cell_given["edges"], edge)
            edge_weights = cell.segment(weights["edges"], n, edge)
            node, used = cell.forward_edge(row, edge, buffers, edge_weights, edge_given, factors)
            buffers = (*buffers[:-1], put(buffers[-1], node, row, cell.node_row(edge)))
            return buffers, put(statistics, used, n, edge)

        carry = buffers, statistics["edges"]
        buffers, of_edges = fold(cell.edges, run_edge, carry, static=cell.static)
        total, of_halves = cell.forward_loose(row, buffers, cell_weights, cell_given)
        sum_given, w = None if given is None else cell_given["combine"], cell_weights["norm"]
        out, used = norm(total, **w, given=sum_given, axis_name=settings.axis_name)
        statistics = {
            "edges": of_edges,
            "combine": put(statistics["combine"], used, n),
            "halve": put(statistics["halve"], of_halves, n),
        }
        follower = second if third is None else where(n == 0, third, second)
        return follower, out, statistics, buffers, put(sums, total, row)

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
        cell_weights, used = _of_cell(weights, n), take(statistics, n)
        factors = None if drop is None else take(drop, n)

        def normalised(total, w):
            of_sum = {"given" if were_given else "recalled": used["combine"]}
            return norm(total, **w, **of_sum, axis_name=settings.axis_name)[0]

        d_total, d_norm = jax.vjp(normalised, take(sums, n), cell_weights["norm"])[1](d_out)
        loose = cell.backward_loose(n, buffers, cell_weights, (used, were_given), d_total)
        d_buffers, d_combine, d_halve = loose
        carry = d_buffers, d_weights["edges"]
        for at in reversed(range(len(buffers))):  # a node's gradient is whole before an input's
            count, number = cell.readers(at)

            def run_edge(k, carry, at=at, number=number):
                edge = number(k)
                of_edge = take(used["edges"], edge), were_given
                return cell.backward_edge(
                    at, n, edge, buffers, weights["edges"], of_edge, factors, carry
                )

            carry = fold(count, run_edge, carry, static=cell.static, reverse=True)
        (d_inputs, *_), d_edges = carry
        d_cell = {"norm": d_norm, "combine": d_combine}
        if cell.split:
            d_cell["halve"] = d_halve
        d_others = {name: put(d_weights[name], value, n) for name, value in d_cell.items()}
        d_first, d_second = d_inputs[0], d_inputs[1]
        follows = d_follower
        if third is not None:
            follows = where(n == 0, jnp.zeros_like(d_follower), d_follower)
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
