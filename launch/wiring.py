"""From a config to the parts of the library: the only place that knows both.

`check` finds what is wrong with a config without touching data or compiler; the makers build.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import data, evaluation, optimizer, sampler, schedule, supernet_training, training
from bnao_jax.data import Augmentation
from bnao_jax.nn.initialization import initialize
from bnao_jax.parallel import AXIS
from bnao_jax.spaces.nao.cost import cost
from bnao_jax.spaces.nao.network import Network
from bnao_jax.spaces.nao.space import Outline
from bnao_jax.spaces.nao.supernet import Supernet, on_path
from bnao_jax.strategies.nao import Settings, nao_strategy
from bnao_jax.strategies.random import random_search
from launch.command import UsageError

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
CHOICES = {
    "space.name": ("nao",),
    "network.dtype": tuple(DTYPES),
    "supernet.sampler": tuple(sampler.RULES),
    "supernet.schedule": ("cosine", "exponential"),
    "supernet.batch_norm": ("local", "sync"),
    "scoring.statistics": evaluation.STATISTICS,
    "search.strategy": ("nao", "random"),
    "data.name": tuple(data.LOADERS),
}
AT_LEAST_ONE = (
    *("checkpoint_every_steps", "checkpoint_every_seconds"),
    *("data.valid_examples", "supernet.epochs", "supernet.batch_size", "scoring.batch_size"),
    *("scoring.per_dispatch", "search.seeds", "search.rounds", "nao.seeds", "nao.exchanges"),
    *("nao.epochs", "nao.batch_size", "final.epochs", "final.batch_size"),
)
AT_LEAST_ZERO = (
    *("seed", "devices", "data.train_examples", "data.pad", "data.cutout"),
    *("supernet.learning_rate", "supernet.learning_rate_end", "supernet.weight_decay"),
    *("scoring.images", "scoring.calibration_images", "search.control", "final.top"),
    *("final.learning_rate", "final.weight_decay"),
)
ABOVE_ZERO = ("supernet.clip", "nao.learning_rate", "final.clip", "supernet.rate_decay")
SHARES = (
    *("supernet.momentum", "supernet.label_smoothing", "nao.trade_off", "final.momentum"),
    *("nao.held_out", "final.dropout"),
)
KEEPS = ("supernet.drop_path_keep", "final.drop_path_keep")


def _get(config, name):
    for part in name.split("."):
        config = config[part]
    return config


def check(config):
    """Raises UsageError naming the first field that cannot be; needs neither data nor compiler."""
    for name, allowed in CHOICES.items():
        if _get(config, name) not in allowed:
            raise UsageError(f"config.{name}={_get(config, name)!r} is not one of {list(allowed)}")
    for names, holds, rule in (
        (AT_LEAST_ONE, lambda v: v >= 1, "at least 1"),
        (AT_LEAST_ZERO, lambda v: v >= 0, "at least 0"),
        (ABOVE_ZERO, lambda v: v > 0, "above 0"),
        (SHARES, lambda v: 0 <= v < 1, "at least 0 and below 1"),
        (KEEPS, lambda v: 0 < v <= 1, "above 0 and at most 1"),
    ):
        for name in names:
            if not holds(_get(config, name)):
                raise UsageError(f"config.{name}={_get(config, name)} must be {rule}")
    for name in ("search.max_params", "search.max_macs"):
        if (limit := _get(config, name)) is not None and limit < 1:
            raise UsageError(f"config.{name}={limit} must be at least 1")
    if config.search.rounds > 1 and config.search.proposals < 1:
        raise UsageError("config.search.proposals must be at least 1 where there are later rounds")
    outline = make_outline(config, classes=10)
    needed = population_size(config) + config.search.control
    if needed > outline.space.cardinality:
        raise UsageError(
            f"config.search asks for {needed} different architectures; {outline.space.name} holds "
            f"{outline.space.cardinality}"
        )
    if config.supernet.batch_norm == "sync" and config.supernet.path_per_device:
        raise UsageError(
            "config.supernet.batch_norm='sync' needs the same path on every device; "
            "path_per_device=True goes with 'local'"
        )
    make_devices(config)


def check_data(config, images):
    """Raises UsageError where the config does not fit the loaded `ImageData`."""
    train_examples = len(images.train_labels) - config.data.valid_examples
    if config.data.train_examples:
        train_examples = min(train_examples, config.data.train_examples)
    for name in ("supernet.batch_size", "final.batch_size"):
        if _get(config, name) > train_examples:
            raise UsageError(
                f"config.{name}={_get(config, name)} exceeds the {train_examples} train images"
            )
    if config.scoring.statistics == "estimated":
        calibration = min(config.scoring.calibration_images, train_examples)
        if calibration < config.scoring.batch_size:
            raise UsageError(
                f"config.scoring.calibration_images gives {calibration} images, fewer than one "
                f"batch of config.scoring.batch_size={config.scoring.batch_size}"
            )
    smallest = min(images.image_shape[:2])
    if config.network.stem == "imagenet":
        smallest = -(-smallest // 8)
    smallest = -(-smallest // 4)
    needed = 8 if config.network.stem == "cifar" else 7
    if config.final.top and config.final.auxiliary and smallest < needed:
        raise UsageError(
            f"config.final.auxiliary=True needs maps of {needed}x{needed} before the classifier; "
            f"images of {images.image_shape} leave {smallest}x{smallest}"
        )


def population_size(config) -> int:
    """Architectures of all rounds together."""
    return config.search.seeds + (config.search.rounds - 1) * config.search.proposals


def make_devices(config):
    """The devices to use: of every process the same number."""
    local = len(jax.local_devices())
    wanted = config.devices or local
    if wanted > local:
        raise UsageError(f"config.devices={wanted}, but there are {local}")
    of_process = [jax.local_devices(process_index=n)[:wanted] for n in range(jax.process_count())]
    devices = [device for own in of_process for device in own]
    for name in ("supernet.batch_size", "final.batch_size"):
        if _get(config, name) % len(devices):
            raise UsageError(
                f"config.{name}={_get(config, name)} is not divisible by {len(devices)} devices"
            )
    return devices


def make_outline(config, classes) -> Outline:
    """The network around the searched cells."""
    network, space = config.network, config.space
    settings = network.channels, network.cells, classes, network.stem, space.operations, space.nodes
    return named("config.network or config.space", Outline, *settings)


def named(what, function, *args):
    """`function(*args)`; an error of bad input says what it was in."""
    try:
        return function(*args)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None


def make_cost(outline, image_shape):
    """`pool -> Cost` of stand-alone networks at the search's width and depth."""
    return lambda pool: cost(outline, pool, image_shape)


