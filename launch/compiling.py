"""The compile job: programs of a search for TPU topologies, and a projection from them."""

import collections
import importlib.metadata
import importlib.util
import json
import os
import re
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.topologies import get_topology_desc
from rich import box
from rich.console import Console
from rich.table import Table

from bnao_jax import data, supernet_training
from launch import hlo, scaling, wiring
from launch.benchmarking import Figure
from launch.command import UsageError
from launch.progress import Display

PROGRAMS = ("train", "score")
# Unit of each figure, and how its column is headed.
FIGURES = {
    "compile_s": ("s", "compile, s"),
    "temporary_MB": ("MB", "temp. MB"),
    "arguments_MB": ("MB", "arg. MB"),
    "arithmetic_GFLOP": ("GFLOP", "GFLOP"),
    "collective_MB": ("MB", "coll. MB"),
    "estimate_s": ("s", "estimate, s"),
}
# Cloud TPU runs the two cores of these chips as one device.
OPTIONS = {"v4": {"chip_config_name": "megacore"}}
# libtpu would ask the machine for its place in a slice, and allow one process; it only compiles.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
EXAMPLE = "for example v5e:4x4 or v4:2x2x2"


class Compiled(NamedTuple):
    """A program compiled for a topology; `values` has the keys of `FIGURES`."""

    topology: str
    name: str
    setting: dict
    values: dict
    program: scaling.Program


def run(config, *, topologies, only, with_scaling):
    """Compiles for every topology and prints the figures; see `launch.compile`."""
    use_no_accelerator()
    config = config.copy_and_resolve_references()
    config.devices = 0  # the topologies tell
    wiring.check(config)
    if not config.data.train_examples:
        raise UsageError(
            "config.data.train_examples=0 means all images, but none are loaded: give their number"
        )
    unknown = set(only or ()) - set(PROGRAMS)
    if unknown:
        raise UsageError(f"--only={sorted(unknown)[0]} is not one of {list(PROGRAMS)}")
    if with_scaling:
        check_scaling(topologies, only)
    devices = {name: tpu_devices(name) for name in topologies}
    found, display = [], Display()
    for topology, chips in devices.items():
        programs = Programs(config, topology, chips)
        for name in only or PROGRAMS:
            with display.phase(f"compile {name} for {topology}", None, ""):
                found.append(programs.compiled(name))
            for figure in figures(found[-1]):
                print(json.dumps(figure.row()), flush=True)
    show(found)
    if with_scaling:
        project(config, found)


def check_scaling(topologies, only):
    """Raises UsageError where a projection would lack a program."""
    if set(only or PROGRAMS) != set(PROGRAMS):
        raise UsageError("--scaling needs both programs; leave --only out")
    most = collections.defaultdict(int)
    for name in topologies:
        generation, chips = split_topology(name)
        most[generation] = max(most[generation], chips)
    for generation, chips in most.items():
        if generation not in scaling.GENERATIONS:
            raise UsageError(
                f"--scaling knows the peaks of {list(scaling.GENERATIONS)}, not of {generation}"
            )
        if chips == 1:
            raise UsageError(f"--scaling needs a {generation} topology with several chips as well")


def use_no_accelerator():
    """Leaves TPUs and GPUs alone; to be called before JAX looks for devices."""
    jax.config.update("jax_platforms", "cpu")
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)


def split_topology(name):
    """The generation and the number of chips of a topology's name; raises UsageError."""
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name)
    if not match:
        raise UsageError(f"--topology={name} is not a generation and its chips, {EXAMPLE}")
    return match[1], int(np.prod([int(side) for side in match[2].split("x")]))


def tpu_devices(name):
    """The devices of a TPU topology, without a TPU; raises UsageError."""
    generation, _ = split_topology(name)
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError("the TPU compiler is not installed: pip install '.[tpu]' (or libtpu)")
    try:
        found = get_topology_desc(name, platform="tpu", **OPTIONS.get(generation, {}))
    except RuntimeError as error:
        raise UsageError(f"--topology={name}, {EXAMPLE}: {error}") from None
    return found.devices


