"""The shipped spaces that are modules with choices: sizes by hand, one program for all paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shufflenet_by_choice import ShuffleNet

from bnao_jax.spaces import mobilenet, shipped
from bnao_jax.spaces.mobilenet import MobileNet
from bnao_jax.spaces.module_space import ModuleSpace
from bnao_jax.spaces.quantised import (
    QuantisedResNet,
    quantised_activations,
    quantised_weights,
    rounded,
)
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings
from bnao_jax.spaces.shufflenet.space import ShuffleNetSpace
from configs import dynamic, quantised
from configs import mobilenet as mobilenet_config
from launch.command import UsageError
from launch.config.plan import plan

SHAPE = (8, 8, 3)
MOBILE = dict(stem=4, stem_stride=1, first=4, widths=(4, 6), depths=(2, 1), strides=(1, 2), last=8)
RESNET = dict(stem=4, stem_kernel=3, stem_stride=1, pooled=False, widths=(4, 6), depth=1)
SPACES = {
    "mobilenet": ModuleSpace(MobileNet(classes=5, **MOBILE), SHAPE),
    "quantised": ModuleSpace(QuantisedResNet(classes=5, **RESNET), SHAPE),
}
IMAGES = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)


def mobile_cost(kernels, expansions, *, stem, first, widths, depths, strides, last, stem_stride, n):
    """(parameters, multiply-adds) of a MobileNet by the formulas of its layers; None: no block."""
    side, params, macs = SHAPE[0] // stem_stride, 0, 0

    def layer(weights, pixels, width):
        nonlocal params, macs
        params, macs = params + weights + 2 * width, macs + weights * pixels

    def block(before, width, kernel, expansion, stride):
        nonlocal side
        mid = before * expansion
        if expansion > 1:
            layer(before * mid, side**2, mid)
        side //= stride
        layer(kernel**2 * mid, side**2, mid)
        layer(mid * width, side**2, width)

    layer(27 * stem, side**2, stem)
    block(stem, first, 3, 1, 1)
    before, chosen = first, zip(kernels, expansions, strict=True)
    for width, depth, stride in zip(widths, depths, strides, strict=True):
        for at in range(depth):
            kernel, expansion = next(chosen)
            if kernel is not None:
                block(before, width, kernel, expansion, 1 if at else stride)
            before = width
    layer(before * last, side**2, last)
    return params + last * n + n, macs + last * n


def test_sizes_of_mobilenets_are_those_of_their_layers():
    space = SPACES["mobilenet"]
    assert space.decisions.options == (7, 7, 6)
    for text, kernels, expansions in (
        ("k5e3 skip k7e6", (5, None, 7), (3, None, 6)),
        ("k3e6 k7e3 k3e3", (3, 7, 3), (6, 3, 3)),
    ):
        found = space.cost(space.decisions.parse(text)[None], SHAPE)
        expected = mobile_cost(kernels, expansions, **MOBILE, n=5)
        assert (found.params[0], found.macs[0]) == expected


def test_layers_have_their_shapes():
    pool = SPACES["mobilenet"].decisions.parse("k5e3 skip k7e6")[None]
    shapes = [layer.shape for layer in SPACES["mobilenet"].layers(pool, SHAPE)]
    assert shapes == [(5,), (8, 8, 4), (8, 8, 4), (4, 4, 6)]


def test_shufflenet_by_choice_costs_what_the_hand_written_formulas_say():
    ours, theirs = ModuleSpace(ShuffleNet(10, 4, 1), SHAPE), ShuffleNetSpace(4, 1, 10, "cifar")
    pool = theirs.decisions.sample(jax.random.key(0), 5)
    found, expected = ours.cost(pool, SHAPE), theirs.cost(pool, SHAPE)
    assert found.params.tolist() == expected.params.tolist()
    assert found.macs.tolist() == expected.macs.tolist()


def test_the_published_networks_have_their_sizes():
    space = ModuleSpace(QuantisedResNet(), (224, 224, 3))
    cost = space.cost(np.zeros((1, 16), int), (224, 224, 3))
    assert cost.params[0] == 11_689_512  # torchvision's resnet18
    uniform = space.own_cost(np.arange(4).repeat(16).reshape(4, 16), (224, 224, 3))
    blocks = cost.macs[0] - 112**2 * 64 * 147 - 512_000  # without the first and the last layer
    assert uniform.tolist() == [blocks * bits**2 for bits in (1, 2, 3, 4)]
    assert quantised.get_config().search.max_cost == uniform[2]


def losses(space, params, row):
    net = space.supernet(jnp.float32)

    def loss_of(params):
        y, changed = net.apply({"params": params}, IMAGES, row, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y) * np.arange(5.0)[None]), changed["batch_stats"]

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
    again = net.apply({"params": params, "batch_stats": statistics}, IMAGES, row, given=True)
    return loss, again, gradients


MODULES = (
    MobileNet(classes=5, **MOBILE | dict(widths=(4,), depths=(2,), strides=(1,))),
    QuantisedResNet(classes=5, **RESNET | dict(widths=(4,))),
)


@pytest.mark.parametrize("module", MODULES)
def test_static_is_traced(module, monkeypatch):
    monkeypatch.setattr(mobilenet, "KERNELS", (5,))  # six options take long to compile
    space = ModuleSpace(module, SHAPE)
    params = space.initial_weights(jax.random.key(0), SHAPE)
    traced = jax.jit(lambda params, row: losses(space, params, row))
    for row in np.asarray(space.decisions.random(jax.random.key(1), 2)):
        static = tuple(int(choice) for choice in row)
        found, expected = traced(params, row), losses(space, params, static)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, expected
        )
        y = space.supernet(jnp.float32).apply({"params": params}, IMAGES, static)
        np.testing.assert_allclose(expected[1], y, rtol=1e-4, atol=1e-5)  # its statistics again
        for mask, *gradients in zip(
            *map(jax.tree.leaves, (space.on_path(params, row), found[2], expected[2])), strict=True
        ):
            assert not any(np.where(mask, 0, gradient).any() for gradient in gradients)
    assert traced._cache_size() == 1


def test_numbers_are_rounded_to_steps_with_the_gradient_of_none():
    x = jnp.linspace(0, 1, 101)
    for bits in (1, 2, 3, 4):
        y = rounded(x, bits)
        assert (
            len(np.unique(np.round(y, 5))) == 2**bits
            and np.abs(y - x).max() <= 0.5 / (2**bits - 1) + 1e-6
        )
        np.testing.assert_allclose(jax.grad(lambda x, b=bits: rounded(x, b).sum())(x), 1.0)
    w = jnp.asarray(np.random.default_rng(0).normal(size=50), jnp.float32)
    for bits in (1, 2, 3, 4):
        values = np.unique(np.round(quantised_weights(w, bits), 5))
        assert len(values) <= 2**bits and np.abs(values).max() <= 1
        same = jax.jit(quantised_weights)(w, bits)
        np.testing.assert_allclose(same, quantised_weights(w, bits), atol=1e-6)
    size = float(jnp.abs(w).mean())
    np.testing.assert_allclose(quantised_weights(w, 1), size * np.sign(w), rtol=1e-6)
    cut = jax.grad(lambda x: quantised_activations(x, 2).sum())(jnp.array([-1.0, 0.5, 2.0]))
    assert cut.tolist() == [0, 1, 0]


def test_shipped_modules_need_no_code():
    settings = SpaceSettings(
        name="mobilenet", settings=", ".join(f"{n}={v}" for n, v in MOBILE.items())
    )
    made = shipped.make(settings, NetworkSettings(), 5, SHAPE)
    assert made == SPACES["mobilenet"] and not settings.is_code
    config = dynamic.get_config("mobilenet_smoke")
    space = plan(config).space()
    assert space.decisions.length == 5 and space.split(0) in range(5)


def test_the_limit_of_the_own_cost_is_hard():
    config = quantised.get_config("smoke")
    ready = plan(config)
    space, shape = ready.space(), (32, 32, 3)
    accept = ready.limit(space, shape)
    pool = np.asarray(space.decisions.random(jax.random.key(0), 200))
    within = space.own_cost(pool, shape) <= config.search.max_cost
    assert 0 < within.sum() < 200
    np.testing.assert_array_equal(accept(pool), within)
    config = mobilenet_config.get_config("smoke")
    config.search.max_cost = 5
    with pytest.raises(
        UsageError, match="max_cost=5: the space 'MobileNet' has no cost of its own"
    ):
        plan(config)
