"""From shared weights to a network alone: all but the scales and offsets of the cells' norms."""

from bnao_jax.nn.initialization import overlay
from bnao_jax.spaces.nasbench201.space import CANDIDATES, NAMES, STAGES, Outline


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
