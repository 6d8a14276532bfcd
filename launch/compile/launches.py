"""What a GPU would be asked to do: the kernels that a compiled program starts.

XLA writes down what its runtime will do as a tree of thunks: kernels, copies, CUDA graphs, loops,
choices. This module walks the tree: the body of a loop counts as often as it runs, the branches of
a choice by their shares. What a kernel reads and writes is read off the program's text.
"""

import collections
import pathlib
import re
from typing import NamedTuple

from launch.compile import hlo_text

# Seconds, estimates for an H100 by hand. A kernel takes at least so long within a graph and outside
# of one; starting a graph, a choice or a round of a loop within one, and a wait of the host.
KERNEL_IN_GRAPH, KERNEL, OF_WORK = 1.6e-6, 3.0e-6, 0.8e-6
GRAPH, CHOICE, ROUND, WAIT = 4e-6, 4e-6, 3e-6, 12e-6
# What moves less stays in the L2 cache.
IN_CACHE, CACHE_RATE, MEMORY_RATE = 3e7, 4.5e12, 2.8e12  # bytes; bytes a second
ARITHMETIC, PRODUCTS = 15e12, 60e12  # operations a second, without and with matrix units

_THUNK = re.compile(r"^( *)(\d+): (k\w+)\s+\[(?:source|prev=(\d+))?[^\]]*\]")
_LABEL = re.compile(r"^( *)(condition|body|branch_\d+):\s*$")
_PLACE = re.compile(r'profile_annotation: "([^"]*)"\s*thunk_id: (\d+)')
STEP = 4  # spaces by which thunks within a thunk stand further right


class Launches(NamedTuple):
    """What a part of a program starts and moves.

    Attributes:
      kernels: kernels and copies.
      host_waits: how often the host reads what the device computed, to know how to go on.
      graph_launches: CUDA graphs.
      bytes: read and written.
      flops: operations.
      busy: seconds that bytes or operations alone take.
      seconds: modelled, see the constants above.
    """

    kernels: float = 0.0
    host_waits: float = 0.0
    graph_launches: float = 0.0
    bytes: float = 0.0
    flops: float = 0.0
    busy: float = 0.0
    seconds: float = 0.0

    def plus(self, other, times=1.0):
        """The sum of this and `times` the other."""
        return Launches(*(a + times * b for a, b in zip(self, other, strict=True)))

    def times(self, factor):
        """So many of this."""
        return Launches().plus(self, factor)


class Thunk:
    """A node of the tree; `parts` are the lists of thunks within it by their names."""

    def __init__(self, number, kind, before):
        self.number, self.kind, self.before, self.parts = number, kind, before, {}


