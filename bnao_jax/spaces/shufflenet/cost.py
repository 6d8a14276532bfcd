"""Parameters and multiply-adds of ShuffleNetV2 block networks, from the encoding alone.

Norms have scale and offset; multiply-adds are those of convolutions and of the linear layer for one
image, without offsets and norms. Of the published sizes (3.5 M and 3.4 M) the norms are no part.
"""

import jax.numpy as jnp
import numpy as np

from bnao_jax.space import Cost
from bnao_jax.spaces.shufflenet.blocks import shape, sizes, units
from bnao_jax.spaces.shufflenet.space import RATIOS, STRIDES, Outline, width_of


def tables(outline: Outline, image_shape=(224, 224, 3)):
    """The cost of everything around the blocks and of each block by its choices.

    Returns:
      a `Cost` of one network, and a `Cost` of int64[blocks, kinds, widths], where without the
      choice of channels there is one width.
    """
    image_channels, stem = image_shape[2], outline.channels
    size = _halved(image_shape[:2], STRIDES[outline.stem][0])
    weights = 9 * image_channels * stem
    params, macs = weights + 2 * stem, weights * _pixels(size)
    ratios = np.arange(RATIOS, dtype=np.int64)
    rows = []
    for run in outline.runs():
        place = run.place
        mid = width_of(place.base, ratios) if outline.channel_choice else np.array([place.base])
        before, size = size, _halved(size, place.stride)
        found = [_block(kind, place, mid, before, size) for kind in outline.kinds]
        rows += [np.stack(found, 1)] * run.count
    last, head = outline.widths[-1], outline.head * outline.channels
    linear = head * outline.classes
    params += last * head + 2 * head + linear + outline.classes
    macs += last * head * _pixels(size) + linear
    blocks = np.stack(rows, 1)  # [cost, blocks, kinds, widths]
    return Cost(np.int64(params), np.int64(macs)), Cost(*blocks)


def _block(kind, place, mid, before, after):
    """(params, macs) of a block with inner widths `mid` [R]: int64[2, R]."""
    params = macs = np.zeros(len(mid), np.int64)
    now = {False: before, True: before}  # the maps' size in both branches
    for unit in units(kind, place):
        now[unit.side] = now[unit.side] if unit.stride == 1 else after
        size = sizes(place, mid)
        weights = np.int64(1)
        for factor in shape(unit, size):
            weights = weights * factor
        params = params + weights + 2 * size[unit.gives]
        macs = macs + weights * _pixels(now[unit.side])
    return np.stack([params, macs])


def _halved(size, stride):
    return tuple(-(-n // stride) for n in size)


def _pixels(size):
    return size[0] * size[1]


def cost(outline: Outline, pool, image_shape=(224, 224, 3)) -> Cost:
    """The cost of each architecture of a pool [P, D], trained alone on images [H, W, C]."""
    fixed, blocks = tables(outline, image_shape)
    at = _chosen(outline, np.asarray(pool))
    of = lambda name: getattr(fixed, name) + getattr(blocks, name)[at].sum(0)
    return Cost(of("params"), of("macs"))


def macs_of(outline: Outline, image_shape=(224, 224, 3)):
    """A function of architectures int32[D] or [P, D], in pure jnp, to multiply-adds float32."""
    fixed, blocks = tables(outline, image_shape)
    table, rest = jnp.asarray(blocks.macs, jnp.float32), float(fixed.macs)
    return lambda pool: rest + table[_chosen(outline, pool)].sum(0)


def _chosen(outline, pool):
    """Indices of the chosen entries of the tables, `[blocks]` or `[blocks, P]`."""
    kinds, widths = outline.split(pool.T)
    blocks = np.arange(outline.blocks).reshape(-1, *(1,) * (pool.ndim - 1))
    return blocks, kinds, 0 if widths is None else widths
