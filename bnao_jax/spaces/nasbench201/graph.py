"""The cells of NAS-Bench-201 as graphs: a node for each edge's operation, one input, one output."""

import numpy as np

from bnao_jax.graph import Form, Graphs
from bnao_jax.spaces.nasbench201.space import EDGES, NAMES, NODES, NONE

INPUT, OUTPUT = len(NAMES), len(NAMES) + 1  # types of nodes beside the operations


def alive(pool):
    """Which edges carry something of the input to the output: bool[P, E] of a pool [P, E]."""
    passes = np.asarray(pool) != NONE
    fed, heard = np.zeros((2, len(passes), NODES), bool)
    fed[:, 0] = heard[:, -1] = True
    for at, (to, read) in enumerate(EDGES):
        fed[:, to] |= passes[:, at] & fed[:, read]
    for at, (to, read) in reversed(list(enumerate(EDGES))):
        heard[:, read] |= passes[:, at] & heard[:, to]
    tos, reads = np.array(EDGES).T
    return passes & fed[:, reads] & heard[:, tos]


def graph_form() -> Form:
    """The form of a cell; its nodes are the input, the six edges in order, the output.

    An edge hears the edges into the node that it reads. One that carries nothing, see `alive`, is
    a node `none` that neither hears nor is heard.
    """
    size = len(EDGES) + 2
    table = np.zeros((size, size), bool)
    into = lambda node: [1 + n for n, (to, _) in enumerate(EDGES) if to == node] or [0]
    for n, (_, read) in enumerate(EDGES):
        table[1 + n, into(read)] = True
    table[-1, into(NODES - 1)] = True

    def of(pool):
        pool = np.asarray(pool, np.int32)
        lives = np.pad(alive(pool), ((0, 0), (1, 1)), constant_values=True)
        hears = table[None] & lives[:, :, None] & lives[:, None]
        types = np.pad(pool, ((0, 0), (1, 1)), constant_values=((0, 0), (INPUT, OUTPUT)))
        return Graphs(hears, np.where(lives, types, NONE).astype(np.int32))

    return Form(of, len(NAMES) + 2)
