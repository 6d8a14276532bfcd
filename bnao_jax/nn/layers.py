"""Layers of single-path and weight-sharing networks, as pure functions and linen modules.

Shapes: activations `[C, H, W, B]`, 1x1 convolutions `[out, in]`, convolutions `[out, in, K, K]`.
A norm's statistics live in the collection "batch_stats": those of the present batch where it is
mutable, and what a call with `given=True` reads. Averaging them over batches is the caller's.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from bnao_jax.nn import normalization, shifts

fan_in = lambda in_axis, out_axis, batch_axis=(): nn.initializers.variance_scaling(
    2.0, "fan_in", "normal", in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis
)
matrix_init = fan_in(-1, -2)


def kernel_init(key, shape, dtype=jnp.float32):
    """He-normal for `[..., out, in, K, K]`; the leading axes are copies."""
    batch = tuple(range(len(shape) - 4))
    return fan_in((-3, -2, -1), -4, batch)(key, shape, dtype)


def depthwise_init(key, shape, dtype=jnp.float32):
    """He-normal for depthwise kernels `[..., C, K, K]`, whose fan-in is K*K."""
    return fan_in((-2, -1), (), tuple(range(len(shape) - 2)))(key, shape, dtype)


def stacked_matrix_init(key, shape, dtype=jnp.float32):
    """He-normal for `[..., out, in]`; the leading axes are copies."""
    return fan_in(-1, -2, tuple(range(len(shape) - 2)))(key, shape, dtype)


def pointwise(x, matrix):
    """1x1 convolution of x `[C, H, W, B]` with `[out, C]`."""
    y = lax.dot(matrix.astype(x.dtype), x.reshape(x.shape[0], -1))
    return y.reshape(-1, *x.shape[1:])


def convolve(x, kernel, *, stride=1, padding=0):
    """Convolution of x `[C, H, W, B]` with `[out, C, K, K]`, as one matrix product."""
    out, _, k, _ = kernel.shape
    _, h, w, b = x.shape
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    size = tuple((n + 2 * padding - k) // stride + 1 for n in (h, w))
    views = list(shifts.windows(padded, k, stride, 1, size))
    patches = jnp.stack(views, 1).reshape(-1, *size, b)
    return pointwise(patches, kernel.reshape(out, -1))


def halve(x, first, second):
    """Factorised reduction: 1x1 convolutions of the two stride-2 phases, concatenated.

    x `[C, H, W, B]`, first and second `[out/2, C]`; returns `[out, ceil(H/2), ceil(W/2), B]`.
    """
    _, h, w, _ = x.shape
    odd = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))[:, 1::2, 1::2]
    return jnp.concatenate([pointwise(x[:, ::2, ::2], first), pointwise(odd, second)])


def norm(x, scale, offset, given=None, axis_name=None):
    """Normalises with the `given` statistics float32[2, C] or, without, the batch's own.

    Returns the result and the statistics used.
    """
    if given is None:
        return normalization.batch_norm(x, scale, offset, axis_name)
    return normalization.normalize(x, scale, offset, given), given


def relu(x):
    """The rectified input."""
    return jnp.maximum(x, 0)


def drop_path_factors(key, keep, shape):
    """0 with probability 1 - keep, else 1 / keep; `keep` broadcasts against `shape`."""
    keep = jnp.asarray(keep, jnp.float32)
    return jax.random.bernoulli(key, keep, shape) / keep


class Norm(nn.Module):
    """Batch normalisation with scale and offset."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        width = x.shape[0]
        scale = self.param("scale", nn.initializers.ones, (width,))
        offset = self.param("offset", nn.initializers.zeros, (width,))
        kept = self.variable("batch_stats", "statistics", initial_statistics, (width,))
        y, statistics = norm(x, scale, offset, kept.value if given else None, self.axis_name)
        if not given and self.is_mutable_collection("batch_stats"):
            kept.value = statistics
        return y


def initial_statistics(shape):
    """Mean 0 and variance 1 on the last but one axis: float32[..., 2, C]."""
    *lead, width = shape
    return jnp.broadcast_to(jnp.array([[0.0], [1.0]]), (*lead, 2, width))


class ConvNorm(nn.Module):
    """Convolution and norm."""

    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        shape = (self.width, x.shape[0], self.kernel, self.kernel)
        kernel = self.param("kernel", kernel_init, shape)
        y = convolve(x, kernel, stride=self.stride, padding=self.padding)
        return Norm(self.axis_name, name="norm")(y, given=given)


class ReluPointwiseNorm(nn.Module):
    """ReLU, 1x1 convolution, norm."""

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        matrix = self.param("matrix", matrix_init, (self.width, x.shape[0]))
        return Norm(self.axis_name, name="norm")(pointwise(relu(x), matrix), given=given)


class Halve(nn.Module):
    """Factorised reduction to `width` channels (even) at half the resolution, and norm."""

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        shape = (self.width // 2, x.shape[0])
        first, second = (self.param(name, matrix_init, shape) for name in ("first", "second"))
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


class Classifier(nn.Module):
    """Global average pool, dropout, linear layer: `[C, H, W, B]` to logits float32[B, classes]."""

    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, *, train=False):
        pooled = jnp.mean(x, (1, 2), dtype=jnp.float32).T
        pooled = nn.Dropout(self.dropout, deterministic=not train)(pooled)
        matrix = self.param("matrix", matrix_init, (self.classes, pooled.shape[-1]))
        return pooled @ matrix.T + self.param("offset", nn.initializers.zeros, (self.classes,))


class AuxiliaryHead(nn.Module):
    """ReLU, 5x5 average pool, 1x1 to 128, 2x2 to 768, linear: logits float32[B, classes].

    Needs maps of at least 8x8, or 7x7 with stride 2 (`systems` of Luo et al. 2018 use 8 and 14).
    """

    classes: int
    stride: int = 3
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        x = relu(x)
        size = tuple((n - 5) // self.stride + 1 for n in x.shape[1:3])
        x = sum(shifts.windows(x, 5, self.stride, 1, size)) / 25
        for width, kernel in ((128, 1), (768, 2)):
            conv = ConvNorm(width, kernel, 1, 0, self.axis_name, name=f"conv{kernel}x{kernel}")
            x = relu(conv(x, given=given))
        pooled = x.reshape(-1, x.shape[-1]).T.astype(jnp.float32)
        matrix = self.param("matrix", matrix_init, (self.classes, pooled.shape[-1]))
        return pooled @ matrix.T + self.param("offset", nn.initializers.zeros, (self.classes,))


def to_maps(images, dtype):
    """Images `[B, H, W, C]` as `[C, H, W, B]`."""
    return jnp.transpose(images, (3, 1, 2, 0)).astype(dtype)
