"""Every field of a config has a rule, and what no rule allows is refused in one line."""

import contextlib

import jax
import numpy as np
import pytest
from config_fields import FIELDS, choices, ends, is_one_line, is_sound, leaves, put, take, values_of
from tiny import cells

from bnao_jax.spaces.nao.supernet import Supernet
from configs import quickstart
from launch.command import UsageError
from launch.config import memory, schema
from launch.config.plan import plan, read


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_rule(name):
    config, fields = FIELDS[name]
    assert {field for field, _ in leaves(config)} == fields.keys()
    values = values_of(read(config))
    for field, value in fields.items():
        rule = value.metadata["rule"]
        assert value.metadata["meaning"] and rule.words, field
        assert rule.holds(value.default) and rule.holds(values[field]), field
        assert all(map(rule.holds, choices(value))), field


@pytest.mark.parametrize("name", FIELDS)
def test_what_no_rule_allows_is_one_line(name):
    for field, rule in ((name, f.metadata["rule"]) for name, f in FIELDS[name][1].items()):
        for value in (1j, float("nan"), -1, (), 10**400, [], object()):
            if rule.holds(value):  # text of a number of times
                continue
            config = FIELDS[name][0].copy_and_resolve_references()
            put(config, field, value)
            with pytest.raises(UsageError) as refused:
                plan(config)
            error = str(refused.value)
            assert is_one_line(error) and error.startswith(f"config.{field}="), error
            assert rule.words in error


def test_configs_go_with_their_jobs():
    for name, (config, fields) in FIELDS.items():
        job = "train" if name == "streamed" else name
        assert schema.job_of(config) == job
        for other in schema.JOBS.keys() - {job}:
            launchers = schema.JOBS[job].launcher, schema.JOBS[other].launcher
            message = "config.job='{}': the config is one for {}, not for {}, as"
            with pytest.raises(UsageError, match=message.format(job, *launchers)):
                read(config, other)
        for field in fields.keys() - {"data.image_size"}:  # which tells images that are streamed
            less = config.copy_and_resolve_references()
            take(less, field)
            with pytest.raises(UsageError, match=f"^config.{field} is missing"):
                read(less)
        more = config.copy_and_resolve_references()
        with more.unlocked():
            more.space.node = 3
        with pytest.raises(UsageError, match="^config.space.node: there is no such field$"):
            read(more)


@pytest.mark.parametrize(
    "name", sorted(n for n, field in FIELDS["search"][1].items() if ends(field))
)
def test_the_ends_of_a_range(name):
    field = FIELDS["search"][1][name]
    least, most = ends(field)
    holds = field.metadata["rule"].holds
    assert holds(least) and holds(most) and not holds(least - 1) and not holds(most + 1)
    for end in (least, most):
        config = quickstart.get_config()
        put(config, name, end)
        with contextlib.suppress(UsageError):
            assert is_sound(plan(config))


def test_least_memory_is_no_more_than_the_weights():
    config = cells(nodes=2)
    config.network.channels = 64
    space = plan(config).space()
    architecture = np.zeros(space.decisions.length, np.int32)
    make = lambda key: Supernet(space).init(key, np.zeros((1, 32, 32, 3)), architecture)["params"]
    weights = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(make, jax.random.key(0))))
    assert 0.8 * weights < space.least_weights() < weights
    needs = memory.needs(plan(config), space, (32, 32, 3))
    assert 12 * space.least_weights() in needs.values()  # with gradients and momentum, float32
