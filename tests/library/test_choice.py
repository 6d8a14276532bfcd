"""Choices in any Flax module: one path is one network, static or traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bnao_jax.choice import (
    Choice,
    ChoiceError,
    Value,
    along,
    collection,
    decisions_of,
)
from bnao_jax.places import places_of

WIDTH = 3
IMAGES = np.random.default_rng(0).normal(size=(6, 4, 4, WIDTH)).astype(np.float32)


class Block(nn.Module):
    """Convolution and norm, with dropout."""

    kernel: int
    running: bool = True

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Conv(WIDTH, (self.kernel, self.kernel))(x)
        x = nn.BatchNorm(use_running_average=self.running and not train)(x)
        return nn.relu(x)


class Chain(nn.Module):
    """A chain of blocks; options are of different kinds, and written in different ways."""

    @nn.compact
    def __call__(self, x, train=False):
        for n in range(3):
            options = {"k1": Block(1), "k3": Block(3), "skip": lambda x, train: x}
            x = Choice(options, name=f"layer{n}")(x, train=train)
        dense = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(5)])
        return Choice({"one": nn.Dense(5), "two": dense}, name="head")(x.mean((1, 2)))


class Tied(nn.Module):
    """Two cells of the same choices, each with weights of its own."""

    @nn.compact
    def __call__(self, x, train=False):
        del train
        for cell in range(2):
            for edge in range(2):
                options = {"conv": nn.Conv(WIDTH, (3, 3)), "dense": nn.Dense(WIDTH)}
                name = f"cell{cell}_edge{edge}"
                x = nn.tanh(Choice(options, label=f"edge{edge}", name=name)(x))
        return nn.Dense(5)(x.mean((1, 2)))


class Values(nn.Module):
    """Numbers that share the weights, beside a choice; the attribute is made outside."""

    first: nn.Module = nn.Dense(WIDTH)

    @nn.compact
    def __call__(self, x, train=False):
        del train
        x = Choice({"given": self.first, "own": nn.Dense(WIDTH)}, name="kind")(x)
        bits = Value((2, 4, 8), name="bits")()
        x = nn.tanh(x * 2.0**bits) / 2.0**bits * Value((0.5, 1.5), name="scale")()
        return nn.Dense(5)(x.mean((1, 2)))


ARCHITECTURES = {
    "chain": (Chain(), [[0, 1, 2, 0], [1, 1, 1, 1], [2, 2, 2, 0]]),
    "tied": (Tied(), [[0, 1], [1, 1]]),
    "values": (Values(), [[0, 0, 1], [1, 2, 0]]),
}


@pytest.fixture(params=ARCHITECTURES)
def made(request):
    """A module, its places, its variables without the architecture, and some architectures."""
    net, pool = ARCHITECTURES[request.param]
    variables = dict(net.init(jax.random.key(1), IMAGES))
    del variables["architecture"]
    return net, places_of(net, jnp.asarray(IMAGES)), variables, pool


def loss_and_gradients(net, variables, architecture):
    """The loss of a training step, its gradients, and what else has changed."""

    def loss_of(params):
        given = variables | {"params": params, "architecture": architecture}
        y, changed = net.apply(given, IMAGES, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y) * np.arange(5.0)[None]), changed

    return jax.value_and_grad(loss_of, has_aux=True)(variables["params"])


def test_places_in_the_order_of_their_calls():
    places = places_of(Tied(), IMAGES)
    names = [f"cell{cell}_edge{edge}" for cell in range(2) for edge in range(2)]
    assert [place.path for place in places] == [(name,) for name in names]
    assert decisions_of(places) == {"edge0": ("conv", "dense"), "edge1": ("conv", "dense")}
    assert list(decisions_of(places_of(Values(), IMAGES))) == ["kind", "bits", "scale"]
    assert places_of(Values(), IMAGES)[1].options == ("2", "4", "8")


def test_parameters_live_under_the_names_of_choice_and_option(made):
    net, places, variables, _ = made
    for place in places:
        inner = variables["params"]
        for name in place.path:
            inner = inner.get(name, {})
        assert set(inner) <= set(place.options)
    params = Chain().init(jax.random.key(0), IMAGES)["params"]
    assert params["layer1"]["k3"]["Conv_0"]["kernel"].shape == (3, 3, WIDTH, WIDTH)
    assert set(params["head"]["two"]) == {"layers_0", "layers_2"}


def test_static_is_traced_and_one_program_serves_all(made):
    net, places, variables, pool = made
    traced = jax.jit(lambda variables, a: loss_and_gradients(net, variables, a))
    for row in pool:
        static = loss_and_gradients(net, variables, collection(places, row))
        found = traced(variables, collection(places, jnp.array(row)))
        compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        jax.tree.map(compare, found[0][0], static[0][0])
        jax.tree.map(compare, found[1], static[1])
        # What was not taken keeps its statistics in both.
        jax.tree.map(compare, dict(found[0][1]), dict(static[0][1]))
    assert traced._cache_size() == 1


def test_off_the_path_nothing_moves(made):
    net, places, variables, pool = made
    traced = jax.jit(lambda variables, a: loss_and_gradients(net, variables, a))
    for row in pool:
        (_, changed), gradients = traced(variables, collection(places, jnp.array(row)))
        taken = dict(zip(decisions_of(places), row, strict=True))
        for place in places:
            for at, option in enumerate(place.options):
                of = lambda tree, place=place, option=option: jax.tree.leaves(
                    tree.get(place.path[0], {}).get(option, {})
                )
                moved = [bool(np.abs(leaf).max() > 0) for leaf in of(gradients)]
                assert not any(moved) or at == taken[place.name]
                before, after = (
                    of(variables.get("batch_stats", {})),
                    of(changed.get("batch_stats", {})),
                )
                if at != taken[place.name]:
                    jax.tree.map(np.testing.assert_array_equal, before, after)
                elif before:
                    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_a_known_path_has_the_parameters_of_one_path_alone(made):
    net, places, variables, pool = made
    for row in pool:
        with along(places, row):
            alone = net.init(jax.random.key(1), IMAGES)
            assert "architecture" not in alone
            y = net.apply(variables, IMAGES)
        expected = net.apply(variables | {"architecture": collection(places, row)}, IMAGES)
        np.testing.assert_array_equal(y, expected)
        taken = dict(zip(decisions_of(places), row, strict=True))
        for place in places:
            inner = alone["params"].get(place.path[0], {})
            assert set(inner) <= {place.options[taken[place.name]]}
        shared = jax.tree_util.tree_leaves_with_path(variables["params"])
        shapes = {jax.tree_util.keystr(path): leaf.shape for path, leaf in shared}
        for path, leaf in jax.tree_util.tree_leaves_with_path(alone["params"]):
            assert shapes[jax.tree_util.keystr(path)] == leaf.shape


def test_a_known_path_survives_recomputation():
    class Recomputed(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.remat(Chain)(name="chain")(x).sum()

    net = Recomputed()
    places = places_of(net, IMAGES)
    with along(places, [0, 1, 2, 0]):
        variables = net.init(jax.random.key(0), IMAGES)
        assert set(variables["params"]["chain"]["layer0"]) == {"k1"}
        jax.grad(lambda p: net.apply(variables | {"params": p}, IMAGES))(variables["params"])


def test_dropout_draws_anew_in_each_choice():
    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = {"drop": nn.Dropout(0.5, deterministic=False), "half": nn.Dropout(0.2)}
            layers["half"] = nn.Dropout(0.2, deterministic=False)
            return [Choice(layers, name=f"layer{n}")(x) for n in range(2)]

    net = Dropped()
    places = places_of(net, IMAGES)
    given = {"architecture": collection(places, jnp.array([0, 0]))}
    run = jax.jit(lambda key: net.apply(given, jnp.ones((50, 4)), rngs={"dropout": key}))
    first, second = run(jax.random.key(0))
    assert (first != second).any() and 0.3 < (first == 0).mean() < 0.7
    np.testing.assert_array_equal(first, run(jax.random.key(0))[0])
    assert (first != run(jax.random.key(1))[0]).any()


class Wrong(nn.Module):
    """A module with whatever choices a test gives."""

    make: object

    @nn.compact
    def __call__(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda x: nn.Dense(3)(x), "Wrong has no Choice and no Value in it"),
        (
            lambda x: Choice({"a": nn.Dense(3), "b": nn.Dense(4)}, name="kind")(x),
            r"'kind' give different outputs: a float32\[6, 4, 4, 3\], b float32\[6, 4, 4, 4\]",
        ),
        (
            lambda x: Choice({"a": Chain(), "b": nn.Dense(5)}, name="outer")(x),
            "'layer0' stands inside an option of the choice 'outer'",
        ),
        (
            lambda x: (
                Choice({"a": nn.Dense(3)}, label="same")(x)
                + Choice({"b": nn.Dense(3)}, label="same")(x)
            ),
            "choices of the label 'same' differ: a and b",
        ),
        (lambda x: Choice({"a b": nn.Dense(3)}, name="kind")(x), "calls an option 'a b'"),
        (lambda x: Choice({}, name="kind")(x), "'kind' needs options"),
        (lambda x: Choice([nn.Dense(3)], name="kind")(x), "'kind' needs its options by name"),
        (lambda x: x * Value((1, 1), name="bits")(), "'bits' needs options, each once"),
        (lambda x: x * Value((1, "2"), name="bits")(), "'bits' is of '2', which is no number"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ChoiceError, match=message):
        places_of(Wrong(make), IMAGES)


def test_an_architecture_that_cannot_be_is_named():
    net = Tied()
    places, variables = places_of(net, IMAGES), net.init(jax.random.key(0), IMAGES)
    params = {"params": variables["params"]}
    with pytest.raises(ChoiceError, match="'edge0' has no architecture: give the collection"):
        net.apply(params, IMAGES)
    with pytest.raises(ChoiceError, match="'edge1' has the options 0 to 1, not 2"):
        net.apply(params | {"architecture": collection(places, [0, 2])}, IMAGES)
    with pytest.raises(ChoiceError, match="an architecture is 2 integers, not 3"):
        collection(places, [0, 1, 0])
