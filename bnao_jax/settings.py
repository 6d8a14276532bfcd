"""Settings: frozen dataclasses whose fields say what may stand in them, and what that means.

>>> @dataclasses.dataclass(frozen=True)
... class Recipe(Settings):
...     epochs: int = setting(50, whole(1), "passes over the train images")
>>> Recipe(epochs=0)
Traceback (most recent call last):
bnao_jax.settings.SettingError: epochs=0 must be a whole number from 1 to 2147483647
"""

import dataclasses
import numbers
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

INT32 = 2**31 - 1  # steps, rows and images are counted in int32
INT64 = 2**63 - 1  # costs in int64
FLOAT32 = float(np.finfo(np.float32).max)
ARCHITECTURES = 100_000  # of a whole search, at most: each is scored in every round
LONGEST = 60  # characters of a value in a message


class SettingError(ValueError):
    """A value that cannot be. The message begins with the name of the field."""


class Rule(NamedTuple):
    """What may stand in a field: whether a value `holds`, and the rule in `words`."""

    holds: Callable[[object], bool]
    words: str


def _is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _number(holds, words):
    """A rule for numbers; NaN is in no range."""
    is_number = lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool)
    return Rule(lambda v: is_number(v) and holds(v), words)


def whole(least, most=INT32) -> Rule:
    """Whole numbers from `least` to `most`."""
    words = f"a whole number from {least} to {most}"
    return Rule(lambda v: _is_whole(v) and least <= v <= most, words)


def one_of(options) -> Rule:
    """One of some names; of a dict those that it has when it is asked."""
    return Rule(lambda v: isinstance(v, str) and v in options, f"one of {list(options)}")


def several(rule: Callable[[object], bool], words) -> Rule:
    """A tuple of one or more different values for which `rule` holds."""
    holds = lambda v: isinstance(v, tuple) and v and all(map(rule, v)) and len({*v}) == len(v)
    return Rule(holds, f"a tuple of one or more, all different, {words}")


def or_none(rule: Rule, words=None) -> Rule:
    """What the rule allows, or None."""
    return Rule(lambda v: v is None or rule.holds(v), words or f"{rule.words}, or None")


AT_LEAST_ZERO = _number(lambda v: 0 <= v <= FLOAT32, "at least 0 and finite in float32")
ABOVE_ZERO = _number(lambda v: 0 < v <= FLOAT32, "above 0 and finite in float32")
SHARE = _number(lambda v: 0 <= v < 1, "at least 0 and below 1")
WHOLE_SHARE = _number(lambda v: 0 <= v <= 1, "within 0 and 1")
KEEP = _number(lambda v: 0 < v <= 1, "above 0 and at most 1")
SWITCH = Rule(lambda v: isinstance(v, bool), "True or False")
TEXT = Rule(lambda v: isinstance(v, str), "text")
LIMIT = Rule(
    lambda v: v is None or _is_whole(v) and v >= 1, "a whole number of at least 1, or None"
)
SECONDS = or_none(ABOVE_ZERO)
INTERVAL = or_none(whole(1, INT64))


def setting(default, rule: Rule, meaning: str):
    """A field of `Settings`: its default, what may stand there, and what it is, with its unit."""
    return dataclasses.field(default=default, metadata={"rule": rule, "meaning": meaning})


class Settings:
    """Base of dataclasses of settings: every field is checked when one is made.

    Subclasses that have more to check extend `__post_init__`.

    Raises:
      SettingError: the first field that cannot be.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if "rule" in field.metadata:
                check(field, getattr(self, field.name))


def check(field, value):
    """Raises SettingError where a value cannot stand in a dataclass's field."""
    rule = field.metadata["rule"]
    if not rule.holds(value):
        raise SettingError(f"{field.name}={shown(value)} must be {rule.words}")


def shown(value) -> str:
    """A value as messages show it: short."""
    # Python writes no integer of more than 4,300 digits in decimal.
    write = hex if _is_whole(value) and abs(value) > 2**64 else repr
    try:
        text = write(value)
    except TypeError:  # a section of a config with names of several types
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
