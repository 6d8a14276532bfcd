"""The stand-alone network of one architecture, and what surrounds the cells of any network.

From NNX:

>>> import numpy as np
>>> from flax import nnx
>>> from bnao_jax.spaces.nasbench201.network import Network
>>> from bnao_jax.spaces.nasbench201.outline import Outline
>>> images = np.ones((2, 8, 8, 3), np.float32)
>>> linen_network = Network(Outline(channels=2, cells=1, classes=3), (3, 3, 1, 2, 4, 0))
>>> network = nnx.bridge.ToNNX(linen_network, rngs=nnx.Rngs(0)).lazy_init(images)
>>> network(images).shape
(2, 3)
>>> [stage.shape for stage in network(images, features=True)]
[(2, 8, 8, 2), (2, 4, 4, 4), (2, 2, 2, 8)]
"""

import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.nn import layers
from bnao_jax.nn.convolution import convolve
from bnao_jax.nn.edge import Edge
from bnao_jax.nn.initialization import UNIFORM, parameter
from bnao_jax.spaces.nasbench201.outline import CANDIDATES, EDGES, NAMES, Outline


class Halving(nn.Module):
    """A residual block that halves the resolution: two convolutions, beside pool and projection."""

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        """Maps `[width, H/2, W/2, B]` of x `[C, H, W, B]`."""
        first = layers.ConvNorm(self.width, stride=2, axis_name=self.axis_name, name="first")
        second = layers.ConvNorm(self.width, axis_name=self.axis_name, name="second")
        y = second(layers.relu(first(layers.relu(x), given=given)), given=given)
        pooled = sum(x[:, i::2, j::2] for i in range(2) for j in range(2)) / 4
        return y + convolve(pooled, parameter(self, "kernel", self.width, x.shape[0], 1, 1))


def surround(outline: Outline, x, run, *, dropout=0.0, train=False, given=False, axis_name=None):
    """Logits float32[B, classes] of maps x: stem, three stages with halvings between, classifier.

    For use in a compact method, whose module owns the weights. `run(x, stage)` are the cells of a
    stage.
    """
    x = layers.ConvNorm(outline.widths[0], axis_name=axis_name, name="stem")(x, given=given)
    for stage, width in enumerate(outline.widths):
        if stage:
            x = Halving(width, axis_name, name=f"halving{stage}")(x, given=given)
        x = run(x, stage)
    x = layers.relu(layers.Norm(axis_name, name="norm")(x, given=given))
    return layers.Classifier(outline.classes, dropout, name="classifier")(x, train=train)


class Cell(nn.Module):
    """A cell of one architecture, its norms with scale and offset."""

    architecture: tuple[int, ...]
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        """Maps of the last node."""
        states = [x]
        for at, (node, read) in enumerate(EDGES):
            operation = CANDIDATES[NAMES[self.architecture[at]]]
            edge = Edge(operation, axis_name=self.axis_name, name=f"edge{at}")
            y = edge(states[read], given=given)
            states[node:] = [states[node] + y if node < len(states) else y]
        return states[-1]


class Network(nn.Module):
    """The network of one architecture, all weights its own.

    Attributes:
      outline: the network around the cells.
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

    # As the benchmark's code: PyTorch's default, sqrt(6) times narrower than He-normal.
    initialization = UNIFORM

    @nn.compact
    def __call__(self, images, *, train=False, drop_path=None, given=False, features=False):
        """Returns logits float32[B, classes].

        Args:
          images: normalised images `[B, H, W, C]`, whose sides four divides.
          train: whether dropout (rng "dropout") is on.
          drop_path: None; the space has none.
          given: normalise with the statistics in "batch_stats" instead of the batch's own, which
            are written there where the collection is mutable.
          features: whether to return, instead, the maps `[B, h, w, c]` at the end of each of the
            three stages, the finest first, as a list.
        """
        if drop_path is not None:
            raise ValueError("the NAS-Bench-201 space has no drop path")

        stages = []

        def run(x, stage):
            for n in range(self.outline.cells):
                cell = Cell(self.architecture, self.axis_name, name=f"stage{stage}_cell{n}")
                x = cell(x, given=given)
            stages.append(layers.from_maps(x))
            return x

        logits = surround(
            self.outline,
            layers.to_maps(images, self.dtype),
            run,
            dropout=self.dropout,
            train=train,
            given=given,
            axis_name=self.axis_name,
        )
        return stages if features else logits
