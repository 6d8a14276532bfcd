"""Compiling for TPUs that are not here: names, the reader of programs, the projection."""

import importlib.util
import json
import os
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_lines import play_command

from bnao_jax.parallel import over_devices
from configs import quickstart
from launch.command import UsageError
from launch.compile import hlo, job, programs, roofline, topology
from launch.compile.hlo import Work
from launch.config.plan import plan

FIELDS = {"figure", "median", "min", "max", "repeats", "unit", "setting"}

# Two steps of a main loop, with a loop of 3 rounds over a choice and an all-reduce inside.
PROGRAM = """HloModule jit_call, is_scheduled=true

%fused (p: f32[4]) -> f32[4] {
  %inner = f32[4]{0} add(%p, %p), backend_config={"estimated_cycles":"999"}
}

%cheap (a: f32[4]) -> f32[4] {
  ROOT %f = f32[4]{0} fusion(%a), calls=%fused, backend_config={"estimated_cycles":"10"}
}

%dear (b: f32[4]) -> f32[4] {
  ROOT %g = f32[4]{0} copy(%b), backend_config={"estimated_cycles":"30"}
}

%edges (c: (s32[], f32[4])) -> (s32[], f32[4]) {
  %d = f32[4]{0} conditional(%i, %x, %x), branch_computations={%cheap, %dear}
  ROOT %t = (s32[], f32[4]{0}) tuple(%i, %d)
}

%edges_left (e: (s32[], f32[4])) -> pred[] {
  %three = s32[]{:T(128)} constant(3), metadata={op_name="while"}
  ROOT %lt.1 = pred[] compare(%i, %three), direction=LT
}

%loose (h: (s32[], s32[])) -> (s32[], s32[]) {
  ROOT %n = s32[] add(%i, %one), backend_config={"estimated_cycles":"7"}
}

%some_left (j: (s32[], s32[])) -> pred[] {
  ROOT %lt.2 = pred[] compare(%i, %bound), direction=LT
}

%step (k: (s32[], f32[4])) -> (s32[], f32[4]) {
  %w.1 = (s32[], f32[4]{0}) while(%k), condition=%edges_left, body=%edges
  %w.2 = (s32[], s32[]) while(%k), condition=%some_left, body=%loose
  %r = (f32[20,60]{1,0:T(8,128)}, s32[]) all-reduce(%a, %b), channel_id=1, to_apply=%add
  ROOT %s = f32[4]{0} copy(%b), backend_config={"estimated_cycles":"100"}
}

%steps_left (l: (s32[], f32[4])) -> pred[] {
  ROOT %lt.3 = pred[] compare(%i, %steps), direction=LT
}

ENTRY %main (m: f32[4]) -> f32[4] {
  %before = f32[4]{0} copy(%m), backend_config={"estimated_cycles":"5000"}
  ROOT %w.3 = (s32[], f32[4]{0}) while(%m), condition=%steps_left, body=%step
}
"""


def test_main_loop():
    # 3 rounds of the mean of 10 and 30, the unknown rounds of 7, and 100; not what stands before.
    cycles = 3 * 20 + hlo.UNKNOWN_ROUNDS * 7 + 100
    assert hlo.main_loop(PROGRAM) == Work(cycles, 1, 24 * 128 * 4 + 4)


def test_the_work_of_a_whole_program_is_no_less_than_that_of_its_main_loop():
    assert hlo.whole(PROGRAM).cycles > hlo.main_loop(PROGRAM).cycles > 0


def test_a_program_without_main_loop():
    with pytest.raises(ValueError, match="no loop"):
        hlo.main_loop("ENTRY %main (a: f32[]) -> f32[] {\n  ROOT %b = f32[] copy(%a)\n}\n")


@pytest.mark.parametrize(
    "shape, expected",
    [
        ("f32[]", 4),
        ("bf16[3,5]{1,0}", 30),
        ("f32[20]{0:T(128)}", 128 * 4),
        ("f32[20,60]{0,1:T(8,128)S(1)}", 128 * 64 * 4),  # the first axis is the minor one
        ("bf16[2,20,3]{1,2,0:T(4,128)(2,1)S(1)}", 2 * 128 * 4 * 2),
        ("(pred[7], /*index=1*/s32[2]{0})", 7 + 8),
    ],
)
def test_padded_size(shape, expected):
    assert hlo.size(shape) == expected


