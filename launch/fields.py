"""What may stand in each field of a config; a field that is not here is a typing error."""

import numbers

import numpy as np
from ml_collections import ConfigDict

from bnao_jax import data, evaluation, sampler, score
from bnao_jax.spaces.nao.space import OPERATIONS, STEMS
from launch.command import UsageError
from launch.spaces import SPACES

INT32 = 2**31 - 1  # steps, rows and images are counted in int32
INT64 = 2**63 - 1  # costs in int64
FLOAT32 = float(np.finfo(np.float32).max)
ARCHITECTURES = 100_000  # of a whole search, at most: each is scored in every round
# Fields and sections that only some jobs have; the others all have.
STRATEGIES = ("nao", "evolution", "bonas")  # with settings
JOBS = {
    "search": ("search", *STRATEGIES, "final"),
    "rank": ("rank", "seeds", "truth"),
    "study": ("study", "final", "seeds", "truth"),
    "train": ("train", "arch", "warm_start"),
    "comparison": ("comparison", "search", *STRATEGIES, "seeds", "truth"),
}
LAUNCHERS = {
    "search": "launch.search",
    **dict.fromkeys(("rank", "study"), "launch.rank"),
    "train": "launch.train",
    "comparison": "launch.compare",
}
WITHOUT = {
    # It has several of these, and trains all its architectures alone or none.
    "study": ("supernet.epochs", "supernet.sampler", "final.top"),
    "train": ("supernet", "scoring"),
    # It trains nothing.
    "comparison": (
        *("data", "supernet", "scoring", "devices", "tensorboard"),
        *("checkpoint_every_steps", "checkpoint_every_seconds"),
        *("search.strategy", "search.control", "search.report"),
        *("search.max_latency", "search.latencies", "search.latency_batch"),
    ),
}
# Fields of images that are streamed while a network is trained, and of those that are in memory.
STREAMED = (
    *("data.image_size", "data.least_area", "data.jitter", "data.centre", "data.workers"),
    "train.max_macs",
)
IN_MEMORY = ("data.split", "data.shrink", "data.pad", "data.cutout")
ALONE = ("final", "train")  # sections that say how networks are trained alone


def _alone(*fields):
    return tuple(f"{section}.{field}" for section in ALONE for field in fields)


