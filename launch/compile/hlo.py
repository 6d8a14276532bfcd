"""Estimates the work of one round of the main loop of a compiled TPU program.

XLA's own cost analysis counts the body of a loop once, however often it runs. This module walks the
text of the program instead: a body counts as often as its loop runs, a conditional as the mean of
its branches, because the architectures are random. The cycles of an operation are the estimate that
the TPU compiler writes beside it; operations without one (few and small) count as nothing.
"""

import math
import re
from typing import NamedTuple

from launch.compile.hlo_text import BYTES

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Loops whose length depends on the architecture: over the edges that read either buffer of a
# reduction cell, 4.2 and 5.8 of random NAO cells. The rounds were set low when loose ends, 2.6 in
# the mean, had a loop too, and are kept, so that figures compare; all are a small part.
UNKNOWN_ROUNDS = 3

_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*-> .*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][a-z\-]*)\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([\d,]*)(?::T\(([\d,]+)\))?)?")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%[\w.\-]+)")
_CONSTANT = re.compile(r"= s32\[\]\S* constant\((\d+)\)")


class Work(NamedTuple):
    """What a chip does: cycles, collective operations, and the bytes that take part in them."""

    cycles: float = 0.0
    collectives: float = 0.0
    collective_bytes: float = 0.0

    def plus(self, other, times=1.0):
        """The sum of this work and `times` the other."""
        return Work(*(a + times * b for a, b in zip(self, other, strict=True)))


def main_loop(text) -> Work:
    """The work of a round of the main loop: the costliest of those whose length is not constant.

    Raises ValueError where a program has no such loop.
    """
    program = _Program(text)
    instructions = [(line, _INSTRUCTION.match(line)) for line in program.lines(program.entry)]
    loops = [line for line, match in instructions if match and match[2] == "while"]
    rounds = [program.work(_called(line, "body")) for line in loops if program.rounds(line) is None]
    if not rounds:
        raise ValueError("the program has no loop of unknown length")
    return max(rounds)


def whole(text) -> Work:
    """The work of a whole program."""
    program = _Program(text)
    return program.work(program.entry)


def size(shape) -> int:
    """Bytes of all arrays in the text of a shape, padded to the tiles of their layout."""
    return sum(_padded(*match.groups()) for match in _ARRAY.finditer(shape))


def _padded(dtype, dimensions, minor_to_major, tile):
    numbers = lambda text: [int(n) for n in text.split(",")] if text else []
    sizes = numbers(dimensions)
    if tile:  # the last number of a tile belongs to the minor-most dimension
        for dimension, unit in zip(numbers(minor_to_major), reversed(numbers(tile)), strict=False):
            sizes[dimension] = -(-sizes[dimension] // unit) * unit
    return BYTES.get(dtype, 4) * math.prod(sizes)


def _called(line, role):
    match = re.search(rf"{role}=%?([\w.\-]+)", line)
    return match[1] if match else None


class _Program:
    """The computations of a program, line by line."""

    def __init__(self, text):
        self.computations, self.entry, self._works = {}, None, {}
        name = None
        for line in text.splitlines():
            if match := _HEADER.match(line):
                name = match[2]
                self.computations[name] = []
                self.entry = name if match[1] else self.entry
            elif line.startswith("}"):
                name = None
            elif name:
                self.computations[name].append(line)

    def lines(self, name):
        return self.computations.get(name, [])

    def rounds(self, line):
        """How often a loop runs, None if its condition does not tell."""
        condition = "\n".join(self.lines(_called(line, "condition")))
        bounds = _CONSTANT.findall(condition)
        return int(bounds[0]) if len(bounds) == 1 else None

    def work(self, name) -> Work:
        """The work of one run of a computation."""
        if name not in self._works:
            total = Work()
            for line in self.lines(name):
                total = total.plus(self._of_line(line))
            self._works[name] = total
        return self._works[name]

    def _of_line(self, line):
        match = _INSTRUCTION.match(line)
        if not match:
            return Work()
        shape, opcode = match.groups()
        if opcode == "while":
            rounds = self.rounds(line)
            rounds = UNKNOWN_ROUNDS if rounds is None else rounds
            return Work().plus(self.work(_called(line, "body")), rounds)
        if opcode == "conditional":
            return self._mean_branch(line)
        cycles = _CYCLES.search(line)
        work = Work(cycles=float(cycles[1]) if cycles else 0.0)
        if opcode.removesuffix("-start") in COLLECTIVES:
            return work.plus(Work(0.0, 1.0, size(shape)))
        if called := _called(line, "to_apply" if opcode == "call" else "calls"):
            inner = self.work(called)  # the cycles of a fusion are those of all it holds
            work = work.plus(inner._replace(cycles=0.0) if opcode == "fusion" else inner)
        return work

    def _mean_branch(self, line):
        groups = [first or second for first, second in _BRANCHES.findall(line)]
        names = [name.strip(" %") for group in groups for name in group.split(",")]
        total = Work()
        for name in names:
            total = total.plus(self.work(name), 1 / len(names))
        return total
