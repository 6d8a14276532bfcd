"""Compiling for GPUs that are not here: the readers of what XLA writes down, names, errors."""

import importlib.util
import json
import subprocess
import sys

import pytest
from command_lines import play_command

from launch.command import UsageError
from launch.compile import gpu, launches
from launch.compile.hlo_text import Module
from launch.compile.launches import Launches

# A step of a loop of unknown length: a kernel, a graph with a choice in it, a loop of three rounds.
THUNKS = """000: kCommandBuffer [source | next=001 (1)]
    001: kCustomKernel [source | sink] before grid: [1, 1, 1] threads: [2, 1, 1]  shared_memory: 0
002: kWhile         [prev=000 (1) | next=000 (1)]
condition:
    003: kCustomKernel [source | sink] more grid: [1, 1, 1] threads: [1, 1, 1]
  body:
    004: kCustomKernel [source | next=005 (1)] whole grid: [1, 1, 1] threads: [1, 1, 1]
    005: kCommandBuffer [prev=004 (1) | sink ]
        006: kCustomKernel [source | next=008 (2)] sliced grid: [1, 1, 1] threads: [1, 1, 1]
        007: kCopy         [source | sink] kCopy
        008: kConditional  [prev=006 (2) | sink]
          branch_0:
            No thunks.          branch_1:
            009: kCustomKernel [source | sink] product grid: [1, 1, 1] threads: [1, 1, 1]
    010: kWhile         [prev=005 (1) | next=000 (1)]
condition:
        011: kCustomKernel [source | sink] more grid: [1, 1, 1] threads: [1, 1, 1]
      body:
        012: kCustomKernel [source | sink] whole grid: [1, 1, 1] threads: [1, 1, 1]
"""
NAMES = {1: "before", 2: "steps", 3: "more", 4: "whole", 6: "sliced", 7: "copied", 9: "product"}
NAMES |= {8: "choice", 10: "rounds", 11: "more", 12: "whole"}

PROGRAM = """HloModule jit_f, is_scheduled=true

%adds (p: f32[100]) -> f32[100] {
  %p = f32[100]{0} parameter(0)
  ROOT %add = f32[100]{0} add(%p, %p)
}

%slices (p.1: f32[10,100], p.2: s32[]) -> (f32[100], f32[10,100]) {
  %p.1 = f32[10,100]{1,0} parameter(0)
  %p.2 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %row = f32[1,100]{1,0} dynamic-slice(%p.1, %p.2, %zero), dynamic_slice_sizes={1,100}
  %flat = f32[100]{0} bitcast(%row)
  %put = f32[10,100]{1,0} dynamic-update-slice(%p.1, %row, %p.2, %zero)
  ROOT %both = (f32[100]{0}, f32[10,100]{1,0}) tuple(%flat, %put)
}

%dots (p.3: f32[8,4], p.4: f32[4,16]) -> f32[8,16] {
  %p.3 = f32[8,4]{1,0} parameter(0)
  %p.4 = f32[4,16]{1,0} parameter(1)
  ROOT %dot = f32[8,16]{1,0} dot(%p.3, %p.4), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (a: f32[100], b: f32[10,100], c: f32[8,4], d: f32[4,16], i: s32[]) -> f32[100] {
  %a = f32[100]{0} parameter(0)
  %b = f32[10,100]{1,0} parameter(1)
  %c = f32[8,4]{1,0} parameter(2)
  %d = f32[4,16]{1,0} parameter(3)
  %i = s32[] parameter(4)
  %whole = f32[100]{0} fusion(%a), kind=kLoop, calls=%adds
  %sliced = (f32[100]{0}, /*index=1*/f32[10,100]{1,0}) fusion(%b, %i), kind=kLoop, calls=%slices
  %product = f32[8,16]{1,0} fusion(%c, %d), kind=kCustom, calls=%dots
  %copied = f32[100]{0} copy(%a)
  %rounds = f32[100]{0} while(%a), body=%n, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %steps = f32[100]{0} while(%a), condition=%m, body=%n
}
"""


