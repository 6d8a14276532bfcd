"""Every space that comes with the library goes through the same laws; nothing is compiled."""

import dataclasses
import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnao_jax.cost import total
from bnao_jax.decisions import ArchitectureError, Decisions
from bnao_jax.nn.initialization import initialize
from bnao_jax.spaces import shipped
from bnao_jax.spaces.nao.space import NaoSpace
from bnao_jax.spaces.nasbench201.space import NasBench201Space
from bnao_jax.spaces.shufflenet.space import ShuffleNetSpace
from bnao_jax.spaces.space import Space

IMAGE = (8, 8, 3)
SPACES = {
    "nao": NaoSpace(4, 1, 5, operations="forms", nodes=2),
    "nao, imagenet": NaoSpace(4, 1, 5, stem="imagenet", operations="tiny", nodes=1),
    "nasbench201": NasBench201Space(2, 2, 3),
    "shufflenet": ShuffleNetSpace(4, 1, 3),
    "shufflenet, channels": ShuffleNetSpace(4, 1, 3, "cifar", channel_choice=True),
}
# What may be None, and which of the spaces have it.
OPTIONAL = {
    "own_cost": (),
    "macs": {"shufflenet"},
    "strata": {"nasbench201"},
    "connected": {"nasbench201"},
    "split": {"nasbench201"},
}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


@pytest.fixture
def pool(space, key):
    return np.asarray(space.decisions.random(key, 7))


def as_tuple(row):
    return tuple(int(choice) for choice in row)


def shapes_alone(space, row):
    """The "params" of the network alone, as shapes."""
    network, images = space.network(as_tuple(row), jnp.float32), jnp.zeros((1, *IMAGE))
    return jax.eval_shape(network.init, jax.random.key(0), images)["params"]


