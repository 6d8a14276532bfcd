"""The NAS-Bench-201 space against the benchmark's figures, its networks against each other."""

import csv
import gzip
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SHARED
from jax import lax

from bnao_jax.decisions import ArchitectureError
from bnao_jax.nn.initialization import initialize
from bnao_jax.spaces.nasbench201.cost import cost, layers
from bnao_jax.spaces.nasbench201.network import Network
from bnao_jax.spaces.nasbench201.outline import (
    EDGES,
    NAMES,
    NONE,
    SKIP,
    Outline,
    connected,
    convolutions_on_path,
    everything,
    nasbench201_decisions,
    numbers,
)
from bnao_jax.spaces.nasbench201.space import NasBench201Space
from bnao_jax.spaces.nasbench201.supernet import SharedCells, Supernet, inherit, on_path

SPACE = nasbench201_decisions()
TINY = Outline(channels=2, cells=2, classes=3)
ALL_OPERATIONS = (3, 0, 2, 4, 1, 3)  # conv 3x3, none, conv 1x1, pool, skip, conv 3x3
EXAMPLE = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
)


def rows_of(name, opened=open):
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    with opened(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_costs_are_the_benchmark_s():
    rows = rows_of("nasbench201_costs_sample.csv")
    pool = np.array([SPACE.parse(row["arch_str"]) for row in rows])
    found = cost(Outline(channels=16, cells=5, classes=10), pool)
    expected = lambda name: [round(float(row[name]) * 1e6) for row in rows]
    np.testing.assert_array_equal(found.params, expected("params_M_cifar10"))
    np.testing.assert_array_equal(found.macs, expected("macs_M_cifar10"))


def test_layers_are_the_modules_of_the_network():
    pool, image_shape = np.array([ALL_OPERATIONS]), (8, 8, 3)
    network = Network(TINY, ALL_OPERATIONS)
    images = np.zeros((1, *image_shape), np.float32)
    params = jax.eval_shape(network.init, jax.random.key(0), images)["params"]
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(own)) for name, own in params.items()}
    found = list(layers(TINY, pool, image_shape))
    of = lambda name: sum(np.sum(n) for at, _, n, *_ in found if at.split(",")[0] == name)
    assert of("stem") == sizes["stem"] and of("classifier") == sizes["classifier"]
    assert [of(f"halving {n}") for n in (1, 2)] == [sizes["halving1"], sizes["halving2"]]
    cells = [sizes[f"stage{stage}_cell{n}"] for stage in range(3) for n in range(2)]
    assert [of(f"cell {n + 1}") for n in range(6)] == cells
    assert [layer.shape for layer in found if layer.wire == ("cell", 0)][::2] == [
        *((8, 8, 2), (4, 4, 4), (2, 2, 8))
    ]


def test_texts_are_the_benchmark_s():
    rows = rows_of("nasbench201.csv.gz", gzip.open)
    texts = [row["arch_str"] for row in rows]
    pool = np.array([SPACE.parse(text) for text in texts])
    assert [SPACE.format(row) for row in pool] == texts
    np.testing.assert_array_equal(np.sort(numbers(pool)), np.arange(15_625))


