"""Candidate operations on an edge: tables of units, applied by one function."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from bnao_jax.nn import depthwise_and_pooling
from bnao_jax.nn.convolution import convolve
from bnao_jax.nn.layers import halve, norm, pointwise, relu


@dataclasses.dataclass(frozen=True)
class Operation:
    """A candidate operation, applied with stride 1 or 2.

    Attributes:
      name: name in texts and parameter trees.
      units: number of (ReLU, depthwise, 1x1 convolution, norm) units; 0 without weights.
      kernel: side of the kernel.
      dilation: its dilation.
      full: whether a unit is (ReLU, convolution, norm) instead.
    """

    name: str
    units: int = 0
    kernel: int = 0
    dilation: int = 1
    full: bool = False


def separable(kernel):
    """(ReLU, depthwise, 1x1, norm) twice; a stride applies to the first."""
    return Operation(f"sep_conv_{kernel}x{kernel}", units=2, kernel=kernel)


def dilated(kernel):
    """(ReLU, depthwise with dilation 2, 1x1, norm) once."""
    return Operation(f"dil_conv_{kernel}x{kernel}", units=1, kernel=kernel, dilation=2)


def convolution(kernel):
    """ReLU, convolution, norm."""
    return Operation(f"conv_{kernel}x{kernel}", units=1, kernel=kernel, full=True)


ZERO, IDENTITY = Operation("zero"), Operation("identity")
AVERAGE_POOL, MAX_POOL = Operation("avg_pool_3x3"), Operation("max_pool_3x3")
SKIP = "skip"  # the weights of an identity at stride 2, a factorised reduction


def weights_name(operation, stride):
    """The name of an operation's weights in parameter trees; None if it has none."""
    if operation.units:
        return operation.name
    return SKIP if operation == IDENTITY and stride == 2 else None


def unit_shapes(operation, stride, width):
    """The shapes of an operation's weights, as `apply` takes them: a list of units."""
    if not operation.units:
        return [_unit(width, first=(width // 2, width), second=(width // 2, width))]
    k = operation.kernel
    if operation.full:
        return [_unit(width, kernel=(width, width, k, k))] * operation.units
    return [_unit(width, depthwise=(width, k, k), pointwise=(width, width))] * operation.units


def _unit(width, **linear):
    return {"linear": linear, "norm": {"scale": (width,), "offset": (width,)}}


def _linear_maps(operation, stride):
    """The linear map of each unit, as functions of (input, its weights)."""
    if operation == IDENTITY:
        return [lambda x, w: halve(x, w["first"], w["second"])]

    def unit(step):
        def full_map(x, w):
            padding = (operation.kernel - 1) // 2
            return convolve(relu(x), w["kernel"], stride=step, padding=padding)

        def separable_map(x, w):
            x = depthwise_and_pooling.depthwise(x, w["depthwise"], step, operation.dilation, True)
            return pointwise(x, w["pointwise"])

        return full_map if operation.full else separable_map

    return [unit(stride if n == 0 else 1) for n in range(operation.units)]


def _unweighted(operation, stride):
    """The function of an operation without weights."""
    if operation == ZERO:
        # Behind a barrier: of a product with a constant, fused into what follows, XLA for CPUs (jax
        # 0.10 to 0.12) reads the constant's one number as if it were the whole array.
        return lambda x: lax.optimization_barrier(jnp.zeros_like(x[:, ::stride, ::stride]))
    if operation == IDENTITY:
        return lambda x: x
    pool = {
        AVERAGE_POOL: depthwise_and_pooling.average_pool,
        MAX_POOL: depthwise_and_pooling.max_pool,
    }[operation]
    return lambda x: pool(x, stride)


# A program holds dozens of equal operations: each kind is traced and lowered once.
@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames="axis_name")
def apply(operation, stride, x, weights, *, given=None, axis_name=None, recalled=None):
    """Applies an operation to x `[C, H, W, B]`.

    Args:
      operation: the operation.
      stride: 1 or 2.
      x: the input.
      weights: for each name of `weights_name` the list of units, each
        `{"linear": {...}, "norm": {"scale", "offset"}}`.
      given: statistics float32[units, 2, C], or None for the batch's own.
      axis_name: device axis of the batch's statistics.
      recalled: the batch's own statistics float32[units, 2, C] where they are computed already.

    Returns:
      the output and the list of the units' statistics.
    """
    name = weights_name(operation, stride)
    if name is None:
        return _unweighted(operation, stride)(x), []
    statistics = []
    for n, linear in enumerate(_linear_maps(operation, stride)):
        unit, nth = weights[name][n], lambda stack, n=n: None if stack is None else stack[n]
        x, used = norm(
            linear(x, unit["linear"]),
            **unit["norm"],
            given=nth(given),
            axis_name=axis_name,
            recalled=nth(recalled),
        )
        statistics.append(used)
    return x, statistics
