"""The NAO cells as graphs: a node for each edge's operation, the cell's inputs and its output.

Normal and reduction cell are two parts that do not hear each other; their types differ.
"""

import numpy as np

from bnao_jax.graph import Form, Graphs
from bnao_jax.spaces.nao.space import CELL_INPUTS, CELLS, EDGES_PER_NODE, Outline, genes, loose_ends

OUTPUT, OPERATIONS = CELL_INPUTS, CELL_INPUTS + 1  # types after those of the inputs


def graph_form(outline: Outline) -> Form:
    """The form of two cells; of each the nodes are its inputs, its edges in order, its output.

    An edge hears the two edges whose sum it reads, or an input; the output hears the loose ends.
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
        hears = np.zeros((len(inputs), len(CELLS) * size, len(CELLS) * size), bool)
        found = np.zeros((len(inputs), len(CELLS), size), np.int32)
        found[..., :CELL_INPUTS], found[..., -1] = np.arange(CELL_INPUTS), OUTPUT
        found[..., CELL_INPUTS:-1] = OPERATIONS + choices
        found += types * np.arange(len(CELLS))[None, :, None]
        for cell in range(len(CELLS)):
            own = slice(cell * size, (cell + 1) * size)
            hears[:, own, own][:, CELL_INPUTS:-1] = parts[inputs[:, cell]]
            loose = loose_ends(inputs[:, cell], nodes)  # [P, state]
            hears[:, own, own][:, -1] = (loose[:, :, None] & parts[None]).any(1)
        return Graphs(hears, found.reshape(len(inputs), -1))

    return Form(of, len(CELLS) * types)
