"""The weight-sharing network of the ShuffleNetV2 block space.

Every kind of block at every place has weights of its own, as wide inside as a block can be;
narrower ones take their first channels. They are stacked over equal places, `[N, ...]`. Norms have
neither scale nor offset (Guo et al., 2019). An architecture is a static tuple (one program for it
alone) or a traced int32[D] (one for all).
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.nn import layers
from bnao_jax.nn.initialization import overlay, parameter
from bnao_jax.spaces.shufflenet import paths
from bnao_jax.spaces.shufflenet.blocks import MID, shape, sizes, units
from bnao_jax.spaces.shufflenet.network import kinds_and_widths, surround
from bnao_jax.spaces.shufflenet.outline import Outline, width_of
from bnao_jax.spaces.shufflenet.paths import weights_name


def shared_weights(outline: Outline, run):
    """Yields (name, kind, unit, shape `[N, ...]`) of the shared weights of equal places."""
    size = sizes(run.place, outline.widest(run.place))
    for kind, name in enumerate(outline.kinds):
        for unit in units(name, run.place):
            yield paths.weights_name(name, unit), kind, unit, (run.count, *shape(unit, size))


class SharedBlocks(nn.Module):
    """N equal places with shared weights; number `number` of `outline.runs()`."""

    outline: Outline
    number: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, kinds, widths, *, given=False):
        """Runs blocks of these kinds and choices of width (or None) on x `[C, H, W, B]`."""
        run = self.outline.runs()[self.number]
        widest = self.outline.widest(run.place)
        settings = paths.Settings(self.outline.kinds, run.place, widest, self.axis_name)
        weights = {
            name: parameter(self, name, *of) for name, *_, of in shared_weights(self.outline, run)
        }
        statistics = layers.recorded_statistics(self, given)
        x, used = paths.run_blocks(settings, kinds, widths, weights, x, statistics)
        layers.record_statistics(self, given, used)
        return x


class Supernet(nn.Module):
    """The supernet.

    Attributes:
      outline: the network around the blocks.
      dtype: type of the maps and products; parameters and statistics are float32.
      axis_name: device axis over which batch statistics run, or None for each device's own.
    """

    outline: Outline
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, architecture, *, drop_path=None, given=False):
        """Returns logits float32[B, classes].

        Args:
          images: normalised images `[B, H, W, C]`.
          architecture: a tuple of D integers, or int32[D], possibly traced.
          drop_path: None; the space has none.
          given: normalise with the statistics in "batch_stats" instead of the batch's own, which
            are written there where the collection is mutable.

        Raises:
          ValueError: drop path is asked for; or the architecture is known and not of the space.
        """
        if drop_path is not None:
            raise ValueError("the ShuffleNetV2 space has no drop path")
        self.outline.decisions.check_known(architecture)
        static = isinstance(architecture, tuple)
        kinds, widths = self.outline.split_choices(
            architecture if static else jnp.asarray(architecture)
        )

        def blocks(x):
            for n, run in enumerate(self.outline.runs()):
                rows = slice(run.start, run.start + run.count)
                module = SharedBlocks(self.outline, n, self.axis_name, name=run.name)
                x = module(x, kinds[rows], None if widths is None else widths[rows], given=given)
            return x

        maps = layers.to_maps(images, self.dtype)
        norms = dict(given=given, axis_name=self.axis_name)
        return surround(self.outline, maps, blocks, affine=False, **norms)


def on_path(outline: Outline, params, architecture):
    """Which weights the architecture uses: a tree like `params` of bool, which broadcasts to it.

    `architecture` int32[D] may be traced. Everything outside the blocks is always used.
    """
    masks = jax.tree.map(lambda leaf: jnp.ones((1,) * leaf.ndim, bool), dict(params))
    kinds, choices = outline.split_choices(jnp.asarray(architecture))
    for run in outline.runs():
        rows, masks[run.name] = slice(run.start, run.start + run.count), {}
        for name, kind, unit, of in shared_weights(outline, run):
            column = lambda values, of=of: values.reshape(-1, *(1,) * (len(of) - 1))
            used = column(kinds[rows] == kind)
            if choices is not None:
                mid = column(width_of(run.place.base, choices[rows]))
                for axis, size in ((1, unit.gives), (2, None if unit.kernel else unit.reads)):
                    if size == MID:
                        beyond = [-1 if n == axis else 1 for n in range(len(of))]
                        used = used & (jnp.arange(of[axis]).reshape(beyond) < mid)
            masks[run.name][name] = used
    return masks


# From shared weights to a network alone.


def inherit(outline: Outline, shared, architecture, params):
    """(`params` with shared weights in place of their own, how many numbers were taken).

    Args:
      outline: of both networks.
      shared: "params" of the `Supernet`.
      architecture: int32[D].
      params: "params" of the `Network`, which it is to begin with.
    """
    offered = dict(shared)
    stacks = [(shared[run.name], n) for run in outline.runs() for n in range(run.count)]
    for number, (place, kind, width) in enumerate(kinds_and_widths(outline, architecture)):
        stack, n = stacks[number]
        block = offered[f"block{number}"] = {}
        for unit in units(kind, place):
            sides = tuple(slice(side) for side in shape(unit, sizes(place, width)))
            name = "depthwise" if unit.kernel else "matrix"
            block[unit.name] = {name: stack[weights_name(kind, unit)][n][sides]}
    return overlay(params, offered)
