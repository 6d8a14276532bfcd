"""The ShuffleNetV2 block space against the paper's figures, its networks against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bnao_jax.nn.initialization import initialize
from bnao_jax.oneshot import SupernetSettings
from bnao_jax.settings import SettingError
from bnao_jax.spaces import shipped
from bnao_jax.spaces.shufflenet.cost import cost, layers, macs_of
from bnao_jax.spaces.shufflenet.network import Network
from bnao_jax.spaces.shufflenet.outline import Outline, Stage
from bnao_jax.spaces.shufflenet.space import ShuffleNetSpace
from bnao_jax.spaces.shufflenet.supernet import Supernet, inherit, on_path

# Published with their sizes: parameters without those of norms, and multiply-adds, in millions.
BLOCKS = (2, 1, 0, 1, 2, 0, 2, 0, 2, 0, 2, 3, 0, 0, 0, 0, 3, 2, 3, 3)
WITH_CHANNELS = (
    *(0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2),
    *(6, 5, 3, 5, 2, 6, 3, 4, 2, 5, 7, 5, 4, 6, 7, 4, 4, 5, 4, 3),
)
# Two kinds, so that the programs compile in seconds, and widths of 1 to 12 channels of 6.
TINY = ShuffleNetSpace(
    *(4, 1, 3), channel_choice=True, stages=(Stage(3, 3),), head=2, kinds=("shuffle5", "xception")
)
PATH, OTHER = (1, 0, 1, 3, 6, 9), (0, 1, 0, 9, 0, 4)
IMAGES = jax.random.normal(jax.random.key(0), (4, 9, 9, 3))


def shapes_of(outline, architecture, image_shape):
    """The "params" of a network alone, as shapes."""
    images = jnp.zeros((1, *image_shape))
    network = Network(outline, tuple(architecture))
    return jax.eval_shape(network.init, jax.random.key(0), images)["params"]


def counted(params, *, norms):
    """Parameters in all, or without those of norms."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum(leaf.size for path, leaf in leaves if norms or "norm" not in str(path))


@pytest.mark.parametrize(
    "architecture, params, macs", [(BLOCKS, 3.5, 323), (WITH_CHANNELS, 3.4, 328)]
)
def test_sizes_are_the_published_ones_and_those_of_the_module(architecture, params, macs):
    outline = Outline(channel_choice=len(architecture) > 20)
    shapes = shapes_of(outline, architecture, (224, 224, 3))
    found = cost(outline, np.array([architecture]))
    assert round(counted(shapes, norms=False) / 1e6, 1) == params
    assert round(found.macs[0] / 1e6) == macs
    assert counted(shapes, norms=True) == found.params[0]


def test_costs_of_odd_images_and_small_networks(key):
    outline = Outline(4, 1, 7, "cifar", True, stages=(Stage(3, 1), Stage(7, 2)))
    pool = np.asarray(outline.decisions.random(key, 64))
    found = cost(outline, pool, (7, 9, 1))
    shapes = shapes_of(outline, pool[1].tolist(), (7, 9, 1))
    assert counted(shapes, norms=True) == found.params[1]
    np.testing.assert_allclose(macs_of(outline, (7, 9, 1))(pool), found.macs, rtol=1e-6)
    assert macs_of(outline, (7, 9, 1))(pool[0]) == found.macs[0]


def test_multiply_adds_by_hand():
    # Images of 8x8, a stem of 4 channels, a first block of 12, a last convolution of 8.
    outline = Outline(4, 1, 3, stages=(Stage(3, 1),), head=2)
    stem, last, linear = 4 * 4 * 9 * 3 * 4, 2 * 2 * 12 * 8, 8 * 3
    side = 2 * 2 * (25 * 4 + 4 * 4)
    main = 4 * 4 * 4 * 6 + 2 * 2 * (25 * 6 + 6 * 8)
    found = cost(outline, np.array([[1]]), (8, 8, 3))
    assert found.macs[0] == stem + side + main + last + linear


