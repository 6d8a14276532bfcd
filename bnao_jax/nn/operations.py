"""Candidate operations on an edge, forward and backward, cut at the norms.

An operation is a chain of units, each a linear map and a norm. The forward pass returns what
enters each norm; from these and the input the backward pass recomputes the rest, so that all
operations save arrays of the same shapes and can share a `lax.switch`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from bnao_jax.nn import shifts
from bnao_jax.nn.layers import halve, norm, pointwise, relu


@dataclasses.dataclass(frozen=True)
class Operation:
    """A candidate operation, applied with stride 1 or 2.

    Attributes:
      name: name in texts and parameter trees.
      units: number of (ReLU, depthwise, 1x1 convolution, norm) units; 0 without weights.
      kernel: side of the depthwise kernel.
      dilation: its dilation.
    """

    name: str
    units: int = 0
    kernel: int = 0
    dilation: int = 1


def separable(kernel):
    """(ReLU, depthwise, 1x1, norm) twice; a stride applies to the first."""
    return Operation(f"sep_conv_{kernel}x{kernel}", units=2, kernel=kernel)


def dilated(kernel):
    """(ReLU, depthwise with dilation 2, 1x1, norm) once."""
    return Operation(f"dil_conv_{kernel}x{kernel}", units=1, kernel=kernel, dilation=2)


ZERO, IDENTITY = Operation("zero"), Operation("identity")
AVERAGE_POOL, MAX_POOL = Operation("avg_pool_3x3"), Operation("max_pool_3x3")
SKIP = "skip"  # the weights of an identity at stride 2, a factorised reduction


def weights_name(operation, stride):
    """Under which name the weights of an operation are kept; None if it has none."""
    if operation.units:
        return operation.name
    return SKIP if operation == IDENTITY and stride == 2 else None


def _linear_maps(operation, stride):
    """The linear map of each unit, as functions of (input, its weights)."""
    if operation == IDENTITY:
        return [lambda x, w: halve(x, w["first"], w["second"])]

    def unit(step):
        def apply(x, w):
            x = shifts.depthwise(relu(x), w["depthwise"], step, operation.dilation)
            return pointwise(x, w["pointwise"])

        return apply

    return [unit(stride if n == 0 else 1) for n in range(operation.units)]


def _unweighted(operation, stride):
    """The function of an operation without weights."""
    if operation == ZERO:
        return lambda x: jnp.zeros_like(x[:, ::stride, ::stride])
    if operation == IDENTITY:
        return lambda x: x
    pool = {AVERAGE_POOL: shifts.average_pool, MAX_POOL: shifts.max_pool}[operation]
    return lambda x: pool(x, stride)


def forward(operation, stride, x, weights, *, given=None, axis_name=None):
    """Applies an operation to x `[C, H, W, B]`.

    Args:
      operation: the operation.
      stride: 1 or 2.
      x: the input.
      weights: for each name of `weights_name` the list of units, each
        `{"linear": {...}, "norm": {"scale", "offset"}}`.
      given: statistics float32[units, 2, C], or None for the batch's own.
      axis_name: device axis of the batch's statistics.

    Returns:
      the output, the list of norm inputs, the list of statistics.
    """
    name = weights_name(operation, stride)
    if name is None:
        return _unweighted(operation, stride)(x), [], []
    cuts, statistics = [], []
    for n, linear in enumerate(_linear_maps(operation, stride)):
        unit = weights[name][n]
        cuts.append(linear(x, unit["linear"]))
        x, used = norm(cuts[-1], **unit["norm"], given=_row(given, n), axis_name=axis_name)
        statistics.append(used)
    return x, cuts, statistics


def backward(operation, stride, x, weights, cuts, gradient, *, given=None, axis_name=None):
    """Gradients of `forward` with respect to x and all weights, from its norm inputs."""
    name = weights_name(operation, stride)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    if name is None:
        (dx,) = jax.vjp(_unweighted(operation, stride), x)[1](gradient)
        return dx, zeros
    maps, units, found = _linear_maps(operation, stride), weights[name], []

    def normalised(n, cut, w):
        return norm(cut, **w, given=_row(given, n), axis_name=axis_name)[0]

    for n in reversed(range(len(maps))):
        unit = units[n]
        pull = jax.vjp(lambda c, w, n=n: normalised(n, c, w), cuts[n], unit["norm"])[1]
        gradient, d_norm = pull(gradient)
        entered = normalised(n - 1, cuts[n - 1], units[n - 1]["norm"]) if n else x
        gradient, d_linear = jax.vjp(maps[n], entered, unit["linear"])[1](gradient)
        found.insert(0, {"linear": d_linear, "norm": d_norm})
    return gradient, zeros | {name: found}


def _row(given, n):
    return None if given is None else given[n]
