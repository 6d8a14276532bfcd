"""Both forms of each operation in float64: ours against XLA's convolution and window reduction."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bnao_jax.nn import convolution, depthwise_and_pooling, layers, normalization

LAYOUT = ("CHWN", "OIHW", "CHWN")


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def array(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def agree(ours, theirs, *args):
    """Values and gradients agree; 1e-10 is float64 rounding over a few hundred sums."""
    g = array(*jax.eval_shape(theirs, *args).shape, seed=9)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_pullback(function, g, *args):
        y, pull = jax.vjp(function, *args)
        return y, *pull(g)

    found, expected = (value_and_pullback(function, g, *args) for function in (ours, theirs))
    for ours_is, theirs_is in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours_is, theirs_is, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", ["shifted", "grouped"])
@pytest.mark.parametrize("size", [(6, 6), (7, 5)])
@pytest.mark.parametrize("kernel, dilation", [(3, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(kernel, dilation, stride, size, form, monkeypatch):
    def reference(x, w):
        pad = dilation * (kernel - 1) // 2
        return lax.conv_general_dilated(
            jax.nn.relu(x),
            w[:, None],
            (stride, stride),
            [(pad, pad)] * 2,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=LAYOUT,
            feature_group_count=x.shape[0],
        )

    monkeypatch.setitem(depthwise_and_pooling.FORM_ON, "cpu", form)
    ours = lambda x, w: depthwise_and_pooling.depthwise(x, w, stride, dilation, True)
    agree(ours, reference, array(3, *size, 2), array(3, kernel, kernel, seed=1))


def test_depthwise_of_what_is_not_rectified():
    x, w = array(3, 6, 5, 2), array(3, 3, 3, seed=1)
    ours = lambda x, w: depthwise_and_pooling.depthwise(jax.nn.relu(x), w)
    agree(ours, lambda x, w: depthwise_and_pooling.depthwise(x, w, rectify=True), x, w)


@pytest.mark.parametrize("form", ["shifted", "grouped"])
def test_the_form_is_the_platform_s(form, monkeypatch):
    monkeypatch.setitem(depthwise_and_pooling.FORM_ON, "cpu", form)
    ours = lambda *args: depthwise_and_pooling.depthwise(
        *args
    )  # jit keeps what it traced by function
    program = jax.jit(ours).lower(array(3, 6, 5, 2), array(3, 3, 3)).as_text()
    assert ("stablehlo.convolution" in program) == (form == "grouped")


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_average_pool_leaves_out_the_padding(stride, size):
    def window_sum(x):
        border = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(
            x, np.zeros((), x.dtype), lax.add, (1, 3, 3, 1), (1, stride, stride, 1), border
        )

    reference = lambda x: window_sum(x) / window_sum(jnp.ones_like(x))
    agree(lambda x: depthwise_and_pooling.average_pool(x, stride), reference, array(2, *size, 3))


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_max_pool(stride, size):
    def reference(x):
        border = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(
            x, np.array(-np.inf, x.dtype), lax.max, (1, 3, 3, 1), (1, stride, stride, 1), border
        )

    agree(lambda x: depthwise_and_pooling.max_pool(x, stride), reference, array(2, *size, 3))


def test_max_pool_sends_a_tie_to_one_input_only():
    y, pull = jax.vjp(lambda x: depthwise_and_pooling.max_pool(x, 2), jnp.zeros((1, 4, 4, 1)))
    assert pull(jnp.ones_like(y))[0].sum() == y.size


@pytest.mark.parametrize("inputs, outputs", [(5, 3), (3, 5)])
def test_pointwise(inputs, outputs):
    reference = lambda x, w: jnp.einsum("oc,chwb->ohwb", w, x)
    agree(layers.pointwise, reference, array(inputs, 4, 3, 2), array(outputs, inputs, seed=1))


@pytest.mark.parametrize("stride, padding, kernel", [(1, 1, 3), (2, 1, 3), (1, 0, 2)])
def test_convolve(stride, padding, kernel):
    def reference(x, w):
        pads = [(padding, padding)] * 2
        return lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=LAYOUT)

    ours = lambda x, w: convolution.convolve(x, w, stride=stride, padding=padding)
    agree(ours, reference, array(3, 6, 5, 2), array(4, 3, kernel, kernel, seed=1))


def test_batch_norm():
    def reference(x, scale, offset):
        mean = x.mean((1, 2, 3), keepdims=True)
        variance = ((x - mean) ** 2).mean((1, 2, 3), keepdims=True)
        unit = (x - mean) / jnp.sqrt(variance + normalization.EPSILON)
        return unit * scale[:, None, None, None] + offset[:, None, None, None]

    ours = lambda *args: normalization.batch_norm(*args)[0]
    agree(ours, reference, array(3, 4, 5, 2), array(3, seed=1), array(3, seed=2))


def test_batch_norm_with_recalled_statistics():
    args = array(3, 4, 5, 2), array(3, seed=1), array(3, seed=2)
    recalled = normalization.batch_statistics(args[0])
    ours = lambda *args: normalization.batch_norm(*args, None, recalled)[0]
    agree(ours, lambda *args: normalization.batch_norm(*args)[0], *args)


def test_given_statistics_that_are_the_batch_s_own():
    x, scale, offset = array(3, 4, 5, 2), array(3, seed=1), array(3, seed=2)
    y, used = layers.norm(x, scale, offset)
    np.testing.assert_array_equal(layers.norm(x, scale, offset, used)[0], y)


def test_halve_by_hand():
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    y = layers.halve(x, jnp.ones((1, 1)), jnp.ones((1, 1)))
    np.testing.assert_array_equal(y[0, ..., 0], [[0, 2], [6, 8]])
    np.testing.assert_array_equal(y[1, ..., 0], [[4, 0], [0, 0]])  # odd phase, padded