def size_of(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


# What there is, and what the class of all spaces says of it.


def test_what_may_be_none_is_documented(space):
    text = inspect.getdoc(Space)
    _, _, optional = text.partition("These are None")
    documented = set(re.findall(r"^(\w+)\(.*\): ", optional, re.MULTILINE))
    none = {name for name, value in vars(Space).items() if value is None}
    assert documented == none == set(OPTIONAL)
    for name, having in OPTIONAL.items():
        assert callable(getattr(space, name)) == (space.name in having)


def test_what_every_space_offers_is_documented():
    text = inspect.getdoc(Space)
    public = {name for name in vars(Space) if not name.startswith("_")} - {"of", "name"}
    documented = set(re.findall(r"^(\w+)(?:\(.*\))?: ", text, re.MULTILINE))
    assert public <= documented | {"initial_weights"}


def test_names_and_classes_are_those_of_the_shipped(space):
    assert shipped.named(space.name) is type(space)
    ours = {name for name, place in shipped.SPACES.items() if place.startswith("bnao_jax.")}
    assert ours == {space.name for space in SPACES.values()}
    made = shipped.make(shipped.SpaceSettings(name=space.name), shipped.NetworkSettings(), 10)
    assert isinstance(made, type(space)) and made.classes == 10
    assert made.stem in made.stems if hasattr(made, "stem") else made.stems == ("cifar",)


# Spaces in which what is published can be read.
PUBLISHED_IN = {
    "naonet_v2": NaoSpace(2, 1, 10),
    "nasbench201_cifar10": NasBench201Space(),
    "nasbench201_cifar100": NasBench201Space(),
    "spos": ShuffleNetSpace(),
    "spos_channels": ShuffleNetSpace(channel_choice=True),
}


def test_published_architectures_are_read_and_written_alike(space):
    assert space.published
    for name, text in space.published.items():
        decisions = PUBLISHED_IN[name].decisions
        assert PUBLISHED_IN[name].name == space.name
        assert decisions.format(decisions.parse(text)) == text


# Values


def test_hashable_and_equal_where_the_fields_are(space):
    fields = {field.name: getattr(space, field.name) for field in dataclasses.fields(space)}
    same = type(space)(**fields)
    assert same == space and same is not space and hash(same) == hash(space)
    assert len({same, space}) == 1
    for other in SPACES.values():
        assert (other == space) == (other is space)
    assert dataclasses.replace(space, classes=space.classes + 1) != space
    with pytest.raises(dataclasses.FrozenInstanceError):
        space.classes = 7
    # One program for equal spaces.
    traced = []

    def count(space, x):
        traced.append(space)
        return x

    run = jax.jit(count, static_argnums=0)
    run(space, 1.0), run(same, 1.0)
    assert len(traced) == 1


# Costs


def test_cost_is_the_total_of_the_layers_and_the_size_of_the_network(space, pool):
    cost = space.cost(pool, IMAGE)
    layers = total(space.layers(pool, IMAGE), len(pool))
    for name in ("params", "macs"):
        values = getattr(cost, name)
        assert values.shape == (len(pool),) and values.dtype == np.int64
        np.testing.assert_array_equal(values, getattr(layers, name))
    assert cost.params[0] == size_of(shapes_alone(space, pool[0]))
    if space.macs is not None:
        macs = space.macs(IMAGE)
        np.testing.assert_allclose([macs(row) for row in pool], cost.macs, rtol=1e-6)


def test_layers_name_wires_that_there_are(space, pool):
    wires = space.wires(pool[0])
    assert wires and all(wires.values())
    searched = [layer.wire for layer in space.layers(pool[:1], IMAGE) if layer.wire]
    assert searched
    for kind, place in searched:
        assert wires[kind][place].operation


def test_least_weights_are_no_more_than_the_shared_ones(space, pool):
    weights = shapes_shared(space)
    assert 0 < space.least_weights() <= size_of(weights)


@functools.cache
def shapes_shared(space):
    net, images = space.supernet(jnp.float32), jnp.zeros((1, *IMAGE))
    row = jnp.zeros(space.decisions.length, jnp.int32)
    return jax.eval_shape(net.init, jax.random.key(0), images, row)["params"]


# Pools


def test_what_is_effective_stands_for_itself_and_for_others(space, pool):
    forms = space.effective(pool)
    np.testing.assert_array_equal(space.effective(forms), forms)
    assert space.decisions.check(forms).shape == pool.shape
    if space.name != "nasbench201":
        np.testing.assert_array_equal(forms, pool)


def test_features_are_numbers_one_row_each_and_tell_architectures_apart(space, pool):
    features = space.features(pool)
    assert features.shape[0] == len(pool) and features.ndim == 2
    assert features.dtype == np.float64 and np.isfinite(features).all()
    assert len(np.unique(features, axis=0)) > 1
    np.testing.assert_array_equal(space.features(pool[::-1]), features[::-1])
    np.testing.assert_array_equal(space.features(pool[:1]), features[:1])


def test_graphs_are_of_the_types_they_name(space, pool):
    form = space.graph()
    adjacency, types = form.of(pool)
    size = types.shape[1]
    assert adjacency.shape == (len(pool), size, size) and adjacency.dtype == bool
    assert types.min() >= 0 and types.max() < form.types
    assert not adjacency[:, np.arange(size), np.arange(size)].any()


def test_wires_are_a_function_of_the_architecture(space, pool):
    assert space.wires(pool[0]) == space.wires(list(pool[0]))
    assert any(space.wires(row) != space.wires(pool[0]) for row in pool[1:])
    for wires in space.wires(pool[0]).values():
        for wire in wires:
            assert wire.source != wire.target


def test_what_some_spaces_say_of_pools(space, pool):
    if space.strata is not None:
        strata = space.strata(pool)
        assert strata.shape == (len(pool),) and strata.min() >= 0
    if space.connected is not None:
        assert space.connected(pool).shape == (len(pool),)
        assert space.connected(pool).dtype == bool
    if space.split is not None:
        decisions = {space.split(seed) for seed in range(50)}
        assert decisions == set(range(space.decisions.length))
        assert space.split(3) == space.split(3)


# Weights


def test_masks_have_the_tree_of_the_weights_and_broadcast_to_it(space, pool):
    shapes = shapes_shared(space)
    masks = jax.eval_shape(space.on_path, shapes, jnp.asarray(pool[0]))
    assert jax.tree.structure(masks) == jax.tree.structure(shapes)

    def check(mask, leaf):
        assert mask.dtype == bool
        assert np.broadcast_shapes(mask.shape, leaf.shape) == leaf.shape

    jax.tree.map(check, masks, shapes)


@pytest.mark.parametrize("name", ["nao", "nasbench201", "shufflenet, channels"])
def test_float64_on_demand_breaks_no_supernet(name, key):
    """Where a user has switched float64 on, steps are traced, and stay float32."""
    space = SPACES[name]
    pool = np.asarray(space.decisions.random(key, 1))
    shapes = shapes_shared(space)
    with jax.enable_x64(True):
        net, images = space.supernet(jnp.float32), jnp.zeros((4, *IMAGE), jnp.float32)

        def loss(params, row):
            return net.apply({"params": params}, images, row).sum()

        value, gradient = jax.eval_shape(jax.value_and_grad(loss), shapes, jnp.asarray(pool[0]))
    assert value.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.float32)}


