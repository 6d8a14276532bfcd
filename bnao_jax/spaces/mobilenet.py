"""The MobileNet space: a kernel and an expansion, or no block, for each layer.

Cai, Zhu, Han, "ProxylessNAS", 2019, https://arxiv.org/abs/1812.00332; the second space of Jeon et
al., 2025, https://arxiv.org/abs/2503.10740. At their sizes 21 layers of six or seven options;
smaller:

>>> from bnao_jax.spaces.mobilenet import MobileNet
>>> from bnao_jax.spaces.module_space import ModuleSpace
>>> sizes = dict(widths=(24, 40), depths=(2, 2), strides=(1, 2))
>>> space = ModuleSpace(MobileNet(classes=10, stem_stride=1, **sizes), (32, 32, 3))
>>> space.decisions.options
(6, 7, 6, 7)
>>> space.decisions.format([0, 6, 3, 2])
'k3e3 skip k5e6 k5e3'
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.choice import Choice
from bnao_jax.nn import layers
from bnao_jax.repeat import Repeat

KERNELS, EXPANSIONS = (3, 5, 7), (3, 6)
SKIP, MOST_LAYERS = "skip", 100


class MBConv(nn.Module):
    """Inverted residual block: 1x1 to the wider inside, depthwise, 1x1; maps `[C, H, W, B]`.

    Where it keeps the shape of its input, it adds to it.

    Attributes:
      width: channels of the output.
      kernel: side of the depthwise kernel.
      expansion: channels inside for each of the input; 1: without the first 1x1.
      stride: 1 or 2.
    """

    width: int
    kernel: int
    expansion: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        y = x
        if self.expansion > 1:
            expand = layers.PointwiseNorm(self.expansion * x.shape[0], name="expand")
            y = jax.nn.relu6(expand(y))
        y = jax.nn.relu6(layers.DepthwiseNorm(self.kernel, self.stride, name="depthwise")(y))
        y = layers.PointwiseNorm(self.width, name="project")(y)
        return x + y if y.shape == x.shape else y


def _options(width, stride, keeps):
    """The blocks of a layer by name, and none where the layer keeps the shape."""
    blocks = {
        f"k{kernel}e{expansion}": MBConv(width, kernel, expansion, stride)
        for kernel in KERNELS
        for expansion in EXPANSIONS
    }
    return blocks | ({SKIP: lambda x: x} if keeps else {})


class MobileNet(nn.Module):
    """The network around the layers, and their choices.

    Attributes:
      classes: number of classes.
      stem, stem_stride: channels and stride of the first convolution.
      first: channels of the first block, which is not searched.
      widths, depths, strides: of each stage its channels, its layers, the stride of the first one.
      last: channels of the last 1x1 convolution.
      dropout: before the classifier, while the network trains.
      dtype: of the maps.
    """

    classes: int = 1000
    stem: int = 32
    stem_stride: int = 2
    first: int = 16
    widths: tuple[int, ...] = (24, 40, 80, 96, 192, 320)
    depths: tuple[int, ...] = (4, 4, 4, 4, 4, 1)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1)
    last: int = 1280
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train=False):
        """Logits float32[B, classes] of normalised images `[B, H, W, C]`."""
        sizes = self.widths, self.depths, self.strides
        if len({*map(len, sizes)}) > 1 or sum(self.depths) > MOST_LAYERS:
            most = f"with {MOST_LAYERS} layers at most"
            raise ValueError(f"widths, depths and strides are of equal lengths, {most}")
        if min(self.depths, default=1) < 1:
            raise ValueError("every stage has a layer: depths are 1 or more")
        x = layers.to_maps(images, self.dtype)
        stem = layers.ConvNorm(self.stem, stride=self.stem_stride, name="stem")
        x = MBConv(self.first, 3, 1, name="first")(jax.nn.relu6(stem(x)))
        for stage, (width, depth, stride) in enumerate(zip(*sizes, strict=True), 1):
            keeps = stride == 1 and x.shape[0] == width
            x = Choice(_options(width, stride, keeps), name=f"stage{stage}_first")(x)
            others = Choice(_options(width, 1, True))
            x = Repeat(others, depth - 1, name=f"stage{stage}")(x)
        last = layers.ConvNorm(self.last, kernel=1, padding=0, name="last")
        x = jax.nn.relu6(last(x))
        return layers.Classifier(self.classes, self.dropout, name="classifier")(x, train=train)
