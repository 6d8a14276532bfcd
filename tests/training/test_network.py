"""One network alone: running statistics, auxiliary head, any cuts and devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from bnao_jax import data
from bnao_jax.nn.initialization import initialize, parameter
from bnao_jax.nn.layers import Norm, pointwise, relu, to_maps
from bnao_jax.training.network import Recipe, initial_state, make_evaluate, make_train
from bnao_jax.training.optimizer import sgd

BATCH, EXAMPLES, STEPS = 8, 50, 6  # whole batches of an epoch
SIDE, CHANNELS, WIDTH, CLASSES = 4, 2, 4, 3
MEAN, STD, RATE = (0.4, 0.5), (0.3, 0.2), 0.05
FLOAT32 = {"rtol": 2e-4, "atol": 2e-5}  # sums in another order, some steps long


class Tiny(nn.Module):
    """Matrix, norm (or only the record of a mean), drop path, matrix; a head at the middle."""

    norm: bool = True
    auxiliary: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images, *, train=False, drop_path=None, given=False):
        count = images.shape[0]
        x = pointwise(to_maps(images, jnp.float32), parameter(self, "matrix", WIDTH, CHANNELS))
        if self.norm:
            x = Norm(name="norm")(x, given=given)
        elif train and not self.is_initializing():
            self.put_variable("batch_stats", "mean", x.mean((1, 2, 3)))
        y = relu(x)
        if drop_path is not None:
            y = y * drop_path.factors(1, 1)[0, 0][None, None, None]
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        inputs = WIDTH * SIDE**2
        logits = y.reshape(-1, count).T @ parameter(self, "head", CLASSES, inputs).T
        if not self.auxiliary:
            return logits
        extra = x.reshape(-1, count).T @ parameter(self, "auxiliary_head", CLASSES, inputs).T
        return (logits, extra) if train else logits


def recipe(randomness=False, **changes):
    settings = {
        "batch_size": BATCH,
        "total_steps": STEPS,
        "learning_rate": lambda step, total_steps: RATE,
        "optimizer": sgd(momentum_decay=0.9, weight_decay=0.01),
        "augmentation": data.Augmentation(MEAN, STD, flip=False, pad=0),
    }
    if randomness:
        settings["augmentation"] = data.Augmentation(MEAN, STD, flip=True, pad=1, cutout=2)
        settings |= {"drop_path_keep": 0.6, "label_smoothing": 0.1}
    return Recipe(**(settings | changes))


@functools.cache
def trainer(network, devices=1, randomness=False, **changes):
    """Compiled training, shared by the tests; `randomness` is augmentation and drop path."""
    return make_train(network, recipe(randomness, **changes), jax.local_devices()[:devices])


def images_of_classes():
    """Each class has its pattern, under noise."""
    rng = np.random.default_rng(1)
    labels = np.arange(EXAMPLES) % CLASSES
    pattern = rng.integers(0, 2, (CLASSES, SIDE, SIDE, CHANNELS))
    noise = rng.integers(0, 156, (EXAMPLES, SIDE, SIDE, CHANNELS))
    return (noise + 100 * pattern[labels]).astype(np.uint8), labels.astype(np.int32)


IMAGES, LABELS = images_of_classes()
NORMALISED = (IMAGES / np.float32(255) - np.float32(MEAN)) / np.float32(STD)


def start(network):
    images = jnp.zeros((BATCH, SIDE, SIDE, CHANNELS))
    params = initialize(network, jax.random.key(1), images)
    return initial_state(network, recipe(), params, images)


def run(train, network, key, cuts=(STEPS,), state=None):
    """Trains in several dispatches; all states, losses and accuracies, on the host."""
    state, found = start(network) if state is None else state, []
    for steps in cuts:
        state, *means = train(state, IMAGES, LABELS, key, np.int32(steps))
        found.append(jax.device_get((state, *means)))
    return found


def batch(key, step):
    """Which examples a step trains."""
    return np.asarray(data.batch_indices(jax.random.split(key)[0], step, EXAMPLES, BATCH))


def assert_close(found, expected, **tolerance):
    check = lambda a, b: np.testing.assert_allclose(a, b, **tolerance)
    jax.tree.map(check, found, expected)


# Statistics


def statistics(params, examples):
    """Mean and variance before the norm."""
    x = NORMALISED[examples].astype(np.float64) @ params["matrix"].T
    return np.stack([x.mean((0, 1, 2)), x.var((0, 1, 2))])


@pytest.mark.parametrize("devices", [1, 2])
def test_running_statistics(key, devices):
    network = Tiny()
    begin = start(network)
    states = [begin] + [s for s, *_ in run(trainer(network, devices), network, key, (1, 1, 1))]
    for step in range(3):
        shards = np.split(batch(key, step), devices)
        used = np.mean([statistics(states[step].params, shard) for shard in shards], 0)
        before = states[step].statistics["norm"]["statistics"]
        expected = used if step == 0 else 0.9 * before + 0.1 * used
        found = states[step + 1].statistics["norm"]["statistics"]
        np.testing.assert_allclose(found, expected, **FLOAT32)
        assert states[step + 1].step == step + 1
        # The mix is told from its parts.
        assert step == 0 or not np.allclose(found, before, **FLOAT32)
        assert step == 0 or not np.allclose(found, used, **FLOAT32)


def test_evaluation_uses_the_running_statistics():
    network, rng = Tiny(auxiliary=True), np.random.default_rng(3)
    state = start(network)
    mean, variance = rng.normal(0, 1, WIDTH), rng.uniform(0.5, 2, WIDTH)
    kept = {"norm": {"statistics": np.stack([mean, variance]).astype(np.float32)}}
    params = state.params | {"norm": {k: rng.normal(1, 0.3, WIDTH) for k in ("scale", "offset")}}
    params = jax.tree.map(np.float32, params)
    # 50 images: the last batch is filled up
    evaluate = make_evaluate(network, MEAN, STD, 16, CLASSES)
    found = evaluate(state._replace(params=params, statistics=kept), IMAGES, LABELS)
    # The running mean of the weights takes the place of the weights.
    averaged = state._replace(average=params, statistics=kept)
    assert_close(evaluate(averaged, IMAGES, LABELS), found, rtol=1e-6)
    x = (NORMALISED @ params["matrix"].T - mean) / np.sqrt(variance + 1e-5)
    x = np.maximum(x * params["norm"]["scale"] + params["norm"]["offset"], 0)
    logits = x.transpose(0, 3, 1, 2).reshape(EXAMPLES, -1) @ params["head"].T
    right = logits.argmax(1) == LABELS
    np.testing.assert_allclose(found.accuracy, right.mean(), rtol=1e-6)
    np.testing.assert_array_equal(found.right, np.bincount(LABELS[right], minlength=CLASSES))
    np.testing.assert_array_equal(found.images, np.bincount(LABELS, minlength=CLASSES))
    chosen = logits[np.arange(EXAMPLES), LABELS]
    near = (logits > chosen[:, None]).sum(1) < 5
    np.testing.assert_allclose(found.top5, near.mean(), rtol=1e-6)
    expected = (np.log(np.exp(logits).sum(1)) - chosen).mean()
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)


def test_evaluation_with_the_statistics_of_the_batch():
    network = Tiny()
    state = start(network)
    evaluate = make_evaluate(network, MEAN, STD, EXAMPLES, CLASSES, statistics="batch")
    logits = network.apply({"params": state.params}, NORMALISED)
    found = evaluate(state, IMAGES, LABELS)
    np.testing.assert_allclose(found.accuracy, (logits.argmax(1) == LABELS).mean(), rtol=1e-6)


def test_the_running_mean_of_the_weights_by_hand(key):
    network = Tiny()
    train = trainer(network, average_decay=0.75)
    begin = start(network)
    average = jax.device_get(begin.params)
    begin = begin._replace(average=average)
    states = run(train, network, key, (1, 1), state=begin)
    for state, *_ in states:
        average = jax.tree.map(lambda a, p: 0.75 * a + 0.25 * p, average, state.params)
        assert_close(state.average, average, **FLOAT32)


# The loss


def plain_losses(params, images, labels):
    """Losses of the two heads, on the norm written out."""
    x = images @ params["matrix"].T
    mean, variance = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
    wide = lambda v: v[None, None, None]
    scale, offset = wide(params["norm"]["scale"]), wide(params["norm"]["offset"])
    x = (x - mean) / jnp.sqrt(variance + 1e-5) * scale + offset
    entropy = optax.softmax_cross_entropy_with_integer_labels
    return [
        entropy(y.transpose(0, 3, 1, 2).reshape(BATCH, -1) @ params[name].T, labels).mean()
        for name, y in (("head", jax.nn.relu(x)), ("auxiliary_head", x))
    ]


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_auxiliary_loss_enters_with_its_weight(key, weight):
    network = Tiny(auxiliary=True)
    plain = sgd(momentum_decay=0.0)
    train = trainer(network, auxiliary_weight=weight, optimizer=plain)
    begin = start(network).params
    ((state, loss, _),) = run(train, network, key, (1,))
    material = NORMALISED[batch(key, 0)], LABELS[batch(key, 0)]

    def total(params):
        main, extra = plain_losses(params, *material)
        return main + weight * extra, main

    gradient, main = jax.jit(jax.grad(total, has_aux=True))(begin)
    np.testing.assert_allclose(loss, main, rtol=1e-5)  # the main head's alone
    expected = jax.tree.map(lambda p, g: p - RATE * g, begin, gradient)
    assert_close(state.params, expected, **FLOAT32)
    moved = np.abs(state.params["auxiliary_head"] - begin["auxiliary_head"]).max()
    assert moved == 0 if weight == 0 else moved > 1e-3


# Cuts and devices


def test_cuts_between_dispatches_do_not_matter(key):
    network = Tiny(dropout=0.3)
    train = trainer(network, 2, randomness=True)
    ((whole, loss, accuracy),) = run(train, network, key)
    found = run(train, network, key, (1, 3, 2))
    jax.tree.map(np.testing.assert_array_equal, found[-1][0], whole)
    for at, mean in ((1, loss), (2, accuracy)):
        total = sum(n * part[at] for n, part in zip((1, 3, 2), found, strict=True))
        np.testing.assert_allclose(total / STEPS, mean, rtol=1e-5)


def test_without_norm_and_dropout_devices_do_not_matter(key):
    network = Tiny(norm=False)
    one, two = (run(trainer(network, n, randomness=True), network, key) for n in (1, 2))
    assert_close(two, one, **FLOAT32)
    assert np.abs(one[0][0].statistics["mean"]).max() > 0.01


def test_dropout_differs_between_devices(key):
    network = Tiny(norm=False, dropout=0.5)
    one, two = (run(trainer(network, n), network, key, (1,))[0] for n in (1, 2))
    assert not np.allclose(one[1], two[1], atol=1e-3)


# Learning


def test_loss_falls_and_evaluation_follows(key):
    network = Tiny()
    found = run(trainer(network), network, key, (STEPS,) * 10)
    (_, first, _), (state, last, accuracy) = found[0], found[-1]
    assert last < 0.3 * first and accuracy > 0.9
    evaluate = make_evaluate(network, MEAN, STD, 16, CLASSES)
    begin, end = evaluate(start(network), IMAGES, LABELS), evaluate(state, IMAGES, LABELS)
    assert begin.accuracy < 0.7 < 0.9 < end.accuracy and end.loss < 0.3 * begin.loss


def test_initial_state_is_zero_but_for_the_weights():
    state = start(Tiny())
    assert state.step == 0
    assert state.statistics["norm"]["statistics"].shape == (2, WIDTH)
    trace = optax.tree_utils.tree_get(state.optimizer, "trace")
    assert jax.tree.map(np.shape, trace) == jax.tree.map(np.shape, state.params)
    assert not any(leaf.any() for leaf in jax.tree.leaves((state.statistics, trace)))