def test_an_architecture_of_another_space_is_refused(space, pool):
    shapes, other = shapes_shared(space), np.array(pool[0])
    other[-1] = space.decisions.options[-1]
    apply = lambda architecture: jax.eval_shape(
        lambda params: space.supernet(jnp.float32).apply(
            {"params": params}, jnp.zeros((4, *IMAGE)), architecture
        ),
        shapes,
    )
    for form in (other, as_tuple(other)):
        with pytest.raises(ArchitectureError, match=f"{other[-1]} is not one of"):
            apply(form)


def test_initial_weights_are_those_of_the_supernet(space, pool, key):
    shapes = shapes_shared(space)
    weights = space.initial_weights(key, IMAGE)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), weights, shapes)
    assert jax.tree.all(same)


def test_a_network_inherits_weights_of_its_path(space, pool, key):
    """The tree stays; what is taken is counted, is of the shared weights, and the rest is kept."""
    shared = jax.tree.map(lambda leaf: leaf + 1_000.0, space.initial_weights(key, IMAGE))
    network = space.network(as_tuple(pool[0]), jnp.float32)
    params = initialize(network, jax.random.key(1), np.zeros((1, *IMAGE), np.float32))
    before = jax.device_get(params)
    after, count = space.inherit(shared, pool[0], params)
    jax.tree.map(np.testing.assert_array_equal, params, before)
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    assert shapes(after) == shapes(params)
    taken = jax.tree.map(lambda leaf: np.asarray(leaf) > 500, after)
    assert count == sum(int(leaf.sum()) for leaf in jax.tree.leaves(taken)) > 0
    same = lambda a, b, t: np.testing.assert_array_equal(np.asarray(a)[~t], np.asarray(b)[~t])
    jax.tree.map(same, after, params, taken)
    again, _ = space.inherit(shared, as_tuple(pool[0]), params)
    jax.tree.map(np.testing.assert_array_equal, again, after)


# A space with what is required, and nothing beside.


class Least(Space):
    """Nothing but decisions."""

    name, classes, decisions = "least", 2, Decisions("least", (3, 1, 2), (1, 4, 5))


def test_what_is_derived_from_the_decisions():
    space, pool = Least(), np.array([[2, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(space.features(pool), [[0, 0, 1, 1, 0, 1], [1, 0, 0, 1, 1, 0]])
    (wires,) = space.wires([2, 0, 1]).values()
    assert [(wire.source, wire.operation, wire.target) for wire in wires] == [
        ("input", "option 2", "state 1"),
        ("state 1", "option 0", "state 2"),
        ("state 2", "option 1", "state 3"),
    ]
    params = {"w": np.ones(3)}
    assert space.inherit({}, pool[0], params) == (params, 0)
    assert space.graph().types == 6 and space.least_weights() == 0 and space.published == {}
    assert space.check_images((4, 4, 1)) is None and hash(space) is not None
    for name in OPTIONAL:
        assert getattr(space, name) is None
    for required in (
        lambda: space.supernet(jnp.float32),
        lambda: space.on_path({}, pool[0]),
        lambda: space.network((0, 0, 0), jnp.float32),
        lambda: space.layers(pool, IMAGE),
        lambda: space.cost(pool, IMAGE),
    ):
        with pytest.raises(NotImplementedError):
            required()
