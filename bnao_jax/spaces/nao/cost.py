"""Parameters and multiply-adds of stand-alone networks, from the encoding alone.

Everything is int64 arithmetic on whole pools; no network is built. The auxiliary head does not
count. Multiply-adds are those of convolutions and linear layers, for one image.
"""

import numpy as np

from bnao_jax.nn.operations import IDENTITY
from bnao_jax.space import Cost
from bnao_jax.spaces.nao.space import CELL_INPUTS, Outline, genes, loose_ends


def cost(outline: Outline, pool, image_shape=(32, 32, 3)) -> Cost:
    """The cost of each architecture of a pool [P, D], trained alone on images [H, W, C]."""
    inputs, choices = genes(np.asarray(pool, np.int64), outline.nodes)
    loose = loose_ends(inputs, outline.nodes)  # [P, cell kind, state]
    height, width, image_channels = image_shape
    stem = _stem(outline, (height, width), image_channels)
    params, macs, (c0, c1), size = stem
    params, macs = (np.full(len(pool), total, np.int64) for total in (params, macs))
    for cell in outline.plan():
        c, kind = cell.width, int(cell.reduction)
        calibrated = np.where(cell.halve_first | (c0 != c), c0, 0) + np.where(c1 != c, c1, 0)
        norms = np.where(cell.halve_first | (c0 != c), 1, 0) + np.where(c1 != c, 1, 0)
        params += calibrated * c + norms * 2 * c
        macs += calibrated * c * size[0] * size[1]
        if cell.reduction:
            size = tuple(-(-n // 2) for n in size)
        weights, products = _edges(outline, cell, inputs[:, kind], choices[:, kind])
        if cell.reduction:
            halved = loose[:, kind, :CELL_INPUTS].sum(-1)
            weights, products = weights + halved * (c * c + 2 * c), products + halved * c * c
        params += weights
        macs += products * size[0] * size[1]
        c0, c1 = c1, c * loose[:, kind].sum(-1)
    params += c1 * outline.classes + outline.classes
    macs += c1 * outline.classes
    return Cost(params, macs)


def _stem(outline, size, image_channels):
    """Parameters, multiply-adds, the two output widths, the size of the second output."""
    c = outline.channels
    if outline.stem == "cifar":
        weights = 9 * image_channels * 3 * c
        return weights + 6 * c, weights * size[0] * size[1], (3 * c, 3 * c), size
    params = macs = 0
    for before, after in ((image_channels, c // 2), (c // 2, c), (c, c)):
        size = tuple(-(-n // 2) for n in size)
        params += 9 * before * after + 2 * after
        macs += 9 * before * after * size[0] * size[1]
    return params, macs, (c, c), size


def _edges(outline, cell, inputs, choices):
    """Parameters of a cell's operations, and multiply-adds for one output pixel: int64[P] each."""
    c = cell.width
    products = np.array([op.units * (op.kernel**2 * c + c * c) for op in outline.candidates])
    norms = np.array([op.units * 2 * c for op in outline.candidates])
    weights, products = (products + norms)[choices].sum(-1), products[choices].sum(-1)
    if cell.reduction and IDENTITY in outline.candidates:
        identity = choices == outline.candidates.index(IDENTITY)
        skips = (identity & (inputs < CELL_INPUTS)).sum(-1)
        weights, products = weights + skips * (c * c + 2 * c), products + skips * c * c
    return weights, products
