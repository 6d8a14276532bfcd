"""Shared weights: any number of devices, any cuts, and a plain reference give the same training."""

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnao_jax import data, sampler
from bnao_jax.nn.initialization import initialize
from bnao_jax.nn.layers import pointwise, relu, to_maps
from bnao_jax.nn.normalization import batch_norm
from bnao_jax.parallel import AXIS
from bnao_jax.spaces.nao.outline import Outline
from bnao_jax.spaces.nao.supernet import Supernet, on_path
from bnao_jax.training import rates_and_momenta
from bnao_jax.training.loss import cross_entropy
from bnao_jax.training.optimizer import sgd
from bnao_jax.training.recipe import Recipe
from bnao_jax.training.supernet import Material, State, make_material, make_train

BATCH, EXAMPLES, STEPS = 8, 50, 6  # whole batches of an epoch
SIDE, CHANNELS, WIDTH, CHOICES, CLASSES = 4, 2, 4, 3, 3
RATE, DECAY, MOMENTUM = 0.05, 0.02, 0.9
MEAN, STD = (0.4, 0.5), (0.3, 0.2)
# The last two rows are padding; only they make the last choice.
POOL = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [2, 2]], np.int32)
REAL_ROWS = 4
UNIFORM = sampler.uniform()
FLOAT32 = {"rtol": 2e-4, "atol": 2e-5}  # sums in another order, some steps long


# The toy: shared matrices picked by two decisions, around one shared norm.


def toy(params, images, architecture, drop_path, axis_name=None):
    x = pointwise(to_maps(images, jnp.float32), params["first"][architecture[0]])
    x, _ = batch_norm(x, params["scale"], params["offset"], axis_name)
    y = pointwise(relu(x), params["second"][architecture[1]])
    if drop_path is not None:
        y = y * drop_path.factors(1, 1)[0, 0][None, None, None]
    return (x + y).reshape(-1, images.shape[0]).T @ params["head"]


def toy_path(params, architecture):
    mask = jax.tree.map(lambda p: jnp.ones((1,) * p.ndim, bool), params)
    pick = lambda choice: (jnp.arange(CHOICES) == choice)[:, None, None]
    return mask | {"first": pick(architecture[0]), "second": pick(architecture[1])}


