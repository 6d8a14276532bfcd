"""The cells of an architecture as graphs, for drawing."""

import numpy as np

from bnao_jax.space import Wire
from bnao_jax.spaces.nao.space import CELL_INPUTS, CELLS, EDGES_PER_NODE, Outline, genes, loose_ends

INPUTS, OUTPUT = ("cell k-2", "cell k-1"), "output"  # names of states, the others are nodes


def wires(outline: Outline, architecture) -> dict[str, list[Wire]]:
    """The `Wire`s of each kind of cell of an architecture [D].

    First the edges, in their order, then what joins the states that no edge reads to the output.
    """
    inputs, choices = genes(np.asarray(architecture), outline.nodes)
    states = [*INPUTS, *(f"node {n + 1}" for n in range(outline.nodes))]
    found = {}
    for kind, name in enumerate(CELLS):
        own = [
            Wire(
                states[read],
                outline.candidates[choice].name,
                states[CELL_INPUTS + edge // EDGES_PER_NODE],
            )
            for edge, (read, choice) in enumerate(zip(inputs[kind], choices[kind], strict=True))
        ]
        loose = np.flatnonzero(loose_ends(inputs[kind], outline.nodes))
        found[name] = own + [Wire(states[n], None, OUTPUT) for n in loose]
    return found
