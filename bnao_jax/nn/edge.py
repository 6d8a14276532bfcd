"""A candidate operation with weights of its own, as a linen module."""

import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.nn import layers, operations
from bnao_jax.nn.initialization import parameter
from bnao_jax.nn.operations import Operation


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
        units = operations.unit_shapes(self.operation, self.stride, x.shape[0])
        weights = {name: [self._unit(n, shapes, x.dtype) for n, shapes in enumerate(units)]}
        statistics = layers.recorded_statistics(self, given)
        y, used = operations.apply(
            self.operation, self.stride, x, weights, given=statistics, axis_name=self.axis_name
        )
        layers.record_statistics(self, given, jnp.stack(used))
        return y

    def _unit(self, n, shapes, dtype):
        own = lambda key, shape: parameter(self, f"unit{n}_{key}", *shape)
        linear = {key: own(key, shape).astype(dtype) for key, shape in shapes["linear"].items()}
        return {"linear": linear, "norm": {key: own(key, s) for key, s in shapes["norm"].items()}}