GENERATION = roofline.Generation(
    flops=1e12, memory_bandwidth=1e9, link_bandwidth=1e9, clock=1e9, memory=1e9
)


def program(batch, flops=0.0, memory_bytes=0.0, cycles=0.0, collective_bytes=0.0):
    return roofline.Program(batch, flops, memory_bytes, cycles, collective_bytes)


def test_the_slowest_limit_counts():
    assert roofline.compute_seconds(program(1, flops=5e12, cycles=2e9), GENERATION) == 5
    assert roofline.compute_seconds(program(1, memory_bytes=3e9, cycles=2e9), GENERATION) == 3
    assert roofline.compute_seconds(program(1, memory_bytes=1e9, cycles=2e9), GENERATION) == 2


def test_all_reduce():
    assert roofline.all_reduce_seconds(1e9, 1, GENERATION) == 0
    # Twice 3/4 of a gigabyte at 2 GB/s, and four hops.
    assert roofline.all_reduce_seconds(1e9, 4, GENERATION) == pytest.approx(0.75 + 4e-6)


@pytest.mark.parametrize("batch, expected", [(1, 2), (4, 2), (8, 3), (12, 4), (24, 8)])
def test_between_compiled_batches(batch, expected):
    compiled = program(12, cycles=4e9), program(4, cycles=2e9)
    assert roofline.at_batch(compiled, batch, GENERATION) == pytest.approx(expected)


def project(**changes):
    training = program(4, cycles=2e9, collective_bytes=1e9), program(8, cycles=3e9)
    scoring = program(10, cycles=5e9)
    search = roofline.Search(batch=8, examples=100, epochs=2, pools=(10, 13), path_per_device=False)
    rows = roofline.project(training, scoring, search._replace(**changes), GENERATION)
    return {(row.batch_rule, row.chips): row for row in rows}


def test_projection():
    rows = project()
    one = rows["kept", 1]
    assert (one.batch, one.steps, one.communication) == (8, 2 * 12, 0)
    assert one.search == pytest.approx(24 * 3 + 23 * 5)
    two = rows["kept", 2]  # 4 images a chip, an all-reduce, 5 + 7 architectures a chip
    step = 2 + 0.5 + 2e-6
    assert (two.batch, two.steps) == (8, 24) and two.step == pytest.approx(step)
    assert two.communication == pytest.approx((0.5 + 2e-6) / step)
    assert two.search == pytest.approx(24 * step + 12 * 5)
    assert rows["kept", 64].batch == 64  # never less than an image a chip
    grown = rows["per chip", 4]
    assert (grown.batch, grown.steps) == (32, 2 * 3)
    assert grown.step == pytest.approx(3 + 0.75 + 4e-6)
    assert ("kept", 128) not in rows and ("per chip", 16) not in rows  # more than all images


def test_paths_of_a_step():
    assert {row.paths for row in project().values()} == {1}
    assert all(row.paths == row.chips for row in project(path_per_device=True).values())


def test_a_program_from_shapes_is_that_of_the_call():
    devices = jax.local_devices()[:2]
    run = over_devices(lambda a, b: a + b, devices, mapped=(0,), mapped_out=True)
    compiled = run.program(jax.ShapeDtypeStruct((2, 3), jnp.float32), np.float32(0))
    assert compiled.memory_analysis().argument_size_in_bytes > 0
    result = run(np.ones((2, 3), np.float32), np.float32(2))
    np.testing.assert_array_equal(result, np.full((2, 3), 3.0))
    assert list(run.programs.values()) == [compiled]


@pytest.mark.parametrize("name, chips", [("v5e:1x1", 1), ("v4:2x2x4", 16), ("v6e:16x16", 256)])
def test_topology_names(name, chips):
    assert topology.split(name) == (name.split(":")[0], chips)


@pytest.mark.parametrize(
    ("name", "host"),
    [("v5e:1x1", [1, 1, 1]), ("v6e:1x2", [1, 2, 1]), ("v5e:2x4", None), ("v4:2x2x1", None)],
)
def test_a_host_of_fewer_than_four_chips_is_named(monkeypatch, name, host):
    """libtpu refuses a topology that its default of 2 x 2 chips a host does not divide."""
    asked = {}
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: name)
    described = lambda name, **options: asked.update(options) or SimpleNamespace(devices=[name])
    monkeypatch.setattr(topology, "get_topology_desc", described)
    assert topology.devices_of(name) == [name]
    assert asked.get("chips_per_host_bounds") == host


