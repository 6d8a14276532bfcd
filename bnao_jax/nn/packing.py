"""The weights of all candidate operations of an edge as one row of numbers.

A GPU starts a kernel for every array that is cut out of a stack or put back into it. Packed, the
weights of an edge are cut out by one kernel, and their gradient is put back by one.

>>> import numpy as np
>>> from bnao_jax.nn.operations import IDENTITY, separable
>>> packing = Packing((IDENTITY, separable(3)), stride=1, width=2)
>>> weights = packing.weights(lambda *shape: np.ones(shape, np.float32))
>>> packing.pack(weights).shape  # 2 units of 2 x 3 x 3 and 2 x 2 weights, 2 scales and 2 offsets
(52,)
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from bnao_jax.nn import operations


def _names(units):
    """The names of all arrays of an operation's units, in the order of a row."""
    return [(n, part, key) for n, unit in enumerate(units) for part in unit for key in unit[part]]


@dataclasses.dataclass(frozen=True)
class Packing:
    """Where the weights of each candidate lie in a row `[P]` of float32.

    A row holds the candidates' weights one after the other; the weights of one candidate are read
    and written as a segment `[longest]` from its start on. What a segment holds beyond them belongs
    to candidates that the path does not take, whose gradient is zero.

    Attributes:
      candidates: the operations.
      stride: 1 or 2.
      width: channels C of the maps.
    """

    candidates: tuple
    stride: int
    width: int

    @functools.cached_property
    def _shapes(self):
        """The shapes of the units of each name of `operations.weights_name`, in their order."""
        found = {}
        for operation in self.candidates:
            name = operations.weights_name(operation, self.stride)
            if name is not None:
                found[name] = operations.unit_shapes(operation, self.stride, self.width)
        return found

    @functools.cached_property
    def _sizes(self):
        return {
            name: sum(math.prod(units[n][part][key]) for n, part, key in _names(units))
            for name, units in self._shapes.items()
        }

    @property
    def longest(self) -> int:
        """Numbers of a segment: those of the largest candidate."""
        return max(self._sizes.values(), default=0)

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """The start of each candidate's segment; 0 of those without weights."""
        at, starts = 0, {None: 0}
        for name in self._shapes:
            starts[name], at = at, at + self._sizes[name]
        return tuple(
            starts[operations.weights_name(operation, self.stride)] for operation in self.candidates
        )

    @functools.cached_property
    def size(self) -> int:
        """P, with room for a segment from the last start on."""
        return max(self.starts) + self.longest

    def weights(self, leaf):
        """A tree of `leaf(*shape)` for each array, as `operations.apply` takes it."""
        is_shape = lambda value: isinstance(value, tuple)
        return jax.tree.map(lambda shape: leaf(*shape), self._shapes, is_leaf=is_shape)

    def pack(self, weights, choose=lambda name, rows: rows):
        """Rows float32[..., P] of weights that have the leading axes `...`.

        `choose(name, rows)` is called with the rows of each candidate; it may pick among them.
        """
        rows = [choose(name, self._rows(name, weights[name])) for name in self._shapes]
        return _join(rows, self.size)

    def pack_segment(self, operation, weights):
        """The segment float32[longest] of one candidate's weights."""
        name = operations.weights_name(operation, self.stride)
        return _join([] if name is None else [self._rows(name, weights[name])], self.longest)

    def unpack_segment(self, operation, segment, dtype):
        """One candidate's weights out of a segment, as `operations.apply` takes them.

        Norms keep float32, the others get `dtype`.
        """
        name, at = operations.weights_name(operation, self.stride), 0
        if name is None:
            return {}
        units = [{part: {} for part in unit} for unit in self._shapes[name]]
        for n, part, key in _names(self._shapes[name]):
            shape = self._shapes[name][n][part][key]
            leaf = segment[at : at + math.prod(shape)].reshape(shape)
            units[n][part][key] = leaf if part == "norm" else leaf.astype(dtype)
            at += math.prod(shape)
        return {name: units}

    def _rows(self, name, units):
        """The weights of a candidate one after the other: float32[..., its numbers]."""
        shapes, rows = self._shapes[name], []
        for n, part, key in _names(shapes):
            leaf = units[n][part][key]
            lead = leaf.shape[: leaf.ndim - len(shapes[n][part][key])]
            rows.append(leaf.astype(jnp.float32).reshape(*lead, -1))
        return jnp.concatenate(rows, -1)


def _join(rows, size):
    """The rows side by side, filled up with zeros to `size`."""
    lead = rows[0].shape[:-1] if rows else ()
    rest = size - sum(row.shape[-1] for row in rows)
    return jnp.concatenate([*rows, jnp.zeros((*lead, rest), jnp.float32)], -1)
