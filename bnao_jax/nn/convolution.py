"""Convolution of maps with the batch innermost, and its gradients.

Two forms, chosen by platform: "patches", one product of matrices with all shifted copies, and
XLA's own convolution, which on a CPU is four to thirty times slower at the widths of a supernet.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from bnao_jax.nn.depthwise_and_pooling import windows


def _product(matrix, x):
    return lax.dot_general(matrix, x, (((1,), (0,)), ((), ())))


def _patches(padded, k, stride, size):
    """The shifted copies `[K*K*C, *size, B]` of padded maps."""
    views = windows(padded, k, stride, 1, size)
    return padded if k == 1 and stride == 1 else jnp.concatenate(list(views))


def _around(x, lows, highs, interior=0):
    border = [(low, high, interior) for low, high in zip(lows, highs, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *border, (0, 0, 0)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_patches(x, kernel, stride, padding):
    out, _, k, _ = kernel.shape
    size = tuple((n + 2 * padding - k) // stride + 1 for n in x.shape[1:3])
    padded = _around(x, (padding,) * 2, (padding,) * 2)
    matrix = kernel.astype(x.dtype).transpose(0, 2, 3, 1).reshape(out, -1)
    return _product(matrix, _patches(padded, k, stride, size))


def _gradients(stride, padding, saved, g):
    x, kernel = saved
    out, c, k, _ = kernel.shape
    size, low = x.shape[1:3], k - 1 - padding
    # The gradient of x is a convolution too: of g on the grid of x, by the kernel turned round.
    highs = [n + k - 2 - low - stride * (m - 1) for n, m in zip(size, g.shape[1:3], strict=True)]
    spread = _around(g, (low,) * 2, highs, stride - 1)
    turned = kernel.astype(g.dtype)[:, :, ::-1, ::-1].transpose(1, 2, 3, 0).reshape(c, -1)
    dx = _product(turned, _patches(spread, k, 1, size))
    patches = _patches(_around(x, (padding,) * 2, (padding,) * 2), k, stride, g.shape[1:3])
    flat = lambda maps: maps.reshape(maps.shape[0], -1)
    d_matrix = lax.dot_general(flat(patches), flat(g), (((1,), (1,)), ((), ())))
    # On a CPU the wider factor first is faster; without the barrier XLA would turn them round.
    d_matrix = lax.optimization_barrier(d_matrix).reshape(k, k, c, out)
    return dx, d_matrix.transpose(3, 2, 0, 1).astype(kernel.dtype)


_by_patches.defvjp(lambda x, w, *how: (_by_patches(x, w, *how), (x, w)), _gradients)


def _by_library(x, kernel, stride, padding):
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        dimension_numbers=("CHWN", "OIHW", "CHWN"),
    )


def convolve(x, kernel, *, stride=1, padding=0):
    """Convolution of x `[C, H, W, B]` with `[out, C, K, K]`."""
    form = lambda function: lambda x, kernel: function(x, kernel, stride, padding)
    return lax.platform_dependent(x, kernel, cpu=form(_by_patches), default=form(_by_library))
