"""From shared weights to a network alone: what the two have in common."""

import numpy as np

from bnao_jax.nn.initialization import overlay
from bnao_jax.nn.operations import IDENTITY, SKIP
from bnao_jax.spaces.nao.space import CELL_INPUTS, EDGES_PER_NODE, Outline, genes


def inherit(outline: Outline, shared, architecture, params):
    """(`params` with shared weights in place of their own, how many numbers were taken).

    Taken are stem, operations, and calibrations where their inputs are as wide. The stand-alone
    cell joins its loose ends where the supernet's mixes them, so most inputs are wider.

    Args:
      outline: of both networks.
      shared: "params" of the `Supernet`.
      architecture: int32[D].
      params: "params" of the `Network`, which it is to begin with.
    """
    inputs, choices = genes(np.array(architecture), outline.nodes)
    offered = {name: shared[name] for name in ("stem", "classifier")}
    plan, at = outline.plan(), 0
    while at < len(plan):
        kind = int(plan[at].reduction)
        count = 1 if kind else outline.cells
        for n in range(count):
            stacks = {name: stack[n] for name, stack in shared[f"cells{at}"].items()}
            cell = cell_weights(outline, stacks, inputs[kind], choices[kind])
            for side in ("first", "second"):
                cell[side] = shared.get(f"cell{at + n}_{side}", {})
            offered[f"cell{at + n}"] = cell
        at += count
    return overlay(params, offered)


def cell_weights(outline: Outline, stacks, inputs, choices):
    """The weights of a stand-alone cell among those of a shared one.

    `stacks` are those of one of N equal cells, `[slots, …]`; inputs and choices `[E]`.
    """
    found, base = {}, 0
    for edge, (read, choice) in enumerate(zip(inputs, choices, strict=True)):
        operation = outline.candidates[choice]
        names = {f"{operation.name}_{unit}_": base + read for unit in range(operation.units)}
        prefixes = {prefix: f"unit{unit}_" for unit, prefix in enumerate(names)}
        if operation == IDENTITY and read < CELL_INPUTS:
            names[f"{SKIP}_"], prefixes[f"{SKIP}_"] = CELL_INPUTS * edge + read, "unit0_"
        weights = {
            prefixes[prefix] + name.removeprefix(prefix): stack[slot]
            for prefix, slot in names.items()
            for name, stack in stacks.items()
            if name.startswith(prefix)
        }
        if weights:
            found[f"edge{edge}"] = weights
        base += edge // EDGES_PER_NODE + CELL_INPUTS
    for state in range(CELL_INPUTS):
        if "halve_first" in stacks:
            found[f"halve{state}"] = {
                "first": stacks["halve_first"][state],
                "second": stacks["halve_second"][state],
                "norm": {key: stacks[f"halve_{key}"][state] for key in ("scale", "offset")},
            }
    return found
