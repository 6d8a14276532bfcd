"""The stand-alone network, and the supernet's cells against it with copied weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnao_jax.nn.convolution import convolve
from bnao_jax.nn.initialization import initialize
from bnao_jax.nn.layers import norm, relu
from bnao_jax.spaces.nao.cells import traced_path
from bnao_jax.spaces.nao.network import Cell, Network
from bnao_jax.spaces.nao.space import CellPlan, Outline, genes, loose_ends
from bnao_jax.spaces.nao.supernet import SharedCells, Supernet

WIDTH, NODES = 4, 2
OUTLINE = Outline(channels=WIDTH, cells=1, classes=5, operations="forms", nodes=NODES)


def copied(shared, inputs, choices):
    """Weights of a stand-alone cell, taken from the stacks of the only shared cell."""
    shared = {name: stack[0] for name, stack in shared.items()}
    alone, base = {}, 0
    for edge, (read, choice) in enumerate(zip(inputs, choices, strict=True)):
        operation, weights = OUTLINE.candidates[choice], {}
        for name, stack in shared.items():
            for unit in range(operation.units):
                prefix = f"{operation.name}_{unit}_"
                if name.startswith(prefix):
                    weights[f"unit{unit}_{name.removeprefix(prefix)}"] = stack[base + read]
            if operation.name == "identity" and name.startswith("skip_") and read < 2:
                weights[f"unit0_{name.removeprefix('skip_')}"] = stack[2 * edge + read]
        if weights:
            alone[f"edge{edge}"] = weights
        base += edge // 2 + 2
    for state in (0, 1):
        if "halve_first" in shared:
            alone[f"halve{state}"] = {
                "first": shared["halve_first"][state],
                "second": shared["halve_second"][state],
                "norm": {key: shared[f"halve_{key}"][state] for key in ("scale", "offset")},
            }
    return alone


@pytest.mark.parametrize("stride", [1, 2])
def test_shared_cell_is_the_stand_alone_cell_and_its_combination(stride):
    """What the supernet adds to a stand-alone cell is one 1x1 convolution of its output."""
    maps = jax.random.normal(jax.random.key(0), (2, WIDTH, 6, 6, 3))
    pool = np.asarray(OUTLINE.space.random(jax.random.key(1), 6))
    inputs, choices = (g[:, 0] for g in genes(pool, NODES))
    shared = SharedCells(OUTLINE, 1, WIDTH, stride)
    arguments = (*maps, None), traced_path(jnp.asarray(inputs[0]), jnp.asarray(choices[0]))
    params = initialize(shared, jax.random.key(2), *arguments)
    run = jax.jit(
        lambda i, c: shared.apply({"params": params}, (*maps, None), traced_path(i, c))[1]
    )
    for row in range(len(pool)):
        as_tuple = lambda values: tuple(int(v) for v in values)
        cell = Cell(
            CellPlan(stride == 2, WIDTH, False),
            *(OUTLINE.candidates, as_tuple(inputs[row]), as_tuple(choices[row])),
        )
        alone = copied(params, inputs[row], choices[row])
        states = jax.jit(cell.apply)({"params": alone}, *maps)
        loose = np.flatnonzero(loose_ends(inputs[row], NODES))
        blocks = np.concatenate(params["combine"][0, loose], 1)[:, :, None, None]
        scale, offset = params["norm_scale"][0], params["norm_offset"][0]
        expected, _ = norm(convolve(relu(states), blocks), scale, offset)
        found = run(jnp.asarray(inputs[row]), jnp.asarray(choices[row]))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_imagenet_supernet_static_is_traced():
    outline = Outline(4, 1, 3, stem="imagenet", operations="tiny", nodes=1)
    net, images = Supernet(outline), jax.random.normal(jax.random.key(0), (2, 35, 32, 3))
    architecture = tuple(np.asarray(outline.space.random(jax.random.key(1), 1))[0].tolist())
    params = initialize(net, jax.random.key(2), images, architecture)
    apply = jax.jit(lambda a: net.apply({"params": params}, images, a))
    static = jax.jit(lambda: net.apply({"params": params}, images, architecture))()
    assert static.shape == (2, 3)
    np.testing.assert_allclose(apply(jnp.array(architecture)), static, rtol=1e-3, atol=1e-4)


def test_network_heads_and_modes():
    outline = Outline(2, 1, 3, operations="tiny", nodes=1)
    network = Network(outline, (0, 0, 1, 1, 0, 1, 1, 2), dropout=0.5, auxiliary=True)
    images = jax.random.normal(jax.random.key(0), (4, 32, 32, 3))
    params = initialize(network, jax.random.key(1), images)
    rngs = {"dropout": jax.random.key(2)}

    @jax.jit
    def both(images):
        trained, changed = network.apply(
            {"params": params}, images, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        variables = {"params": params, **changed}
        return (
            trained,
            network.apply(variables, images, given=True),
            network.apply(variables, images),
        )

    (logits, auxiliary), given, own = both(images)
    assert logits.shape == auxiliary.shape == given.shape == (4, 3)
    # Statistics of this very batch: given or its own, the same network, without dropout.
    np.testing.assert_allclose(given, own, rtol=1e-4, atol=1e-5)
    assert not np.allclose(logits, own)  # dropout
