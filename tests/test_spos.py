"""SPOS as a config: what it draws, and what cannot be."""

import jax
import numpy as np
import pytest

from bnao_jax.spaces.shufflenet.cost import cost
from configs import spos
from launch import fields, wiring
from launch.command import UsageError

CIFAR = (32, 32, 3)


@pytest.mark.parametrize("variant", ["", "cifar", "smoke"])
def test_configs_are_sound(variant):
    config = spos.get_config(variant)
    fields.check_fields(config)
    wiring.check(config)
    if variant:
        wiring.check_form(config, CIFAR, 10)
    else:
        wiring.check_form(config, (224, 224, 3), 1000)


def test_every_step_draws_within_an_interval():
    config = spos.get_config("smoke")
    config.space.channel_choice = True
    outline, settings = wiring.make_outline(config, 10), config.supernet
    draw = jax.jit(jax.vmap(wiring.make_draw(config, outline, CIFAR)))
    macs = cost(outline, np.asarray(draw(jax.random.split(jax.random.key(0), 400))), CIFAR).macs
    assert settings.macs_least <= macs.min() and macs.max() <= settings.macs_most
    counts = np.bincount((macs - settings.macs_least) // settings.macs_step, minlength=4)
    assert np.sum((counts - 100) ** 2 / 100) < 16.27  # 0.999 quantile, 3 degrees of freedom
    settings.sampler = "whole_space"
    whole = jax.vmap(wiring.make_draw(config, outline, CIFAR))
    pool = np.asarray(whole(jax.random.split(jax.random.key(0), 400)))
    assert (pool.max(0) == np.array(outline.space.options) - 1).all() and not pool.min(0).any()


def test_limits_beyond_int32():
    config = spos.get_config("smoke")
    settings, outline = config.supernet, wiring.make_outline(config, 10)
    settings.macs_least, settings.macs_most, settings.macs_step = 1, 1 + 2**40, 2**40
    wiring.check_form(config, CIFAR, 10)
    assert wiring.make_draw(config, outline, CIFAR)(jax.random.key(0)).shape == (5,)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"supernet.macs_step": None}, "macs_step is needed"),
        ({"supernet.macs_step": 700_000}, "macs_step=700000 does not divide"),
        ({"supernet.macs_most": 2_000_000}, "into 1 to 100000 intervals"),
        ({"supernet.macs_most": 10**12, "supernet.macs_step": 1}, "into 1 to 100000 intervals"),
        ({"supernet.macs_most": 10**400}, "supernet.macs_most=.* must be a whole number"),
        ({"supernet.schedule": "complexity"}, "knows the architectures of the pool"),
        ({"supernet.sampler": "whole_space", "supernet.schedule": "complexity"}, "whole_space"),
        ({"space.name": "nao"}, "not known inside a step"),
        ({"search.trained_rounds": 5}, "trained_rounds=5 exceeds config.search.rounds=4"),
        ({"supernet.drop_path_keep": 0.9}, "with config.space.name='shufflenet'"),
        ({"network.channels": 2, "space.channel_choice": True}, "too narrow"),
    ],
)
def test_what_cannot_be(changes, message):
    config = spos.get_config("smoke")
    for name, value in changes.items():
        section, _, field = name.partition(".")
        config[section][field] = value
    with pytest.raises(UsageError, match=message):
        wiring.check(config)


def test_limits_that_hold_nothing():
    config = spos.get_config("smoke")
    config.supernet.macs_least, config.supernet.macs_most = 10_000_000, 10_300_000
    with pytest.raises(UsageError, match="hold none of 4096 random architectures, of 2[0-9]* to 4"):
        wiring.check_form(config, CIFAR, 10)
    config.supernet.macs_least = 3_900_000  # the last intervals are beyond the largest
    with pytest.raises(UsageError, match="4[0-9]* to [45][0-9]* hold none of 4096"):
        wiring.check_form(config, CIFAR, 10)
