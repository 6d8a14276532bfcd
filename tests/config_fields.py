"""The fields of all configs, whether their values are sound, and any values for them.

BNAO_FUZZ_EXAMPLES=20000 tries so many inputs of each kind.
"""

import ast
import contextlib
import functools
import os
import re
from typing import get_args

import jax
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from bnao_jax.data import load
from configs import (
    cifar,
    cifar_train,
    compare_quickstart,
    imagenet_train,
    rank_nasbench201,
    rank_study,
    tabular,
)
from launch.command import UsageError
from launch.config import schema

EXAMPLES = int(os.environ.get("BNAO_FUZZ_EXAMPLES", "0"))


def fuzz(examples):
    return settings(
        max_examples=EXAMPLES or examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def leaves(config, prefix=""):
    for name, value in config.items():
        if name == "systems":  # whose fields are those of searches
            continue
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


DEFAULTS = dict(leaves(cifar.get_config()))
STREAMED = schema.JOBS["train"].sections | schema.STREAMED
FIELDS = {  # of a config, and of what it should have
    "search": (cifar.get_config(), schema.fields_of("search")),
    "rank": (rank_nasbench201.get_config(), schema.fields_of("rank")),
    "study": (rank_study.get_config(), schema.fields_of("study")),
    "train": (cifar_train.get_config(), schema.fields_of("train")),
    "streamed": (imagenet_train.get_config("smoke"), schema.fields_of("train", STREAMED)),
    "systems": (compare_quickstart.get_config(), schema.fields_of("systems")),
    "comparison": (tabular.get_config(), schema.fields_of("comparison")),
}


def every_field():
    """The dataclass fields of all jobs."""
    return [field for _, fields in FIELDS.values() for field in fields.values()]


def choices(field):
    """The words that may stand in a field, if it is one of some."""
    words = field.metadata["rule"].words
    return ast.literal_eval(words.removeprefix("one of ")) if words.startswith("one of ") else ()


def ends(field):
    """The least and the most whole number that may stand in a field; nothing of other fields."""
    match = re.search(r"a whole number from (\d+) to (\d+)", field.metadata["rule"].words)
    return tuple(map(int, match.groups())) if match else ()


def put(config, name, value):
    """Puts any value into a field of a config, whatever the type of the one before."""
    take(config, name)
    section, _, key = name.rpartition(".")
    with config.unlocked():
        (config[section] if section else config)[key] = value


def take(config, name):
    """Takes a field from a config."""
    section, _, key = name.rpartition(".")
    with config.unlocked():
        del (config[section] if section else config)[key]


def values_of(job):
    """The settings of a plan by the names of their fields."""
    streamed = STREAMED if getattr(job.settings.data, "streamed", False) else None
    names = schema.fields_of(job.settings.job, streamed)
    return {name: functools.reduce(getattr, name.split("."), job.settings) for name in names}


DIGITS = load("digits")


def is_sound(job):
    """What a search will do with the numbers."""
    fields, values = schema.fields_of("search"), values_of(job)
    assert values.keys() == DEFAULTS.keys()
    for name, value in values.items():
        kinds = get_args(fields[name].type) or (fields[name].type,)
        assert type(value) in kinds and fields[name].metadata["rule"].holds(value), name
        if isinstance(value, float):
            with np.errstate(over="raise"):
                assert np.isfinite(np.float32(value)), name
        if kinds == (int,) and name != "seed":
            np.int32(value)
    np.random.RandomState(job.settings.seed)
    jax.random.key(job.settings.seed)
    search = job.settings.search
    assert search.population_size <= 100_000
    with contextlib.suppress(UsageError):
        job.check_images(DIGITS)
        examples = job.settings.data.trained_on(DIGITS)
        for part in (job.settings.supernet, job.settings.final):
            np.int32(part.epochs * (examples // part.batch_size))
    return True


# No command line carries a NUL; bytes that are not UTF-8 arrive as U+DC80 to U+DCFF.
LETTERS = st.characters(codec="utf-8", exclude_characters="\0") | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF
)
# Hypothesis takes words from this project; `play` takes this one for what must not be there.
TEXT = st.text(LETTERS, max_size=30).filter(lambda text: "Traceback" not in text)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 100_000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 10**12]),
    st.integers(),
    st.integers(0, 200),
    st.floats(),
    st.floats(0, 1),
)
LITERALS = st.recursive(
    NUMBERS | TEXT | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NUMBERS | TEXT, inner, max_size=3),
    max_leaves=5,
)


def is_one_line(error):
    text = str(error)
    return text and len(text.splitlines()) == 1 and len(text) < 1_000
