"""The space of any Flax module with choices in it: what is derived is what the networks do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bnao_jax import oneshot, search
from bnao_jax.choice import Choice, ChoiceError, Value
from bnao_jax.cost import macs_in
from bnao_jax.data import Augmentation
from bnao_jax.decisions import ArchitectureError
from bnao_jax.spaces.module_space import ModuleSpace
from bnao_jax.strategies.random import random_search
from bnao_jax.training.recipe import StandaloneSettings
from bnao_jax.training.standalone import make_standalone

SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)


class Block(nn.Module):
    """Convolution, norm that runs or always takes the batch, dropout."""

    kernel: int
    running: bool = True

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(
            4, (self.kernel, self.kernel), feature_group_count=4 if self.kernel == 3 else 1
        )(x)
        x = nn.BatchNorm(use_running_average=self.running and not train)(x)
        return nn.relu(nn.Dropout(0.1, deterministic=not train)(x))


class Chain(nn.Module):
    """A chain of blocks."""

    classes: int = 5

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(images))
        for n in range(3):
            options = {"k1": Block(1), "k3": Block(3, False), "skip": lambda x, train: x}
            x = Choice(options, name=f"layer{n}")(x, train)
        return nn.Dense(self.classes)(x.mean((1, 2)))


class Tied(nn.Module):
    """Two cells of the same two choices, with a loop inside an option; it takes no `train`."""

    @nn.compact
    def __call__(self, images):
        x = nn.Dense(4)(images)
        for cell in range(2):
            for edge in range(2):
                deep = nn.Sequential([nn.Dense(6), nn.relu, nn.Dense(4)])
                options = {"conv": nn.Conv(4, (3, 3)), "deep": deep}
                x = nn.tanh(Choice(options, label=f"edge{edge}", name=f"cell{cell}_{edge}")(x))
        return nn.Dense(5)(x.mean((1, 2)))


class Values(nn.Module):
    """Numbers that share the weights."""

    @nn.compact
    def __call__(self, images):
        x = Choice({"a": nn.Dense(4), "b": nn.Conv(4, (3, 3))}, name="kind")(images)
        x = nn.tanh(x * Value((0.5, 1, 2), name="scale")())
        return nn.Dense(5)(x.mean((1, 2)))


SPACES = {
    "chain": ModuleSpace(Chain(), SHAPE),
    "tied": ModuleSpace(Tied(), SHAPE),
    "values": ModuleSpace(Values(), SHAPE),
}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


@pytest.fixture
def pool(space):
    return np.asarray(space.decisions.random(jax.random.key(5), 4))


def as_tuple(row):
    return tuple(int(choice) for choice in row)


def test_initialisers_of_the_module_s_own_draw_what_they_draw_in_flax(space):
    weights, images = space.initial_weights(jax.random.key(3), SHAPE), jnp.zeros((1, *SHAPE))
    net, row = space.supernet(jnp.float32), jnp.zeros(space.decisions.length, jnp.int32)
    expected = jax.jit(net.init)(jax.random.key(3), images, row)["params"]
    jax.tree.map(np.testing.assert_array_equal, weights, expected)


def test_an_initialiser_may_look_at_the_input():
    def call(self, images):
        x = linear(Choice({"a": nn.Dense(4), "b": nn.Dense(4)}, name="c")(images))
        return x + self.param("mean", lambda key: x.mean())

    weights = ModuleSpace(of(call), SHAPE).initial_weights(jax.random.key(0), SHAPE)
    assert weights["mean"].shape == ()


def test_decisions_have_names_texts_and_tokens():
    chain, tied, values = (SPACES[name].decisions for name in ("chain", "tied", "values"))
    assert chain.labels == ("layer0", "layer1", "layer2") and chain.options == (3, 3, 3)
    assert chain.first_tokens == (1, 1, 1) and chain.vocabulary == 4
    assert tied.labels == ("edge0", "edge1") and tied.format([1, 0]) == "deep conv"
    assert values.options == (2, 3) and values.first_tokens == (1, 3)
    assert values.format([0, 2]) == "a 2" and values.parse("b 0.5").tolist() == [1, 0]
    with pytest.raises(ArchitectureError, match=r"position 2 \(scale\): '4' is not one of 0.5, 1"):
        values.parse("b 4")
    with pytest.raises(ArchitectureError, match="is 3 names, as in 'k1 k1 k1', not 2"):
        chain.parse("k1 skip")


def test_costs_are_those_of_the_static_network(space, pool):
    assert space.classes == 5
    costs = space.cost(pool, SHAPE)
    in_a_step = jax.jit(jax.vmap(space.macs(SHAPE)))(pool)
    np.testing.assert_array_equal(in_a_step, costs.macs)
    for row, params, macs in zip(pool, costs.params, costs.macs, strict=True):
        network = space.network(as_tuple(row), jnp.float32)
        variables = jax.eval_shape(network.init, jax.random.key(0), IMAGES[:1])
        assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == params
        jaxpr = jax.make_jaxpr(network.apply)(variables, IMAGES[:1]).jaxpr
        assert macs_in(jaxpr) == macs
    assert len(set(costs.macs)) > 1 and space.least_weights() <= costs.params.min()


def test_costs_by_hand():
    conv, dense = 8 * 8 * 9 * 3 * 4, 4 * 5
    assert SPACES["values"].cost(np.array([[1, 0]]), SHAPE).macs.tolist() == [conv + dense]
    assert SPACES["values"].cost(np.array([[1, 0]]), SHAPE).params.tolist() == [112 + 25]


def losses(space, params, row, *, static):
    """Logits with the batch's statistics and with those given back, and the gradients."""
    net = space.supernet(jnp.float32)
    row = as_tuple(row) if static else row

    def loss_of(params):
        y, changed = net.apply({"params": params}, IMAGES, row, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y) * np.arange(5.0)[None]), changed.get("batch_stats", {})

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
    again = net.apply({"params": params, "batch_stats": statistics}, IMAGES, row, given=True)
    return loss, again, gradients


