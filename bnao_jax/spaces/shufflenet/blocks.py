"""What a block is made of: tables of units, run by one function, and counted by another.

A unit is a linear map and a norm, behind a 1x1 convolution a ReLU as well. Sizes are names: "in"
what the branch reads, "mid" its inside, "out" what it gives. Maps are `[C, H, W, batch]`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from bnao_jax.nn import depthwise_and_pooling
from bnao_jax.nn.layers import pointwise, relu

IN, MID, OUT = "in", "mid", "out"


class Unit(NamedTuple):
    """A depthwise convolution of side `kernel` or, where that is 0, a 1x1 convolution; and a norm.

    Attributes:
      name: name in parameter trees.
      kernel: side of the kernel, or 0.
      stride: 1 or 2.
      reads, gives: the sizes of its input and output.
      side: whether it belongs to the second branch of a stage's first block.
    """

    name: str
    kernel: int
    stride: int
    reads: str
    gives: str
    side: bool = False


def _shuffle(kernel, stride):
    yield Unit("expand", 0, 1, IN, MID)
    yield Unit("depthwise", kernel, stride, MID, MID)
    yield Unit("project", 0, 1, MID, OUT)


def _xception(stride):
    yield Unit("depthwise1", 3, stride, IN, IN)
    yield Unit("pointwise1", 0, 1, IN, MID)
    yield Unit("depthwise2", 3, 1, MID, MID)
    yield Unit("pointwise2", 0, 1, MID, MID)
    yield Unit("depthwise3", 3, 1, MID, MID)
    yield Unit("pointwise3", 0, 1, MID, OUT)


def units(kind, place) -> tuple[Unit, ...]:
    """The units of a block of a kind (one of `KINDS`) at a place: main branch, then side."""
    xception, stride = kind == "xception", place.stride
    kernel = 3 if xception else int(kind.removeprefix("shuffle"))
    main = _xception(stride) if xception else _shuffle(kernel, stride)
    side = (
        Unit("side_depthwise", kernel, stride, IN, IN, True),
        Unit("side_pointwise", 0, 1, IN, IN, True),
    )
    return (*main, *(side if place.first else ()))


def sizes(place, mid) -> dict:
    """The channels that the names of sizes stand for; `mid` may be an array."""
    return {IN: place.inputs, MID: mid, OUT: place.outputs}


def shape(unit, size) -> tuple[int, ...]:
    """The shape of a unit's weights at these sizes."""
    if unit.kernel:
        return size[unit.gives], unit.kernel, unit.kernel
    return size[unit.gives], size[unit.reads]


def linear(unit, x, weights):
    """The linear map of a unit."""
    if unit.kernel:
        return depthwise_and_pooling.depthwise(x, weights, unit.stride)
    return pointwise(x, weights)


def run(table, x, apply):
    """A block's branches on x: the side's maps, if there is one, before the main ones.

    `apply(unit, x)` is linear map and norm.
    """
    main = side = x
    for unit in table:
        y = apply(unit, side if unit.side else main)
        y = y if unit.kernel else relu(y)
        main, side = (main, y) if unit.side else (y, side)
    return jnp.concatenate([side, main]) if side is not x else main


def read(place, x):
    """What a block's branches read: all of x at a stage's beginning, else every second channel."""
    return x if place.first else x[1::2]


def join(place, x, y):
    """The block's output, of its input x and of its branches' maps y."""
    return y if place.first else jnp.concatenate([x[::2], y])