def tree(text) -> list[Thunk]:
    """The thunks of a program, from what XLA dumps as "thunk_sequence"."""
    root = []
    rooms, latest, last = {0: root}, {}, None
    for line in text.replace("No thunks.", "\n").splitlines():
        if match := _THUNK.match(line):
            indent, number = len(match[1]), int(match[2])
            last = Thunk(number, match[3], None if match[4] is None else int(match[4]))
            rooms[indent].append(last)
            latest[indent] = last
            rooms = {at: room for at, room in rooms.items() if at <= indent}
            if last.kind not in ("kWhile", "kConditional"):
                rooms[indent + STEP] = last.parts["body"] = []
        elif match := _LABEL.match(line):
            owner = last if match[2] == "condition" else latest[len(match[1]) - STEP // 2]
            indent = next(at for at, thunk in latest.items() if thunk is owner)
            rooms = {at: room for at, room in rooms.items() if at <= indent}
            rooms[indent + STEP] = owner.parts[match[2]] = []
    return root


def read(folder, shares=lambda branches: None, *, concurrent=True) -> "Program":
    """The program whose GPU code XLA dumped last into a folder.

    Args:
      folder: what "xla_dump_to" named.
      shares: function from a number of branches to the share of each, None where all are equal.
      concurrent: whether kernels of a graph run at the same time where they can.
    """
    found = sorted(pathlib.Path(folder).glob("*.thunk_sequence_after_thunk_passes.txt"))
    if not found:
        raise ValueError(f"{folder} holds no dumped GPU program")
    base = str(found[-1]).removesuffix(".thunk_sequence_after_thunk_passes.txt")
    (text,) = pathlib.Path(folder).glob(pathlib.Path(base).name + "*gpu_after_optimizations.txt")
    names = pathlib.Path(base + ".thunk_metadata.txt").read_text()
    return Program(
        tree(found[-1].read_text()),
        {int(number): name for name, number in _PLACE.findall(names)},
        hlo_text.Module(text.read_text()),
        shares,
        concurrent,
    )


class Program:
    """Walks the thunks of a program."""

    def __init__(self, root, names, module, shares, concurrent):
        self.root, self.names, self.module = root, names, module
        self.shares, self.concurrent = shares, concurrent
        self.kernels = collections.Counter()  # how often each instruction is started

    def round(self) -> Launches:
        """One round of the loop whose length is not known and that holds most, else all."""
        thunks, loop = self.root, None
        size = lambda thunks: sum(1 for _ in _flat(thunks, True))
        while found := [t for t in _flat(thunks) if t.kind == "kWhile" and not self.rounds(t)]:
            largest = max(found, key=lambda thunk: size(thunk.parts["body"]))
            if size(largest.parts["body"]) < size(thunks) / 2:
                break
            loop, thunks = largest, largest.parts["body"]
        total = self.sequence(thunks, False, 1.0)
        if loop is not None:
            total = total.plus(self.sequence(loop.parts["condition"], False, 1.0))
            total = total.plus(Launches(host_waits=1, seconds=WAIT))
        return total

    def rounds(self, thunk):
        """How often a loop runs, None if the program does not know."""
        return self.module.rounds(self.names.get(thunk.number, ""))

    def sequence(self, thunks, in_graph, weight) -> Launches:
        """What a list of thunks starts; `weight` is how often the list runs."""
        total, ends, end = Launches(), {}, 0.0
        for thunk in thunks:
            part = self.thunk(thunk, in_graph, weight)
            at_once = in_graph and self.concurrent
            start = ends.get(thunk.before, 0.0) if at_once else end
            ends[thunk.number] = start + part.seconds
            end = max(end, ends[thunk.number])
            total = total.plus(part)
        return total._replace(seconds=max(end, total.busy))

    def thunk(self, thunk, in_graph, weight) -> Launches:
        """What a thunk starts."""
        if thunk.kind == "kWhile":
            return self._loop(thunk, in_graph, weight)
        if thunk.kind == "kConditional":
            return self._choice(thunk, in_graph, weight)
        if thunk.kind == "kCommandBuffer":
            inner = self.sequence(thunk.parts["body"], True, weight)
            return inner.plus(Launches(graph_launches=1, seconds=GRAPH))
        if thunk.kind == "kAsyncDone":
            return Launches()
        if thunk.parts["body"]:
            return self.sequence(thunk.parts["body"], in_graph, weight)
        name = self.names.get(thunk.number, "")
        self.kernels[name] += weight
        moved, work, product = self.module.traffic(name)
        rate = CACHE_RATE if moved < IN_CACHE else MEMORY_RATE
        busy = max(moved / rate, work / (PRODUCTS if product else ARITHMETIC))
        seconds = max(KERNEL_IN_GRAPH if in_graph else KERNEL, busy + OF_WORK)
        return Launches(1, 0, 0, moved, work, busy, seconds)

    def _loop(self, thunk, in_graph, weight):
        known = self.rounds(thunk)
        rounds = known or 1
        total = self.sequence(thunk.parts["body"], in_graph, weight * rounds).times(rounds)
        if in_graph or not known:
            asked = self.sequence(thunk.parts["condition"], in_graph, weight * (rounds + 1))
            total = total.plus(asked, rounds + 1)
            if in_graph:
                return total.plus(Launches(seconds=ROUND), rounds + 1)
            return total.plus(Launches(host_waits=1, seconds=WAIT), rounds + 1)
        return total

    def _choice(self, thunk, in_graph, weight):
        branches = list(thunk.parts.values())
        shares = self.shares(len(branches)) or [1 / len(branches)] * len(branches)
        total = Launches(seconds=CHOICE) if in_graph else Launches(host_waits=1, seconds=WAIT)
        for share, branch in zip(shares, branches, strict=True):
            total = total.plus(self.sequence(branch, in_graph, weight * share), share)
        return total


def _flat(thunks, into_loops=False):
    """The thunks of a list and of what is in its graphs, and in its loops if told so."""
    for thunk in thunks:
        yield thunk
        if into_loops or thunk.kind not in ("kWhile", "kConditional"):
            for part in thunk.parts.values():
                yield from _flat(part, into_loops)
