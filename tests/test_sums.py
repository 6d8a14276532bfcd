"""Joint sums: their values, and the largest reduction that each platform's program holds."""

import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from bnao_jax.nn import shifts, sums


@pytest.mark.parametrize("count", [2, 9, 25])
@pytest.mark.parametrize("form", [sums.joint_sums, sums._sums_in_groups])
def test_joint_sums(form, count):
    maps = np.random.default_rng(0).normal(size=(count, 3, 4, 5, 2)).astype(np.float32)
    # 1e-5: float32 rounding over forty terms.
    expected = maps.astype(np.float64).sum((2, 3, 4)).T
    np.testing.assert_allclose(form(tuple(maps)), expected, rtol=1e-5, atol=1e-5)


def largest_reduction(platform, kernel):
    """The most arrays that one reduction of a depthwise gradient's program sums."""

    def gradient(x, w, g):
        return jax.vjp(lambda x, w: shifts.depthwise(x, w), x, w)[1](g)

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