@pytest.mark.parametrize("name", ["", "v5e", "v5e-8", "v5e:", "v5e:4x", "v5e:4x4 "])
def test_names_of_no_topology(name):
    with pytest.raises(UsageError, match="for example v5e:4x4"):
        topology.split(name)


@pytest.mark.parametrize(
    "topologies, only, message",
    [
        (["v5e:2x2"], ["train"], "needs both programs"),
        (["v5e:2x2", "v3:2x2"], None, "not of v3"),
        (["v5e:2x2", "v4:1x1x1"], None, "needs a v4 topology with several chips"),
    ],
)
def test_projections_that_lack_something(topologies, only, message):
    with pytest.raises(UsageError, match=message):
        job.check_scaling(topologies, only)


def test_without_the_compiler(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[tpu\]'"):
        topology.devices_of("v5e:2x4")


def play(*arguments):
    return play_command("compile", "--config=configs/quickstart.py", *arguments)


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--topology=v5e", "--topology=v5e is not a generation and its chips"),
        ("--only=speed", "--only=speed is not one of"),
        ("--config.data.train_examples=0", "config.data.train_examples=0 means all images"),
        ("--config.network.channels=0", "channels"),
    ],
)
def test_bad_input_is_one_line(argument, message):
    status, _, error = play(argument)
    assert status == 2 and message in error


def test_of_a_training_there_is_one_program():
    training = "--config=configs/cifar_train.py", "--config.data.train_examples=1000"
    status, _, error = play(*training, "--only=train")
    assert status == 2 and "--only=train is not one of ['alone']" in error
    status, _, error = play("--config.final.top=0", "--only=train,alone")
    assert status == 2 and "the search trains nothing alone" in error
    status, _, error = play(*training, "--scaling")
    assert status == 2 and "the config is of a training" in error


def test_a_batch_that_chips_cannot_share_is_named():
    config = quickstart.get_config()
    config.final.top = 1
    ready, batch = plan(config), config.final.batch_size
    job.check_batch_alone(ready, {"v5e:1x1": [0]})
    with pytest.raises(UsageError, match=f"v5e:7x1: {batch - 1} chips do not divide"):
        job.check_batch_alone(ready, {"v5e:7x1": [0] * (batch - 1)})


def test_help_names_every_figure():
    status, out, _ = play("--help")
    assert status == 0 and all(f"\n  {figure} " in out for figure in job.FIGURES)


def test_programs_from_shapes_alone():
    """What libtpu is given, here compiled for the CPU."""
    config = quickstart.get_config()
    config.space.name, config.network.channels = "nasbench201", 2
    config.supernet.drop_path_keep = config.final.drop_path_keep = 1.0
    compiled = programs.Programs(plan(config), "v5e:1x2", jax.local_devices()[:2])
    weights = sum(leaf.size for leaf in jax.tree.leaves(compiled.params))
    taken = compiled.score().memory_analysis()
    assert taken.argument_size_in_bytes > 4 * weights and taken.temp_size_in_bytes > 0
    assert compiled.macs > 0


libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
slow = pytest.mark.skipif(not os.environ.get("BNAO_SLOW"), reason="BNAO_SLOW is not set")


@libtpu
@pytest.mark.parametrize("name", ["v5q:2x2", "v5e:3x5"])
def test_topologies_the_compiler_does_not_know(name):
    status, _, error = play(f"--topology={name}")
    assert status == 2 and error.startswith(f"error: --topology={name}")


@libtpu
@slow
def test_compiling_for_tpu(capsys):
    config = quickstart.get_config()
    config.space.operations, config.space.nodes = "tiny", 1
    config.network.channels = 4
    job.run(plan(config), topologies=["v5e:2x2"], only=None, with_scaling=True)
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert all(set(row) == FIELDS for row in rows)
    figures = {row["figure"]: row for row in rows}
    assert {f"{name}_{figure}" for name in programs.PROGRAMS for figure in job.FIGURES} | {
        *("step_projected_s", "communication_projected", "search_projected_s")
    } == set(figures)
    assert figures["train_compile_s"]["setting"]["images_a_device"] == 64 // 4
    assert figures["train_collective_MB"]["median"] > 0  # the gradients
    assert figures["score_collective_MB"]["median"] == 0  # each chip scores its own architectures
    assert figures["train_estimate_s"]["median"] > 0
    assert "v5e:2x2" in printed.err and "Projected, not timed" in printed.err