def test_traffic_counts_slices_as_slices():
    module = Module(PROGRAM)
    assert module.traffic("whole") == (800, 100, False)
    # The row is read and written twice: as a result and into its place; the index is a number.
    assert module.traffic("sliced") == (400 + 4 + 400 + 400, 0, False)
    assert module.traffic("product") == (4 * (32 + 64 + 128), 2 * 8 * 16 * 4, True)
    assert module.traffic("copied") == (800, 0, False)
    assert module.traffic("unknown") == (0, 0, False)


def test_rounds_of_loops():
    module = Module(PROGRAM)
    assert (module.rounds("rounds"), module.rounds("steps"), module.rounds("no")) == (3, None, None)


def program(**settings):
    settings = {"shares": lambda branches: None, "concurrent": True} | settings
    return launches.Program(launches.tree(THUNKS), NAMES, Module(PROGRAM), **settings)


def test_a_round_of_the_loop_whose_length_is_not_known():
    found = program().round()
    # whole; sliced, copied, half of the products; three of whole; and the loop's own condition.
    assert found.kernels == 1 + (2 + 0.5) + 3 + 1
    assert (found.graph_launches, found.host_waits) == (1, 1)
    assert found.bytes == 800 + (1204 + 800 + 0.5 * 896) + 3 * 800
    assert found.flops == 100 + 0.5 * 1024 + 300


def test_choices_by_their_shares():
    rarely = {2: [0.9, 0.1]}.get
    assert program(shares=rarely).round().kernels == pytest.approx(1 + 2.1 + 3 + 1)


def test_kernels_of_a_graph_take_their_time_at_once():
    """The copy waits for nothing; the choice for what stands before it."""
    in_turn, at_once = (program(concurrent=c).round().seconds for c in (False, True))
    assert in_turn - at_once == pytest.approx(launches.KERNEL_IN_GRAPH)


def test_sums():
    one = Launches(kernels=1, seconds=2)
    assert one.plus(one, 3) == one.times(4) == Launches(kernels=4, seconds=8)


def test_a_folder_without_a_program(tmp_path):
    with pytest.raises(ValueError, match="no dumped GPU program"):
        launches.read(tmp_path)


H100, PART = "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"


@pytest.fixture
def described(monkeypatch):
    rates = {H100: 3352, PART: 419, "NVIDIA H100 PCIe": 2039, "NVIDIA A100-SXM4-40GB": 1555}
    found = {name: f"memory_bandwidth: {rate}" for name, rate in rates.items()}
    monkeypatch.setattr(gpu, "descriptions", lambda: found)
    return found


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("h100", H100),
        ("h100-pcie", "NVIDIA H100 PCIe"),
        ("a100-40gb", "NVIDIA A100-SXM4-40GB"),
        ("h100-mig", PART),
    ],
)
def test_a_gpu_by_words_of_its_name(described, name, full):
    assert gpu.description(name) == described[full]


def test_a_gpu_that_is_not_described(described):
    with pytest.raises(UsageError, match="topology=h1000 names none .*NVIDIA A100-SXM4-40GB, "):
        gpu.description("h1000")


def test_gpus_and_tpus_apart():
    status, _, errors = play_command("compile", "--topology=h100,v5e:2x2")
    assert status == 2 and "names GPUs or TPUs, not both" in errors


CUDA = importlib.util.find_spec("jax_plugins") and any(
    importlib.util.find_spec(f"jax_plugins.{name}") for name in gpu.PLUGINS
)


@pytest.mark.skipif(bool(CUDA), reason="a CUDA compiler is installed")
def test_without_a_compiler():
    gpu.descriptions.cache_clear()
    with pytest.raises(UsageError, match=r"is not installed: pip install '.\[cuda12\]'"):
        gpu.descriptions()


@pytest.mark.skipif(not CUDA, reason="no CUDA compiler: pip install '.[cuda12]'; .ci/gpu has one")
def test_a_small_search_compiles_for_an_h100():
    """In a process of its own: XLA reads its flags once."""
    small = ["--config.network.channels=4", "--config.network.cells=1"]
    command = [sys.executable, "-m", "launch.compile", "--topology=h100", *small]
    done = subprocess.run([*command, "--config=configs/quickstart.py"], stdout=subprocess.PIPE)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["program"] for row in rows} == {"train", "score", "fit"}  # none is trained alone
    assert all(row["kernels"] > 100 and row["modelled_ms"] > 0 for row in rows)
