"""A program that is written and read again gives the logits of the module."""

import jax
import numpy as np
import pytest

from bnao_jax.export import export, flat_weights, program
from bnao_jax.nn.initialization import initialize
from bnao_jax.spaces.nao import network as nao
from bnao_jax.spaces.nao.outline import Outline
from bnao_jax.spaces.shufflenet import network as shufflenet
from bnao_jax.spaces.shufflenet.outline import Outline as Blocks
from bnao_jax.spaces.shufflenet.outline import Stage

CELLS = Outline(channels=4, cells=1, classes=3, operations="forms", nodes=2)
STAGES = dict(stem="cifar", stages=(Stage(3, 1), Stage(6, 2)), channel_choice=True)


def network(space):
    if space == "nao":
        row = np.asarray(CELLS.decisions.random(jax.random.key(0), 1))[0]
        return nao.Network(CELLS, tuple(row.tolist()))
    outline = Blocks(channels=4, cells=1, classes=3, **STAGES)
    row = np.asarray(outline.decisions.random(jax.random.key(0), 1))[0]
    return shufflenet.Network(outline, tuple(row.tolist()))


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("space", ["nao", "shufflenet"])
def test_the_program_is_the_module(space, batch):
    module = network(space)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    normalised = (images / np.float32(255) - np.float32(0.4)) / np.float32(0.2)
    variables = {"params": initialize(module, jax.random.key(1), normalised)}
    kept = lambda v: module.apply(v, normalised, mutable=["batch_stats"])[1]
    variables |= jax.jit(kept)(variables)
    settings = dict(mean=[0.4] * 3, std=[0.2] * 3, batch=batch)
    content = program(module, variables, (8, 8, 3), **settings)
    run = export.deserialize(bytearray(content)).call
    apply = jax.jit(lambda v, x: module.apply(v, x, given=True))
    for count in (4,) if batch else (1, 4):
        found = run(flat_weights(variables), images[:count])
        assert found.shape == (count, 3)
        np.testing.assert_allclose(found, apply(variables, normalised[:count]), atol=1e-5)
