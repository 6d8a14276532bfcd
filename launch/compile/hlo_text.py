"""Reads the text of an optimised GPU program: what its kernels move and compute."""

import functools
import math
import re
from typing import NamedTuple

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s32": 4, "u32": 4}
BYTES |= {"f32": 4, "f64": 8, "s64": 8, "u64": 8}
SLICES = ("dynamic-slice", "slice", "gather")
RENAMED = ("bitcast", "reshape", "copy", "convert")
ARITHMETIC = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "select", "compare"),
    *("rsqrt", "sqrt", "exponential", "log", "tanh", "power"),
)

_HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_COMMENT = re.compile(r"/\*.*?\*/")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_OPERAND = re.compile(r"%([\w.\-]+)")
_ROUNDS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Instruction(NamedTuple):
    """A line of the program."""

    root: bool
    name: str
    type: str
    opcode: str
    operands: list
    rest: str

    def sizes(self):
        """(bytes of an entry, entries) of each array of the result."""
        arrays = _ARRAY.findall(self.type)
        return [(BYTES.get(kind, 0), math.prod(_numbers(shape))) for kind, shape in arrays]

    def bytes(self):
        """Bytes of the result."""
        return sum(size * count for size, count in self.sizes())

    def entries(self):
        """Entries of the result's first array."""
        return self.sizes()[0][1] if self.sizes() else 0

    def shape(self):
        """The shape of the result's first array."""
        return _numbers(_ARRAY.findall(self.type)[0][1])


def _numbers(text):
    return [int(n) for n in text.split(",") if n]


def _closing(text):
    """The place of the bracket that closes the first one."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter in "()" and depth == 0:
            return at
    return len(text)


def _parsed(line):
    match = _INSTRUCTION.match(line)
    if not match:
        return None
    text = _COMMENT.sub("", match[3])
    end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
    kind, text = text[:end], text[end:].lstrip()
    opcode, _, arguments = text.partition("(")
    end = _closing("(" + arguments) - 1
    operands = _OPERAND.findall(arguments[:end])
    return Instruction(bool(match[1]), match[2], kind, opcode, operands, arguments[end:])


class Module:
    """The instructions of a program by their names."""

    def __init__(self, text):
        self.computations, present = {}, None
        for line in text.splitlines():
            if match := _HEADER.match(line):
                present = self.computations[match[1]] = []
            elif line.startswith("}"):
                present = None
            elif present is not None and (instruction := _parsed(line)):
                present.append(instruction)
        self.instructions = {i.name: i for c in self.computations.values() for i in c}

    def rounds(self, name):
        """How often a loop runs, None if the program does not say."""
        instruction = self.instructions.get(name)
        found = instruction and _ROUNDS.search(instruction.rest)
        return int(found[1]) if found else None

    @functools.cache  # noqa: B019
    def traffic(self, name):
        """(bytes read and written, operations, whether a product) of a kernel; 0 of an unknown one.

        Of an array of which a kernel reads or replaces a slice, the slice counts.
        """
        instruction = self.instructions.get(name)
        if instruction is None:
            return 0, 0, False
        called = re.search(r"calls=%?([\w.\-]+)", instruction.rest)
        if not called or called[1] not in self.computations:
            read = sum(self.instructions[o].bytes() for o in instruction.operands)
            return read + instruction.bytes(), 0, False
        return self._of_fusion(self.computations[called[1]])

    def _of_fusion(self, body):
        by_name = {i.name: i for i in body}
        users = {i.name: [] for i in body}
        for i in body:
            for operand in i.operands if i.opcode != "parameter" else ():
                users[operand].append(i)
        moved = sum(self._read(i, users, by_name) for i in body if i.opcode == "parameter")
        (root,) = (i for i in body if i.root)
        for out in [by_name[o] for o in root.operands] if root.opcode == "tuple" else [root]:
            while out.opcode in RENAMED and out.operands:
                out = by_name[out.operands[0]]
            written = by_name[out.operands[1]] if out.opcode == "dynamic-update-slice" else out
            moved += written.bytes()
        products = [i for i in body if i.opcode == "dot"]
        work = sum(i.entries() for i in body if i.opcode in ARITHMETIC)
        work += sum(2 * i.entries() * self._contracted(i, by_name) for i in products)
        return moved, work, bool(products)

    @staticmethod
    def _contracted(dot, by_name):
        axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", dot.rest)
        shape = by_name[dot.operands[0]].shape()
        return math.prod(shape[axis] for axis in _numbers(axes[1])) if axes else 1

    @staticmethod
    def _read(parameter, users, by_name):
        whole, total, names = parameter.bytes(), 0, [parameter.name]
        while names:
            name = names.pop()
            for user in users[name]:
                first = user.operands[0] == name
                if user.opcode in ("bitcast", "reshape"):
                    names.append(user.name)
                elif user.opcode in SLICES:
                    total += user.bytes() if first else min(whole, 64)
                elif user.opcode == "dynamic-update-slice" and first:
                    continue
                elif user.opcode == "dynamic-update-slice" and user.operands[1] != name:
                    total += min(whole, 64)
                else:
                    return whole
        return min(whole, total)
