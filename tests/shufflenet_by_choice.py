r"""The space of ShuffleNetV2 blocks written with `Choice`, to be timed beside the hand-written one.

    python -m launch.benchmark --config=configs/spos.py:smoke --only=train_step,compile
    python -m launch.benchmark --config=configs/spos.py:smoke --only=train_step,compile \
      --config.space.name=tests/shufflenet_by_choice.py:ShuffleNet \
      --config.space.settings="channels=4, cells=1" --config.supernet.sampler=whole_space \
      --config.final.dropout=0.0
"""

import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.choice import Choice
from bnao_jax.nn import layers
from bnao_jax.spaces.shufflenet.blocks import join, read, run, sizes, units
from bnao_jax.spaces.shufflenet.outline import STRIDES, Outline, Place


class Block(nn.Module):
    """A block of one kind, as wide inside as half its stage."""

    place: Place
    kind: str

    @nn.compact
    def __call__(self, x):
        size = sizes(self.place, self.place.base)

        def apply(unit, x):
            if unit.kernel:
                return layers.DepthwiseNorm(unit.kernel, unit.stride, name=unit.name)(x)
            return layers.PointwiseNorm(size[unit.gives], name=unit.name)(x)

        y = run(units(self.kind, self.place), read(self.place, x), apply)
        return join(self.place, x, y)


class ShuffleNet(nn.Module):
    """The network of `shufflenet.Outline`, with a choice at each block."""

    classes: int
    channels: int
    cells: int
    stem: str = "cifar"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images):
        outline = Outline(self.channels, self.cells, self.classes, self.stem)
        stem = layers.ConvNorm(self.channels, stride=STRIDES[self.stem][0], name="stem")
        x = layers.relu(stem(layers.to_maps(images, self.dtype)))
        places = [run.place for run in outline.runs() for _ in range(run.count)]
        for n, place in enumerate(places):
            kinds = {kind: Block(place, kind) for kind in outline.kinds}
            x = Choice(kinds, name=f"block{n}")(x)
        last = layers.ConvNorm(outline.head * self.channels, kernel=1, padding=0, name="last")
        return layers.Classifier(self.classes, name="classifier")(layers.relu(last(x)))
