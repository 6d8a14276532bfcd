"""What CUDA compiles: joint sums, and the products behind strided slices."""

import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from bnao_jax.nn import depthwise_and_pooling, joint_sums, layers


@pytest.mark.parametrize("count", [2, 9, 25])
@pytest.mark.parametrize("form", [joint_sums.joint_sums, joint_sums._sums_in_groups])
def test_joint_sums(form, count):
    maps = np.random.default_rng(0).normal(size=(count, 3, 4, 5, 2)).astype(np.float32)
    # 1e-5: float32 rounding over forty terms.
    expected = maps.astype(np.float64).sum((2, 3, 4)).T
    np.testing.assert_allclose(form(tuple(maps)), expected, rtol=1e-5, atol=1e-5)


def largest_reduction(platform, kernel):
    """The most arrays that one reduction of a depthwise gradient's program sums."""

    def gradient(x, w, g):
        return jax.vjp(lambda x, w: depthwise_and_pooling.depthwise(x, w), x, w)[1](g)

    x = jnp.zeros((3, 6, 6, 2))
    args = x, jnp.zeros((3, kernel, kernel)), x
    program = jax.export.export(jax.jit(gradient), platforms=[platform])(*args).mlir_module()
    reductions = re.findall(r"stablehlo\.reduce\((.*?)\) (?:across|applies)", program)
    return max(line.count(" init: ") for line in reductions)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_cuda_compiles_at_most_five_sums_at_once(kernel):
    """Six fail there: a block's shared memory does not hold them."""
    assert largest_reduction("cuda", kernel) == 5
    assert largest_reduction("cpu", kernel) == kernel**2


def test_products_read_stored_phases_on_cuda():
    """XLA of jax 0.11 aborts where a product's gradient reads through a strided slice."""

    def loss(x, first, second):
        return layers.halve(x, first, second).sum()

    args = jnp.zeros((4, 6, 6, 2)), jnp.zeros((4, 4)), jnp.zeros((4, 4))
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))
    for platform, stored in (("cuda", True), ("cpu", False)):
        program = jax.export.export(gradient, platforms=[platform])(*args).mlir_module()
        assert ("optimization_barrier" in program) == stored
