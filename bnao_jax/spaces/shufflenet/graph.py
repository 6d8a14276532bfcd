"""The blocks of an architecture as chains, one for each stage, for drawing."""

import numpy as np

from bnao_jax.graph import Wire
from bnao_jax.spaces.shufflenet.outline import UNIT_RATIO, Outline


def stage_of(place) -> str:
    """The name of the stage of a `Place`."""
    return f"stage {place.stage + 1}"


def wires(outline: Outline, architecture) -> dict[str, list[Wire]]:
    """The `Wire`s of each stage of an architecture [D], a block each."""
    kinds, widths = outline.split_choices(np.asarray(architecture))
    graphs, before = {}, "input"
    for run in outline.runs():
        stage = graphs.setdefault(stage_of(run.place), [])
        for block in range(run.start, run.start + run.count):
            name, after = outline.kinds[kinds[block]], f"block {block + 1}"
            if widths is not None:
                name += f", width {(widths[block] + 1) / UNIT_RATIO:.1f}"
            stage.append(Wire(before, name, after))
            before = after
    return graphs
