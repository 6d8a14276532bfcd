"""SPOS as a config: what it draws, and what cannot be."""

import jax
import numpy as np
import pytest

from bnao_jax.spaces.shufflenet.cost import cost
from configs import spos
from launch.command import UsageError
from launch.config.plan import plan

CIFAR = (32, 32, 3)


@pytest.mark.parametrize("variant", ["", "cifar", "smoke"])
def test_configs_are_sound(variant):
    config = spos.get_config(variant)
    job = plan(config, "search")
    if variant:
        job.check_form(CIFAR, 10)
    else:
        job.check_form((224, 224, 3), 1000)


def drawn(config, count):
    """The paths of so many steps, int32[count, D]."""
    job = plan(config)
    paths = job.settings.supernet.make_sampler(job.space(), CIFAR)
    prepared = paths.prepare(job.space().decisions.random(job.key, 3), np.ones(3))
    draw = jax.jit(jax.vmap(lambda key: paths.draw(key, prepared).architectures))
    return np.asarray(draw(jax.random.split(job.key, count)))[:, 0]


def test_every_step_draws_within_an_interval():
    config = spos.get_config("smoke")
    config.space.channel_choice = True
    space, settings = plan(config).space(), config.supernet
    macs = cost(space, drawn(config, 400), CIFAR).macs
    assert settings.macs_least <= macs.min() and macs.max() <= settings.macs_most
    counts = np.bincount((macs - settings.macs_least) // settings.macs_step, minlength=4)
    assert np.sum((counts - 100) ** 2 / 100) < 16.27  # 0.999 quantile, 3 degrees of freedom
    settings.sampler = "whole_space"
    pool = drawn(config, 400)
    assert (pool.max(0) == np.array(space.decisions.options) - 1).all() and not pool.min(0).any()


def test_limits_beyond_int32():
    config = spos.get_config("smoke")
    settings = config.supernet
    settings.macs_least, settings.macs_most, settings.macs_step = 1, 1 + 2**40, 2**40
    plan(config).check_form(CIFAR, 10)
    assert drawn(config, 1).shape == (1, 5)


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
        ({"space.name": "nao"}, "sampler='constrained': the space 'nao' has no multiply-adds"),
        ({"search.trained_rounds": 5}, "trained_rounds=5 exceeds config.search.rounds=4"),
        ({"supernet.drop_path_keep": 0.9}, "drop_path_keep=0.9 must be 1: the space 'shufflenet'"),
        ({"network.channels": 2, "space.channel_choice": True}, "too narrow"),
    ],
)
def test_what_cannot_be(changes, message):
    config = spos.get_config("smoke")
    for name, value in changes.items():
        section, _, field = name.partition(".")
        config[section][field] = value
    with pytest.raises(UsageError, match=message):
        plan(config)


def test_limits_that_hold_nothing():
    config = spos.get_config("smoke")
    config.supernet.macs_least, config.supernet.macs_most = 10_000_000, 10_300_000
    with pytest.raises(UsageError, match="hold none of 4096 random architectures, of 2[0-9]* to 4"):
        plan(config).check_form(CIFAR, 10)
    # The last intervals are beyond the largest.
    config.supernet.macs_least, config.supernet.macs_most = 3_900_000, 10_200_000
    with pytest.raises(UsageError, match="4[0-9]* to [45][0-9]* hold none of 4096"):
        plan(config).check_form(CIFAR, 10)
