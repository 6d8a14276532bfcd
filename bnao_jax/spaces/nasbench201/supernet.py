"""The weight-sharing network of the NAS-Bench-201 space.

Every edge of every cell has weights for each convolution, `[N, edge, …]` for each run of N equal
cells; their norms have neither scale nor offset, as the benchmark's own one-shot baselines have it.
An architecture is a static tuple (one program for it alone) or a traced int32[D] (one for all).
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.nn import layers
from bnao_jax.nn.initialization import UNIFORM, overlay, parameter
from bnao_jax.spaces.nasbench201 import cells as shared
from bnao_jax.spaces.nasbench201.network import surround
from bnao_jax.spaces.nasbench201.outline import CANDIDATES, EDGES, NAMES, STAGES, Outline


class SharedCells(nn.Module):
    """N equal cells of shared weights; calls `cells.run_cells` along one path."""

    cells: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, architecture, *, given=False):
        """Runs the cells on x `[C, H, W, B]`."""
        static = isinstance(architecture, tuple)
        settings = shared.Settings(self.axis_name, architecture if static else None)
        weights = {}
        for op in CANDIDATES.values():
            if op.full:
                shape = self.cells, len(EDGES), x.shape[0], x.shape[0], op.kernel, op.kernel
                weights[op.name] = parameter(self, f"{op.name}_kernel", *shape).astype(x.dtype)
        statistics = layers.recorded_statistics(self, given)
        choices = None if static else jnp.asarray(architecture)
        x, used = shared.run_cells(settings, choices, weights, x, statistics)
        layers.record_statistics(self, given, used)
        return x


class Supernet(nn.Module):
    """The supernet.

    Attributes:
      outline: the network around the cells.
      dtype: type of the maps and products; parameters and statistics are float32.
      axis_name: device axis over which batch statistics run, or None for each device's own.
    """

    outline: Outline
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    # As the benchmark's code: PyTorch's default, sqrt(6) times narrower than He-normal.
    initialization = UNIFORM

    @nn.compact
    def __call__(self, images, architecture, *, drop_path=None, given=False):
        """Returns logits float32[B, classes].

        Args:
          images: normalised images `[B, H, W, C]`, whose sides four divides.
          architecture: a tuple of D integers, or int32[D], possibly traced.
          drop_path: None; the space has none.
          given: normalise with the statistics in "batch_stats" instead of the batch's own, which
            are written there where the collection is mutable.

        Raises:
          ValueError: drop path is asked for; or the architecture is known and not of the space.
        """
        if drop_path is not None:
            raise ValueError("the NAS-Bench-201 space has no drop path")
        self.outline.decisions.check_known(architecture)

        def run(x, stage):
            module = SharedCells(self.outline.cells, self.axis_name, name=f"cells{stage}")
            return module(x, architecture, given=given)

        maps = layers.to_maps(images, self.dtype)
        return surround(self.outline, maps, run, given=given, axis_name=self.axis_name)


def on_path(outline: Outline, params, architecture):
    """Which weights the architecture uses: a tree like `params` of bool, `[1, E, 1…]` or 1s.

    `architecture` int32[D] may be traced. Everything outside the cells is always used.
    """
    del outline
    choices = {CANDIDATES[name].name: n for n, name in enumerate(NAMES)}

    def used(path, leaf):
        if not path[0].key.startswith("cells"):
            return jnp.ones((1,) * leaf.ndim, bool)
        choice = choices[path[-1].key.removesuffix("_kernel")]
        return (jnp.asarray(architecture) == choice).reshape(1, -1, *(1,) * (leaf.ndim - 2))

    return jax.tree_util.tree_map_with_path(used, params)


# From shared weights to a network alone.


def inherit(outline: Outline, shared, architecture, params):
    """(`params` with shared weights in place of their own, how many numbers were taken).

    Args:
      outline: of both networks.
      shared: "params" of the `Supernet`.
      architecture: int32[D].
      params: "params" of the `Network`, which it is to begin with.
    """
    offered = dict(shared)
    for stage in range(STAGES):
        for n in range(outline.cells):
            edges = {}
            for at, choice in enumerate(architecture):
                operation = CANDIDATES[NAMES[choice]]
                if operation.full:
                    kernels = shared[f"cells{stage}"][f"{operation.name}_kernel"]
                    edges[f"edge{at}"] = {"unit0_kernel": kernels[n, at]}
            offered[f"stage{stage}_cell{n}"] = edges
    return overlay(params, offered)