SCHEDULES = ("cosine", "exponential", "linear")
CHOICES = {
    "space.name": tuple(SPACES),
    "space.operations": OPERATIONS,
    "network.stem": STEMS,
    "network.dtype": ("float32", "bfloat16"),
    "supernet.sampler": sampler.RULES,
    "supernet.schedule": (*SCHEDULES, "complexity", "complexity_mean"),
    **dict.fromkeys(_alone("schedule"), SCHEDULES),
    "supernet.batch_norm": ("local", "sync"),
    "scoring.statistics": evaluation.STATISTICS,
    "search.strategy": (*STRATEGIES, "random"),
    "data.name": (*data.LOADERS, *data.STREAMED),
    "data.split": ("random", *data.SPLITS),
    "scoring.score": tuple(score.KINDS),
}
WHOLE = {  # the least and the most
    "seed": (0, 2**32 - 1),  # what NumPy's RandomState takes
    "devices": (0, INT32),
    "checkpoint_every_steps": (1, INT32),
    "checkpoint_every_seconds": (1, INT32),
    "data.train_examples": (0, INT32),
    "data.valid_examples": (0, INT32),
    "data.shrink": (1, INT32),
    "data.pad": (0, INT32),
    "data.cutout": (0, INT32),
    "data.image_size": (8, 2**14),
    "data.workers": (0, 1_000),
    "space.nodes": (1, 100),  # with these three at their most, costs are within int64
    "network.channels": (2, 2**14),
    "network.cells": (1, 100),
    "supernet.epochs": (1, INT32),
    "supernet.batch_size": (1, INT32),
    "scoring.images": (0, INT32),
    "scoring.batch_size": (1, INT32),
    "scoring.calibration_images": (0, INT32),
    "scoring.per_dispatch": (1, ARCHITECTURES),
    "search.seeds": (1, ARCHITECTURES),
    "search.rounds": (1, ARCHITECTURES),
    "search.trained_rounds": (0, ARCHITECTURES),
    "search.proposals": (0, ARCHITECTURES),
    "search.control": (0, ARCHITECTURES),
    "search.latency_batch": (1, INT32),
    "nao.seeds": (1, ARCHITECTURES),
    "nao.exchanges": (1, INT32),
    "nao.epochs": (1, INT32),
    "nao.batch_size": (1, INT32),
    "evolution.parents": (1, ARCHITECTURES),
    **dict.fromkeys(
        [f"bonas.{n}" for n in ("epochs", "batch_size", "population", "tournament")], (1, INT32)
    ),
    "bonas.generations": (1, INT32),
    "seeds": (1, 100),
    "rank.architectures": (0, ARCHITECTURES),
    "rank.points": (1, 1_000),
    "rank.point_architectures": (2, ARCHITECTURES),
    "study.architectures": (2, ARCHITECTURES),
    "study.candidates": (4, ARCHITECTURES),
    "final.top": (0, ARCHITECTURES),
    **dict.fromkeys(_alone("epochs", "batch_size"), (1, INT32)),
    "train.evaluate_every_epochs": (1, INT32),
}
LIMITS = ("search.max_params", "search.max_macs", "train.max_macs")
INTERVALS = ("supernet.macs_least", "supernet.macs_most", "supernet.macs_step")
AT_LEAST_ZERO = (
    *("supernet.learning_rate", "supernet.learning_rate_end", "supernet.weight_decay"),
    *("supernet.exponent_least", "supernet.exponent_most", "supernet.size_exponent"),
    *("supernet.clip", "scoring.size_weight", "bonas.exploration"),
    *_alone("learning_rate", "learning_rate_end", "weight_decay", "clip"),
)
ABOVE_ZERO = (
    *("nao.learning_rate", "supernet.rate_decay", "bonas.learning_rate"),
    *_alone("rate_decay"),
)
SHARES = (
    *("supernet.momentum", "supernet.label_smoothing", "nao.trade_off", "nao.held_out"),
    *_alone("momentum", "label_smoothing", "dropout", "average_decay"),
    "data.jitter",
)
KEEPS = (
    *("supernet.drop_path_keep", *_alone("drop_path_keep")),
    *("data.least_area", "data.centre", "evolution.mutation_rate"),
)
SWITCHES = (
    *("space.channel_choice", "data.flip", "supernet.freeze_off_path", "tensorboard"),
    *("supernet.path_per_device", "search.report"),
    *("supernet.nesterov", "supernet.separate_momentum"),
    *("supernet.decay_vectors", "supernet.from_scratch"),
    *_alone("auxiliary", "nesterov", "decay_vectors"),
)
TEXTS = (
    *("compilation_cache", "data.data_dir", "data.path", "truth", "arch", "warm_start"),
    *("rank.column", "study.column", "search.latencies"),
    *("comparison.column", "comparison.final_column"),
)


def _whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _within(holds):
    """Whether a value is a number of which `holds` is true; NaN is in no range."""
    return lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool) and holds(v)


def _whole_or_none(most):
    return lambda v: v is None or _whole(v) and 1 <= v <= most


def _positive_or_none(value):
    return value is None or _within(lambda v: 0 < v <= FLOAT32)(value)


