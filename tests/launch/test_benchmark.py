"""The benchmark as a user meets it; its numbers are not judged here."""

import json

import jax
import numpy as np
import pytest
import toys
from command_lines import play_command
from tiny import cells, in_widths

from bnao_jax.spaces.nao.outline import Outline
from launch.benchmark import bench, parts, supernet
from launch.command import UsageError, enable_compilation_cache
from launch.config.plan import plan

FIELDS = {"figure", "median", "min", "max", "repeats", "unit", "setting"}


def tiny():
    config = cells(nodes=2, operations="tiny")
    config.compilation_cache, config.devices = "", 1
    config.network.channels = 2
    config.data.train_examples, config.data.valid_examples = 128, 40
    config.supernet.epochs, config.supernet.batch_size = 2, 32
    config.scoring.batch_size, config.scoring.per_dispatch = 32, 4
    config.search.initial, config.nao.batch_size = 12, 4
    return config


def measure(capsys, only, config=None):
    """The printed figures by name."""
    settings = dict(lines=None, architectures=2, static=1, repeats=2, as_table=False)
    toys.run(parts, config or tiny(), only=only, **settings)
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert all(set(row) == FIELDS for row in rows)
    assert all(row["min"] <= row["median"] <= row["max"] for row in rows)
    assert all(row["figure"][:12] in printed.err for row in rows)  # the table beside them
    return {row["figure"]: row for row in rows}


def test_training_and_scoring(capsys):
    config = in_widths(tiny())
    figures = measure(capsys, ["train_step", "static_step", "scoring", "memory"], config)
    assert figures["train_step_s"]["repeats"] == 2 * 2  # of each architecture
    assert figures["traced_over_static"]["repeats"] == figures["static_step_s"]["repeats"] == 2
    space = plan(config).space()
    pool = space.decisions.sample(jax.random.key(0), 2)
    work = 3 * 2 * 32 * space.cost(pool, (8, 8, 1)).macs / 1e9
    rate, seconds = figures["train_arithmetic"], figures["train_step_s"]
    assert work.min() / seconds["max"] <= rate["median"] <= work.max() / seconds["min"]
    # Whole rounds of 2 epochs of 4 steps; 12, 52 and 92 architectures on two batches of images.
    whole = figures["search_projected_s"]
    assert whole["setting"]["steps"] == 3 * 2 * 4
    assert whole["setting"]["scored_batches"] == (12 + 52 + 92) * 2
    sum_of_parts = 24 * seconds["median"] + 312 * figures["score_batch_s"]["median"]
    assert whole["median"] == pytest.approx(sum_of_parts)
    assert figures["peak_of_process"]["median"] > figures["train_temporary"]["median"] > 0


def test_parts_that_need_no_supernet(capsys):
    names = ["controller", "ascent", "augmentation", "cost", "depthwise", "pooling", "checkpoint"]
    figures = measure(capsys, names)
    step, whole = figures["controller_step_s"], figures["controller_fit_projected_s"]
    steps = whole["setting"]["steps"]
    assert steps == 2 * (12 + 300) // 4  # epochs times minibatches: about 150
    assert whole["median"] == pytest.approx(steps * step["median"])
    chosen = [name for name, row in figures.items() if row["setting"].get("chosen")]
    assert chosen == ["depthwise_shifted_s"]
    assert figures["max_pooling_s"]["median"] > 0 < figures["average_pooling_s"]["median"]
    assert figures["checkpoint_blocking_s"]["max"] <= figures["checkpoint_s"]["max"]
    weights = figures["checkpoint_s"]["setting"]["megabytes"]
    assert weights > 0 and figures["checkpoint_s"]["repeats"] == figures["cost_table_s"]["repeats"]


def test_compilation_and_its_cache(capsys, monkeypatch):
    def keep_small_programs_too(folder):
        enable_compilation_cache(folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    monkeypatch.setattr(supernet, "enable_compilation_cache", keep_small_programs_too)
    before = jax.config.jax_compilation_cache_dir
    figures = measure(capsys, ["compile"], in_widths(tiny()))
    assert figures["compile_warm_s"]["median"] < figures["compile_cold_s"]["median"]
    assert jax.config.jax_compilation_cache_dir == before


def test_precision(capsys):
    figures = measure(capsys, ["precision"], in_widths(tiny()))
    assert figures["bfloat16_tau_of_loss"]["median"] > 0.8  # 1.0 was seen
    assert figures["bfloat16_tau_of_loss"]["setting"]["steps"] == 8
    assert 0 <= figures["bfloat16_largest_change"]["median"] < 0.2


def test_the_architectures_timed_can_be_given(capsys):
    space = Outline(2, 1, 10, operations="tiny", nodes=2).decisions
    lines = [space.format(row) for row in np.asarray(space.random(jax.random.key(3), 3))]
    job = bench.Benchmark(plan(tiny()), lines, 12, 1, 1)
    assert [space.format(row) for row in job.pool] == lines


def test_table(capsys):
    measured = dict(only=["cost"], lines=None, architectures=1, static=1, repeats=2, as_table=True)
    toys.run(parts, tiny(), **measured)
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert head == "| figure | median | min | max | repeats | unit |"
    assert rule.count("---") == 6
    assert len(rows) == 1 and rows[0].startswith("| cost_table_s | ")


def test_unknown_part():
    with pytest.raises(UsageError, match="--only=speed is not one of"):
        toys.run(
            parts,
            tiny(),
            only=["speed"],
            lines=None,
            architectures=1,
            static=1,
            repeats=1,
            as_table=False,
        )


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--only=speed", "speed is not one of"),
        ("--repeats=0", "--repeats=0 must be at least 1"),
        ("--archs=/absent", "--archs=/absent cannot be read"),
        ("--archs=/dev/zero", "--archs=/dev/zero cannot be read: is no regular file"),
        ("--config.network.channels=0", "channels"),
    ],
)
def test_bad_input_is_one_line(argument, message):
    status, _, error = play_command("benchmark", "--config=configs/quickstart.py", argument)
    assert status == 2 and message in error


def test_help_names_every_part():
    status, out, _ = play_command("benchmark", "--help")
    assert status == 0 and all(f"\n  {part} " in out for part in parts.PARTS)
