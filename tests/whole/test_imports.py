"""The import table of the design, held against the code."""

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
OUTSIDE = ("ml_collections", "absl", "orbax", "tensorflow_datasets", "launch", "configs")
# What each room of the library may import of ours; everything else is forbidden.
LIBRARY = {
    "bnao_jax/__init__.py": (),
    "bnao_jax/settings.py": (),
    "bnao_jax/decisions.py": (),
    "bnao_jax/graph.py": ("bnao_jax.decisions",),
    "bnao_jax/cost.py": (),
    "bnao_jax/files.py": (),
    "bnao_jax/shuffling.py": (),
    "bnao_jax/nn": ("bnao_jax.nn",),
    "bnao_jax/choice.py": ("bnao_jax.nn",),
    "bnao_jax/places.py": ("bnao_jax.choice",),
    "bnao_jax/repeat.py": ("bnao_jax.choice", "bnao_jax.nn"),
    "bnao_jax/spaces": (
        *("bnao_jax.choice", "bnao_jax.cost", "bnao_jax.decisions", "bnao_jax.graph"),
        *("bnao_jax.nn", "bnao_jax.places", "bnao_jax.repeat", "bnao_jax.settings"),
        "bnao_jax.spaces",
    ),
    "bnao_jax/sampler.py": (),
    "bnao_jax/ranking.py": ("bnao_jax.comparison", "bnao_jax.sampler", "bnao_jax.settings"),
    "bnao_jax/objective.py": ("bnao_jax.ranking",),
    "bnao_jax/measures.py": (),
    "bnao_jax/metrics.py": ("bnao_jax.files",),
    "bnao_jax/comparison.py": (),
    "bnao_jax/checkpoint.py": ("bnao_jax.files",),
    "bnao_jax/parallel.py": (),
    "bnao_jax/data": ("bnao_jax.data", "bnao_jax.files", "bnao_jax.settings"),
    "bnao_jax/controller": ("bnao_jax.controller", "bnao_jax.shuffling"),
    "bnao_jax/surrogate": ("bnao_jax.surrogate", "bnao_jax.shuffling"),
    "bnao_jax/halving.py": (),
    "bnao_jax/scoring.py": (
        *("bnao_jax.data", "bnao_jax.measures", "bnao_jax.objective", "bnao_jax.parallel"),
        "bnao_jax.settings",
    ),
    "bnao_jax/export.py": ("bnao_jax.data",),
    "bnao_jax/latency.py": ("bnao_jax.nn",),
    "bnao_jax/training": (
        *("bnao_jax.sampler", "bnao_jax.data", "bnao_jax.measures", "bnao_jax.nn"),
        *("bnao_jax.parallel", "bnao_jax.settings", "bnao_jax.training"),
    ),
    "bnao_jax/oneshot.py": (
        *("bnao_jax.data", "bnao_jax.parallel", "bnao_jax.sampler", "bnao_jax.scoring"),
        *("bnao_jax.settings", "bnao_jax.spaces.space", "bnao_jax.training"),
    ),
    "bnao_jax/strategies": (
        *("bnao_jax.decisions", "bnao_jax.graph", "bnao_jax.controller", "bnao_jax.surrogate"),
        *("bnao_jax.ranking", "bnao_jax.settings", "bnao_jax.strategies"),
    ),
    "bnao_jax/ground_truth.py": ("bnao_jax.decisions", "bnao_jax.files"),
    "bnao_jax/teacher.py": (),
    "bnao_jax/saved.py": (
        *("bnao_jax.checkpoint", "bnao_jax.data", "bnao_jax.files", "bnao_jax.spaces"),
    ),
    "bnao_jax/search.py": (
        *("bnao_jax.decisions", "bnao_jax.settings", "bnao_jax.strategies.strategy"),
    ),
}
# The same of the launchers: a command, its inputs, how it is run, its config, the library.
BOTTOM = ("launch.command", "launch.measurements", "launch.plots", "launch.words")
CONFIG = ("launch.config", *BOTTOM, "bnao_jax")
RUN = ("launch.run", *CONFIG)
INPUTS = ("launch.inputs", *RUN)
COMMANDS = sorted(path.parent.name for path in (ROOT / "launch").glob("*/__main__.py"))
LAUNCHERS = {
    "launch/__init__.py": (),
    "launch/__main__.py": ("launch.command",),
    "launch/command.py": ("bnao_jax.files",),
    "launch/measurements.py": (),
    "launch/words.py": (),
    "launch/plots": ("launch.plots", "bnao_jax.files"),
    "launch/config": (*CONFIG, "configs"),
    "launch/run": RUN,
    "launch/inputs": INPUTS,
    **{f"launch/{name}": (f"launch.{name}", *INPUTS) for name in COMMANDS},
}
LAUNCHERS["launch/search"] += ("launch.report",)  # which it writes at its end
LAUNCHERS["launch/compare"] += ("launch.search",)  # which it runs
ROOMS = LIBRARY | LAUNCHERS
# What a room is for, and so may import.
OUTSIDE_DOORS = {
    "bnao_jax/data": ("tensorflow_datasets", "absl"),  # grain reads absl's flags
    "bnao_jax/checkpoint.py": "orbax",
}
FAMILIES = {
    "bnao_jax/strategies": ("nao", "bonas", "evolution", "random"),
    "bnao_jax/spaces": ("nao", "nasbench201", "shufflenet"),
}


def files(room):
    path = ROOT / room
    return [path] if path.suffix else sorted(path.rglob("*.py"))


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def within(name, rooms):
    return any(name == room or name.startswith(room + ".") for room in rooms)


def test_every_module_has_a_room():
    listed = [file for room in ROOMS for file in files(room)]
    every = [file for base in ("bnao_jax", "launch") for file in (ROOT / base).rglob("*.py")]
    assert sorted(listed) == sorted(every)  # and none has two


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_down(room):
    for file in files(room):
        for name in imported(file):
            if name.startswith(("bnao_jax.", "launch.", "configs.")):
                assert within(name, ROOMS[room]), f"{file} imports {name}"


@pytest.mark.parametrize("room", LIBRARY)
def test_the_library_needs_little(room):
    for file in files(room):
        for name in imported(file):
            door = name.startswith(OUTSIDE_DOORS.get(room, "ours"))
            assert door or not within(name, OUTSIDE), f"{file} imports {name}"


@pytest.mark.parametrize("room", FAMILIES)
def test_members_of_a_family_do_not_import_each_other(room):
    for member in FAMILIES[room]:
        others = [f"{room.replace('/', '.')}.{name}" for name in FAMILIES[room] if name != member]
        path = f"{room}/{member}"
        for file in files(path if (ROOT / path).is_dir() else f"{path}.py"):
            assert not [name for name in imported(file) if within(name, others)], file


def test_configs_import_only_ml_collections_and_each_other():
    for file in sorted((ROOT / "configs").glob("*.py")):
        assert all(within(name, ("ml_collections", "configs")) for name in imported(file))


def test_what_is_read_before_the_flags_does_not_know_the_library():
    for file in sorted((ROOT / "launch").rglob("*.py")):
        if file.name in ("command.py", "workdir.py", "progress.py", "__main__.py"):
            ours = [name for name in imported(file) if name.startswith("bnao_jax.")]
            assert not [name for name in ours if not within(name, ["bnao_jax.files"])]


@pytest.mark.parametrize(
    "module",
    [
        *("bnao_jax.controller", "bnao_jax.spaces.nao.supernet", "bnao_jax.sampler"),
        *("bnao_jax.data", "bnao_jax.training.optimizer"),
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
