"""From a config to the parts of the library: the only place that knows both.

`check` finds what is wrong with a config without touching data or compiler; the makers build.
"""

import functools
import itertools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import (
    data,
    evaluation,
    optimizer,
    sampler,
    schedule,
    streamed_training,
    supernet_training,
    training,
)
from bnao_jax.data import Augmentation
from bnao_jax.nn.initialization import initialize, matrices
from bnao_jax.parallel import AXIS
from bnao_jax.space import DRAWS_PER_ROUND
from bnao_jax.strategies import bonas, evolution, nao
from bnao_jax.strategies.random import random_search
from launch.command import UsageError
from launch.fields import ARCHITECTURES, INT32, check_fields
from launch.spaces import SPACES, alone

TRAININGS = ("supernet", "final", "train")  # sections of a config that train
# Schedules by complexity: the path's own exponent, or the mean over all paths.
PATH_RATES = {"complexity": "own", "complexity_mean": "mean"}
EVALUATED_AT_ONCE = 500  # images, by a network alone
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def _get(config, name):
    for part in name.split("."):
        config = config[part]
    return config


def check(config):
    """Raises UsageError naming the first field of a search's config that cannot be.

    Needs neither data nor compiler.
    """
    check_fields(config)
    search = config.search
    if search.rounds > 1 and search.proposals < 1:
        raise UsageError("config.search.proposals must be at least 1 where there are later rounds")
    if search.trained_rounds > search.rounds:
        raise UsageError(
            f"config.search.trained_rounds={search.trained_rounds} exceeds config.search.rounds="
            f"{search.rounds}"
        )
    if config.supernet.from_scratch and search.trained_rounds not in (0, search.rounds):
        raise UsageError(
            f"config.search.trained_rounds={search.trained_rounds}: with "
            "config.supernet.from_scratch=True every round has to train"
        )
    if config.supernet.from_scratch and search.control:
        raise UsageError(
            f"config.search.control={search.control}: with config.supernet.from_scratch=True no "
            "weights are trained for a control to be scored with; set it to 0"
        )
    outline = make_outline(config, classes=10)
    needed = population_size(config) + search.control
    if needed > outline.space.cardinality:
        raise UsageError(
            f"config.search asks for {needed} different architectures; {outline.space.name} holds "
            f"{outline.space.cardinality}"
        )
    if needed > ARCHITECTURES:
        raise UsageError(
            f"config.search asks for {needed} architectures, seeds, control and the proposals of "
            f"all rounds together; the most is {ARCHITECTURES}"
        )
    if config.supernet.sampler == "strictly_fair":
        raise UsageError(
            "config.supernet.sampler='strictly_fair' draws from the whole space; a search trains "
            "pools, so it goes with launch.rank alone"
        )
    check_strategies(config, [search.strategy])
    check_shared(config)


def check_strategies(config, names):
    """Raises UsageError where the settings of these strategies do not fit the search."""
    search = config.search
    held_out = max(1, round(search.seeds * config.nao.held_out))
    if "nao" in names and search.rounds > 1 and held_out >= search.seeds:
        raise UsageError(
            f"config.nao.held_out={config.nao.held_out} of config.search.seeds={search.seeds} "
            "leaves none to fit the controller to"
        )


def check_shared(config):
    """Raises UsageError naming the first of the fields that all jobs have that cannot be."""
    if config.supernet.batch_norm == "sync" and config.supernet.path_per_device:
        raise UsageError(
            "config.supernet.batch_norm='sync' needs the same path on every device; "
            "path_per_device=True goes with 'local'"
        )
    SPACES[config.space.name].check(config)
    if config.supernet.sampler == "stratified" and SPACES[config.space.name].strata is None:
        raise UsageError(
            f"config.supernet.sampler='stratified': config.space.name={config.space.name!r} has no "
            "strata"
        )
    if config.supernet.separate_momentum and SPACES[config.space.name].split is None:
        raise UsageError(
            f"config.supernet.separate_momentum=True: config.space.name={config.space.name!r} has "
            "no decisions to part the paths by"
        )
    check_sampler(config)
    dynamic = config.supernet.separate_momentum or config.supernet.schedule in PATH_RATES
    if dynamic and config.supernet.path_per_device:
        raise UsageError(
            "config.supernet.path_per_device=True: a rate or a momentum that depends on the path "
            "needs the same path on every device"
        )
    if config.supernet.exponent_least > config.supernet.exponent_most:
        raise UsageError("config.supernet.exponent_least exceeds exponent_most")
    if config.data.valid_examples < 1:
        raise UsageError("config.data.valid_examples must be at least 1: it scores architectures")
    check_machine(config)


