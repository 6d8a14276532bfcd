"""Batch normalisation of `[C, H, W, B]` with statistics per device, over devices, or given."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from bnao_jax.nn.joint_sums import joint_sums, wide

EPSILON = 1e-5


def batch_statistics(x, axis_name=None):
    """Mean and (biased) variance of each channel: float32[2, C].

    Over all axes but the channels, over all devices of `axis_name`.
    """
    x = x.astype(wide(x.dtype))
    means = joint_sums([x, jnp.square(x)]).T / (x.size // x.shape[0])
    mean, square = means if axis_name is None else lax.pmean(means, axis_name)
    return jnp.stack([mean, jnp.maximum(square - jnp.square(mean), 0.0)])


def normalize(x, scale, offset, statistics):
    """Normalises x with `statistics` float32[2, C]; the result keeps the type of x."""
    mean, variance = statistics
    factor = lax.rsqrt(variance + EPSILON) * scale
    shift = offset - mean * factor
    expand = lambda v: lax.expand_dims(v, (1, 2, 3))
    return (x * expand(factor) + expand(shift)).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm(x, scale, offset, axis_name=None, statistics=None):
    """Normalises x `[C, H, W, B]` with its own statistics; scale and offset are `[C]`.

    Returns the result and the statistics float32[2, C], which carry no gradient. With `axis_name`
    the statistics, and the sums in the gradient, run over the devices of that axis. `statistics`
    are those of x where they are computed already; the gradient stays that of x's own statistics.
    """
    if statistics is None:
        statistics = batch_statistics(x, axis_name)
    return normalize(x, scale, offset, statistics), statistics


def _forward(x, scale, offset, axis_name, statistics):
    y, statistics = batch_norm(x, scale, offset, axis_name, statistics)
    return (y, statistics), (x, scale, offset, statistics)


def _backward(axis_name, saved, gradients):
    x, scale, offset, (mean, variance) = saved
    g, _ = gradients
    expand = lambda v: lax.expand_dims(v, (1, 2, 3))
    rate = lax.rsqrt(variance + EPSILON)
    wide_g, unit = g.astype(wide(g.dtype)), (x - expand(mean)) * expand(rate)
    d_offset, d_scale = joint_sums([wide_g, wide_g * unit]).T
    mean_g, mean_gu = (total / (x.size // x.shape[0]) for total in (d_offset, d_scale))
    if axis_name is not None:
        mean_g, mean_gu = lax.pmean((mean_g, mean_gu), axis_name)
    dx = expand(rate * scale) * (wide_g - expand(mean_g) - unit * expand(mean_gu))
    return dx.astype(x.dtype), d_scale.astype(scale.dtype), d_offset.astype(offset.dtype), None


batch_norm.defvjp(_forward, _backward)
