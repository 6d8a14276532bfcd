"""Parameters and multiply-adds of stand-alone networks, from the encoding alone.

Everything is int64 arithmetic on whole pools; no network is built. The auxiliary head does not
count. Multiply-adds are those of convolutions and linear layers, for one image.

Glossary: P architectures, E edges of a cell.
"""

import numpy as np

from bnao_jax.cost import Cost, Layer, total
from bnao_jax.nn.operations import IDENTITY
from bnao_jax.spaces.nao.graph import INPUTS
from bnao_jax.spaces.nao.outline import (
    CELL_INPUTS,
    CELLS,
    EDGES_PER_NODE,
    Outline,
    genes,
    loose_ends,
)


def cost(outline: Outline, pool, image_shape=(32, 32, 3)) -> Cost:
    """The cost of each architecture of a pool [P, D], trained alone on images [H, W, C]."""
    return total(layers(outline, pool, image_shape), len(pool))


def layers(outline: Outline, pool, image_shape=(32, 32, 3)):
    """Yields the `Layer`s of the networks of a pool [P, D], from the images [H, W, C] on."""
    inputs, choices = genes(np.asarray(pool), outline.nodes)
    loose = loose_ends(inputs, outline.nodes)  # [P, kind of cell, state]
    # [kind of cell, E, P]
    inputs, choices = (np.moveaxis(part, 0, -1).copy() for part in (inputs, choices))
    height, width, image_channels = image_shape
    stem = list(_stem(outline, (height, width), image_channels))
    yield from stem
    c0, c1 = stem[-1].shape[-1], stem[-1].shape[-1]
    size = stem[-1].shape[:2]
    for n, cell in enumerate(outline.plan()):
        c, kind = cell.width, int(cell.reduction)
        place = f"cell {n + 1} ({CELLS[kind]}), "
        for name, before, fits in (
            (INPUTS[0], c0, cell.halve_first | (c0 != c)),
            (INPUTS[1], c1, c1 != c),
        ):
            yield _pointwise(f"{place}from {name}", np.where(fits, before, 0), c, size)
        if cell.reduction:
            size = tuple(-(-n // 2) for n in size)
        weights, products = _edges(outline, cell, inputs[kind], choices[kind])
        for edge in range(len(weights)):
            name = f"{place}node {edge // EDGES_PER_NODE + 1}"
            macs = products[edge] * (size[0] * size[1])
            yield Layer(name, (*size, c), weights[edge], macs, wire=(CELLS[kind], edge))
        c0, c1 = c1, c * loose[:, kind].sum(-1)
        halved = loose[:, kind, :CELL_INPUTS].sum(-1) if cell.reduction else 0
        yield Layer(
            f"{place}output",
            (*size, c1),
            halved * (c * c + 2 * c),
            halved * c * c * size[0] * size[1],
        )
    linear = c1 * outline.classes
    yield Layer("classifier", (outline.classes,), linear + outline.classes, linear)


def _pointwise(name, before, after, size):
    """A 1x1 convolution with its norm from `before` int64[P] channels; none from 0."""
    params = before * after + np.where(before, 2 * after, 0)
    return Layer(name, (*size, after), params, before * after * size[0] * size[1])


def _stem(outline, size, image_channels):
    """Yields the layers before the first cell; the last two are what it reads."""
    c = outline.channels
    if outline.stem == "cifar":
        weights = 9 * image_channels * 3 * c
        yield Layer("stem", (*size, 3 * c), weights + 6 * c, weights * size[0] * size[1])
        return
    for n, (before, after) in enumerate(((image_channels, c // 2), (c // 2, c), (c, c))):
        size = tuple(-(-n // 2) for n in size)
        weights = 9 * before * after
        yield Layer(
            f"stem {n + 1}",
            (*size, after),
            weights + 2 * after,
            weights * size[0] * size[1],
        )


def _edges(outline, cell, inputs, choices):
    """Parameters of a cell's operations, and multiply-adds for one output pixel: int64[E, P]."""
    c = cell.width
    products = np.array([op.units * (op.kernel**2 * c + c * c) for op in outline.candidates])
    norms = np.array([op.units * 2 * c for op in outline.candidates])
    weights, products = (products + norms)[choices], products[choices]
    if cell.reduction and IDENTITY in outline.candidates:
        identity = choices == outline.candidates.index(IDENTITY)
        skips = identity & (inputs < CELL_INPUTS)
        weights, products = weights + skips * (c * c + 2 * c), products + skips * c * c
    return weights, products
