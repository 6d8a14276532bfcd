"""The choices of the NAO cell.

Two cells, normal and reduction, of B nodes each. A node adds two edges; an edge is an (input,
operation) pair, where inputs 0 and 1 are the outputs of the two previous cells and input i + 2 is
node i. Decisions: `[cell, node, edge, (input, operation)]`, flattened; 40 for five nodes.
"""

import dataclasses

import numpy as np

from bnao_jax.decisions import Decisions
from bnao_jax.nn.operations import AVERAGE_POOL, IDENTITY, MAX_POOL, ZERO, dilated, separable

STEMS = ("cifar", "imagenet")
CELLS = ("normal", "reduction")
EDGES_PER_NODE = 2
CELL_INPUTS = 2


OPERATIONS = {
    "small": (separable(3), separable(5), AVERAGE_POOL, MAX_POOL, IDENTITY),
    "middle": (
        ZERO,
        IDENTITY,
        separable(3),
        separable(5),
        separable(7),
        dilated(3),
        dilated(5),
        dilated(7),
        AVERAGE_POOL,
        MAX_POOL,
    ),
}


def nao_decisions(operations: str = "small", nodes: int = 5) -> Decisions:
    """The NAO cell space with a set of operations ("small", "middle") and B nodes a cell.

    Raises:
      ValueError: unknown set of operations, or no node.
    """
    if operations not in OPERATIONS:
        raise ValueError(f"operations {operations!r} is not one of {sorted(OPERATIONS)}")
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, not {nodes}")
    count = len(OPERATIONS[operations])
    options, first_tokens, commuting, labels = [], [], [], []
    for cell in CELLS:
        for node in range(nodes):
            at = len(options)
            options += [node + CELL_INPUTS, count] * EDGES_PER_NODE
            first_tokens += [1, nodes + CELL_INPUTS] * EDGES_PER_NODE
            commuting.append(((at, at + 1), (at + 2, at + 3)))
            for edge in range(EDGES_PER_NODE):
                place = f"{cell} cell, node {node + 1}, edge {edge + 1}"
                labels += [f"{place}, input", f"{place}, operation"]
    return Decisions(
        name=f"NAO cell ({operations}, {nodes} nodes)",
        options=tuple(options),
        first_tokens=tuple(first_tokens),
        commuting=tuple(commuting),
        labels=tuple(labels),
    )


def genes(pool, nodes: int):
    """Splits `[..., D]` into inputs and operations `[..., cell, edge]`, edge = 2 node + which."""
    table = pool.reshape(*pool.shape[:-1], len(CELLS), nodes * EDGES_PER_NODE, 2)
    return table[..., 0], table[..., 1]


def loose_ends(inputs, nodes: int):
    """Which states no edge reads: bool `[..., state]` from inputs `[..., edge]`."""
    states = np.arange(nodes + CELL_INPUTS).reshape(*(1,) * inputs.ndim, -1)
    return ~(inputs[..., None] == states).any(-2)


@dataclasses.dataclass(frozen=True)
class CellPlan:
    """Where a cell stands in a network.

    Attributes:
      reduction: whether it halves the resolution.
      width: its channels.
      halve_first: whether its first input has twice the resolution of its second.
    """

    reduction: bool
    width: int
    halve_first: bool


@dataclasses.dataclass(frozen=True)
class Outline:
    """What surrounds the searched cells: N normal cells, reduction, N, reduction, N.

    Attributes:
      channels: C, width of the first stage, even; each reduction doubles it.
      cells: N, normal cells in each of the three stages.
      classes: number of classes.
      stem: "cifar" (full resolution) or "imagenet" (an eighth).
      operations: the set of operations, see `nao_decisions`.
      nodes: B, nodes of a cell.
    """

    channels: int
    cells: int
    classes: int
    stem: str = "cifar"
    operations: str = "small"
    nodes: int = 5

    def __post_init__(self):
        if self.channels < 2 or self.channels % 2:
            raise ValueError(f"channels must be even and at least 2, not {self.channels}")
        if self.cells < 1:
            raise ValueError(f"cells must be at least 1, not {self.cells}")
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, not {self.classes}")
        if self.stem not in STEMS:
            raise ValueError(f"stem {self.stem!r} is not one of {sorted(STEMS)}")
        nao_decisions(self.operations, self.nodes)

    @property
    def decisions(self) -> Decisions:
        """The decisions of the cells."""
        return nao_decisions(self.operations, self.nodes)

    @property
    def candidates(self):
        """The candidate operations, in the order of their numbers."""
        return OPERATIONS[self.operations]

    def plan(self) -> tuple[CellPlan, ...]:
        """The cells from input to output."""
        width, before, cells = self.channels, self.stem == "imagenet", []
        for n in range(3 * self.cells + 2):
            reduction = n in (self.cells, 2 * self.cells + 1)
            width *= 2 if reduction else 1
            cells.append(CellPlan(reduction, width, before))
            before = reduction
        return tuple(cells)