def check_sampler(config):
    """Raises UsageError where the sampler and its fields cannot be."""
    settings = config.supernet
    if settings.sampler in ("whole_space", "constrained") and settings.schedule in PATH_RATES:
        raise UsageError(
            f"config.supernet.schedule={settings.schedule!r} knows the architectures of the pool; "
            f"config.supernet.sampler={settings.sampler!r} draws from the whole space"
        )
    if settings.sampler != "constrained":
        return
    if SPACES[config.space.name].macs is None:
        raise UsageError(
            "config.supernet.sampler='constrained': the multiply-adds of "
            f"config.space.name={config.space.name!r} are not known inside a step"
        )
    for name in ("macs_least", "macs_most", "macs_step"):
        if settings[name] is None:
            raise UsageError(f"config.supernet.{name} is needed by sampler='constrained'")
    count, rest = divmod(settings.macs_most - settings.macs_least, settings.macs_step)
    if rest or not 1 <= count <= ARCHITECTURES:
        raise UsageError(
            f"config.supernet.macs_step={settings.macs_step} does not divide what is between "
            f"macs_least={settings.macs_least} and macs_most={settings.macs_most} into 1 to "
            f"{ARCHITECTURES} intervals"
        )


def check_machine(config):
    """Raises UsageError where devices, memory and the form of known images do not fit."""
    make_devices(config)
    split = config.data.get("split", "random")
    if split != "random" and config.data.name != (fitting := data.SPLITS[split][0]):
        raise UsageError(
            f"config.data.split={split!r} divides {fitting}; config.data.name is "
            f"{config.data.name!r}, which config.data.split='random' divides"
        )
    if config.data.name in data.FORMS:
        check_form(config, *form_of(config))


def check_form(config, image_shape, classes):
    """Raises UsageError where the config does not fit images [H, W, C] of so many classes."""
    if classes < 2:
        raise UsageError(f"config.data: the labels know {classes} class; a search needs at least 2")
    for name in () if is_streamed(config) else ("data.pad", "data.cutout"):
        if (pixels := _get(config, name)) > min(image_shape[:2]):
            raise UsageError(f"config.{name}={pixels} exceeds the sides of images {image_shape}")
    memory, outline = _memory(jax.local_devices()[0]), make_outline(config, classes)
    for names, least in _needs(config, outline, image_shape).items():
        if least > memory:
            raise UsageError(
                f"{names} needs at least {least / 1e9:,.1f} GB; there are {memory / 1e9:,.1f} GB"
            )
    check_intervals(config, outline, image_shape)


def check_intervals(config, outline, image_shape):
    """Raises UsageError where an interval of the sampler holds no random architecture."""
    if "supernet" not in config or config.supernet.sampler != "constrained":
        return
    pool = np.asarray(outline.space.random(key_of(config), DRAWS_PER_ROUND))
    macs = make_cost(config, outline, image_shape)(pool).macs
    least, most = config.supernet.macs_least, config.supernet.macs_most
    edges = np.arange(least, most + 1, config.supernet.macs_step)
    # An architecture at an edge belongs to both.
    held = [((low <= macs) & (macs <= high)).any() for low, high in itertools.pairwise(edges)]
    if not all(held):
        low, high = edges[held.index(False) :][:2] if any(held) else (least, most)
        raise UsageError(
            f"config.supernet.macs_least={least} and macs_most={most}: {low} to {high} hold none "
            f"of {len(pool)} random architectures, of {macs.min()} to {macs.max()} multiply-adds"
        )


def _memory(device):
    """Bytes that a device has; the CPU has the machine's."""
    of_machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (device.memory_stats() or {}).get("bytes_limit", of_machine)


