"""A toy of two decisions with shared weights, its training, and a plain reference of that."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bnao_jax import data, sampler
from bnao_jax.nn.layers import pointwise, relu, to_maps
from bnao_jax.nn.normalization import batch_norm
from bnao_jax.training.optimizer import sgd
from bnao_jax.training.recipe import Recipe
from bnao_jax.training.supernet import Material, State, make_train

BATCH, EXAMPLES, STEPS = 8, 50, 6  # whole batches of an epoch
SIDE, CHANNELS, WIDTH, CHOICES, CLASSES = 4, 2, 4, 3, 3
RATE, DECAY, MOMENTUM = 0.05, 0.02, 0.9
MEAN, STD = (0.4, 0.5), (0.3, 0.2)
# The last two rows are padding; only they make the last choice.
POOL = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [2, 2]], np.int32)
REAL_ROWS = 4
WHOLE = np.array([[a, b] for b in range(CHOICES) for a in range(CHOICES)], np.int32)
UNIFORM = sampler.uniform()
FLOAT32 = {"rtol": 2e-4, "atol": 2e-5}  # sums in another order, some steps long


# The toy: shared matrices picked by two decisions, around one shared norm.


def toy(params, images, architecture, drop_path, dropout_key=None, axis_name=None):
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
        "learning_rate": lambda step, total_steps: RATE,
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


def material(pool=POOL, rows=REAL_ROWS, total_steps=STEPS):
    costs = np.where(np.arange(len(pool)) < rows, 1.0, 0.0)
    return Material(*images_of_classes(), UNIFORM.prepare(pool, costs), np.int32(total_steps))


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