def test_static_is_traced_and_one_program_serves_all(space, pool):
    params = space.initial_weights(jax.random.key(0), SHAPE)
    traced = jax.jit(lambda params, row: losses(space, params, row, static=False))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for row in pool:
        found, expected = traced(params, row), losses(space, params, row, static=True)
        jax.tree.map(close, found, expected)
        # Statistics that were recorded give the same again.
        y = space.supernet(jnp.float32).apply({"params": params}, IMAGES, as_tuple(row))
        close(found[1], y)
        mask = space.on_path(params, row)
        moved = jax.tree.map(lambda g: np.abs(g).max() > 0, found[2])
        jax.tree.map(lambda m, g: None if m.all() else np.testing.assert_(not g), mask, moved)
    assert traced._cache_size() == 1


def test_shared_weights_are_those_of_the_network_alone(space, pool):
    shared = space.initial_weights(jax.random.key(0), SHAPE)
    for row in pool[:2]:
        network = space.network(as_tuple(row), jnp.float32)
        own = network.init(jax.random.key(1), IMAGES)["params"]
        params, taken = space.inherit(shared, row, own)
        assert taken == sum(leaf.size for leaf in jax.tree.leaves(own))
        expected = space.supernet(jnp.float32).apply({"params": shared}, IMAGES, row)
        y = network.apply({"params": params}, IMAGES, mutable=["batch_stats"])[0]
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_a_search_without_anything_else():
    space, rng = SPACES["chain"], np.random.default_rng(0)
    part = lambda n: (rng.integers(0, 255, (n, *SHAPE)).astype(np.uint8), np.arange(n) % 5)
    settings = oneshot.SupernetSettings(epochs=1, batch_size=8)
    shared = oneshot.OneShot(space, part(24), part(10), capacity=6, settings=settings)
    strategy = random_search(space.decisions)
    state = search.begin(jax.random.key(0), strategy, space.decisions.sample(jax.random.key(1), 6))
    slots = dict(train=shared.train, evaluate=shared.evaluate, rounds=2, proposals=3)
    ended = search.search(jax.random.key(2), state, space.decisions, strategy, **slots)
    assert len(ended.population.pool) == 9 and np.isfinite(ended.population.scores).all()


def test_shared_weights_train_with_dropout_and_are_scored_without():
    told, rng = [], np.random.default_rng(0)

    def call(self, images, train=False):
        told.append(train)
        x = nn.Dropout(0.5, deterministic=not train)(nn.Dense(4)(images))
        return linear(Choice({"a": nn.Dense(4), "b": lambda x: x}, name="c")(x))

    part = lambda n: (rng.integers(0, 255, (n, *SHAPE)).astype(np.uint8), np.arange(n) % 5)
    settings = oneshot.SupernetSettings(epochs=1, batch_size=8)
    space, pool = ModuleSpace(of(call), SHAPE), np.array([[0], [1]])
    shared = oneshot.OneShot(space, part(16), part(10), capacity=2, settings=settings)
    told.clear()
    shared.train(1, pool)
    assert True in told
    told.clear()
    shared.evaluate(1, pool)
    assert told and True not in told


