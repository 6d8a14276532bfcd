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
from bnao_jax.spaces.nao.outline import CellPlan, Outline, genes, loose_ends
from bnao_jax.spaces.nao.supernet import SharedCells, Supernet, cell_weights, inherit

WIDTH, NODES = 4, 2
OUTLINE = Outline(channels=WIDTH, cells=1, classes=5, operations="forms", nodes=NODES)


@pytest.mark.parametrize("stride", [1, 2])
def test_shared_cell_is_the_stand_alone_cell_and_its_combination(stride):
    """What the supernet adds to a stand-alone cell is one 1x1 convolution of its output."""
    maps = jax.random.normal(jax.random.key(0), (2, WIDTH, 6, 6, 3))
    pool = np.asarray(OUTLINE.decisions.random(jax.random.key(1), 6))
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
        stacks = {name: stack[0] for name, stack in params.items()}  # of the only cell
        standalone = cell_weights(OUTLINE, stacks, inputs[row], choices[row])
        states = jax.jit(cell.apply)({"params": standalone}, *maps)
        loose = np.flatnonzero(loose_ends(inputs[row], NODES))
        blocks = np.concatenate(params["combine"][0, loose], 1)[:, :, None, None]
        scale, offset = params["norm_scale"][0], params["norm_offset"][0]
        expected, _ = norm(convolve(relu(states), blocks), scale, offset)
        found = run(jnp.asarray(inputs[row]), jnp.asarray(choices[row]))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_inherited_weights_are_those_of_the_supernet():
    outline = Outline(2, 2, 3, operations="tiny", nodes=1)
    images = jnp.zeros((2, 16, 16, 3))
    architecture = np.array([0, 0, 1, 2, 0, 2, 1, 0])
    shared = initialize(Supernet(outline), jax.random.key(0), images, architecture)
    network = Network(outline, tuple(architecture.tolist()))
    params = initialize(network, jax.random.key(1), images)
    found, count = inherit(outline, shared, architecture, params)
    same = jax.tree.map(lambda a, b: (np.asarray(a) != b).any(), found, params)
    # Scales and offsets begin at one and zero in both.
    changed = {jax.tree_util.keystr(p) for p, new in jax.tree.leaves_with_path(same) if new}
    edges = {
        f"['cell{n}']['edge0']['unit{u}_{part}']"
        for n in (0, 1, 3, 4, 6, 7)
        for u in (0, 1)
        for part in ("depthwise", "pointwise")
    }
    assert edges <= changed and "['stem']['conv']['kernel']" in changed
    reduced = [name for name in changed if name.startswith(("['cell2']", "['cell5']"))]
    assert any("edge0']['unit0_first" in name for name in reduced)  # identity of stride 2
    assert any("edge1']['unit1_pointwise" in name for name in reduced)
    # Both inputs are read and one state is loose: no map is wider than in the supernet.
    assert count == sum(leaf.size for leaf in jax.tree.leaves(params))
    # The second normal cell's are those of the second of the stack.
    stack = shared["cells0"]["sep_conv_3x3_0_depthwise"]
    np.testing.assert_array_equal(found["cell1"]["edge0"]["unit0_depthwise"], stack[1, 0])


def test_imagenet_supernet_static_is_traced():
    outline = Outline(4, 1, 3, stem="imagenet", operations="tiny", nodes=1)
    net, images = Supernet(outline), jax.random.normal(jax.random.key(0), (2, 35, 32, 3))
    architecture = tuple(np.asarray(outline.decisions.random(jax.random.key(1), 1))[0].tolist())
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