class Programs:
    """The training and the scoring program of a config on some devices, from shapes alone."""

    def __init__(self, config, topology, devices):
        self.config = config = config.copy_and_resolve_references()
        self.topology, self.devices = topology, devices
        count = len(devices)
        config.supernet.batch_size = -(-config.supernet.batch_size // count) * count
        if config.supernet.batch_size > config.data.train_examples:
            raise UsageError(f"--topology={topology} has more devices than there are train images")
        self.shape, classes = wiring.form(config)
        self.outline = wiring.make_outline(config, classes)
        images = unseen_images(config, self.shape, classes)
        made = wiring.make_supernet(config, self.outline, images, devices)
        self.train_steps, self.recipe, self.evaluate = made
        params = wiring.initial_weights(config, self.outline, images)
        self.params = jax.eval_shape(lambda: params)
        pool = self.outline.space.sample(jax.random.key(config.seed), sampled(config))
        self.macs = float(np.median(wiring.make_cost(config, self.outline, self.shape)(pool).macs))

    def train(self):
        """The compiled training step, as `launch.search` calls it."""
        config, decisions = self.config, self.outline.space.decisions
        state = supernet_training.State(
            self.params, jax.eval_shape(self.recipe.optimizer.init, self.params), _int32()
        )
        images, capacity = config.data.train_examples, sampled(config)
        weights = jax.ShapeDtypeStruct((capacity,), jnp.float32)
        material = supernet_training.Material(
            self._images(images), _int32(images), _int32(capacity, decisions), weights
        )
        key = jax.eval_shape(lambda: jax.random.key(0))
        return self.train_steps.program(state, material, key, _int32())

    def score(self):
        """The compiled scoring of a pool, as `launch.search` calls it."""
        config, decisions = self.config, self.outline.space.decisions
        count, images = len(self.devices), wiring.scored_examples(config)
        estimated = config.scoring.statistics == "estimated"
        calibration = self._images(config.scoring.calibration_images if estimated else 1)
        pool = _int32(count, 1, config.scoring.per_dispatch, decisions)
        valid = self._images(images), _int32(images)
        return self.evaluate.program.program(
            self.params, pool, _int32(count, 1), *valid, calibration
        )

    def compiled(self, name) -> Compiled:
        """Compiles a program and reads off what it takes."""
        started, busy = time.perf_counter(), time.process_time()
        program = {"train": self.train, "score": self.score}[name]()
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        memory, taken = program.memory_analysis(), self._taken(name, program)
        values = {
            "compile_s": seconds,
            "temporary_MB": memory.temp_size_in_bytes / 1e6,
            "arguments_MB": memory.argument_size_in_bytes / 1e6,
            "arithmetic_GFLOP": taken.flops / 1e9,
            "collective_MB": taken.collective_bytes / 1e6,
        }
        if generation := scaling.GENERATIONS.get(split_topology(self.topology)[0]):
            values["estimate_s"] = taken.cycles / generation.clock
        setting = self._setting(taken.batch, program.cost_analysis())
        setting["compile_processor_s"] = round(busy, 1)
        return Compiled(self.topology, name, setting, values, taken)

    def _taken(self, name, program):
        memory, work = program.memory_analysis(), hlo.main_loop(program.as_text())
        if name == "train":
            batch = self.config.supernet.batch_size // len(self.devices)
            flops = 3 * 2 * self.macs * batch  # forward and two backward
            moved = 2 * memory.output_size_in_bytes
        else:
            images = wiring.scored_examples(self.config)
            batch = min(self.config.scoring.batch_size, images)
            flops = 2 * self.macs * -(-images // batch) * batch
            moved = memory.argument_size_in_bytes
        return scaling.Program(batch, flops, moved, work.cycles, work.collective_bytes)

    def _setting(self, batch, cost):
        network = self.config.network
        return {
            **dict(topology=self.topology, devices=len(self.devices), images_a_device=batch),
            **dict(device=self.devices[0].device_kind, dtype=network.dtype),
            **dict(channels=network.channels, cells=network.cells),
            **dict(jax=jax.__version__, libtpu=importlib.metadata.version("libtpu")),
            **dict(xla_gflop=round(cost.get("flops", 0.0) / 1e9, 3)),
            **dict(xla_gbytes=round(cost.get("bytes accessed", 0.0) / 1e9, 3)),
        }

    def _images(self, count):
        return jax.ShapeDtypeStruct((count, *self.shape), jnp.uint8)


def _int32(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def sampled(config) -> int:
    """Rows of the padded pool that training draws from."""
    return max(config.search.seeds, config.search.proposals)


def unseen_images(config, shape, classes):
    """A data set of the config's size that takes the memory of one image."""
    count = config.data.train_examples + config.data.valid_examples
    one = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    images, labels = np.broadcast_to(one, (count, *shape)), np.zeros(count, np.int32)
    none = images[:0], labels[:0]
    return data.ImageData("unseen", images, labels, np.arange(count), *none, classes)


def figures(compiled):
    """The `Figure`s of a compiled program."""
    for name, value in compiled.values.items():
        yield Figure(f"{compiled.name}_{name}", [value], FIGURES[name][0], compiled.setting)


def show(found):
    """Prints what was compiled as a table on standard error."""
    table = Table(title="Programs for TPU, per chip", box=box.SIMPLE, padding=0)
    for name in ("topology", "program"):
        table.add_column(name, overflow="fold")
    for name in ("images", *(heading for _, heading in FIGURES.values())):
        table.add_column(name, justify="right")
    for row in found:
        numbers = (_number(row.values.get(name)) for name in FIGURES)
        table.add_row(row.topology, row.name, str(row.setting["images_a_device"]), *numbers)
    Console(stderr=True).print(table)


def _number(value):
    return "" if value is None else f"{value:.4g}"


def project(config, found):
    """Prints the projection of every generation that was compiled for."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for compiled in found:
        generation, _ = split_topology(compiled.topology)
        groups[generation][compiled.name].append(compiled.program)
    search = scaling.Search(
        batch=config.supernet.batch_size,
        examples=config.data.train_examples,
        epochs=wiring.trained_rounds(config) * config.supernet.epochs,
        pools=tuple(wiring.scored_architectures(config).tolist()),
        path_per_device=config.supernet.path_per_device,
    )
    for name, programs in groups.items():
        if name not in scaling.GENERATIONS:
            raise UsageError(
                f"--scaling knows the peaks of {list(scaling.GENERATIONS)}, not {name}"
            )
        generation = scaling.GENERATIONS[name]
        training, (scoring, *_) = programs["train"], programs["score"]
        rows = list(scaling.project(training, scoring, search, generation))
        for figure in projected(name, config, rows):
            print(json.dumps(figure.row()), flush=True)
        show_projection(name, rows, scaling.assumptions(training, generation))


def projected(name, config, rows):
    """The `Figure`s of a projection."""
    for row in rows:
        setting = {
            **dict(generation=name, chips=row.chips, batch=row.batch, batch_rule=row.batch_rule),
            **dict(paths_a_step=row.paths, steps=row.steps, dtype=config.network.dtype),
        }
        yield Figure("step_projected_s", [row.step], "s", setting)
        yield Figure("communication_projected", [row.communication], "share", setting)
        yield Figure("search_projected_s", [row.search], "s", setting)


def show_projection(name, rows, lines):
    """Prints a projection and its assumptions on standard error."""
    table = Table(title=f"A search on TPU {name}, projected", box=box.SIMPLE, padding=0)
    columns = ("batch", "chips", "images", "paths", "step, ms", "comm.", "steps", "search, h")
    for column in columns:
        table.add_column(column, justify="left" if column == "batch" else "right")
    for row in rows:
        counts = row.chips, row.batch, row.paths, f"{1e3 * row.step:.3g}"
        hours = f"{row.search / 3600:.3g}"
        cells = *counts, f"{row.communication:.1%}", row.steps, hours
        table.add_row(row.batch_rule, *map(str, cells))
    console = Console(stderr=True)
    console.print(table)
    for line in lines:
        console.print(f"  {line}")