def test_a_network_alone_is_trained():
    space, rng = SPACES["chain"], np.random.default_rng(0)
    images = rng.integers(0, 255, (24, *SHAPE)).astype(np.uint8)
    labels = (np.arange(24) % 5).astype(np.int32)
    images[labels == 0] //= 8  # there is something to learn
    alone = make_standalone(
        space.network((0, 1, 2), jnp.float32),
        StandaloneSettings(epochs=30, batch_size=8, learning_rate=0.1),
        Augmentation((0.5,) * 3, (0.3,) * 3, flip=False, pad=0),
        **dict(examples=24, image_shape=SHAPE, classes=5),
        **dict(key=jax.random.key(0), devices=jax.local_devices()[:1]),
    )
    assert set(alone.state.params["layer1"]) == {"k3"} and "layer2" not in alone.state.params
    state, losses = alone.state, []
    for _ in range(30):
        state, loss, _ = alone.train(state, images, labels, jax.random.key(1), np.int32(3))
        losses.append(float(loss))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert set(state.statistics) == {"BatchNorm_0", "layer0", "layer1"}
    measures = alone.evaluate(state, images, labels)
    assert 0.2 <= measures.accuracy <= 1 and np.isfinite(measures.loss)


def of(call, **fields):
    """A module whose call that is."""
    return type("Net", (nn.Module,), {"__call__": nn.compact(call), **fields})()


def linear(x):
    return nn.Dense(5)(x.mean((1, 2)))


def test_a_choice_that_is_called_twice_costs_twice_and_has_its_weights_once():
    def call(self, images):
        x, choice = (
            nn.Dense(4)(images),
            Choice({"a": nn.Dense(4), "b": nn.Conv(4, (3, 3))}, name="c"),
        )
        return linear(choice(choice(x)))

    cost = ModuleSpace(of(call), SHAPE).cost(np.array([[0], [1]]), SHAPE)
    around = 64 * 12 + 20
    assert cost.macs.tolist() == [around + 2 * 64 * 16, around + 2 * 64 * 9 * 16]
    assert cost.params.tolist() == [16 + 25 + 20, 16 + 25 + 9 * 16 + 4]


def test_how_a_module_wants_to_be_called_does_not_matter():
    def call(self, images, train):  # without a default
        x = nn.BatchNorm()(x=nn.Dense(4)(images))  # not told what to use
        return linear(Choice({"a": nn.Dense(4), "b": lambda x: x}, name="c")(x))

    space = ModuleSpace(of(call), SHAPE)
    params = space.initial_weights(jax.random.key(0), SHAPE)
    y, changed = space.supernet(jnp.float32).apply(
        {"params": params}, IMAGES, jnp.array([1]), train=True, mutable=["batch_stats"]
    )
    assert y.shape == (4, 5) and set(changed["batch_stats"]) == {"BatchNorm_0"}


def twice_a_norm(self, images):
    norm, x = nn.BatchNorm(), Choice({"a": nn.Dense(4), "b": nn.Dense(4)}, name="c")(images)
    return linear(norm(x) + norm(2 * x))


def twice_a_choice_with_norms(self, images):
    x, choice = nn.Dense(4)(images), Choice({"a": Block(1), "b": Block(3)}, name="c")
    return linear(choice(choice(x, True), True))


def not_pooled(self, images):
    return Choice({"a": nn.Dense(5), "b": nn.Dense(5)}, name="c")(images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (twice_a_norm, "the norm 'BatchNorm_0' is called twice"),
        (twice_a_choice_with_norms, "the choice 'c' is called twice, and its options have norms"),
        (not_pooled, r"Net returns \[1, 8, 8, 5\] for one image, not logits"),
    ],
)
def test_what_would_go_wrong_later_is_said_at_once(call, message):
    with pytest.raises(ChoiceError, match=message):
        ModuleSpace(of(call), SHAPE)


def test_methods_of_the_same_name_and_parameters_take_a_places_part():
    def call(self, images):
        return linear(Choice({"a": nn.Dense(4), "b": nn.Dense(4)}, name="c")(images))

    fields = dict(layers=lambda self: 2, features=lambda self, x: x)
    fields["strata"] = lambda self, pool: pool.sum(1)
    space, pool = ModuleSpace(of(call, **fields), SHAPE), np.array([[1], [0]])
    assert space.strata(pool).tolist() == [1, 0]
    assert space.features(pool).tolist() == [[0, 1], [1, 0]]  # that of the module is another
    assert space.cost(pool, SHAPE).macs.shape == (2,)


def test_what_does_not_fit_is_named():
    with pytest.raises(ChoiceError, match="Dense has no Choice"):
        ModuleSpace(nn.Dense(3), SHAPE)
    with pytest.raises(ValueError, match=r"Chain is made for images \(8, 8, 3\)"):
        SPACES["chain"].check_images((4, 4, 3))
    with pytest.raises(ValueError, match="Chain has no dropout"):
        SPACES["chain"].network((0, 0, 0), jnp.float32, dropout=0.5)