def make_limit(config, cost_of):
    """`pool -> bool[P]`, or None without a limit."""
    max_params, max_macs = config.search.max_params, config.search.max_macs
    if max_params is None and max_macs is None:
        return None

    def accept(pool):
        found = cost_of(pool)
        within = np.ones(len(pool), bool)
        if max_params is not None:
            within &= found.params <= max_params
        if max_macs is not None:
            within &= found.macs <= max_macs
        return within

    return accept


def make_strategy(config, space, accept):
    """The search strategy."""
    if config.search.strategy == "random":
        return random_search(space, accept=accept)
    return nao_strategy(
        space, Settings(capacity=population_size(config), **config.nao), accept=accept
    )


def make_augmentation(config, images):
    """What happens to training images."""
    mean, std = (tuple(float(v) for v in values) for values in (images.mean, images.std))
    return Augmentation(mean, std, config.data.flip, config.data.pad, config.data.cutout)


def make_supernet(config, outline, images, devices, only=None):
    """Initial weights, the compiled training function and its recipe, the compiled evaluation.

    With `only`, an architecture as a tuple, both programs are of it alone, whatever they are given.
    """
    settings = config.supernet
    axis_name = AXIS if settings.batch_norm == "sync" else None
    net = Supernet(outline, DTYPES[config.network.dtype], axis_name)
    alone = Supernet(outline, DTYPES[config.network.dtype])
    any_images = np.zeros((1, *images.image_shape), np.float32)
    any_architecture = np.zeros(outline.space.decisions, np.int32)
    params = initialize(alone, jax.random.key(config.seed), any_images, any_architecture)

    def apply(params, batch, architecture, drop_path):
        return net.apply({"params": params}, batch, only or architecture, drop_path=drop_path)

    def apply_scoring(params, known, batch, architecture):
        architecture = only or architecture
        if known is not None:
            variables = {"params": params, "batch_stats": known}
            return alone.apply(variables, batch, architecture, given=True), known
        variables, mutable = {"params": params}, ["batch_stats"]
        logits, changed = alone.apply(variables, batch, architecture, mutable=mutable)
        return logits, changed["batch_stats"]

    examples = train_examples(config, images)
    per_epoch = data.steps_per_epoch(examples, settings.batch_size)
    rates = {
        "cosine": lambda: schedule.cosine(
            high=settings.learning_rate,
            low=settings.learning_rate_end,
            epochs=settings.epochs,
            steps_per_epoch=per_epoch,
        ),
        "exponential": lambda: schedule.exponential(
            high=settings.learning_rate, decay=settings.rate_decay, steps_per_epoch=per_epoch
        ),
    }
    augmentation = make_augmentation(config, images)
    recipe = supernet_training.Recipe(
        batch_size=settings.batch_size,
        total_steps=settings.epochs * per_epoch,
        learning_rate=rates[settings.schedule](),
        optimizer=optimizer.sgd(
            momentum_decay=settings.momentum,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
        ),
        augmentation=augmentation,
        label_smoothing=settings.label_smoothing,
        drop_path_keep=None if settings.drop_path_keep == 1 else settings.drop_path_keep,
        path_per_device=settings.path_per_device,
        frozen_off_path=settings.freeze_off_path,
    )
    masks = lambda params, architecture: on_path(outline, params, architecture)
    train = supernet_training.make_train(apply, masks, recipe, devices)
    scoring = evaluation.Scoring(
        batch_size=min(config.scoring.batch_size, scored_examples(config)),
        statistics=config.scoring.statistics,
        mean=augmentation.mean,
        std=augmentation.std,
        per_dispatch=config.scoring.per_dispatch,
    )
    return params, train, recipe, evaluation.make_evaluate(apply_scoring, scoring, devices)