def _needs(config, outline, image_shape):
    """Least bytes on a device by the fields that ask for them; the programs take more."""
    weights = SPACES[config.space.name].weights(outline)
    height, width = (n if config.network.stem == "cifar" else -(-n // 8) for n in image_shape[:2])
    maps = 2 * height * width * outline.channels  # of an image, bfloat16
    devices, tokens = len(make_devices(config)), 4 * outline.space.decisions
    needs = {
        # weights, gradients and momentum, float32
        "config.network with config.space and the classes of config.data": 12 * weights,
    }
    if not is_streamed(config):
        images = config.data.valid_examples * math.prod(image_shape)
        needs["config.data.valid_examples"] = images
    if "supernet" in config:
        scored = min(config.scoring.batch_size, scored_examples(config))
        needs["config.supernet.batch_size"] = config.supernet.batch_size // devices * maps
        needs["config.scoring.batch_size"] = scored * maps
    if section := alone(config):
        needs[f"config.{section}.batch_size"] = config[section].batch_size // devices * maps
    if "search" in config and config.search.strategy == "nao":
        rows = population_size(config)
        needs["config.nao.exchanges"] = 2 * tokens * rows * config.nao.exchanges
        needs["config.nao.batch_size"] = 32 * tokens * config.nao.batch_size  # embedded
    if "search" in config and config.search.strategy == "bonas":
        settings = config.bonas
        rows = tokens + 4 * settings.tournament
        needs["config.bonas.population with bonas.tournament"] = rows * settings.population
    return needs


def check_data(config, images):
    """Raises UsageError where the config does not fit the loaded `ImageData`."""
    total = len(images.train_ids)
    if (ids := held_out_ids(config)) is not None:
        most = np.isin(images.train_ids, ids).sum()
        if config.data.valid_examples > most:
            raise UsageError(
                f"config.data.valid_examples={config.data.valid_examples} exceeds the {most} "
                f"images that config.data.split={config.data.split!r} validates on"
            )
    if config.data.valid_examples >= total:
        raise UsageError(
            f"config.data.valid_examples={config.data.valid_examples} leaves none of the {total} "
            "images to train on"
        )
    check_form(config, images.image_shape, images.classes)
    examples = train_examples(config, images)
    for section in TRAININGS:
        if section not in config:
            continue
        if (size := config[section].batch_size) > examples:
            raise UsageError(
                f"config.{section}.batch_size={size} exceeds the {examples} train images"
            )
        if (steps := config[section].epochs * (examples // size)) > INT32:
            raise UsageError(
                f"config.{section}.epochs={config[section].epochs} makes {steps} steps; the most "
                f"is {INT32}"
            )
    if "scoring" in config and config.scoring.statistics == "estimated":
        calibration = min(config.scoring.calibration_images, examples)
        if calibration < config.scoring.batch_size:
            raise UsageError(
                f"config.scoring.calibration_images gives {calibration} images, fewer than one "
                f"batch of config.scoring.batch_size={config.scoring.batch_size}"
            )
    SPACES[config.space.name].check_images(config, images.image_shape)


def trained_rounds(config) -> int:
    """Rounds of a search that train its supernet, the first ones."""
    return config.search.trained_rounds or config.search.rounds


def scored_architectures(config) -> np.ndarray:
    """How many architectures each round of a search scores: int64[rounds]."""
    search, number = config.search, np.arange(config.search.rounds)
    new = np.where(number == 0, search.seeds, search.proposals)
    again = (number < trained_rounds(config)) & (not config.supernet.from_scratch)
    return np.where(again, np.cumsum(new), new)


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
    for section in TRAININGS:
        if section in config and config[section].batch_size % len(devices):
            raise UsageError(
                f"config.{section}.batch_size={config[section].batch_size} is not divisible by "
                f"{len(devices)} devices"
            )
    return devices


def is_streamed(config) -> bool:
    """Whether a config's images are too many for the memory of a device."""
    return config.data.name in data.STREAMED


def load_data(config):
    """The `ImageData` or, where images are streamed, the `StreamedData` of a config."""
    where = dict(data_dir=config.data.data_dir or None, path=config.data.path or None)
    if is_streamed(config):
        return data.open_streamed(config.data.name, image_size=config.data.image_size, **where)
    images = data.load(config.data.name, **where)
    shrunk(config, images.image_shape)
    return data.shrink(images, config.data.shrink)


def held_out_ids(config):
    """Ids of the images that an official division validates on; None: it is drawn."""
    name = config.data.get("split", "random")
    return None if name == "random" else data.official_valid_ids(name)


def split_data(config, images):
    """The train and the validation part of the images of a config's job."""
    limit = config.data.train_examples or None
    train, valid = data.split(
        *(images, config.data.valid_examples),
        **dict(seed=config.seed, limit=limit, valid_ids=held_out_ids(config)),
    )
    if is_streamed(config) and not config.data.valid_examples:
        valid = images.validation_part
    return train, valid


def noted_parts(config, images) -> dict:
    """The train, valid and test part of a config's images, each with words of what it is."""
    train, valid = split_data(config, images)
    held_out = f"{valid.examples:,} images held out of the train split"
    if not is_streamed(config):
        test = data.Images(images.test_images, images.test_labels), images.test_note
    else:
        whole = images.validation_part
        note = f"all {whole.examples:,} images of the validation split"
        test = whole, note
        if not config.data.valid_examples:
            test, held_out = (whole._replace(rows=whole.rows[:0]), "no test images"), note
    trained = train, f"{train.examples:,} images of the train split"
    return {"train": trained, "valid": (valid, held_out), "test": test}


def form(config):
    """(H, W, C) and the number of classes of the images that `load_data` would give."""
    shape, classes = form_of(config)
    check_form(config, shape, classes)
    return shape, classes


def form_of(config):
    """What `form` returns, not checked."""
    path, name = config.data.path or None, config.data.name
    if is_streamed(config):
        side = config.data.image_size
        classes = data.FORMS[name][1] if name in data.FORMS else data.read_folder(path).classes
        return (side, side, 3), classes
    shape, classes = data.form(name, path=path)
    return shrunk(config, shape), classes


def shrunk(config, image_shape):
    """(H, W, C) of images as the config wants them; UsageError where that cannot be."""
    height, width, channels = image_shape
    factor = config.data.shrink
    if height % factor or width % factor:
        raise UsageError(
            f"config.data.shrink={factor} does not divide the sides of images {image_shape}"
        )
    return height // factor, width // factor, channels


def make_outline(config, classes):
    """The network around the searched part."""
    outline = SPACES[config.space.name].outline
    return named("config.network or config.space", outline, config, classes)


def named(what, function, *args):
    """`function(*args)`; an error of bad input says what it was in."""
    try:
        return function(*args)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None


def make_cost(config, outline, image_shape):
    """`pool -> Cost` of stand-alone networks at the search's width and depth."""
    return lambda pool: SPACES[config.space.name].cost(outline, pool, image_shape)


def key_of(config):
    """The random key of a config's seed."""
    return jax.random.key(config.seed)


def make_limit(config, cost_of, latency_of=None):
    """`pool -> bool[P]`, or None without a limit; `latency_of(pool)` is in seconds."""
    max_params, max_macs = config.search.max_params, config.search.max_macs
    if max_params is None and max_macs is None and latency_of is None:
        return None

    def accept(pool):
        found = cost_of(pool)
        within = np.ones(len(pool), bool)
        if max_params is not None:
            within &= found.params <= max_params
        if max_macs is not None:
            within &= found.macs <= max_macs
        if latency_of is not None:
            within &= latency_of(pool) <= config.search.max_latency
        return within

    return accept


def make_strategy(config, outline, accept):
    """The search strategy."""
    name, space, capacity = config.search.strategy, outline.space, population_size(config)
    if name == "random":
        return random_search(space, accept=accept)
    if name == "evolution":
        return evolution.evolution(space, evolution.Settings(**config.evolution), accept=accept)
    if name == "bonas":
        form = SPACES[config.space.name].graph(outline)
        settings = bonas.Settings(capacity=capacity, **config.bonas)
        return bonas.bonas(space, form, settings, accept=accept)
    return nao.nao_strategy(space, nao.Settings(capacity=capacity, **config.nao), accept=accept)


def make_augmentation(config, images):
    """What happens to training images."""
    mean, std = (tuple(float(v) for v in values) for values in (images.mean, images.std))
    if is_streamed(config):  # the host has cropped and flipped
        return Augmentation(mean, std, flip=False, pad=0)
    return Augmentation(mean, std, config.data.flip, config.data.pad, config.data.cutout)


def make_random_crop(config):
    """What happens to streamed images that train."""
    settings = config.data
    return data.RandomCrop(settings.image_size, settings.least_area, settings.flip, settings.jitter)


def make_centre_crop(config):
    """What happens to streamed images that are evaluated with."""
    return data.CentreCrop(config.data.image_size, config.data.centre)


def initial_weights(config, outline, images):
    """The shared weights before any training."""
    net = SPACES[config.space.name].supernet(outline, DTYPES[config.network.dtype])
    any_images = np.zeros((1, *images.image_shape), np.float32)
    any_architecture = np.zeros(outline.space.decisions, np.int32)
    return initialize(net, jax.random.key(config.seed), any_images, any_architecture)


def make_supernet(config, outline, images, devices, only=None):
    """The compiled training function of a supernet, its recipe, the compiled evaluation.

    With `only`, an architecture as a tuple, both programs are of it alone, whatever they are given.
    """
    settings, space = config.supernet, SPACES[config.space.name]
    axis_name = AXIS if settings.batch_norm == "sync" else None
    net = space.supernet(outline, DTYPES[config.network.dtype], axis_name)
    one_device = space.supernet(outline, DTYPES[config.network.dtype])

    def apply(params, batch, architecture, drop_path):
        return net.apply({"params": params}, batch, only or architecture, drop_path=drop_path)

    def apply_scoring(params, known, batch, architecture):
        architecture = only or architecture
        if known is not None:
            variables = {"params": params, "batch_stats": known}
            return one_device.apply(variables, batch, architecture, given=True), known
        variables, mutable = {"params": params}, ["batch_stats"]
        logits, changed = one_device.apply(variables, batch, architecture, mutable=mutable)
        return logits, changed["batch_stats"]

    examples = train_examples(config, images)
    per_epoch = data.steps_per_epoch(examples, settings.batch_size)
    total_steps, path_rate = settings.epochs * per_epoch, PATH_RATES.get(settings.schedule)
    split = space.split(config.seed) if settings.separate_momentum else None
    draw = supernet_training.draw_one
    if settings.sampler in ("whole_space", "constrained"):
        draw = supernet_training.draw_anywhere(make_draw(config, outline, images.image_shape))
    if settings.sampler == "strictly_fair":
        draw = supernet_training.draw_fairly(outline.space.options, shared=split)
        path_rate = "loss" if path_rate == "own" else path_rate
    augmentation = make_augmentation(config, images)
    recipe = supernet_training.Recipe(
        batch_size=settings.batch_size,
        total_steps=total_steps,
        learning_rate=make_rate(settings, per_epoch),
        optimizer=optimizer.sgd(
            momentum_decay=settings.momentum,
            weight_decay=settings.weight_decay,
            decayed=None if settings.decay_vectors else matrices,
            clip=settings.clip or None,
            nesterov=settings.nesterov,
            groups=None if split is None else outline.space.options[split],
            complexity_steps=total_steps if path_rate in ("own", "mean") else None,
        ),
        augmentation=augmentation,
        label_smoothing=settings.label_smoothing,
        drop_path_keep=None if settings.drop_path_keep == 1 else settings.drop_path_keep,
        draw=draw,
        path_per_device=settings.path_per_device,
        frozen_off_path=settings.freeze_off_path,
        path_rate=path_rate,
        group=None if split is None else (lambda architecture: architecture[split]),
    )
    masks = lambda params, architecture: space.on_path(outline, params, architecture)
    train = supernet_training.make_train(apply, masks, recipe, devices)
    scoring = evaluation.Scoring(
        batch_size=min(config.scoring.batch_size, scored_examples(config)),
        statistics=config.scoring.statistics,
        mean=augmentation.mean,
        std=augmentation.std,
        per_dispatch=config.scoring.per_dispatch,
    )
    return train, recipe, evaluation.make_evaluate(apply_scoring, scoring, devices)


def make_draw(config, outline, image_shape):
    """`key -> int32[D]` of the samplers that draw single paths of the whole space."""
    draw = functools.partial(sampler.of_space, options=outline.space.options)
    settings = config.supernet
    if settings.sampler == "whole_space":
        return draw
    limits = dict(least=settings.macs_least, most=settings.macs_most, step=settings.macs_step)
    macs = SPACES[config.space.name].macs(outline, image_shape)
    return lambda key: sampler.within(key, draw, macs, **limits)


def make_material(config, space, train_part, pool, params, capacity):
    """What a round trains on: the pool [P, D] with `params` int[P], padded to a capacity."""
    settings, padding = config.supernet, capacity - len(pool)
    padded = lambda rows, value: np.pad(
        rows, ((0, padding),) + ((0, 0),) * (rows.ndim - 1), constant_values=value
    )
    sizes = padded(np.asarray(params, np.float32), 0)
    if settings.sampler == "stratified":
        strata = SPACES[config.space.name].strata(pool)
        log_weights = sampler.stratified(padded(strata, -1))
    else:
        exponent = settings.size_exponent if settings.sampler == "proportional" else 0.0
        log_weights = sampler.proportional(sizes, exponent)
    exponents = None
    if settings.schedule in PATH_RATES:
        exponents = optimizer.complexity_exponents(
            params, least=settings.exponent_least, most=settings.exponent_most
        )
        exponents = padded(exponents, 0)
    places = None
    if settings.sampler == "strictly_fair":
        places = np.argsort(sampler.numbers(pool, space.options)).astype(np.int32)
    pool = padded(np.asarray(pool, np.int32), 0)
    return supernet_training.Material(*train_part, pool, log_weights, exponents, places)


def train_examples(config, images) -> int:
    """Images that train the supernet."""
    held = held_out_ids(config)
    rest = len(images.train_ids) - config.data.valid_examples
    if held is not None:
        rest = np.isin(images.train_ids, held, invert=True).sum().item()
    return min(rest, config.data.train_examples) if config.data.train_examples else rest


def scored_examples(config) -> int:
    """Validation images that score an architecture."""
    return min(config.scoring.images or config.data.valid_examples, config.data.valid_examples)


def make_alone(config, section, outline, images, architecture, devices):
    """Network, recipe, compiled training function and evaluation of one architecture alone.

    `section` of the config says how it is trained.
    """
    settings = config[section]
    network = make_network(config, section, outline, architecture)
    per_epoch = data.steps_per_epoch(train_examples(config, images), settings.batch_size)
    augmentation = make_augmentation(config, images)
    recipe = training.Recipe(
        batch_size=settings.batch_size,
        total_steps=settings.epochs * per_epoch,
        learning_rate=make_rate(settings, per_epoch),
        optimizer=optimizer.sgd(
            momentum_decay=settings.momentum,
            weight_decay=settings.weight_decay,
            decayed=None if settings.decay_vectors else matrices,
            clip=settings.clip or None,
            nesterov=settings.nesterov,
        ),
        augmentation=augmentation,
        label_smoothing=settings.label_smoothing,
        drop_path_keep=None if settings.drop_path_keep == 1 else settings.drop_path_keep,
        average_decay=settings.average_decay or None,
    )
    colours = augmentation.mean, augmentation.std
    if is_streamed(config):
        train = streamed_training.make_train(network, recipe, devices)
        logits = training.make_logits(network, *colours)
        evaluate = streamed_training.make_evaluate(logits, outline.classes, devices)
        return network, recipe, train, evaluate
    train = training.make_train(network, recipe, devices)
    sizes = dict(batch_size=EVALUATED_AT_ONCE, classes=outline.classes)
    return network, recipe, train, training.make_evaluate(network, *colours, **sizes)


def make_network(config, section, outline, architecture):
    """The stand-alone network of an architecture, with the heads of a section, if there is one."""
    space = SPACES[config.space.name]
    return space.network(
        outline,
        tuple(int(choice) for choice in architecture),
        dtype=DTYPES[config.network.dtype],
        **({name: config[section][name] for name in space.heads} if section else {}),
    )


def make_rate(settings, steps_per_epoch):
    """The learning rate by step; of schedules by complexity the factor all paths share."""
    if settings.schedule == "cosine":
        return schedule.cosine(
            high=settings.learning_rate,
            low=settings.learning_rate_end,
            epochs=settings.epochs,
            steps_per_epoch=steps_per_epoch,
        )
    if settings.schedule == "exponential":
        return schedule.exponential(
            high=settings.learning_rate, decay=settings.rate_decay, steps_per_epoch=steps_per_epoch
        )
    if settings.schedule == "linear":
        return schedule.linear(
            high=settings.learning_rate,
            low=settings.learning_rate_end,
            steps=settings.epochs * steps_per_epoch,
        )
    # The optimizer multiplies it by the path's factor.
    return lambda step: jnp.float32(settings.learning_rate)
