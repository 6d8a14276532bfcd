"""The cells of NAS-Bench-201 as graphs: a node for each edge's operation, one input, one output."""

import numpy as np

from bnao_jax.graph import Form, Graphs, Wire
from bnao_jax.spaces.nasbench201.outline import EDGES, NAMES, NODES, NONE, Outline

INPUT, OUTPUT = len(NAMES), len(NAMES) + 1  # types of nodes beside the operations


def alive(pool):
    """Which edges carry something of the input to the output: bool[P, E] of a pool [P, E]."""
    passes = np.asarray(pool) != NONE
    fed, useful = np.zeros((2, len(passes), NODES), bool)
    fed[:, 0] = useful[:, -1] = True
    for at, (to, read) in enumerate(EDGES):
        fed[:, to] |= passes[:, at] & fed[:, read]
    for at, (to, read) in reversed(list(enumerate(EDGES))):
        useful[:, read] |= passes[:, at] & useful[:, to]
    tos, reads = np.array(EDGES).T
    return passes & fed[:, reads] & useful[:, tos]


def graph_form() -> Form:
    """The form of a cell; its nodes are the input, the six edges in order, the output.

    In the adjacency matrix the row of an edge marks the edges into the node that it reads. An edge
    that is not `alive` is a node of type `none`, whose row and column are empty.
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
        adjacency = table[None] & lives[:, :, None] & lives[:, None]
        types = np.pad(pool, ((0, 0), (1, 1)), constant_values=((0, 0), (INPUT, OUTPUT)))
        return Graphs(adjacency, np.where(lives, types, NONE).astype(np.int32))

    return Form(of, len(NAMES) + 2)


# Cells to draw.

CELL = "cell"
STATES = ("input", *(f"node {n}" for n in range(1, NODES - 1)), "output")


def wires(outline: Outline, architecture) -> dict[str, list[Wire]]:
    """The `Wire`s of the cell of an architecture [D], in the order of its edges."""
    del outline
    return {
        CELL: [
            Wire(STATES[read], NAMES[choice], STATES[node])
            for (node, read), choice in zip(EDGES, architecture, strict=True)
        ]
    }
