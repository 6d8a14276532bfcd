"""Architectures as graphs of operations, for models that read graphs.

Shapes: P architectures, N nodes, T types of nodes.
"""

from typing import NamedTuple

import numpy as np

from bnao_jax.space import SearchSpace


class Graphs(NamedTuple):
    """The graphs of a pool; all have N nodes of T types.

    Attributes:
      hears: bool[P, N, N], whether node i hears node j; no node hears itself.
      types: int32[P, N], 0..T-1: the operation of each node.
    """

    hears: np.ndarray
    types: np.ndarray


class Form(NamedTuple):
    """How the architectures of a space are graphs.

    Attributes:
      of: from a pool [P, D] to its `Graphs`.
      types: T.
    """

    of: object
    types: int


def chain(space: SearchSpace) -> Form:
    """Decisions one behind the other, each hearing the one before: for spaces without other form.

    Every option of every decision is a type, so that a node says where in the chain it is.
    """
    before = np.eye(space.decisions, k=-1, dtype=bool)
    first = np.cumsum((0, *space.options[:-1])).astype(np.int32)

    def of(pool):
        pool = np.asarray(pool, np.int32)
        return Graphs(np.repeat(before[None], len(pool), 0), pool + first)

    return Form(of, sum(space.options))
