import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnao_jax.nn.initialization import matrices
from bnao_jax.training import optimizer, schedule


def grads(step):
    return {"a": jnp.array([[1.0, -2.0], [3.0, 0.5]]) * (step + 1), "b": jnp.array([4.0])}


PARAMS = {"a": jnp.array([[0.1, 0.2], [0.3, 0.4]]), "b": jnp.array([-1.0])}


def descend(transformation, steps, **extra):
    params, state = PARAMS, transformation.init(PARAMS)
    for step in range(steps):
        updates, state = transformation.update(grads(step), state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("form", [optimizer._sum_of_squares, optimizer._sum_of_squares_at_once])
def test_the_norm_is_that_of_all_leaves(form):
    """Both forms; CUDA has the latter."""
    leaves = [jnp.arange(6.0).reshape(2, 3), jnp.float32(3.0), -jnp.ones((2, 1, 2))]
    np.testing.assert_allclose(form(leaves), 55 + 9 + 4)


def test_without_mask_it_is_optax_sgd():
    ours, _ = descend(optimizer.sgd(weight_decay=0.01, clip=5.0), 4, learning_rate=0.1, mask=None)
    theirs = optax.chain(
        optax.clip_by_global_norm(5.0), optax.add_decayed_weights(0.01), optax.sgd(0.1, 0.9)
    )
    expected, _ = descend(theirs, 4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, expected)


def test_nesterov_is_optax_nesterov():
    ours, _ = descend(optimizer.sgd(nesterov=True), 3, learning_rate=0.1, mask=None)
    expected, _ = descend(optax.sgd(0.1, 0.9, nesterov=True), 3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, expected)


def test_masked_weights_keep_value_and_momentum_to_the_bit():
    sgd = optimizer.sgd(weight_decay=0.1, clip=None)
    everything = {"a": jnp.ones((1, 1), bool), "b": jnp.ones(1, bool)}
    first_row = {"a": jnp.array([[True], [False]]), "b": jnp.zeros(1, bool)}
    updates, state = sgd.update(
        grads(0), sgd.init(PARAMS), PARAMS, learning_rate=0.1, mask=everything
    )
    params = optax.apply_updates(PARAMS, updates)
    updates, later = sgd.update(grads(1), state, params, learning_rate=0.1, mask=first_row)
    moved = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(moved["a"][1], params["a"][1])
    np.testing.assert_array_equal(moved["b"], params["b"])
    np.testing.assert_array_equal(later[2].trace["a"][1], state[2].trace["a"][1])
    assert (moved["a"][0] != params["a"][0]).all()


def test_what_is_no_matrix_can_be_spared_weight_decay():
    params = {
        "norm": {"scale": jnp.ones((2, 3))},
        "offset": jnp.ones(3),
        "matrix": jnp.ones((3, 3)),
    }
    sgd = optimizer.sgd(weight_decay=0.1, decayed=matrices)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = sgd.update(zeros, sgd.init(params), params, learning_rate=1.0, mask=None)
    np.testing.assert_allclose(updates["matrix"], -0.1, rtol=1e-6)
    assert not updates["offset"].any() and not updates["norm"]["scale"].any()


def test_linear_by_hand():
    rate = schedule.linear(high=0.5, low=0.1)
    np.testing.assert_allclose([rate(step, 8) for step in (0, 1, 4, 8)], [0.5, 0.45, 0.3, 0.1])


def test_cosine_by_hand():
    rate = schedule.cosine(high=1.0, low=0.2, steps_per_epoch=10)
    found = [float(rate(step, 40)) for step in (0, 9, 10, 20, 39)]
    expected = [0.2 + 0.4 * (1 + np.cos(np.pi * e / 4)) for e in (0, 0, 1, 2, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_exponential_by_hand():
    rate = schedule.exponential(high=0.1, decay=0.97, steps_per_epoch=5)
    np.testing.assert_allclose([rate(4, 20), rate(14, 20)], [0.1, 0.1 * 0.97**2], rtol=1e-6)


def test_a_factor_scales_the_update_and_no_factor_leaves_it():
    plain, _ = descend(optimizer.sgd(weight_decay=0.1), 3, learning_rate=0.1)
    scaled, _ = descend(optimizer.sgd(weight_decay=0.1), 3, learning_rate=0.2, factor=0.5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), scaled, plain)
    # The momentum is of the gradients, not of the scaled updates.
    sgd, state = optimizer.sgd(), optimizer.sgd().init(PARAMS)
    for factor in (0.0, 0.25):
        extra = dict(learning_rate=1.0, factor=factor)
        updates, state = sgd.update(jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS, **extra)
    np.testing.assert_allclose(updates["b"], -0.25 * 1.9, rtol=1e-6)


def test_one_group_is_plain_momentum():
    apart = optax.chain(optimizer.separated_momentum(0.9, 1), optimizer.descend())
    plain = optax.chain(optimizer.momentum(0.9), optimizer.descend())
    ours, _ = descend(apart, 4, learning_rate=0.1, group=0)
    theirs, _ = descend(plain, 4, learning_rate=0.1)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_groups_keep_their_momentum_apart():
    rule = optimizer.separated_momentum(0.5, 3)
    state, moved = rule.init(PARAMS), []
    for group in (0, 2, 0):
        updates, state = rule.update({"a": jnp.ones((2, 2)), "b": jnp.ones(1)}, state, group=group)
        moved.append(float(updates["b"][0]))
    assert moved == [1.0, 1.0, 1.5]
    assert state.trace["b"].ravel().tolist() == [1.5, 0.0, 1.0]
