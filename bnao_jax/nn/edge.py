"""A candidate operation with weights of its own, as a linen module."""

import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.nn import layers, operations
from bnao_jax.nn.initialization import parameter
from bnao_jax.nn.operations import SKIP, Operation


class Edge(nn.Module):
    """One operation with its weights."""

    operation: Operation
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, given=False):
        """Applies the operation to x `[C, H, W, B]`."""
        name = operations.weights_name(self.operation, self.stride)
        if name is None:
            return operations.apply(self.operation, self.stride, x, {})[0]
        units = 1 if name == SKIP else self.operation.units
        weights = {name: [self._unit(n, name, x.shape[0], x.dtype) for n in range(units)]}
        statistics = layers.recorded_statistics(self, given)
        y, used = operations.apply(
            self.operation, self.stride, x, weights, given=statistics, axis_name=self.axis_name
        )
        layers.record_statistics(self, given, jnp.stack(used))
        return y

    def _unit(self, n, name, c, dtype):
        k = self.operation.kernel
        if name == SKIP:
            shapes = {"first": (c // 2, c), "second": (c // 2, c)}
        elif self.operation.full:
            shapes = {"kernel": (c, c, k, k)}
        else:
            shapes = {"depthwise": (c, k, k), "pointwise": (c, c)}
        linear = {
            key: parameter(self, f"unit{n}_{key}", *shape).astype(dtype)
            for key, shape in shapes.items()
        }
        norm = {key: parameter(self, f"unit{n}_{key}", c) for key in ("scale", "offset")}
        return {"linear": linear, "norm": norm}