def test_example_by_hand():
    np.testing.assert_array_equal(SPACE.parse(EXAMPLE), [3, 3, 4, 1, 3, 1])
    assert SPACE.format([3, 3, 4, 1, 3, 1]) == EXAMPLE


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "6 operations"),
        (EXAMPLE + "|none~0|", "6 operations"),
        (EXAMPLE.replace("skip_connect~2", "skip~2"), r"position 6 \(edge 3←2\): 'skip~2'"),
        (EXAMPLE.replace("pool_3x3~1", "pool_3x3~0"), "position 3"),
        (EXAMPLE.replace("+", ""), "is not written as"),
    ],
)
def test_bad_texts(text, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(text)


def value(architecture, weights, x):
    """What a cell of linear operations computes; every operation on every place has a number."""
    nodes = [x]
    for (node, read), choice in zip(EDGES, architecture, strict=True):
        factor = 0 if choice == NONE else 1 if choice == SKIP else weights[choice]
        y = nodes[read] * factor if choice in (NONE, SKIP) else np.tanh(nodes[read] * factor)
        nodes[node:] = [nodes[node] + y if node < len(nodes) else y]
    return nodes[-1]


def test_equal_architectures_compute_the_same_and_others_do_not():
    pool = everything()
    weights, x = np.array([0, 1, 1.3, -0.7, 0.4]), np.array([0.9, -0.3])
    values = np.array([value(row, weights, x) for row in pool])
    representatives = numbers(SPACE.canonical(pool))
    np.testing.assert_allclose(values, values[representatives], atol=1e-12)
    assert len(np.unique(values.round(9), axis=0)) == SPACE.cardinality == 4_930
    assert len(set(SPACE.keys(pool))) == 4_930


def test_paths_by_exhaustion():
    # All paths from node 0 to node 3, as the edges they take.
    paths = [[3], [0, 4], [1, 5], [0, 2, 5]]
    assert all(
        [EDGES[e] for e in path] == [(b, a) for a, b in itertools.pairwise([0, *stops])]
        for path, stops in zip(paths, [[3], [1, 3], [2, 3], [1, 2, 3]], strict=True)
    )
    pool = everything()
    best = np.full(len(pool), -1)
    for path in paths:
        open_path = (pool[:, path] != NONE).all(1)
        best = np.maximum(best, np.where(open_path, (pool[:, path] // 2 == 1).sum(1), -1))
    np.testing.assert_array_equal(convolutions_on_path(pool), best)
    assert (~connected(pool)).sum() == 341


@pytest.fixture(scope="module")
def tiny():
    """Images, weights, and logits of any architecture, traced."""
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    net = Supernet(TINY)
    params = initialize(net, jax.random.key(1), images, np.zeros(6, np.int32))
    return images, params, jax.jit(lambda a: net.apply({"params": params}, images, a))


def test_what_is_effective_computes_the_same(tiny):
    pool = everything()
    forms = NasBench201Space(2, 2, 3).effective(pool)
    assert len(np.unique(forms, axis=0)) == 9_445
    differs = np.flatnonzero((forms != pool).any(1))
    for row in np.random.RandomState(0).permutation(differs)[:40]:
        np.testing.assert_array_equal(tiny[2](pool[row]), tiny[2](forms[row]))
    # Two that differ where both count.
    both = (tiny[2](np.array(arch)) for arch in (ALL_OPERATIONS, (4, *ALL_OPERATIONS[1:])))
    assert np.abs(np.subtract(*both)).max() > 1e-3


@pytest.fixture(scope="module")
def stage():
    """Cells alone, on maps: their weights, and output with gradients."""
    cells, maps = SharedCells(cells=2), jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    params = initialize(cells, jax.random.key(1), maps, np.zeros(6, np.int32))

    def run(params, maps, architecture):
        y, pull = jax.vjp(lambda p, x: cells.apply({"params": p}, x, architecture), params, maps)
        return y, pull(jnp.sin(jnp.arange(96.0)).reshape(y.shape))

    return cells, params, maps, run


def test_static_is_traced_and_one_program_serves_all(stage):
    _, params, maps, run = stage
    traced = jax.jit(run)
    static = jax.jit(lambda params, maps: run(params, maps, ALL_OPERATIONS))
    both = static(params, maps), traced(params, maps, np.array(ALL_OPERATIONS))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *both)
    traced(params, maps, np.array([1, 2, 3, 4, 0, 2]))
    assert traced._cache_size() == 1


def plain_conv(x, w, stride=1):
    pad = [((w.shape[-1] - 1) // 2,) * 2] * 2
    layout = ("CHWN", "OIHW", "CHWN")
    return lax.conv_general_dilated(x, w, (stride,) * 2, pad, dimension_numbers=layout)


def plain_norm(x, scale=1.0, offset=0.0):
    mean, variance = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
    column = lambda v: jnp.reshape(v, (-1, 1, 1, 1))
    return (x - mean) / jnp.sqrt(variance + 1e-5) * column(scale) + column(offset)


def plain_pool(x):
    add = lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 3, 3, 1), (1,) * 4, ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    return add(x) / add(jnp.ones_like(x))


def plain_cells(params, x, architecture):
    """The cells of a stage, written from the specification, with XLA's convolutions."""

    def operation(choice, x, own):
        name = NAMES[choice]
        if "conv" in name:
            kernel = own[name.removeprefix("nor_") + "_kernel"]
            return plain_norm(plain_conv(jax.nn.relu(x), kernel))
        others = {"none": jnp.zeros_like, "skip_connect": lambda x: x, "avg_pool_3x3": plain_pool}
        return others[name](x)

    for n in range(2):
        nodes = [x, 0, 0, 0]
        for at, (node, read) in enumerate(EDGES):
            own = {name: leaf[n, at] for name, leaf in params.items()}
            nodes[node] = nodes[node] + operation(architecture[at], nodes[read], own)
        x = nodes[-1]
    return x


def plain_network(params, images, architecture):
    """The network, the same."""
    relu, stem = jax.nn.relu, params["stem"]
    x = plain_norm(plain_conv(images.transpose(3, 1, 2, 0), stem["kernel"]), **stem["norm"])
    for stage in range(3):
        if stage:
            p = params[f"halving{stage}"]
            y = plain_norm(plain_conv(relu(x), p["first"]["kernel"], 2), **p["first"]["norm"])
            y = plain_norm(plain_conv(relu(y), p["second"]["kernel"]), **p["second"]["norm"])
            c, h, w, b = x.shape
            pooled = x.reshape(c, h // 2, 2, w // 2, 2, b).mean((2, 4))
            x = y + plain_conv(pooled, p["kernel"])
        x = plain_cells(params[f"cells{stage}"], x, architecture)
    x = relu(plain_norm(x, **params["norm"])).mean((1, 2)).T
    return x @ params["classifier"]["matrix"].T + params["classifier"]["offset"][None]


def test_supernet_is_the_plain_network(tiny):
    images, params, logits = tiny
    expected = jax.jit(lambda: plain_network(params, images, ALL_OPERATIONS))()
    np.testing.assert_allclose(logits(np.array(ALL_OPERATIONS)), expected, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_plain_cells_and_stay_on_the_path(stage):
    _, params, maps, run = stage
    architecture = np.array(ALL_OPERATIONS)
    y, (grads, d_maps) = jax.jit(run)(params, maps, architecture)
    plain, pull = jax.vjp(jax.jit(lambda p, x: plain_cells(p, x, ALL_OPERATIONS)), params, maps)
    expected = pull(jnp.sin(jnp.arange(96.0)).reshape(y.shape))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, (y, (grads, d_maps)), (plain, expected))
    mask = on_path(TINY, {"cells0": params}, architecture)["cells0"]
    for name, choice in (("conv_1x1_kernel", 2), ("conv_3x3_kernel", 3)):
        np.testing.assert_array_equal(mask[name].ravel(), architecture == choice)
        assert np.abs(np.where(mask[name], 0, grads[name])).max() == 0
        assert np.abs(grads[name][:, architecture == choice]).max() > 0


def test_given_statistics_that_are_the_batch_s_own(stage):
    cells, params, maps, _ = stage
    own = jax.jit(lambda v: cells.apply(v, maps, ALL_OPERATIONS, mutable=["batch_stats"]))
    y, used = own({"params": params})
    given = jax.jit(lambda v: cells.apply(v, maps, ALL_OPERATIONS, given=True))
    np.testing.assert_allclose(given({"params": params, **used}), y, atol=1e-5)


def test_network_alone_is_the_supernet_s_path(tiny):
    """With scale 1 and offset 0 everywhere, and the weights of the path."""
    images, params, shared = tiny
    network = Network(TINY, ALL_OPERATIONS)
    standalone = initialize(network, jax.random.key(2), images)
    standalone, count = inherit(TINY, params, ALL_OPERATIONS, standalone)
    logits = jax.jit(network.apply)({"params": standalone}, images)
    np.testing.assert_allclose(logits, shared(np.array(ALL_OPERATIONS)), atol=1e-5)
    counted = sum(leaf.size for leaf in jax.tree.leaves(standalone))
    assert counted == cost(TINY, np.array([ALL_OPERATIONS]), (8, 8, 3)).params[0]
    norms = 3 * TINY.cells * sum("conv" in NAMES[choice] for choice in ALL_OPERATIONS)
    assert counted - count == 2 * norms // 3 * sum(TINY.widths)  # scales and offsets


@pytest.mark.parametrize("dead", ["nor_conv_1x1", "nor_conv_3x3"])
def test_convolutions_of_nothing_are_computed_as_they_are_written(dead):
    """Of zeros that XLA knows; compiled for a CPU it made infinities of them (see `operations`)."""
    text = f"|none~0|+|skip_connect~0|avg_pool_3x3~1|+|none~0|{dead}~1|avg_pool_3x3~2|"
    network = Network(Outline(4, 1, 10), tuple(SPACE.parse(text).tolist()))
    images = jax.random.normal(jax.random.key(0), (32, 16, 16, 3))
    draw = np.random.default_rng(0)
    params = jax.tree.map(
        lambda p: p + 0.3 * draw.normal(size=p.shape).astype(np.float32),
        initialize(network, jax.random.key(1), images),
    )
    record = jax.jit(lambda p: network.apply({"params": p}, images, mutable=["batch_stats"])[1])
    statistics = record(params)
    run = lambda params, statistics: network.apply(
        {"params": params, **statistics}, images, given=True
    )
    found = jax.jit(run)(params, statistics)
    with jax.disable_jit():
        np.testing.assert_allclose(found, run(params, statistics), rtol=1e-4, atol=1e-4)
