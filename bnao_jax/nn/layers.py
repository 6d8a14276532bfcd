"""Layers of single-path and weight-sharing networks, as pure functions and linen modules.

Shapes: activations `[C, H, W, B]`, 1x1 convolutions `[out, in]`, convolutions `[out, in, K, K]`.
A norm's statistics live in the collection "batch_stats": those of the present batch where it is
mutable, and what a call with `given=True` reads. Averaging them over batches is the caller's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from bnao_jax.nn import depthwise_and_pooling, normalization
from bnao_jax.nn.convolution import convolve
from bnao_jax.nn.initialization import parameter


@jax.custom_vjp
def pointwise(x, matrix):
    """1x1 convolution of x `[C, H, W, B]` with `[out, C]`."""
    return _over_channels(matrix.astype(x.dtype), x)


def _over_channels(matrix, x):
    # Maps that are not flattened: for a batch of 500, flattening took the TPU compiler 25 seconds.
    return lax.dot_general(matrix, x, (((1,), (0,)), ((), ())))


def _flat(x):
    return x.reshape(x.shape[0], -1)


def _pointwise_bwd(saved, g):
    x, matrix = saved
    dx = _over_channels(matrix.astype(g.dtype).T, g)
    over_pixels = lambda a, b: lax.dot_general(_flat(a), _flat(b), (((1,), (1,)), ((), ())))
    if x.shape[0] > g.shape[0]:
        # On a CPU up to three times faster with the wider factor first; without the barrier the
        # compiler would turn the factors round again.
        d_matrix = lax.optimization_barrier(over_pixels(x, g)).T
    else:
        d_matrix = over_pixels(g, x)
    return dx, d_matrix.astype(matrix.dtype)


pointwise.defvjp(lambda x, matrix: (pointwise(x, matrix), (x, matrix)), _pointwise_bwd)


def halve(x, first, second):
    """Factorised reduction: 1x1 convolutions of the two stride-2 phases, concatenated.

    x `[C, H, W, B]`, first and second `[out/2, C]`; returns `[out, ceil(H/2), ceil(W/2), B]`.
    """
    _, h, w, _ = x.shape
    odd = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))[:, 1::2, 1::2]
    even, odd = _stored((x[:, ::2, ::2], odd))
    return jnp.concatenate([pointwise(even, first), pointwise(odd, second)])


def _stored(maps):
    """The maps, on CUDA behind a barrier: no product there is fused with what made them.

    XLA of jax 0.11 aborts where it fuses a strided slice into the product of a gradient whose sum
    over pixels it splits (`triton_tiling_propagation.cc`: "subdim_size_accumulator == dim_size").
    """
    return lax.platform_dependent(maps, cuda=lax.optimization_barrier, default=lambda maps: maps)


def norm(x, scale, offset, given=None, axis_name=None, recalled=None):
    """Normalises with the `given` statistics float32[2, C] or, without, the batch's own.

    `recalled` are the batch's own statistics where a pass before has computed them. Returns the
    result and the statistics used.
    """
    if given is None:
        return normalization.batch_norm(x, scale, offset, axis_name, recalled)
    return normalization.normalize(x, scale, offset, given), given


relu = jax.nn.relu  # its gradient at 0 is 0


class DropPath(NamedTuple):
    """Drop path of one step.

    Attributes:
      keep: keep probability in the last cell; cell n of L (from 1) keeps `1 - n/L (1 - keep)`.
      keys: a random key for each image `[B]`.
    """

    keep: jax.Array
    keys: jax.Array

    def factors(self, cells, edges):
        """0 where an edge is dropped, else 1 / (its keep probability): float32[L, E, B]."""
        share = (jnp.arange(cells) + 1) / cells
        keep = (1 - share * (1 - self.keep))[:, None]
        draw = lambda key: jax.random.bernoulli(key, keep, (cells, edges)) / keep
        return jax.vmap(draw, out_axes=-1)(self.keys)


def recorded_statistics(module, given):
    """The statistics kept for `module` in "batch_stats" if `given`, else None."""
    return module.get_variable("batch_stats", "statistics") if given else None


def record_statistics(module, given, used):
    """Keeps the batch statistics a module used, where "batch_stats" is mutable."""
    recording = module.is_mutable_collection("batch_stats") and not module.is_initializing()
    if recording and not given:
        module.put_variable("batch_stats", "statistics", used)


class Norm(nn.Module):
    """Batch normalisation with scale and offset, if `affine`."""

    axis_name: str | None = None
    affine: bool = True

    @nn.compact
    def __call__(self, x, *, given=False):
        width = x.shape[0]
        scale = parameter(self, "scale", width) if self.affine else jnp.ones(width)
        offset = parameter(self, "offset", width) if self.affine else jnp.zeros(width)
        statistics = recorded_statistics(self, given)
        y, used = norm(x, scale, offset, statistics, self.axis_name)
        record_statistics(self, given, used)
        return y


def initial_statistics(shape):
    """Mean 0 and variance 1 on the last but one axis: float32[..., 2, C]."""
    *lead, width = shape
    return jnp.broadcast_to(jnp.array([[0.0], [1.0]], jnp.float32), (*lead, 2, width))


class ConvNorm(nn.Module):
    """Convolution and norm."""

    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    axis_name: str | None = None
    affine: bool = True

    @nn.compact
    def __call__(self, x, *, given=False):
        side = self.kernel
        kernel = parameter(self, "kernel", self.width, x.shape[0], side, side)
        y = convolve(x, kernel, stride=self.stride, padding=self.padding)
        return Norm(self.axis_name, self.affine, name="norm")(y, given=given)


class ReluPointwiseNorm(nn.Module):
    """ReLU, 1x1 convolution, norm."""

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        matrix = parameter(self, "matrix", self.width, x.shape[0])
        return Norm(self.axis_name, name="norm")(pointwise(relu(x), matrix), given=given)


class PointwiseNorm(nn.Module):
    """1x1 convolution and norm."""

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        matrix = parameter(self, "matrix", self.width, x.shape[0])
        return Norm(self.axis_name, name="norm")(pointwise(x, matrix), given=given)


class DepthwiseNorm(nn.Module):
    """Depthwise convolution and norm."""

    kernel: int = 3
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        kernel = parameter(self, "depthwise", x.shape[0], self.kernel, self.kernel)
        y = depthwise_and_pooling.depthwise(x, kernel, self.stride)
        return Norm(self.axis_name, name="norm")(y, given=given)


class Halve(nn.Module):
    """Factorised reduction to `width` channels (even) at half the resolution, and norm."""

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        shape = (self.width // 2, x.shape[0])
        first, second = (parameter(self, name, *shape) for name in ("first", "second"))
        return Norm(self.axis_name, name="norm")(halve(x, first, second), given=given)


class CifarStem(nn.Module):
    """3x3 convolution to 3C channels; both inputs of the first cell."""

    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        y = ConvNorm(3 * self.channels, axis_name=self.axis_name, name="conv")(x, given=given)
        return y, y


class ImageNetStem(nn.Module):
    """Three 3x3 convolutions of stride 2; the last two feed the first cell."""

    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        c, norm_over = self.channels, self.axis_name
        half, quarter, eighth = (
            ConvNorm(width, stride=2, axis_name=norm_over, name=f"conv{n}")
            for n, width in enumerate((c // 2, c, c))
        )
        first = quarter(relu(half(x, given=given)), given=given)
        return first, eighth(relu(first), given=given)


STEMS = {"cifar": CifarStem, "imagenet": ImageNetStem}


def _linear(module, x, width):
    """A linear layer of `module`: x `[B, in]` to `[B, width]`."""
    matrix = parameter(module, "matrix", width, x.shape[-1])
    return x @ matrix.T + parameter(module, "offset", width)[None]


class Classifier(nn.Module):
    """Global average pool, dropout, linear layer: `[C, H, W, B]` to logits float32[B, classes]."""

    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, *, train=False):
        pooled = jnp.mean(x, (1, 2), dtype=jnp.float32).T
        pooled = nn.Dropout(self.dropout, deterministic=not train)(pooled)
        return _linear(self, pooled, self.classes)


class AuxiliaryHead(nn.Module):
    """ReLU, 5x5 average pool, 1x1 to 128, 2x2 to 768, linear: logits float32[B, classes].

    Needs maps of at least 8x8, or 7x7 with stride 2.
    """

    classes: int
    stride: int = 3
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        x = relu(x)
        size = tuple((n - 5) // self.stride + 1 for n in x.shape[1:3])
        x = sum(depthwise_and_pooling.windows(x, 5, self.stride, 1, size)) / 25
        for width, kernel in ((128, 1), (768, 2)):
            conv = ConvNorm(width, kernel, 1, 0, self.axis_name, name=f"conv{kernel}x{kernel}")
            x = relu(conv(x, given=given))
        pooled = x.reshape(-1, x.shape[-1]).T.astype(jnp.float32)
        return _linear(self, pooled, self.classes)


def to_maps(images, dtype):
    """Images `[B, H, W, C]` as `[C, H, W, B]`."""
    return jnp.transpose(images, (3, 1, 2, 0)).astype(dtype)


def from_maps(x):
    """Maps `[C, H, W, B]` as `[B, H, W, C]`."""
    return jnp.transpose(x, (3, 1, 2, 0))
