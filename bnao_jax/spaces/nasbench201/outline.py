"""The NAS-Bench-201 space: the choices, their equivalence, and what surrounds the cells.

Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", 2020,
https://arxiv.org/abs/2001.00326. One cell of four nodes, repeated; every node adds what comes from
all nodes before it. A decision is the operation of an edge; the edges are, in order, 1←0, 2←0, 2←1,
3←0, 3←1, 3←2. Node 0 is the cell's input, node 3 its output.
"""

import dataclasses
import functools
import itertools
import re

import numpy as np

from bnao_jax.decisions import ArchitectureError, Decisions
from bnao_jax.nn.operations import AVERAGE_POOL, IDENTITY, ZERO, convolution

NODES = 4
EDGES = tuple((node, read) for node in range(1, NODES) for read in range(node))
CANDIDATES = {
    "none": ZERO,
    "skip_connect": IDENTITY,
    "nor_conv_1x1": convolution(1),
    "nor_conv_3x3": convolution(3),
    "avg_pool_3x3": AVERAGE_POOL,
}
NAMES = tuple(CANDIDATES)
NONE, SKIP = NAMES.index("none"), NAMES.index("skip_connect")
CONVOLUTIONS = tuple(n for n, name in enumerate(NAMES) if "conv" in name)
STAGES = 3


class NasBench201Decisions(Decisions):
    """A `Decisions` whose texts are those of the benchmark.

    Architectures are equal where their cells compute the same from the same operations: an edge
    that is fed with zeros or leads nowhere does not count, a skip is no operation, and the order of
    a sum is nothing. That makes 4,930 of 15,625; the paper's 6,466 keep summands of zero apart.
    """

    @functools.cached_property
    def cardinality(self) -> int:
        """Number of different architectures."""
        return len(np.unique(_representatives()))

    def canonical(self, pool) -> np.ndarray:
        """The first, in the order of `everything`, of the architectures equal to each."""
        return everything()[_representatives()[numbers(pool)]]

    def format(self, architecture) -> str:
        """The benchmark's text, for example `|none~0|+|none~0|none~1|+|none~0|none~1|none~2|`."""
        nodes = itertools.groupby(zip(EDGES, architecture, strict=True), lambda pair: pair[0][0])
        texts = ("".join(f"{NAMES[op]}~{edge[1]}|" for edge, op in edges) for _, edges in nodes)
        return "+".join(f"|{text}" for text in texts)

    def parse(self, text: str) -> np.ndarray:
        """Reads the benchmark's text of one architecture: int32[D].

        Raises:
          ArchitectureError: it names position, value and what is allowed.
        """
        text = "".join(text.split())
        words = re.split(r"[|+]+", text.strip("|"))
        if len(words) != len(EDGES):
            raise ArchitectureError(
                f"{self.name}: an architecture is {len(EDGES)} operations, as in "
                f"{self.format([SKIP] * len(EDGES))}, not {len(words)}"
            )
        choices = []
        for at, word in enumerate(words):
            name, _, read = word.partition("~")
            if name not in CANDIDATES or read != str(EDGES[at][1]):
                allowed = ", ".join(f"{name}~{EDGES[at][1]}" for name in NAMES)
                raise ArchitectureError(
                    f"{self.name}: {self._place(at)}: {word[:30]!r} is not one of {allowed}"
                )
            choices.append(NAMES.index(name))
        architecture = np.array(choices, np.int32)
        if self.format(architecture) != text:
            raise ArchitectureError(
                f"{self.name}: {text[:200]!r} is not written as {self.format(architecture)!r}"
            )
        return architecture


def nasbench201_decisions() -> NasBench201Decisions:
    """The space of the benchmark."""
    return NasBench201Decisions(
        name="NAS-Bench-201",
        options=(len(NAMES),) * len(EDGES),
        first_tokens=(1,) * len(EDGES),
        labels=tuple(f"edge {node}←{read}" for node, read in EDGES),
    )


@functools.cache
def everything() -> np.ndarray:
    """All 15,625 architectures int32[P, D], the first decision changing slowest. Do not write."""
    pool = np.array(list(itertools.product(range(len(NAMES)), repeat=len(EDGES))), np.int32)
    pool.flags.writeable = False
    return pool


def numbers(pool) -> np.ndarray:
    """The rows of `everything` that hold the architectures of a pool [P, D]: int64[P]."""
    return np.asarray(pool) @ (len(NAMES) ** np.arange(len(EDGES))[::-1])


def _expression(architecture):
    """What a cell computes: a sorted tuple of (operation, expression); () is zero."""
    nodes = [(("input", ()),)]
    for node in range(1, NODES):
        terms = []
        for (to, read), choice in zip(EDGES, architecture, strict=True):
            if to == node and choice != NONE and nodes[read]:
                skipped = choice == SKIP
                terms += nodes[read] if skipped else [(NAMES[choice], nodes[read])]
        nodes.append(tuple(sorted(terms)))
    return nodes[-1]


@functools.cache
def _representatives() -> np.ndarray:
    """The row of `everything` that stands for each of its rows: int64[15,625]."""
    first = {}
    return np.array([first.setdefault(_expression(a), n) for n, a in enumerate(everything())])


def convolutions_on_path(pool) -> np.ndarray:
    """The most convolutions on a path of the cell without `none`: int64[P], -1 without a path."""
    pool, longest = np.asarray(pool), [np.zeros(len(pool), np.int64)]
    for node in range(1, NODES):
        reached = np.full(len(pool), -1)
        for at, (to, read) in enumerate(EDGES):
            if to == node:
                passes = (pool[:, at] != NONE) & (longest[read] >= 0)
                through = longest[read] + np.isin(pool[:, at], CONVOLUTIONS)
                reached = np.maximum(reached, np.where(passes, through, -1))
        longest.append(reached)
    return longest[-1]


def connected(pool) -> np.ndarray:
    """Whether a path without `none` leads from the cell's input to its output: bool[P]."""
    return convolutions_on_path(pool) >= 0


def strata(pool) -> np.ndarray:
    """The stratum of each architecture: 0, 1, 2 for at most one, two, three convolutions on a path.

    int64[P]; see `convolutions_on_path`. What is drawn by strata trains the deep, of which there
    are few, as often as the shallow.
    """
    return np.maximum(convolutions_on_path(pool), 1) - 1


@dataclasses.dataclass(frozen=True)
class Outline:
    """What surrounds the searched cells: stem, N cells, halving, N cells, halving, N cells.

    Attributes:
      channels: C, width of the first stage; each halving of the resolution doubles it.
      cells: N, cells in each of the three stages.
      classes: number of classes.
    """

    channels: int = 16
    cells: int = 5
    classes: int = 10

    def __post_init__(self):
        for name, least in (("channels", 1), ("cells", 1), ("classes", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")

    @property
    def decisions(self) -> NasBench201Decisions:
        """The decisions of the cells."""
        return nasbench201_decisions()

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each stage."""
        return tuple(self.channels * 2**stage for stage in range(STAGES))
