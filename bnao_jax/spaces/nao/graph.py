"""The NAO cells as graphs: a node for each edge's operation, the cell's inputs and its output.

The normal and the reduction cell are two parts without an edge between them; their types differ.
"""

import numpy as np

from bnao_jax.graph import Form, Graphs, Wire
from bnao_jax.spaces.nao.outline import (
    CELL_INPUTS,
    CELLS,
    EDGES_PER_NODE,
    Outline,
    genes,
    loose_ends,
)

OUTPUT, OPERATIONS = CELL_INPUTS, CELL_INPUTS + 1  # types after those of the inputs


def graph_form(outline: Outline) -> Form:
    """The form of two cells; of each the nodes are its inputs, its edges in order, its output.

    In the adjacency matrix the row of an edge marks the two edges whose sum it reads, or the input
    that it reads; the row of the output marks the loose ends.
    """
    nodes, types = outline.nodes, OPERATIONS + len(outline.candidates)
    edges = nodes * EDGES_PER_NODE
    size = CELL_INPUTS + edges + 1
    # The nodes of the graph whose sum a state of the cell is.
    parts = np.zeros((CELL_INPUTS + nodes, size), bool)
    parts[:CELL_INPUTS, :CELL_INPUTS] = np.eye(CELL_INPUTS, dtype=bool)
    for edge in range(edges):
        parts[CELL_INPUTS + edge // EDGES_PER_NODE, CELL_INPUTS + edge] = True

    def of(pool):
        inputs, choices = genes(np.asarray(pool, np.int32), nodes)  # [P, cell, edge]
        adjacency = np.zeros((len(inputs), len(CELLS) * size, len(CELLS) * size), bool)
        node_types = np.zeros((len(inputs), len(CELLS), size), np.int32)
        node_types[..., :CELL_INPUTS], node_types[..., -1] = np.arange(CELL_INPUTS), OUTPUT
        node_types[..., CELL_INPUTS:-1] = OPERATIONS + choices
        node_types += types * np.arange(len(CELLS))[None, :, None]
        for cell in range(len(CELLS)):
            part = slice(cell * size, (cell + 1) * size)
            adjacency[:, part, part][:, CELL_INPUTS:-1] = parts[inputs[:, cell]]
            loose = loose_ends(inputs[:, cell], nodes)  # [P, state]
            adjacency[:, part, part][:, -1] = (loose[:, :, None] & parts[None]).any(1)
        return Graphs(adjacency, node_types.reshape(len(inputs), -1))

    return Form(of, len(CELLS) * types)


# Cells to draw.

INPUTS, CELL_OUTPUT = ("cell k-2", "cell k-1"), "output"  # names of states, the others are nodes


def wires(outline: Outline, architecture) -> dict[str, list[Wire]]:
    """The `Wire`s of each kind of cell of an architecture [D].

    First the edges, in their order, then what joins the states that no edge reads to the output.
    """
    inputs, choices = genes(np.asarray(architecture), outline.nodes)
    states = [*INPUTS, *(f"node {n + 1}" for n in range(outline.nodes))]
    graphs = {}
    for kind, name in enumerate(CELLS):
        edges = [
            Wire(
                states[read],
                outline.candidates[choice].name,
                states[CELL_INPUTS + edge // EDGES_PER_NODE],
            )
            for edge, (read, choice) in enumerate(zip(inputs[kind], choices[kind], strict=True))
        ]
        loose = np.flatnonzero(loose_ends(inputs[kind], outline.nodes))
        graphs[name] = edges + [Wire(states[n], None, CELL_OUTPUT) for n in loose]
    return graphs
