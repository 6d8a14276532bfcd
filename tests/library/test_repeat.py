"""Equal blocks in a loop: the same numbers as one by one, and one block to compile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bnao_jax.choice import Choice, ChoiceError, Value, along, collection
from bnao_jax.places import places_of
from bnao_jax.repeat import Repeat
from bnao_jax.spaces.module_space import ModuleSpace

SHAPE = (4, 4, 3)
IMAGES = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)


class Block(nn.Module):
    """A choice, numbers of its own and shared by all blocks, a norm, dropout."""

    rate: float = 0.0

    @nn.compact
    def __call__(self, x, train):
        norm = nn.BatchNorm(use_running_average=not train)
        kinds = {"wide": nn.Sequential([nn.Dense(6), norm, nn.Dense(4)]), "skip": lambda x: x}
        x = x + Choice(kinds, name="kind")(x)
        x = x * Value((0.5, 1.0, 2.0), name="scale")() * Value((1, 2), label="all", name="same")()
        x = nn.BatchNorm(use_running_average=not train)(jnp.tanh(x))
        return nn.Dropout(self.rate, deterministic=not train)(x)


class Net(nn.Module):
    """Blocks with choices in them, and choices."""

    length: int = 3
    rate: float = 0.0

    @nn.compact
    def __call__(self, images, train=False):
        x = Repeat(Block(self.rate), self.length, name="stage")(nn.Dense(4)(images), train)
        x = Repeat(Choice({"a": nn.Dense(4), "b": nn.tanh}), 2, name="tail")(x)
        return nn.Dense(5)(x.mean((1, 2)))


SPACE = ModuleSpace(Net(), SHAPE)


@pytest.fixture(scope="module")
def params():
    return SPACE.initial_weights(jax.random.key(0), SHAPE)


def losses(params, row):
    """Loss, statistics, what they give again, and gradients along a path."""
    net = SPACE.supernet(jnp.float32)

    def loss_of(params):
        y, changed = net.apply({"params": params}, IMAGES, row, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y) * np.arange(5.0)[None]), changed["batch_stats"]

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
    again = net.apply({"params": params, "batch_stats": statistics}, IMAGES, row, given=True)
    return loss, statistics, again, gradients


def test_every_block_has_decisions_and_weights_of_its_own(params):
    blocks = [f"stage/block{n}/{what}" for n in range(3) for what in ("kind", "scale")]
    assert SPACE.decisions.labels == (*blocks[:2], "all", *blocks[2:], "tail/block0", "tail/block1")
    first, second = (params["stage"][f"block{n}"]["kind"]["wide"] for n in range(2))
    assert jax.tree.map(jnp.shape, first) == jax.tree.map(jnp.shape, second)
    assert not np.array_equal(first["layers_0"]["kernel"], second["layers_0"]["kernel"])


def test_the_loop_gives_what_blocks_one_by_one_give(params):
    traced = jax.jit(losses)
    for row in np.asarray(SPACE.decisions.random(jax.random.key(5), 4)):
        found, expected = traced(params, row), losses(params, tuple(int(n) for n in row))
        compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
        jax.tree.map(compare, found, expected)
        off_path = lambda kept, gradient: np.where(kept, 0, gradient).any()
        masked = jax.tree.map(off_path, SPACE.on_path(params, row), found[3])
        assert not any(jax.tree.leaves(masked))  # what was not taken has no gradient


def test_the_collection_leads_along_the_same_path(params):
    net, places = Net(), places_of(Net(), IMAGES)
    statistics = SPACE.supernet(jnp.float32).init(jax.random.key(0), IMAGES, (0,) * 9)
    rest = {"params": params, "batch_stats": statistics["batch_stats"]}
    run = jax.jit(lambda row: net.apply(rest | {"architecture": collection(places, row)}, IMAGES))
    for row in np.asarray(SPACE.decisions.random(jax.random.key(7), 2)):
        with along(places, [int(n) for n in row]):
            expected = net.apply(rest, IMAGES)
        np.testing.assert_allclose(run(row), expected, rtol=1e-4, atol=1e-5)


def test_more_blocks_are_no_more_to_compile():
    def switches(length):
        space = ModuleSpace(Net(length), SHAPE)
        weights = jax.eval_shape(lambda: space.initial_weights(jax.random.key(0), SHAPE))
        net = space.supernet(jnp.float32)
        run = jax.jit(lambda params, row: net.apply({"params": params}, IMAGES, row))
        row = jax.ShapeDtypeStruct((space.decisions.length,), jnp.int32)
        return run.lower(weights, row).as_text().count("stablehlo.case")

    assert switches(2) == switches(6) > 0


def test_blocks_drop_what_they_draw_each_for_itself(params):
    class Only(nn.Module):
        @nn.compact
        def __call__(self, x):
            kept = Choice({"a": lambda x: x, "b": lambda x: 2 * x}, name="kind")(x)
            return nn.Dropout(0.5, deterministic=False)(kept)

    net, x = Repeat(Only(), 2), jnp.ones((1, 10_000))
    places = places_of(net, x)
    row = collection(places, jnp.array([0, 0]))
    y = net.apply({"architecture": row}, x, rngs={"dropout": jax.random.key(0)})
    assert 0.2 < float((y == 4).mean()) < 0.3  # a quarter is kept by both


def test_a_block_that_changes_the_shape_is_named():
    class Wider(nn.Module):
        @nn.compact
        def __call__(self, images):
            choice = Choice({"a": nn.Dense(4), "b": nn.Dense(4)})
            return Repeat(choice, 2, name="stage")(images)

    message = r"'stage' turns float32\[1, 4, 4, 3\] into float32\[1, 4, 4, 4\]"
    with pytest.raises(ChoiceError, match=message):
        ModuleSpace(Wider(), SHAPE)
