"""The import table of the design, held against the code."""

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
OUTSIDE = ("ml_collections", "absl", "orbax", "tensorflow_datasets", "launch", "configs")
# What each room may import of ours; everything else is forbidden.
ROOMS = {
    "bnao_jax/__init__.py": (),
    "bnao_jax/space.py": (),
    "bnao_jax/graph.py": ("bnao_jax.space",),
    "bnao_jax/shuffling.py": (),
    "bnao_jax/nn": ("bnao_jax.nn",),
    "bnao_jax/spaces": ("bnao_jax.space", "bnao_jax.graph", "bnao_jax.nn", "bnao_jax.spaces"),
    "bnao_jax/sampler.py": (),
    "bnao_jax/optimizer.py": (),
    "bnao_jax/schedule.py": (),
    "bnao_jax/ranking.py": (),
    "bnao_jax/score.py": ("bnao_jax.ranking",),
    "bnao_jax/metrics.py": (),
    "bnao_jax/checkpoint.py": (),
    "bnao_jax/parallel.py": (),
    "bnao_jax/data": ("bnao_jax.data",),
    "bnao_jax/controller": ("bnao_jax.controller", "bnao_jax.shuffling"),
    "bnao_jax/surrogate": ("bnao_jax.surrogate", "bnao_jax.shuffling"),
    "bnao_jax/evaluation.py": ("bnao_jax.data", "bnao_jax.parallel"),
    "bnao_jax/export.py": ("bnao_jax.data",),
    "bnao_jax/latency.py": ("bnao_jax.nn",),
    "bnao_jax/supernet_training.py": (
        *("bnao_jax.sampler", "bnao_jax.optimizer", "bnao_jax.data", "bnao_jax.nn"),
        "bnao_jax.parallel",
    ),
    "bnao_jax/training.py": (
        *("bnao_jax.data", "bnao_jax.nn", "bnao_jax.parallel", "bnao_jax.evaluation"),
        "bnao_jax.supernet_training",
    ),
    "bnao_jax/streamed_training.py": (
        *("bnao_jax.evaluation", "bnao_jax.parallel", "bnao_jax.training"),
    ),
    "bnao_jax/strategies": (
        *("bnao_jax.space", "bnao_jax.graph", "bnao_jax.controller", "bnao_jax.surrogate"),
        *("bnao_jax.ranking", "bnao_jax.strategies"),
    ),
    "bnao_jax/ground_truth.py": ("bnao_jax.space",),
    "bnao_jax/search.py": ("bnao_jax.space", "bnao_jax.strategies.strategy"),
}
# What a room is for, and so may import.
OUTSIDE_DOORS = {
    "bnao_jax/data": ("tensorflow_datasets", "absl"),  # grain reads absl's flags
    "bnao_jax/checkpoint.py": "orbax",
}
SLOT_MEMBERS = tuple(
    f"bnao_jax.strategies.{name}" for name in ("nao", "bonas", "evolution", "random")
)


def files(room):
    path = ROOT / room
    return [path] if path.suffix else sorted(path.rglob("*.py"))


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def within(name, rooms):
    return any(name == room or name.startswith(room + ".") for room in rooms)


def test_every_module_has_a_room():
    listed = {file for room in ROOMS for file in files(room)}
    assert set((ROOT / "bnao_jax").rglob("*.py")) == listed


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_down(room):
    for file in files(room):
        for name in imported(file):
            if name.startswith("bnao_jax."):
                assert within(name, ROOMS[room]), f"{file} imports {name}"
            door = name.startswith(OUTSIDE_DOORS.get(room, "ours"))
            assert door or not within(name, OUTSIDE), f"{file} imports {name}"


def test_members_of_a_slot_do_not_import_each_other():
    for file in files("bnao_jax/strategies"):
        assert not [name for name in imported(file) if within(name, SLOT_MEMBERS)]


def test_configs_import_only_ml_collections_and_each_other():
    for file in sorted((ROOT / "configs").glob("*.py")):
        assert all(within(name, ("ml_collections", "configs")) for name in imported(file))


def test_only_wiring_and_jobs_know_configs_and_library():
    for file in sorted((ROOT / "launch").glob("*.py")):
        if file.name in ("command.py", "workdir.py", "progress.py"):
            assert not [name for name in imported(file) if name.startswith("bnao_jax")]


@pytest.mark.parametrize(
    "module",
    [
        *("bnao_jax.controller", "bnao_jax.spaces.nao.supernet", "bnao_jax.sampler"),
        *("bnao_jax.data", "bnao_jax.optimizer"),
    ],
)
def test_modules_load_nothing_heavy(module):
    code = f"import sys, {module}; print([m for m in {OUTSIDE} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    # flax itself loads absl and orbax's export interface; they are not ours
    heavy = set(ast.literal_eval(done.stdout)) - loaded_by_flax()
    assert not heavy, done.stdout + done.stderr


@functools.cache
def loaded_by_flax():
    code = f"import sys, flax.linen, optax; print([m for m in {OUTSIDE} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return set(ast.literal_eval(done.stdout))


def test_the_package_itself_costs_nothing():
    code = (
        "import sys; before = set(sys.modules); import bnao_jax; print(set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ast.literal_eval(done.stdout) == {"bnao_jax"}
