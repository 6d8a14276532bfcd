"""A space whose programs are traced and compiled in a moment: for tests of jobs as a whole.

All pixels are channels, and an architecture chooses the width of each of four residual blocks.
The shared weights are those of the widest; a path uses the first of them.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bnao_jax.cost import Layer
from bnao_jax.decisions import Decisions
from bnao_jax.nn import layers
from bnao_jax.nn.initialization import parameter
from bnao_jax.spaces import shipped
from bnao_jax.spaces.space import Space

BLOCKS, WIDTHS = 4, (1, 2, 3, 4, 6)


class Net(nn.Module):
    """Stem, blocks, norm and classifier; `widths` as far as they are used, static or traced."""

    space: "WidthsSpace"
    made: tuple[int, ...]  # the blocks' widths, of which the first are used
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images, widths=None, *, train=False, drop_path=None, given=False):
        assert drop_path is None
        x = layers.to_maps(images, self.dtype).reshape(-1, 1, 1, images.shape[0])
        x = layers.pointwise(x, parameter(self, "stem", self.space.channels, x.shape[0]))
        for n, width in enumerate(self.made):
            first = parameter(self, f"first{n}", width, x.shape[0])
            second = parameter(self, f"second{n}", x.shape[0], width)
            y = layers.relu(layers.pointwise(x, first))
            if widths is not None:
                y = jnp.where((jnp.arange(width) < widths[n])[:, None, None, None], y, 0 * y)
            x = x + layers.pointwise(y, second)
        x = layers.relu(layers.Norm(self.axis_name, name="norm")(x, given=given))
        classifier = layers.Classifier(self.space.classes, self.dropout, name="classifier")
        return classifier(x, train=train)


@dataclasses.dataclass(frozen=True)
class WidthsSpace(Space):
    """Four blocks of five widths."""

    channels: int
    classes: int

    name = "widths"
    decisions = Decisions("widths", (len(WIDTHS),) * BLOCKS, (1,) * BLOCKS)

    @classmethod
    def of(cls, space, network, classes):
        return cls(network.channels, classes)

    def supernet(self, dtype, axis_name=None):
        return _Supernet(self, (max(WIDTHS),) * BLOCKS, dtype, axis_name)

    def network(self, architecture, dtype, **heads):
        return Net(self, tuple(WIDTHS[choice] for choice in architecture), dtype, **heads)

    def on_path(self, params, architecture):
        widths = jnp.array(WIDTHS)[jnp.asarray(architecture)]

        def used(path, leaf):
            name, block = path[-1].key[:-1], path[-1].key[-1]
            if name not in ("first", "second"):
                return jnp.ones((1,) * leaf.ndim, bool)
            on = jnp.arange(max(WIDTHS)) < widths[int(block)]
            return on[:, None] if name == "first" else on[None]

        return jax.tree_util.tree_map_with_path(used, params)

    def layers(self, pool, image_shape):
        pixels, c = math.prod(image_shape), self.channels
        at = lambda name, width, weights: Layer(name, (1, 1, width), weights, weights)
        yield at("stem", c, c * pixels)
        for n, widths in enumerate(np.array(WIDTHS)[np.asarray(pool)].T):
            yield at(f"first{n}", widths, c * widths)
            yield at(f"second{n}", c, c * widths)
        yield Layer("norm", (1, 1, c), 2 * c, 0)
        weights = c * self.classes
        yield Layer("classifier", (self.classes,), weights + self.classes, weights)


class _Supernet(Net):
    """The network of shared weights."""

    def __call__(self, images, architecture, **named):
        return super().__call__(images, jnp.array(WIDTHS)[jnp.asarray(architecture)], **named)


shipped.SPACES["widths"] = "widths_space:WidthsSpace"
