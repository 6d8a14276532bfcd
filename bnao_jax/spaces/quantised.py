"""The space of bit widths: of weights and of activations, for each block of a residual network.

Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019, section
3.4, https://arxiv.org/abs/1904.00420. All widths share one set of full-precision weights. Numbers
are quantised as by Zhou et al., "DoReFa-Net", 2016, https://arxiv.org/abs/1606.06160: to equal
steps, with the gradient passed straight through. The first and the last layer are not.

>>> import numpy as np
>>> from bnao_jax.spaces.module_space import ModuleSpace
>>> from bnao_jax.spaces.quantised import QuantisedResNet
>>> sizes = dict(stem=8, stem_stride=1, pooled=False, widths=(8, 16), depth=1)
>>> small = QuantisedResNet(classes=10, **sizes)
>>> space = ModuleSpace(small, (32, 32, 3))
>>> space.decisions.format([0, 1, 2, 3])  # weights and activations of two blocks
'1 2 3 4'
>>> space.own_cost(np.array([[0, 0, 0, 0], [1, 1, 1, 1]]), (32, 32, 3)).tolist()
[2097152.0, 8388608.0]
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from bnao_jax.choice import Value
from bnao_jax.nn import layers
from bnao_jax.nn.convolution import convolve
from bnao_jax.nn.depthwise_and_pooling import max_pool, output_size
from bnao_jax.nn.initialization import parameter

BITS, MOST_BLOCKS = (1, 2, 3, 4), 100


def rounded(x, bits):
    """Numbers within 0 and 1 at the nearest of 2 ** bits equal steps; the gradient is that of x."""
    steps = 2.0**bits - 1
    return x + lax.stop_gradient(jnp.round(x * steps) / steps - x)


def quantised_weights(weights, bits):
    """Weights at so many bits, within -1 and 1; at one bit their signs times their mean size."""
    squashed = jnp.tanh(weights)
    squashed = squashed / (2 * lax.stop_gradient(jnp.abs(squashed).max())) + 0.5
    size = lax.stop_gradient(jnp.abs(weights).mean())
    signs = weights + lax.stop_gradient(jnp.where(weights < 0, -size, size) - weights)
    return jnp.where(jnp.asarray(bits) == 1, signs, 2 * rounded(squashed, bits) - 1)


def quantised_activations(x, bits):
    """Activations, cut to within 0 and 1, at so many bits."""
    return rounded(jnp.clip(x, 0, 1), bits)


class QuantisedConv(nn.Module):
    """Convolution of maps `[C, H, W, B]` at bit widths of weights and activations, and norm."""

    width: int
    kernel: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x, weight_bits, activation_bits):
        side = self.kernel
        kernel = parameter(self, "kernel", self.width, x.shape[0], side, side)
        kernel = quantised_weights(kernel, weight_bits).astype(x.dtype)
        x = quantised_activations(x, activation_bits).astype(x.dtype)
        y = convolve(x, kernel, stride=self.stride, padding=side // 2)
        return layers.Norm(name="norm")(y)


class QuantisedResNet(nn.Module):
    """A residual network of blocks of two 3x3 convolutions; by default ResNet-18.

    Attributes:
      classes: number of classes.
      stem, stem_kernel, stem_stride: channels, side and stride of the first convolution.
      pooled: whether 3x3 maximum pooling of stride 2 follows it.
      widths: channels of each stage; all but the first halve the maps.
      depth: blocks of each stage.
      bits: the widths to choose from.
      dropout: before the classifier, while the network trains.
      dtype: of the maps.
    """

    classes: int = 1000
    stem: int = 64
    stem_kernel: int = 7
    stem_stride: int = 2
    pooled: bool = True
    widths: tuple[int, ...] = (64, 128, 256, 512)
    depth: int = 2
    bits: tuple[int, ...] = BITS
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def blocks(self):
        """Yields (name, width, stride) of each block."""
        for stage, width in enumerate(self.widths):
            for n in range(self.depth):
                yield f"block{stage + 1}_{n + 1}", width, 2 if stage and not n else 1

    @nn.compact
    def __call__(self, images, train=False):
        """Logits float32[B, classes] of normalised images `[B, H, W, C]`."""
        if self.depth * len(self.widths) > MOST_BLOCKS:
            raise ValueError(f"{MOST_BLOCKS} blocks are the most")
        x = layers.to_maps(images, self.dtype)
        sides = self.stem_kernel, self.stem_stride, self.stem_kernel // 2
        x = layers.relu(layers.ConvNorm(self.stem, *sides, name="stem")(x))
        x = max_pool(x, 2) if self.pooled else x
        for name, width, stride in self.blocks():
            of = ("weights", "activations")
            bits = [Value(self.bits, name=f"{name}_{what}")() for what in of]
            y = QuantisedConv(width, stride=stride, name=f"{name}_first")(x, *bits)
            y = QuantisedConv(width, name=f"{name}_second")(layers.relu(y), *bits)
            if y.shape != x.shape:
                x = QuantisedConv(width, 1, stride, name=f"{name}_side")(x, *bits)
            x = layers.relu(x + y)
        return layers.Classifier(self.classes, self.dropout, name="classifier")(x, train=train)

    def own_cost(self, pool, image_shape):
        """Bit operations of the blocks for one image, float64[P].

        Multiply-adds times the bits of weights and of activations.
        """
        bits = np.asarray(self.bits, np.float64)[np.asarray(pool)]
        size = output_size(image_shape[:2], self.stem_stride * (2 if self.pooled else 1))
        cost, before = np.zeros(len(bits)), self.stem
        for n, (_, width, stride) in enumerate(self.blocks()):
            size = output_size(size, stride)
            side = before * width if (before, stride) != (width, 1) else 0
            macs = size[0] * size[1] * (9 * before * width + 9 * width * width + side)
            cost, before = cost + macs * bits[:, 2 * n] * bits[:, 2 * n + 1], width
        return cost
