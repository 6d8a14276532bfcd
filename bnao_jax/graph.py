"""Architectures as graphs of operations, for models that read graphs.

Shapes: P architectures, N nodes, T types of nodes.
"""

from typing import NamedTuple

import numpy as np

from bnao_jax.decisions import Decisions


class Wire(NamedTuple):
    """A connection from one state of a cell to another.

    Attributes:
      source: name of the state that is read.
      operation: name of what is applied, None for handing the state on.
      target: name of the state that it is added to, or joined to.
    """

    source: str
    operation: str | None
    target: str


class Graphs(NamedTuple):
    """The graphs of a pool; all have N nodes of T types.

    Attributes:
      adjacency: bool[P, N, N], whether node i reads node j; no node reads itself.
      types: int32[P, N], 0..T-1: the operation of each node.
    """

    adjacency: np.ndarray
    types: np.ndarray


class Form(NamedTuple):
    """How the architectures of a space are graphs.

    Attributes:
      of: from a pool [P, D] to its `Graphs`.
      types: T.
    """

    of: object
    types: int


def chain(decisions: Decisions) -> Form:
    """A chain of decisions, each of which reads the one before; for spaces without another form.

    Every option of every decision is a type, so that a node says where in the chain it is.
    """
    before = np.eye(decisions.length, k=-1, dtype=bool)
    first = np.cumsum((0, *decisions.options[:-1])).astype(np.int32)

    def of(pool):
        pool = np.asarray(pool, np.int32)
        return Graphs(np.repeat(before[None], len(pool), 0), pool + first)

    return Form(of, sum(decisions.options))