@pytest.mark.parametrize("channel_choice", [False, True])
def test_layers_add_up_to_the_cost_and_name_their_blocks(channel_choice, key):
    outline = ShuffleNetSpace(16, 2, 10, "cifar", channel_choice)
    pool = np.asarray(outline.decisions.random(key, 5))
    found, whole = list(layers(outline, pool, (32, 32, 3))), cost(outline, pool, (32, 32, 3))
    for name in ("params", "macs"):
        total = sum(getattr(layer, name) + np.zeros(5, np.int64) for layer in found)
        np.testing.assert_array_equal(total, getattr(whole, name))
    blocks = [layer for layer in found if layer.wire]
    wires = outline.wires(pool[0])
    targets = [wires[kind][place].target for kind, place in (layer.wire for layer in blocks)]
    assert targets == [layer.name.split(", ")[1] for layer in blocks]
    assert targets == [f"block {n + 1}" for n in range(outline.blocks)]
    assert [layer.shape for layer in blocks][::3] == [
        *((32, 32, 64), (16, 16, 160), (8, 8, 320), (4, 4, 640))
    ]


def test_texts_and_bad_outlines():
    space = Outline(channel_choice=True).decisions
    text = " ".join(map(str, WITH_CHANNELS))
    assert space.format(space.parse(text)) == text
    assert Outline().decisions.cardinality == 4**20
    for settings in (dict(stem="large"), dict(cells=0), dict(channels=2, channel_choice=True)):
        with pytest.raises(ValueError, match="large|cells must be|channels=2"):
            Outline(**settings)


# Networks


