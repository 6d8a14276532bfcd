"""The cell of an architecture as a graph, for drawing."""

from bnao_jax.space import Wire
from bnao_jax.spaces.nasbench201.space import EDGES, NAMES, NODES, Outline

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
