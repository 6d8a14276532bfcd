"""Parameters and multiply-adds of NAS-Bench-201 networks, from the encoding alone.

They are those of the benchmark's tables: norms have scale and offset; the multiply-adds are of
convolutions and of the linear layer, its offset counted, for one image.
"""

import numpy as np

from bnao_jax.space import Cost
from bnao_jax.spaces.nasbench201.space import CANDIDATES, STAGES, Outline


def cost(outline: Outline, pool, image_shape=(32, 32, 3)) -> Cost:
    """The cost of each architecture of a pool [P, D], trained alone on images [H, W, C]."""
    height, width, image_channels = image_shape
    pool, widths = np.asarray(pool), outline.widths
    params = np.full(len(pool), _convolution(image_channels, widths[0], 3), np.int64)
    macs = np.full(len(pool), height * width * image_channels * widths[0] * 9, np.int64)
    for stage, c in enumerate(widths):
        if stage:
            before, height, width = c // 2, -(-height // 2), -(-width // 2)
            params += _convolution(before, c, 3) + _convolution(c, c, 3) + before * c
            macs += height * width * (9 * before * c + 9 * c * c + before * c)
        kernels = np.array([op.kernel if op.full else 0 for op in CANDIDATES.values()], np.int64)
        weights = (kernels[pool] ** 2 * c * c).sum(1)
        params += outline.cells * (weights + 2 * c * (kernels[pool] > 0).sum(1))
        macs += outline.cells * height * width * weights
    linear = (widths[STAGES - 1] + 1) * outline.classes
    return Cost(params + 2 * widths[-1] + linear, macs + linear)


def _convolution(inputs, outputs, kernel):
    """Parameters of a convolution with its norm."""
    return inputs * outputs * kernel**2 + 2 * outputs
