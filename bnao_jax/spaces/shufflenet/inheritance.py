"""From shared weights to a network alone: all but the scales and offsets of the norms."""

from bnao_jax.nn.initialization import overlay
from bnao_jax.spaces.shufflenet.blocks import shape, sizes, units
from bnao_jax.spaces.shufflenet.network import kinds_and_widths
from bnao_jax.spaces.shufflenet.paths import weights_name
from bnao_jax.spaces.shufflenet.space import Outline


def inherit(outline: Outline, shared, architecture, params):
    """(`params` with shared weights in place of their own, how many numbers were taken).

    Args:
      outline: of both networks.
      shared: "params" of the `Supernet`.
      architecture: int32[D].
      params: "params" of the `Network`, which it is to begin with.
    """
    offered = dict(shared)
    stacks = [(shared[run.name], n) for run in outline.runs() for n in range(run.count)]
    for number, (place, kind, width) in enumerate(kinds_and_widths(outline, architecture)):
        stack, n = stacks[number]
        block = offered[f"block{number}"] = {}
        for unit in units(kind, place):
            own = tuple(slice(side) for side in shape(unit, sizes(place, width)))
            name = "depthwise" if unit.kernel else "matrix"
            block[unit.name] = {name: stack[weights_name(kind, unit)][n][own]}
    return overlay(params, offered)
