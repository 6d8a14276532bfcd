import time

import jax
import numpy as np
import pytest
from flax import linen as nn

from bnao_jax.nn import layers
from bnao_jax.spaces.nao.cost import cost
from bnao_jax.spaces.nao.cost import layers as layers_of
from bnao_jax.spaces.nao.network import Cell, Edge, Network
from bnao_jax.spaces.nao.outline import Outline
from bnao_jax.spaces.nao.supernet import Supernet

NAONET_V2 = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0 0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
CASES = [
    (Outline(20, 2, 10), (32, 32, 3)),
    (Outline(6, 1, 7, "cifar", "middle", 4), (9, 8, 1)),
    (Outline(6, 1, 7, "imagenet", "middle", 3), (65, 64, 3)),
]


def measured(outline, architecture, image_shape):
    """Parameters and multiply-adds of a traced network, from its own arrays."""
    macs = 0

    def count(next_call, args, kwargs, context):
        nonlocal macs
        out = next_call(*args, **kwargs)
        module = context.module
        if context.method_name == "__call__" and isinstance(
            module, layers.ConvNorm | layers.ReluPointwiseNorm | layers.Halve | Edge
        ):
            weights = jax.tree.leaves_with_path(module.variables.get("params", {}))
            linear = [leaf for path, leaf in weights if path[-1].key.endswith(LINEAR)]
            macs += sum(leaf.size for leaf in linear) * out.shape[1] * out.shape[2]
        if context.method_name == "__call__" and isinstance(module, layers.Classifier):
            macs += module.variables["params"]["matrix"].size
        return out

    network = Network(outline, tuple(int(choice) for choice in architecture))
    with nn.intercept_methods(count):
        variables = jax.eval_shape(
            network.init, jax.random.key(0), np.zeros((1, *image_shape), np.float32)
        )
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"])), macs


LINEAR = ("kernel", "matrix", "first", "second", "depthwise", "pointwise")


@pytest.mark.parametrize("outline, image_shape", CASES, ids=str)
def test_cost_is_what_the_network_holds(outline, image_shape, key):
    pool = outline.decisions.sample(key, 4)
    found = cost(outline, pool, image_shape)
    expected = [measured(outline, row, image_shape) for row in pool]
    np.testing.assert_array_equal(np.stack([found.params, found.macs], 1), expected)


@pytest.mark.parametrize(
    "outline, image_shape",
    [
        (Outline(4, 1, 5, nodes=2), (8, 8, 3)),
        (Outline(4, 1, 5, "imagenet", "middle", 2), (33, 32, 3)),
    ],
    ids=str,
)
def test_layers_are_the_modules_of_the_network(outline, image_shape, key):
    """Parameters of each cell, edge and calibration, and the shapes that leave the cells."""
    architecture = outline.decisions.sample(key, 1)
    shapes = {}

    def note(next_call, args, kwargs, context):
        out = next_call(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(context.module, Cell | Edge):
            shapes["/".join(context.module.path)] = (*out.shape[1:3], out.shape[0])
        return out

    network = Network(outline, tuple(int(choice) for choice in architecture[0]))
    with nn.intercept_methods(note):
        images = np.zeros((1, *image_shape), np.float32)
        params = jax.eval_shape(network.init, jax.random.key(0), images)["params"]
    size = lambda *path: sum(
        leaf.size
        for at, leaf in jax.tree.leaves_with_path(params)
        if tuple(key.key for key in at[: len(path)]) == path
    )
    found = list(layers_of(outline, architecture, image_shape))
    assert sum(np.sum(layer.params) for layer in found if "stem" in layer.name) == size("stem")
    assert found[-1].params == size("classifier")
    for n, plan in enumerate(outline.plan()):
        place = f"cell {n + 1} ({'reduction' if plan.reduction else 'normal'}), "
        own = {layer.name.removeprefix(place): layer for layer in found if place in layer.name}
        edges = [layer for layer in found if place in layer.name and layer.wire is not None]
        assert [edge.params for edge in edges] == [
            size(f"cell{n}", f"edge{at}") for at in range(2 * outline.nodes)
        ]
        assert [edge.shape for edge in edges] == [
            shapes[f"cell{n}/edge{at}"] for at in range(2 * outline.nodes)
        ]
        assert own["from cell k-2"].params == size(f"cell{n}", "first")
        assert own["from cell k-1"].params == size(f"cell{n}", "second")
        assert own["output"].shape == shapes[f"cell{n}"]
        of_cell = sum(np.sum(layer.params) for layer in found if place in layer.name)
        assert of_cell == size(f"cell{n}")


def test_published_architecture():
    outline = Outline(channels=36, cells=6, classes=10)
    found = cost(outline, outline.decisions.parse(NAONET_V2)[None])
    assert found.params.tolist() == [4_387_654]  # measured on the official network


def test_supernet_size():
    outline = Outline(channels=20, cells=3, classes=10)
    arguments = np.zeros((1, 32, 32, 3), np.float32), np.zeros(40, np.int32)
    variables = jax.eval_shape(Supernet(outline).init, jax.random.key(0), *arguments)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 7_387_350


def test_exchanged_architectures_cost_the_same(key):
    outline = Outline(8, 1, 10)
    pool = outline.decisions.random(key, 50)
    exchanged = outline.decisions.exchange(jax.random.key(1), pool)
    for first, second in zip(
        *(vars(cost(outline, np.asarray(rows))).values() for rows in (pool, exchanged)),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)


def test_a_hundred_thousand_in_seconds(key):
    outline = Outline(20, 3, 10)
    pool = np.asarray(outline.decisions.random(key, 100_000))
    started = time.perf_counter()
    found = cost(outline, pool)
    assert time.perf_counter() - started < 10  # 1.0 s on two cores
    assert len(found.params) == 100_000