def train_examples(config, images) -> int:
    """Images that train the supernet."""
    rest = len(images.train_labels) - config.data.valid_examples
    return min(rest, config.data.train_examples) if config.data.train_examples else rest


def scored_examples(config) -> int:
    """Validation images that score an architecture."""
    return min(config.scoring.images or config.data.valid_examples, config.data.valid_examples)


def make_final(config, outline, images, architecture, devices):
    """Network, recipe, compiled training function and evaluation of one architecture alone."""
    settings = config.final
    network = Network(
        outline,
        tuple(int(choice) for choice in architecture),
        dropout=settings.dropout,
        auxiliary=settings.auxiliary,
        dtype=DTYPES[config.network.dtype],
    )
    per_epoch = data.steps_per_epoch(train_examples(config, images), settings.batch_size)
    augmentation = make_augmentation(config, images)
    recipe = training.Recipe(
        batch_size=settings.batch_size,
        total_steps=settings.epochs * per_epoch,
        learning_rate=schedule.cosine(
            high=settings.learning_rate, low=0.0, epochs=settings.epochs, steps_per_epoch=per_epoch
        ),
        optimizer=optimizer.sgd(
            momentum_decay=settings.momentum,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
        ),
        augmentation=augmentation,
        drop_path_keep=None if settings.drop_path_keep == 1 else settings.drop_path_keep,
    )
    train = training.make_train(network, recipe, devices)
    evaluate = training.make_evaluate(
        network,
        augmentation.mean,
        augmentation.std,
        min(config.scoring.batch_size, config.data.valid_examples),
    )
    return network, recipe, train, evaluate
