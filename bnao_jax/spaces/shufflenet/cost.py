"""Parameters and multiply-adds of ShuffleNetV2 block networks, from the encoding alone.

Norms have scale and offset; multiply-adds are those of convolutions and of the linear layer for one
image, without offsets and norms. The published sizes (3.5 M and 3.4 M) leave the norms out.
"""

import jax.numpy as jnp
import numpy as np

from bnao_jax.cost import Cost, Layer
from bnao_jax.spaces.shufflenet.blocks import shape, sizes, units
from bnao_jax.spaces.shufflenet.graph import stage_of
from bnao_jax.spaces.shufflenet.outline import RATIOS, STRIDES, Outline, width_of


def tables(outline: Outline, image_shape=(224, 224, 3)):
    """The cost of everything around the blocks and of each block by its choices.

    Returns:
      a `Cost` of one network, and a `Cost` of int64[blocks, kinds, widths], where without the
      choice of channels there is one width.
    """
    around = [layer for part in _around(outline, image_shape) for layer in part]
    ratios, rows = np.arange(RATIOS, dtype=np.int64), []
    for run, before, size in _sizes(outline, image_shape):
        place = run.place
        mid = width_of(place.base, ratios) if outline.channel_choice else np.array([place.base])
        costs = [_block(kind, place, mid, before, size) for kind in outline.kinds]
        rows += [np.stack(costs, 1)] * run.count
    blocks = np.stack(rows, 1)  # [cost, blocks, kinds, widths]
    of = lambda name: np.int64(sum(getattr(layer, name) for layer in around))
    return Cost(of("params"), of("macs")), Cost(*blocks)


def layers(outline: Outline, pool, image_shape=(224, 224, 3)):
    """Yields the `Layer`s of the networks of a pool [P, D], from the images [H, W, C] on."""
    stem, rest = _around(outline, image_shape)
    _, blocks = tables(outline, image_shape)
    at = _chosen(outline, np.asarray(pool))
    params, macs = blocks.params[at], blocks.macs[at]  # [blocks, P]
    yield from stem
    for run, _, size in _sizes(outline, image_shape):
        kind, width = stage_of(run.place), outline.widths[run.place.stage]
        for block in range(run.start, run.start + run.count):
            wire = kind, 0 if run.place.first else block - run.start + 1
            name = f"{kind}, block {block + 1}"
            yield Layer(name, (*size, width), params[block], macs[block], wire=wire)
    yield from rest


def _sizes(outline, image_shape):
    """Yields each run of blocks with the height and width that it reads, and that it gives."""
    size = _halved(image_shape[:2], STRIDES[outline.stem][0])
    for run in outline.runs():
        before, size = size, _halved(size, run.place.stride)
        yield run, before, size


def _around(outline, image_shape):
    """The `Layer`s before, and those behind the blocks."""
    size, stem = _halved(image_shape[:2], STRIDES[outline.stem][0]), outline.channels
    weights = 9 * image_shape[2] * stem
    before = Layer("stem", (*size, stem), weights + 2 * stem, weights * _pixels(size))
    *_, (_, _, size) = _sizes(outline, image_shape)
    head, classes = outline.head * outline.channels, outline.classes
    weights, linear = outline.widths[-1] * head, head * classes
    last = Layer("last convolution", (*size, head), weights + 2 * head, weights * _pixels(size))
    return [before], [last, Layer("classifier", (classes,), linear + classes, linear)]


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
    kinds, widths = outline.split_choices(pool.T)
    blocks = np.arange(outline.blocks).reshape(-1, *(1,) * (pool.ndim - 1))
    return blocks, kinds, 0 if widths is None else widths
