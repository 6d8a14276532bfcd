"""The stand-alone network of one architecture, and what surrounds the blocks of any network.

From every stage:

>>> import jax, numpy as np
>>> from bnao_jax.nn.initialization import initialize
>>> from bnao_jax.spaces.shufflenet.network import Network
>>> from bnao_jax.spaces.shufflenet.outline import Outline, Stage
>>> stages = Stage(2, 1), Stage(4, 2)
>>> outline = Outline(channels=2, cells=1, classes=3, stem="cifar", stages=stages)
>>> network, images = Network(outline, (3, 0, 0)), np.ones((2, 8, 8, 3), np.float32)
>>> params = initialize(network, jax.random.key(0), images)
>>> apply = jax.jit(network.apply, static_argnames="features")
>>> apply({"params": params}, images).shape
(2, 3)
>>> [stage.shape for stage in apply({"params": params}, images, features=True)]
[(2, 8, 8, 4), (2, 4, 4, 8)]
"""

import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.nn import layers
from bnao_jax.nn.initialization import parameter
from bnao_jax.spaces.shufflenet.blocks import Unit, join, linear, read, run, shape, sizes, units
from bnao_jax.spaces.shufflenet.outline import STRIDES, Outline, Place, width_of


def surround(outline: Outline, x, blocks, *, affine, dropout=0.0, train=False, **norms):
    """Logits float32[B, classes] of maps x: stem, blocks, 1x1 convolution, classifier.

    For use in a compact method, whose module owns the weights. `blocks(x)` are all blocks,
    `affine` is whether the norms around them have scale and offset, `norms` are their `given` and
    `axis_name`.
    """
    stride, head = STRIDES[outline.stem][0], outline.head * outline.channels
    settings = dict(affine=affine, axis_name=norms["axis_name"])
    stem = layers.ConvNorm(outline.channels, stride=stride, **settings, name="stem")
    last = layers.ConvNorm(head, kernel=1, padding=0, **settings, name="last")
    x = blocks(layers.relu(stem(x, given=norms["given"])))
    x = layers.relu(last(x, given=norms["given"]))
    return layers.Classifier(outline.classes, dropout, name="classifier")(x, train=train)


class UnitNorm(nn.Module):
    """A unit with weights of its own, its norm with scale and offset."""

    unit: Unit
    shape: tuple[int, ...]
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        """Applies the linear map and the norm to x `[C, H, W, B]`."""
        name = "depthwise" if self.unit.kernel else "matrix"
        y = linear(self.unit, x, parameter(self, name, *self.shape))
        return layers.Norm(self.axis_name, name="norm")(y, given=given)


class Block(nn.Module):
    """A block of one kind and width."""

    place: Place
    kind: str
    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        """Maps of the block."""
        size = sizes(self.place, self.width)

        def apply(unit, x):
            module = UnitNorm(unit, shape(unit, size), self.axis_name, name=unit.name)
            return module(x, given=given)

        y = run(units(self.kind, self.place), read(self.place, x), apply)
        return join(self.place, x, y)


def kinds_and_widths(outline: Outline, architecture):
    """The place, kind and inner width of each block of an architecture of integers."""
    kinds, choices = outline.split_choices(tuple(int(choice) for choice in architecture))
    places = [run.place for run in outline.runs() for _ in range(run.count)]
    for n, (place, kind) in enumerate(zip(places, kinds, strict=True)):
        width = place.base if choices is None else width_of(place.base, choices[n])
        yield place, outline.kinds[kind], width


class Network(nn.Module):
    """The network of one architecture, all weights its own.

    Attributes:
      outline: the network around the blocks.
      architecture: the D choices.
      dropout: before the linear layer.
      dtype: type of the maps and products; parameters and statistics are float32.
      axis_name: device axis over which batch statistics run, or None for each device's own.
    """

    outline: Outline
    architecture: tuple[int, ...]
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, *, train=False, drop_path=None, given=False, features=False):
        """Returns logits float32[B, classes].

        Args:
          images: normalised images `[B, H, W, C]`.
          train: whether dropout (rng "dropout") is on.
          drop_path: None; the space has none.
          given: normalise with the statistics in "batch_stats" instead of the batch's own, which
            are written there where the collection is mutable.
          features: whether to return, instead, the maps `[B, h, w, c]` at the end of each stage,
            the finest first, as a list.
        """
        if drop_path is not None:
            raise ValueError("the ShuffleNetV2 space has no drop path")
        stages = []

        def blocks(x):
            for n, block in enumerate(kinds_and_widths(self.outline, self.architecture)):
                x = Block(*block, self.axis_name, name=f"block{n}")(x, given=given)
                stages[block[0].stage :] = [layers.from_maps(x)]
            return x

        logits = surround(
            self.outline,
            layers.to_maps(images, self.dtype),
            blocks,
            affine=True,
            dropout=self.dropout,
            train=train,
            given=given,
            axis_name=self.axis_name,
        )
        return stages if features else logits
