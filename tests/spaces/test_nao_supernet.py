"""The supernet against a plain network of XLA convolutions, and static against traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bnao_jax.nn.initialization import initialize
from bnao_jax.nn.layers import DropPath
from bnao_jax.nn.operations import IDENTITY
from bnao_jax.spaces.nao.outline import Outline, genes, loose_ends
from bnao_jax.spaces.nao.supernet import Supernet, on_path

LAYOUT = ("CHWN", "OIHW", "CHWN")
OUTLINE = Outline(channels=4, cells=2, classes=5, operations="forms", nodes=2)
BATCH = 4


def plain_conv(x, w, *, stride=1, dilation=1, groups=1, pad=0):
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


def plain_norm(x, scale, offset):
    mean, variance = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
    column = lambda v: v.reshape(-1, 1, 1, 1)
    return (x - mean) / jnp.sqrt(variance + 1e-5) * column(scale) + column(offset)


def plain_halve(x, p):
    phases = x[:, ::2, ::2], x[:, 1::2, 1::2]
    both = [
        plain_conv(phase, p[side][:, :, None, None])
        for phase, side in zip(phases, ("first", "second"), strict=True)
    ]
    return plain_norm(jnp.concatenate(both), p["scale"], p["offset"])


def plain_window(x, stride, initial, combine):
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, initial, combine, (1, 3, 3, 1), (1, stride, stride, 1), border)


def plain_operation(name, x, stride, weights):
    if name == "zero":
        return jnp.zeros_like(x[:, ::stride, ::stride])
    if name == "identity":
        return x if stride == 1 else plain_halve(x, weights("skip"))
    if name == "max_pool_3x3":
        return plain_window(x, stride, -jnp.inf, lax.max)
    if name == "avg_pool_3x3":
        total = plain_window(x, stride, 0.0, lax.add)
        return total / plain_window(jnp.ones_like(x), stride, 0.0, lax.add)
    dilation, units = (2, 1) if name.startswith("dil") else (1, 2)
    for u in range(units):
        p, step = weights(f"{name}_{u}"), stride if u == 0 else 1
        options = {"dilation": dilation, "groups": x.shape[0], "pad": dilation, "stride": step}
        x = plain_conv(jax.nn.relu(x), p["depthwise"][:, None], **options)
        x = plain_norm(plain_conv(x, p["pointwise"][:, :, None, None]), p["scale"], p["offset"])
    return x


def plain_cell(before, last, params, n, inputs, choices, stride):
    """One cell, written from the specification: weights picked from the stacks one by one."""

    def stack(prefix, slot):
        names = [k for k in params if k.startswith(f"{prefix}_")]
        return {k.rsplit("_", 1)[1]: params[k][n, slot] for k in names}

    states, base = [before, last], 0
    for edge, (read, choice) in enumerate(zip(inputs, choices, strict=True)):
        step = stride if read < 2 else 1

        def weights(prefix, edge=edge, read=read, base=base):
            return stack(prefix, 2 * edge + read if prefix == "skip" else base + read)

        name = OUTLINE.candidates[choice].name
        y = plain_operation(name, states[read], step, weights)
        base += edge // 2 + 2
        if edge % 2:
            states[-1] = states[-1] + y
        else:
            states.append(y)
    total = 0
    for state in np.flatnonzero(loose_ends(np.array(inputs), len(inputs) // 2)):
        x = states[state]
        if stride == 2 and state < 2:
            x = plain_halve(x, stack("halve", state))
        total += plain_conv(jax.nn.relu(x), params["combine"][n, state][:, :, None, None])
    return plain_norm(total, params["norm_scale"][n], params["norm_offset"][n])


def plain_supernet(params, images, architecture):
    inputs, choices = genes(np.array(architecture), OUTLINE.nodes)

    def conv_norm(x, p):
        return plain_norm(plain_conv(x, p["kernel"], pad=1), **p["norm"])

    def fit(x, name):
        p = params.get(name)
        if p is None:
            return x
        if "matrix" in p:
            return plain_norm(
                plain_conv(jax.nn.relu(x), p["matrix"][:, :, None, None]), **p["norm"]
            )
        return plain_halve(jax.nn.relu(x), p | p["norm"])

    before = last = conv_norm(images.transpose(3, 1, 2, 0), params["stem"]["conv"])
    for at, cell in enumerate(OUTLINE.plan()):
        run = max(int(k[5:]) for k in params if k.startswith("cells") and int(k[5:]) <= at)
        kind = int(cell.reduction)
        first, second = fit(before, f"cell{at}_first"), fit(last, f"cell{at}_second")
        weights = params[f"cells{run}"]
        genome = inputs[kind].tolist(), choices[kind].tolist()
        before, last = last, plain_cell(first, second, weights, at - run, *genome, 1 + kind)
    p = params["classifier"]
    return last.mean((1, 2)).T @ p["matrix"].T + p["offset"][None]


@pytest.fixture(scope="module")
def material():
    net = Supernet(OUTLINE)
    images = jax.random.normal(jax.random.key(1), (BATCH, 8, 8, 3))
    pool = np.asarray(OUTLINE.decisions.random(jax.random.key(2), 40))
    params = initialize(net, jax.random.key(3), images, jnp.asarray(pool[0]))
    # Scales and offsets that are not 1 and 0 show whether they are picked rightly.
    noise = 0.1 * np.asarray(jax.random.normal(jax.random.key(4), (10_000,)))
    params = jax.tree.map(np.asarray, params)  # by NumPy: jax compiles a program for each shape
    params = jax.tree.map(
        lambda p: p + noise[: p.size].reshape(p.shape) if p.size < 1e4 else p, params
    )
    return net, params, images, pool


def loss(net, params, images, architecture, **options):
    return loss_of(net.apply({"params": params}, images, architecture, **options))


def loss_of(logits):
    return jnp.sum(jnp.sin(logits) * jnp.arange(1.0, logits.size + 1).reshape(logits.shape))


@pytest.fixture(scope="module")
def traced(material):
    net = material[0]
    return jax.jit(jax.value_and_grad(lambda *args: loss(net, *args)))


def close(found, expected, tolerance):
    """Leaves agree relative to the largest entry of the leaf, or of the tree where it is zero."""
    found, expected = jax.tree.map(np.asarray, (found, expected))
    top = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))

    def check(a, b):
        scale = max(np.abs(b).max(), 1e-3 * top)
        np.testing.assert_allclose(a, b, atol=tolerance * scale, rtol=0)

    jax.tree.map(check, found, expected)


@pytest.mark.parametrize("row", [2, 32])  # every operation at both strides
def test_traced_supernet_is_the_plain_network(material, traced, row):
    net, params, images, pool = material
    architecture = tuple(pool[row].tolist())

    def plain(params):
        logits = plain_supernet(params, images, architecture)
        return jnp.sum(jnp.sin(logits) * jnp.arange(1.0, logits.size + 1).reshape(logits.shape))

    value, gradient = traced(params, images, jnp.asarray(pool[row]))
    expected, expected_gradient = jax.jit(jax.value_and_grad(plain))(params)
    # float32 through eight cells of norms over few values
    np.testing.assert_allclose(value, expected, rtol=2e-4)
    close(gradient, expected_gradient, 2e-3)


def test_static_is_traced(material, traced):
    net, params, images, pool = material
    architecture = tuple(pool[2].tolist())
    static = jax.jit(jax.value_and_grad(lambda p: loss(net, p, images, architecture)))
    value, gradient = traced(params, images, jnp.asarray(pool[2]))
    expected, expected_gradient = static(params)
    np.testing.assert_allclose(value, expected, rtol=2e-4)
    close(gradient, expected_gradient, 2e-3)


def test_one_program_for_all_architectures(material, traced):
    _, params, images, pool = material
    for row in pool[:8]:
        traced(params, images, jnp.asarray(row))
    assert traced._cache_size() == 1


def test_gradients_stay_on_the_path(material, traced):
    net, params, images, pool = material

    @jax.jit
    def added(used, gradient, row):
        mask = on_path(OUTLINE, params, row)
        off = jax.tree.map(lambda m, g: jnp.where(m, 0, jnp.abs(g)).max(), mask, gradient)
        return jax.tree.map(lambda u, g: u + jnp.abs(g), used, gradient), off

    used = jax.tree.map(np.zeros_like, params)
    for row in map(jnp.asarray, pool):
        _, gradient = traced(params, images, row)
        used, off = added(used, gradient, row)
        assert not any(jax.tree.leaves(off))
    # The masks are not merely generous: nearly every slot is trained by some architecture.
    trained = [(np.asarray(leaf) != 0).mean() for leaf in jax.tree.leaves(used)]
    assert np.mean(trained) > 0.8


def drop_path(keep):
    return DropPath(jnp.float32(keep), jax.random.split(jax.random.key(5), BATCH))


@pytest.fixture(scope="module")
def logits_of_first(material):
    """What the plain network makes of the first architecture."""
    _, params, images, pool = material
    return jax.jit(lambda p: plain_supernet(p, images, tuple(pool[0].tolist())))(params)


def test_drop_path(material, logits_of_first):
    net, params, images, pool = material
    apply = jax.jit(
        lambda a, keep: net.apply({"params": params}, images, a, drop_path=drop_path(keep))
    )
    kept = apply(jnp.asarray(pool[0]), 1.0)
    np.testing.assert_allclose(kept, logits_of_first, rtol=1e-3, atol=1e-3)
    assert not np.allclose(apply(jnp.asarray(pool[0]), 0.5), kept, atol=1e-2)
    # Every edge is dropped by itself, identities too, as the official release does it: with all
    # edges of the last cell dropped nothing but its inputs is left.
    identity = OUTLINE.candidates.index(IDENTITY)
    architecture = jnp.array(np.tile([0, identity, 1, identity, 2, identity, 2, identity], 2))
    assert not np.allclose(apply(architecture, 0.5), apply(architecture, 1.0), atol=1e-2)


def test_drop_path_factors_have_mean_one_and_scale_with_depth():
    factors = DropPath(0.6, jax.random.split(jax.random.key(0), 4000)).factors(4, 1)
    np.testing.assert_allclose(factors.mean((1, 2)), 1.0, atol=0.05)
    np.testing.assert_allclose((factors > 0).mean((1, 2)), [0.9, 0.8, 0.7, 0.6], atol=0.03)


def test_recorded_statistics_given_back_give_the_same_logits(material):
    net, params, images, pool = material

    @jax.jit
    def both(a):
        logits, changed = net.apply({"params": params}, images, a, mutable=["batch_stats"])
        return logits, net.apply({"params": params, **changed}, images, a, given=True)

    for row in pool[:4]:
        np.testing.assert_allclose(*both(jnp.asarray(row)), rtol=1e-4, atol=1e-5)


def test_bfloat16_trains_near_float32():
    """Static, which compiles faster; traced it has the same shapes and types."""
    outline = Outline(channels=4, cells=1, classes=5, operations="forms", nodes=1)
    architecture = (0, 2, 1, 5, 0, 3, 1, 4)  # separable, max pool; dilated, average pool
    images = jax.random.normal(jax.random.key(1), (BATCH, 16, 16, 3))
    params = initialize(Supernet(outline), jax.random.key(3), images, architecture)

    def train(dtype):
        def run(params, architecture):
            net = Supernet(outline, dtype=dtype)
            logits = net.apply({"params": params}, images, architecture)
            return loss_of(logits), logits

        return jax.grad(run, has_aux=True)

    half, full = (
        jax.jit(train(dtype), static_argnums=1)(params, architecture)
        for dtype in (jnp.bfloat16, jnp.float32)
    )
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    traced = jax.eval_shape(train(jnp.bfloat16), params, np.array(architecture))
    assert shapes(traced) == shapes(half) == shapes((params, full[1]))
    flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    assert np.corrcoef(*(flat(logits) for _, logits in (half, full)))[0, 1] > 0.99
    # Five cells of norms over few values amplify rounding; a wrong gradient is near 0.
    assert np.corrcoef(*(flat(gradient) for gradient, _ in (half, full)))[0, 1] > 0.9