def _rules():
    """Yields (field, whether a value may stand there, what may)."""
    for name, allowed in CHOICES.items():
        yield name, lambda v, a=allowed: isinstance(v, str) and v in a, f"one of {list(allowed)}"
    for name, (least, most) in WHOLE.items():
        holds = lambda v, a=least, b=most: _whole(v) and a <= v <= b
        yield name, holds, f"a whole number from {least} to {most}"
    for names, holds, rule in (
        (LIMITS, lambda v: v is None or _whole(v) and v >= 1, "a whole number of at least 1"),
        (INTERVALS, _whole_or_none(INT64), f"a whole number from 1 to {INT64}, or None"),
        (("search.max_latency",), _positive_or_none, "above 0 and finite in float32"),
        (AT_LEAST_ZERO, _within(lambda v: 0 <= v <= FLOAT32), "at least 0 and finite in float32"),
        (ABOVE_ZERO, _within(lambda v: 0 < v <= FLOAT32), "above 0 and finite in float32"),
        (SHARES, _within(lambda v: 0 <= v < 1), "at least 0 and below 1"),
        (KEEPS, _within(lambda v: 0 < v <= 1), "above 0 and at most 1"),
        (("evolution.mutants",), _within(lambda v: 0 <= v <= 1), "within 0 and 1"),
        (SWITCHES, lambda v: isinstance(v, bool), "True or False"),
        (TEXTS, lambda v: isinstance(v, str), "text"),
    ):
        yield from ((name, holds, rule) for name in names)
    for name, among, rule in (
        ("comparison.evaluations", lambda v: _whole(v) and 1 <= v, "whole numbers of at least 1"),
        (
            "comparison.strategies",
            CHOICES["search.strategy"].__contains__,
            f"of {list(CHOICES['search.strategy'])}",
        ),
        ("study.epochs", lambda v: _whole(v) and 1 <= v <= INT32, "whole numbers of at least 1"),
        ("study.samplers", CHOICES["supernet.sampler"].__contains__, f"of {list(sampler.RULES)}"),
    ):
        yield name, _all_different(among), f"a tuple of one or more, all different, {rule}"


def _all_different(among):
    """Whether a value is a tuple of different members that are all `among`."""
    return lambda v: isinstance(v, tuple) and v and all(map(among, v)) and len({*v}) == len(v)


RULES = {name: (holds, rule) for name, holds, rule in _rules()}


def _fields(config, prefix=""):
    """Yields (name, value) of every field, sections entered."""
    try:
        items = config.items()
    except TypeError:  # it sorts them
        raise UsageError(f"config.{prefix.rstrip('.')}: the name of a field is text") from None
    for key, value in items:
        if isinstance(value, ConfigDict):
            yield from _fields(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _unused(found, job):
    """The fields that the form of the images makes no use of."""
    name = found.get("data.name")
    streamed = isinstance(name, str) and name in data.STREAMED
    if streamed and job != "train":
        raise UsageError(
            f"config.data.name={name!r}: images of that kind train one network, by launch.train "
            "with configs/imagenet_train.py"
        )
    if job == "train" and streamed != ("data.image_size" in found) and name in CHOICES["data.name"]:
        fitting = "imagenet_train" if streamed else "cifar_train"
        raise UsageError(f"config.data.name={name!r} goes with configs/{fitting}.py")
    return IN_MEMORY if streamed else STREAMED


def _shown(value):
    # Python writes no integer of more than 4,300 digits in decimal.
    text = hex(value) if _whole(value) and abs(value) > 2**64 else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def job_of(config) -> str:
    """Which of `JOBS` a config is for, by the sections it has."""
    own = lambda job: sum(name in config for name in JOBS[job]) if hasattr(config, "keys") else 0
    return max(JOBS, key=own)


def check_fields(config, job="search"):
    """Raises UsageError naming the first field that is absent, unknown or cannot be by itself.

    `job` is one of `JOBS`.
    """
    if not isinstance(config, ConfigDict):
        raise UsageError(f"--config: a {type(config).__name__} came of it, not a ConfigDict")
    found = dict(_fields(config))
    others = {part for name, parts in JOBS.items() if name != job for part in parts}
    absent = {*WITHOUT.get(job, ()), *others} - {*JOBS[job]}
    absent |= {*_unused(found, job)}
    rules = {n: rule for n, rule in RULES.items() if absent.isdisjoint((n, n.split(".")[0]))}
    for name in found:
        if name not in rules:
            other = job_of(config)
            of = "" if other == job else f" here; the config is one for {LAUNCHERS[other]}"
            raise UsageError(f"config.{name}: there is no such field{of}")
    for name, (holds, rule) in rules.items():
        if name not in found:
            raise UsageError(f"config.{name} is missing")
        if not holds(found[name]):
            raise UsageError(f"config.{name}={_shown(found[name])} must be {rule}")