def plain_conv(x, w, stride=1, groups=1):
    pad, layout = [((w.shape[-1] - 1) // 2,) * 2] * 2, ("CHWN", "OIHW", "CHWN")
    return lax.conv_general_dilated(
        x, w, (stride,) * 2, pad, dimension_numbers=layout, feature_group_count=groups
    )


def plain_norm(x):
    mean, variance = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5)


def plain_network(params, images, architecture):
    """The supernet's path, written from the paper for stages = (Stage(3, 3),), with XLA's
    convolutions and narrow weights."""
    relu = jax.nn.relu

    def depthwise(x, w, stride=1):
        return plain_norm(plain_conv(x, w[:, None], stride, len(w)))

    def pointwise(x, w):
        return relu(plain_norm(jnp.einsum("oc,chwb->ohwb", w, x)))

    def block(x, stride, kind, mid, own):
        if kind == 1:
            w = [
                own(f"xception_{name}{n}") for n in (1, 2, 3) for name in ("depthwise", "pointwise")
            ]
            x = pointwise(depthwise(x, w[0], stride), w[1][:mid])
            x = pointwise(depthwise(x, w[2][:mid]), w[3][:mid, :mid])
            return pointwise(depthwise(x, w[4][:mid]), w[5][:, :mid])
        x = pointwise(x, own("shuffle5_expand")[:mid])
        x = depthwise(x, own("shuffle5_depthwise")[:mid], stride)
        return pointwise(x, own("shuffle5_project")[:, :mid])

    kinds, mids = architecture[:3], [6 * (choice + 1) // 5 for choice in architecture[3:]]
    x = plain_conv(images.transpose(3, 1, 2, 0), params["stem"]["kernel"], 2)
    x = relu(plain_norm(x))
    first = lambda name: params["stage0_first"][name][0]
    name = TINY.kinds[kinds[0]]
    side = depthwise(x, first(f"{name}_side_depthwise"), 2)
    side = pointwise(side, first(f"{name}_side_pointwise"))
    x = jnp.concatenate([side, block(x, 2, kinds[0], mids[0], first)])
    for n in (1, 2):
        own = lambda name, n=n: params["stage0_rest"][name][n - 1]
        passed, kept = x.reshape(6, 2, *x.shape[1:]).swapaxes(0, 1)
        x = jnp.concatenate([passed, block(kept, 1, kinds[n], mids[n], own)])
    x = pointwise(x, params["last"]["kernel"][..., 0, 0]).mean((1, 2)).T
    return x @ params["classifier"]["matrix"].T + params["classifier"]["offset"][None]


def with_gradient(apply):
    """Of (logits, more) = `apply(params, architecture)`: (logits, gradient of their sum), more."""

    def run(params, architecture):
        logits, pull, more = jax.vjp(lambda p: apply(p, architecture), params, has_aux=True)
        return (logits, pull(jnp.sin(jnp.arange(12.0)).reshape(logits.shape))[0]), more

    return run


NET = Supernet(TINY)


@pytest.fixture(scope="module")
def tiny():
    """Weights; logits, gradients and statistics of any architecture, static and traced."""
    params = initialize(NET, jax.random.key(1), IMAGES, np.zeros(6, np.int32))
    apply = with_gradient(lambda p, a: NET.apply({"params": p}, IMAGES, a, mutable=["batch_stats"]))
    return params, jax.jit(apply, static_argnums=1), jax.jit(apply)


def assert_close(found, expected):
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4)
    jax.tree.map(close, found, expected)


def test_supernet_is_the_plain_network_and_one_program_serves_all(tiny):
    params, _, traced = tiny
    plain = with_gradient(lambda p, a: (plain_network(p, IMAGES, a), None))
    expected, _ = jax.jit(plain, static_argnums=1)(params, PATH)
    assert_close(traced(params, np.array(PATH))[0], expected)
    traced(params, np.array(OTHER))
    assert traced._cache_size() == 1


def test_static_is_traced(tiny):
    params, static, traced = tiny
    assert_close(static(params, PATH), traced(params, np.array(PATH)))


def test_gradients_stay_on_the_path(tiny):
    params, _, traced = tiny
    (_, gradient), _ = traced(params, np.array(PATH))
    mask = on_path(TINY, params, np.array(PATH))
    off = jax.tree.map(lambda g, m: np.abs(np.where(m, 0, g)).max(), gradient, mask)
    assert not any(jax.tree.leaves(off))
    used = jax.tree.map(lambda m, p: int(np.broadcast_to(m, p.shape).sum()), mask, params)
    standalone = counted(shapes_of(TINY, PATH, (9, 9, 3)), norms=False)
    assert sum(jax.tree.leaves(used)) == standalone


def test_given_statistics_that_are_the_batch_s_own(tiny):
    params, _, traced = tiny
    (logits, _), used = traced(params, np.array(PATH))
    given = jax.jit(lambda v: NET.apply(v, IMAGES, PATH, given=True))
    assert_close(given({"params": params, **used}), logits)


def test_network_alone_is_the_supernet_s_path(tiny):
    """With scale 1 and offset 0 everywhere, and the weights of the path."""
    params, _, traced = tiny
    network = Network(TINY, PATH)
    standalone = initialize(network, jax.random.key(2), IMAGES)
    standalone, count = inherit(TINY, params, PATH, standalone)
    logits = jax.jit(network.apply)({"params": standalone}, IMAGES)
    assert_close(logits, traced(params, np.array(PATH))[0][0])
    assert count == counted(standalone, norms=False)


def test_what_the_space_offers(tiny):
    params, *_ = tiny
    around = params["stem"]["kernel"].size + params["classifier"]["offset"].size
    assert TINY.least_weights() == counted(params, norms=True) - around
    space, pool = ShuffleNetSpace(4, 1, 3), np.array([[0, 1, 2, 2, 3], [3, 3, 3, 3, 3]])
    features = space.features(pool)  # of four stages, the third of two blocks
    np.testing.assert_array_equal(features[0].reshape(4, 4), np.diag([1, 1, 2, 1]))
    assert TINY.features(np.array([PATH]))[0].tolist() == [1, 2, 7, 14]
    with pytest.raises(SettingError, match="drop_path_keep=0.9 must be 1: .*'shufflenet'"):
        SupernetSettings().check_space(space)
    settings = shipped.SpaceSettings(name="shufflenet", channel_choice=True)
    with pytest.raises(ValueError, match="^channels=2 makes"):
        shipped.make(settings, shipped.NetworkSettings(channels=2), 10)