def toy_params():
    rng = np.random.default_rng(0)
    shapes = {
        "first": (CHOICES, WIDTH, CHANNELS),
        "second": (CHOICES, WIDTH, WIDTH),
        "scale": (WIDTH,),
        "offset": (WIDTH,),
        "head": (WIDTH * SIDE**2, CLASSES),
    }
    return {
        name: rng.normal(name == "scale", 0.4, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def recipe(**changes):
    plain = data.Augmentation(MEAN, STD, flip=False, pad=0)
    settings = {
        "batch_size": BATCH,
        "total_steps": STEPS,
        "learning_rate": lambda step: RATE,
        "optimizer": sgd(momentum_decay=MOMENTUM, weight_decay=DECAY),
        "augmentation": plain,
    }
    return Recipe(**(settings | changes))


@functools.cache
def trainer(
    devices,
    axis_name=None,
    randomness=False,
    *,
    paths=UNIFORM,
    rules=(),
    path_per_device=False,
    freeze_off_path=True,
    **changes,
):
    """The toy's compiled training, shared by the tests; `randomness` is augmentation and drop."""
    if randomness:
        augmentation = data.Augmentation(MEAN, STD, flip=True, pad=1, cutout=2)
        changes |= {"augmentation": augmentation, "drop_path_keep": 0.6, "label_smoothing": 0.1}
    return make_train(
        functools.partial(toy, axis_name=axis_name),
        toy_path,
        recipe(**changes),
        jax.local_devices()[:devices],
        sampler=paths,
        rules=rules,
        path_per_device=path_per_device,
        freeze_off_path=freeze_off_path,
    )


def images_of_classes(examples=EXAMPLES):
    """Each class has its pattern, under noise."""
    rng = np.random.default_rng(1)
    labels = np.arange(examples) % CLASSES
    pattern = rng.integers(0, 2, (CLASSES, SIDE, SIDE, CHANNELS))
    noise = rng.integers(0, 156, (examples, SIDE, SIDE, CHANNELS))
    return (noise + 100 * pattern[labels]).astype(np.uint8), labels.astype(np.int32)


def material(pool=POOL, rows=REAL_ROWS):
    costs = np.where(np.arange(len(pool)) < rows, 1.0, 0.0)
    return Material(*images_of_classes(), UNIFORM.prepare(pool, costs))


def start(params=None, step=0):
    """A state with momentum."""
    params, rng = toy_params() if params is None else params, np.random.default_rng(2)
    optimizer = jax.tree.map(
        lambda trace: rng.normal(0, 0.1, trace.shape).astype(np.float32), sgd().init(params)
    )
    return State(params, optimizer, np.int32(step))


def trace_of(state):
    return optax.tree_utils.tree_get(state.optimizer, "trace")


def run(train, key, cuts=(STEPS,), state=None, given=None):
    """Trains in several dispatches; the last state and all reports, on the host."""
    state, reports = start() if state is None else state, []
    for steps in cuts:
        state, report = train(state, material() if given is None else given, key, np.int32(steps))
        reports.append(jax.device_get(report))
    return jax.device_get(state), reports


def assert_close(found, expected, **tolerance):
    check = lambda a, b: np.testing.assert_allclose(a, b, **tolerance)
    jax.tree.map(check, found, expected)


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


# The reference: a loop over steps and shards, without the library's norm, optimizer or masks.


def plain_loss(params, images, labels, architecture):
    x = images @ params["first"][architecture[0]].T
    mean, variance = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
    wide = lambda v: v[None, None, None]
    x = (x - mean) / jnp.sqrt(variance + 1e-5) * wide(params["scale"]) + wide(params["offset"])
    x = x + jax.nn.relu(x) @ params["second"][architecture[1]].T
    logits = x.transpose(0, 3, 1, 2).reshape(len(images), -1) @ params["head"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


plain_gradient = jax.jit(jax.value_and_grad(plain_loss))


def plain_step(params, trace, key, step, architectures):
    """Mean gradient of equal shards, one an architecture, then SGD on the union of the paths."""
    images, labels = images_of_classes()
    order = data.batch_indices(jax.random.split(key)[0], step, EXAMPLES, BATCH)
    images = (images[order] / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    found = [
        plain_gradient(params, *shard)
        for shard in zip(
            np.split(images, len(architectures)),
            np.split(labels[order], len(architectures)),
            architectures,
            strict=True,
        )
    ]
    loss, gradient = jax.tree.map(lambda *parts: np.mean(parts, 0), *found)
    new, moved = jax.tree.map(np.array, (params, trace))
    for name, g in gradient.items():
        at = {"first": architectures[:, 0], "second": architectures[:, 1]}.get(name, ...)
        moved[name][at] = (g + DECAY * params[name] + MOMENTUM * trace[name])[at]
        new[name][at] = (params[name] - RATE * moved[name])[at]
    return new, moved, loss


@pytest.mark.parametrize("devices", [1, 4])
def test_local_statistics_average_the_gradients_of_the_shards(key, devices):
    state, losses = start(), []
    params, trace = state.params, trace_of(state)
    for step in range(3):
        state, (report,) = run(trainer(devices), key, (1,), state)
        row = int(report.counts.argmax())
        architectures = POOL[[row] * devices]
        params, trace, loss = plain_step(params, trace, key, step, architectures)
        np.testing.assert_allclose(report.loss, loss, **FLOAT32)
        losses.append(loss)
    assert_close(state.params, params, **FLOAT32)
    assert_close(trace_of(state), trace, **FLOAT32)
    assert state.step == 3


def test_path_per_device_averages_the_gradients_of_the_paths(key):
    train, begin = trainer(2, path_per_device=True), start()
    for step in range(STEPS):
        state, (report,) = run(train, key, (1,), start(step=step))
        assert report.counts.sum() == 2
        if report.counts.max() == 1:
            break
    rows = np.flatnonzero(report.counts)
    assert len(rows) == 2  # some step draws two architectures
    # Which device drew which is not told.
    found = [
        plain_step(begin.params, trace_of(begin), key, step, POOL[order])
        for order in (rows, rows[::-1])
    ]
    close = [
        all(np.allclose(state.params[name], params[name], **FLOAT32) for name in params)
        for params, _, _ in found
    ]
    assert close in ([True, False], [False, True])


WHOLE = np.array([[a, b] for b in range(CHOICES) for a in range(CHOICES)], np.int32)
LEAST, MOST = 0.5, 2.0
COSTS = np.exp(-np.arange(len(WHOLE)))  # the exponents are evenly spaced between these
EXPONENTS = np.linspace(LEAST, MOST, len(WHOLE))


@pytest.mark.parametrize("path_rate, shared", [(False, None), (True, None), (True, 1)])
def test_strict_fairness_adds_the_gradients_of_disjoint_paths(key, path_rate, shared):
    paths_of = sampler.strictly_fair((CHOICES, CHOICES), shared)
    rules = (rates_and_momenta.complexity_losses(LEAST, MOST),) if path_rate else ()
    train = trainer(1, paths=paths_of, rules=rules)
    given = make_material(images_of_classes(), WHOLE, COSTS, len(WHOLE), paths_of, rules)
    begin, step = start(step=2), 2
    params, trace = begin.params, trace_of(begin)
    state, (report,) = run(train, key, (1,), begin, given)
    rows = np.flatnonzero(report.counts)
    paths = WHOLE[rows]
    assert report.counts.max() == 1 and sorted(paths[:, 0]) == [0, 1, 2]
    assert sorted(paths[:, 1]) == [0, 1, 2] if shared is None else len(set(paths[:, 1])) == 1
    images, labels = images_of_classes()
    order = data.batch_indices(jax.random.split(key)[0], step, EXAMPLES, BATCH)
    images = (images[order] / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    found = [plain_gradient(params, images, labels[order], path) for path in paths]
    np.testing.assert_allclose(report.loss, np.mean([loss for loss, _ in found]), **FLOAT32)
    factors = (1 - step / STEPS) ** EXPONENTS[rows] if path_rate else np.ones(CHOICES)
    gradients = [
        jax.tree.map(lambda g, f=factor: f * g, gradient)
        for factor, (_, gradient) in zip(factors, found, strict=True)
    ]
    total = jax.tree.map(lambda *parts: np.sum(parts, 0), *gradients)
    on = {"second": np.unique(paths[:, 1])}
    for name, gradient in total.items():
        at = on.get(name, ...)
        moved = gradient + DECAY * params[name] + MOMENTUM * trace[name]
        np.testing.assert_allclose(trace_of(state)[name][at], moved[at], **FLOAT32)
        expected = params[name] - RATE * moved
        np.testing.assert_allclose(state.params[name][at], expected[at], **FLOAT32)
    off = np.setdiff1d(np.arange(CHOICES), on["second"])
    np.testing.assert_array_equal(state.params["second"][off], params["second"][off])


def test_paths_that_are_not_in_the_pool_train_and_do_not_count(key):
    architecture = np.array([2, 1], np.int32)
    paths_of = sampler.anywhere("always the same", lambda key: jnp.asarray(architecture))
    train = trainer(1, paths=paths_of)
    begin = start()
    state, (report,) = run(train, key, (1,))
    params, trace, loss = plain_step(begin.params, trace_of(begin), key, 0, architecture[None])
    np.testing.assert_allclose(report.loss, loss, **FLOAT32)
    assert_close(state.params, params, **FLOAT32)
    assert_close(trace_of(state), trace, **FLOAT32)
    assert report.counts.sum() == 0
    _, (report,) = run(train, key, (STEPS,), given=material(WHOLE[::-1], len(WHOLE)))
    row = np.flatnonzero((WHOLE[::-1] == architecture).all(1))
    np.testing.assert_array_equal(np.flatnonzero(report.counts), row)
    assert report.counts.sum() == STEPS


# Devices and cuts


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_with_synchronous_statistics_devices_do_not_matter(key, devices):
    one, (report,) = run(trainer(1, AXIS, randomness=True), key)
    many, (same,) = run(trainer(devices, AXIS, randomness=True), key)
    assert_close(many, one, **FLOAT32)
    assert_close(same, report, **FLOAT32)


def test_flips_crops_and_drop_path_take_part(key):
    plain, _ = run(trainer(1), key)
    random, _ = run(trainer(1, AXIS, randomness=True), key)
    assert not np.allclose(plain.params["head"], random.params["head"], atol=1e-2)


@pytest.mark.parametrize("devices", [1, 2])
def test_cuts_between_dispatches_do_not_matter(key, devices):
    train = trainer(devices, AXIS, randomness=True)
    whole, (report,) = run(train, key)
    cut, reports = run(train, key, (1, 3, 2))
    assert_equal(cut, whole)
    assert_equal(sum(r.counts for r in reports), report.counts)
    weighted = sum(n * r.loss for n, r in zip((1, 3, 2), reports, strict=True))
    np.testing.assert_allclose(weighted / STEPS, report.loss, rtol=1e-5)


@pytest.fixture
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_supernet_on_one_and_two_devices(key, quick_compilation):
    outline = Outline(channels=4, cells=1, classes=5, operations="tiny", nodes=1)
    rng = np.random.default_rng(0)
    pool = np.asarray(outline.decisions.random(jax.random.key(1), 3))
    images = rng.integers(0, 256, (2 * BATCH, 8, 8, 3), np.uint8)
    labels = (np.arange(2 * BATCH) % 5).astype(np.int32)
    given = make_material((images, labels), pool, np.ones(3), 3, UNIFORM)
    # Outside of the mapping no axis has the name; the weights are the same without it.
    any_images = jnp.zeros((BATCH, 8, 8, 3))
    params = initialize(Supernet(outline), jax.random.key(2), any_images, jnp.asarray(pool[0]))
    params = jax.device_get(params)  # each run donates its own copy
    net = Supernet(outline, axis_name=AXIS)
    apply = lambda params, images, architecture, drop_path: net.apply(
        {"params": params}, images, architecture, drop_path=drop_path
    )
    augmentation = data.Augmentation((0.5,) * 3, (0.3,) * 3, pad=1)
    settings = recipe(augmentation=augmentation, drop_path_keep=0.8)

    def trained(devices):
        masks = functools.partial(on_path, outline)
        local = jax.local_devices()[:devices]
        train = make_train(apply, masks, settings, local, sampler=UNIFORM)
        state, (report,) = run(train, key, (2,), start(params), given)
        return state.params, report

    with ThreadPoolExecutor() as pool_of_threads:  # compilation takes nearly all the time
        (one, report), (two, same) = pool_of_threads.map(trained, (1, 2))
    assert_close(same, report, **FLOAT32)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, params)
    assert np.mean([m > 1e-3 for m in jax.tree.leaves(moved)]) > 0.5
    # Relative to how far the leaf moved; two steps apart, 1e-5 of it was seen.
    jax.tree.map(
        lambda a, b, m: np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * m), one, two, moved
    )


def test_batch_must_divide_over_devices():
    with pytest.raises(ValueError, match="9 is not divisible by 2"):
        make_train(toy, toy_path, recipe(batch_size=9), jax.local_devices()[:2], sampler=UNIFORM)


# Draws and counts


@functools.cache
def counter(devices, path_per_device):
    """Training of a net whose logits are a row of one matrix, whatever the image."""
    pick = lambda params, images, a, _: jnp.tile(params["rows"][a], (len(images), 1))
    masks = lambda params, a: {"rows": (jnp.arange(len(POOL)) == a[0])[:, None]}
    settings = recipe(
        batch_size=devices,
        optimizer=sgd(momentum_decay=0.0),
        augmentation=data.Augmentation((0.0,), (1.0,), flip=False, pad=0),
    )
    return make_train(
        *(pick, masks, settings, jax.local_devices()[:devices]),
        sampler=sampler.proportional(),
        path_per_device=path_per_device,
    )


SIZES = np.array([1, 4, 0, 2, 3, 0])


def counted(devices, path_per_device, steps):
    """The counts of many steps, and the rows of weights that they moved."""
    examples = devices * steps
    images, labels = np.zeros((examples, 1, 1, 1), np.uint8), np.zeros(examples, np.int32)
    pool = np.arange(len(SIZES), dtype=np.int32)[:, None]
    state = start({"rows": np.zeros((len(SIZES), 2), np.float32)})
    given = Material(images, labels, sampler.proportional().prepare(pool, SIZES))
    train = counter(devices, path_per_device)
    state, report = train(state, given, jax.random.key(3), np.int32(steps))
    return np.asarray(report.counts), np.asarray(state.params["rows"]).any(1)


@pytest.mark.parametrize("devices, path_per_device", [(1, False), (2, True)])
def test_counts_follow_the_sizes(devices, path_per_device):
    steps = 2000 // devices
    counts, moved = counted(devices, path_per_device, steps)
    assert counts.sum() == steps * devices
    expected = np.asarray(sampler.expected_counts(sampler.log_proportional(SIZES), 2000))
    real = SIZES > 0
    np.testing.assert_array_equal(counts > 0, real)
    np.testing.assert_array_equal(moved, real)
    chi_square = ((counts - expected)[real] ** 2 / expected[real]).sum()
    assert chi_square < 16.3  # three degrees of freedom: one in a thousand


def test_padding_is_never_trained(key):
    state, (report,) = run(trainer(1), key)
    assert report.counts.sum() == STEPS and not report.counts[REAL_ROWS:].any()
    for name in ("first", "second"):  # only the padding makes the last choice
        np.testing.assert_array_equal(state.params[name][2], start().params[name][2])
        assert (state.params[name][:2] != start().params[name][:2]).any()


def test_devices_draw_different_paths(key):
    train, state, different = trainer(2, path_per_device=True), start(), 0
    for _ in range(2 * STEPS):
        state, (report,) = run(train, key, (1,), state)
        assert report.counts.sum() == 2
        different += report.counts.max() == 1
    # 3/4 of the pairs differ: none or all of 12 would have chance 6e-8 and 0.03
    assert 0 < different


# Weights off the path


def test_weights_off_the_path_keep_value_and_momentum(key):
    begin = start()
    state, (report,) = run(trainer(1), key, (1,))
    architecture = POOL[report.counts.argmax()]
    for name, choice in zip(("first", "second"), architecture, strict=True):
        off = np.arange(CHOICES) != choice
        for now, before in ((state.params, begin.params), (trace_of(state), trace_of(begin))):
            np.testing.assert_array_equal(now[name][off], before[name][off])
            assert (now[name][choice] != before[name][choice]).all()


def test_weights_off_the_path_move_by_momentum_and_decay_when_not_frozen(key):
    begin = start()
    state, (report,) = run(trainer(1, freeze_off_path=False), key, (1,))
    architecture = POOL[report.counts.argmax()]
    for name, choice in zip(("first", "second"), architecture, strict=True):
        off = np.arange(CHOICES) != choice
        before = begin.params[name][off]
        trace = DECAY * before + MOMENTUM * trace_of(begin)[name][off]
        np.testing.assert_allclose(trace_of(state)[name][off], trace, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(
            state.params[name][off], before - RATE * trace, rtol=1e-5, atol=1e-7
        )


# Programs, failures, learning


@pytest.fixture
def compiled():
    """The durations of the compilations so far in the test."""
    durations, name = [], "/jax/core/compile/backend_compile_duration"
    listen = lambda event, seconds, **_: durations.append(seconds) if event == name else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield durations
    jax.monitoring.unregister_event_duration_listener(listen)


def test_one_program_for_all_pools_and_steps(key, compiled):
    apply = functools.partial(toy, axis_name=None)
    train = make_train(apply, toy_path, recipe(), jax.local_devices()[:2], sampler=UNIFORM)
    first, second = material(), material(POOL[::-1].copy(), rows=2)
    other_key = jax.random.key(7)
    state, _ = train(start(), first, key, np.int32(2))
    assert compiled
    compiled.clear()
    for given, steps in ((first, 1), (second, 3)):  # states of the program, and from the host
        state, _ = train(state, given, other_key, np.int32(steps))
    train(start(), second, key, np.int32(4))
    assert compiled == []


def test_learning_rate_is_that_of_the_step(key):
    train = trainer(1, learning_rate=lambda step: RATE * (step % 2))
    state = start()
    for step in range(4):
        before = state.params["head"]
        state, _ = run(train, key, (1,), state)
        assert (state.params["head"] != before).any() == step % 2


def test_first_failure_is_reported():
    key = jax.random.key(3)  # its third step is the first to make the other choice
    _, reports = run(trainer(1), key, (1,) * STEPS)
    assert {int(r.failed_step) for r in reports} == {-1}
    rows = [int(r.counts.argmax()) for r in reports]
    broken = next(step for step in range(1, STEPS) if POOL[rows[step], 1] != POOL[rows[0], 1])
    assert broken < STEPS - 1  # later steps fail as well
    params = toy_params()
    params["second"][POOL[rows[broken], 1]] = np.inf
    _, (report,) = run(trainer(1), key, state=start(params))
    # The weights are broken for good, the step before the first failure was not.
    assert report.failed_step == broken
    np.testing.assert_array_equal(report.failed, POOL[rows[broken]])
    assert not np.isfinite(report.loss)


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    plain = -(np.log(0.5) + np.log(0.8)) / 2
    # Smoothing 0.3 leaves 0.8 for the label and 0.1 for the others.
    first = -0.8 * np.log(0.5) - 0.2 * np.log(0.25)
    second = -0.8 * np.log(0.8) - 0.2 * np.log(0.1)
    labels = jnp.array([0, 2])
    np.testing.assert_allclose(cross_entropy(logits, labels), plain, rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(logits, labels, 0.3), (first + second) / 2, rtol=1e-6)


def test_loss_falls(key):
    _, reports = run(trainer(1), key, (STEPS,) * 10)
    assert reports[-1].loss < 0.3 * reports[0].loss
    assert reports[-1].accuracy > 0.9 > reports[0].accuracy
