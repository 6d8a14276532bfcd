"""Parameters and multiply-adds of NAS-Bench-201 networks, from the encoding alone.

They are those of the benchmark's tables: norms have scale and offset; the multiply-adds are of
convolutions and of the linear layer, its offset counted, for one image.
"""

import numpy as np

from bnao_jax.cost import Cost, Layer, total
from bnao_jax.spaces.nasbench201.graph import CELL, STATES
from bnao_jax.spaces.nasbench201.outline import CANDIDATES, EDGES, Outline


def cost(outline: Outline, pool, image_shape=(32, 32, 3)) -> Cost:
    """The cost of each architecture of a pool [P, D], trained alone on images [H, W, C]."""
    return total(layers(outline, pool, image_shape), len(pool))


def layers(outline: Outline, pool, image_shape=(32, 32, 3)):
    """Yields the `Layer`s of the networks of a pool [P, D], from the images [H, W, C] on."""
    height, width, image_channels = image_shape
    pool, size = np.asarray(pool), (height, width)
    operations = CANDIDATES.values()
    kernels = np.array([op.kernel if op.full else 0 for op in operations], np.int64)[pool]  # [P, E]
    before = outline.widths[0]
    yield _convolution("stem", size, image_channels, before, 3)
    for stage, c in enumerate(outline.widths):
        if stage:
            size = tuple(-(-n // 2) for n in size)
            yield _convolution(f"halving {stage}, first convolution", size, before, c, 3)
            yield _convolution(f"halving {stage}, second convolution", size, c, c, 3)
            projection = before * c, before * c * size[0] * size[1]
            yield Layer(f"halving {stage}, projection", (*size, c), *projection)
        for n in range(outline.cells):
            for edge, (node, _) in enumerate(EDGES):
                name = f"cell {stage * outline.cells + n + 1}, {STATES[node]}"
                weights = kernels[:, edge] ** 2 * c * c
                params = weights + 2 * c * (kernels[:, edge] > 0)
                macs = weights * size[0] * size[1]
                yield Layer(name, (*size, c), params, macs, wire=(CELL, edge))
        before = c
    yield Layer("norm", (*size, before), 2 * before, 0)
    linear = (before + 1) * outline.classes
    yield Layer("classifier", (outline.classes,), linear, linear)


def _convolution(name, size, before, after, kernel):
    """A convolution with its norm."""
    weights = before * after * kernel**2
    return Layer(name, (*size, after), weights + 2 * after, weights * size[0] * size[1])
