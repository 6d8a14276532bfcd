"""What may stand in a field, at the edges of each rule, and what is said of what may not."""

import dataclasses

import numpy as np
import pytest

from bnao_jax import settings as s
from bnao_jax.data import settings as of_data  # noqa: F401  all that have settings, see `kinds`
from bnao_jax.oneshot import SupernetSettings
from bnao_jax.search import SearchSettings
from bnao_jax.settings import SettingError
from bnao_jax.spaces import shipped  # noqa: F401
from bnao_jax.strategies import bonas, evolution, nao  # noqa: F401

NAN, INF, TINY = float("nan"), float("inf"), 5e-324
BELOW_ONE, ABOVE_ONE = np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)
BEYOND_FLOAT32 = np.nextafter(s.FLOAT32, np.inf)
NO_NUMBERS = (None, True, "1", NAN, 1j, [1])
# Of each rule what it allows and what it refuses, at its edges.
RULES = {
    "whole": (s.whole(3), (3, s.INT32, np.int64(3)), (2, s.INT32 + 1, 3.0, *NO_NUMBERS)),
    "whole to": (s.whole(0, 5), (0, 5), (-1, 6, False, INF)),
    "at least zero": (s.AT_LEAST_ZERO, (0, -0.0, s.FLOAT32), (-TINY, BEYOND_FLOAT32, INF)),
    "above zero": (s.ABOVE_ZERO, (TINY, s.FLOAT32, 1), (0, 0.0, BEYOND_FLOAT32, *NO_NUMBERS)),
    "share": (s.SHARE, (0, BELOW_ONE), (-TINY, 1, *NO_NUMBERS)),
    "whole share": (s.WHOLE_SHARE, (0, 1, np.float32(1)), (-TINY, ABOVE_ONE, *NO_NUMBERS)),
    "keep": (s.KEEP, (TINY, 1), (0, ABOVE_ONE, *NO_NUMBERS)),
    "switch": (s.SWITCH, (True, False), (0, 1, None, "True", NAN)),
    "text": (s.TEXT, ("", "a"), (None, 1, b"a", NAN)),
    "limit": (s.LIMIT, (None, 1, 10**30), (0, 1.0, True, NAN, "1")),
    "seconds": (s.SECONDS, (None, TINY, s.FLOAT32), (0, BEYOND_FLOAT32, True, NAN)),
    "interval": (s.INTERVAL, (None, 1, s.INT64), (0, s.INT64 + 1, 1.0, NAN)),
    "one of": (s.one_of(("a", "b")), ("a", "b"), ("", "c", None, 0, NAN)),
    "several": (
        s.several(s.whole(1).holds, "whole numbers of at least 1"),
        ((1,), (2, 1)),
        ((), (0,), (1, 1), [1], 1, None, (NAN,)),
    ),
    "or none": (s.or_none(s.SHARE), (None, 0), (1, NAN)),
}


def holder(rule):
    """A class of settings with one field, `value`, under a rule."""

    @dataclasses.dataclass(frozen=True)
    class Holder(s.Settings):
        value: object = s.setting(None, rule, "anything")

    return Holder


@pytest.mark.parametrize("name", RULES)
def test_edges_of_a_rule(name):
    rule, allowed, refused = RULES[name]
    make = holder(rule)
    for value in allowed:
        assert make(value=value).value is value
    for value in refused:
        with pytest.raises(SettingError) as error:
            make(value=value)
        assert str(error.value) == f"value={value!r} must be {rule.words}"


def test_no_rule_is_left_out():
    tested = {rule.words for rule, *_ in RULES.values()}
    constants = [rule for rule in vars(s).values() if isinstance(rule, s.Rule)]
    assert len(constants) >= 8 and all(rule.words in tested for rule in constants)


def test_names_that_come_later_count():
    names = {"a": 1}
    rule = s.one_of(names)
    assert not rule.holds("b")
    names["b"] = 2
    assert rule.holds("b")


LONG = {"whole": 10**5_000, "below": -(10**5_000), "text": "x" * 1_000, "tuple": (1,) * 1_000}


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_messages_are_short_whatever_the_value(value):
    with pytest.raises(SettingError, match=r"^value=.{1,60}\.\.\. must be above 0") as error:
        holder(s.ABOVE_ZERO)(value=value)
    assert len(str(error.value)) < 150


def kinds(base):
    """The classes of settings that the library has."""
    below = [kind for one in base.__subclasses__() for kind in (one, *kinds(one))]
    return [kind for kind in below if kind.__module__.startswith("bnao_jax.")]


SHIPPED = kinds(s.Settings)


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.__name__)
def test_shipped_settings_hold_and_refuse_nan_everywhere(kind):
    """Defaults hold; every field has a rule and a meaning, refuses NaN, and is named."""
    defaults = kind()
    for field in dataclasses.fields(kind):
        assert field.metadata["meaning"] and field.metadata["rule"].words
        with pytest.raises(SettingError, match=rf"^{field.name}=nan must be "):
            dataclasses.replace(defaults, **{field.name: NAN})


@pytest.mark.parametrize(
    "kind, settings, message",
    [
        (SearchSettings, dict(rounds=2, proposals=0), "^proposals must be at least 1"),
        (SearchSettings, dict(rounds=2, trained_rounds=3), "^trained_rounds=3 exceeds"),
        (SupernetSettings, dict(batch_norm="sync", path_per_device=True), "^batch_norm='sync'"),
        (SupernetSettings, dict(schedule="complexity", path_per_device=True), "^path_per_device"),
        (SupernetSettings, dict(schedule="complexity", sampler="whole_space"), "^schedule="),
        (SupernetSettings, dict(exponent_least=5.0), "^exponent_least exceeds exponent_most"),
        (SupernetSettings, dict(sampler="constrained"), "^macs_least is needed"),
        (
            SupernetSettings,
            dict(sampler="constrained", macs_least=1, macs_most=10, macs_step=2),
            "^macs_step=2 does not divide",
        ),
    ],
)
def test_settings_that_contradict_each_other(kind, settings, message):
    with pytest.raises(SettingError, match=message):
        kind(**settings)
