"""The compile job: programs of a search for TPU topologies, and a projection from them.

For GPUs see `gpu`.
"""

import collections
import json

from rich import box
from rich.console import Console
from rich.table import Table

from launch.command import UsageError
from launch.compile import gpu, roofline, topology
from launch.compile.programs import PROGRAMS, Programs
from launch.measurements import Figure
from launch.run.progress import Display

# Unit of each figure, and how its column is headed.
FIGURES = {
    "compile_s": ("s", "compile, s"),
    "temporary_MB": ("MB", "temp. MB"),
    "arguments_MB": ("MB", "arg. MB"),
    "arithmetic_GFLOP": ("GFLOP", "GFLOP"),
    "collective_MB": ("MB", "coll. MB"),
    "estimate_s": ("s", "estimate, s"),
}


def run(plan, *, topologies, only, with_scaling):
    """Compiles for every topology and prints the figures; see `launch.compile`.

    The plan is read but not checked: the topologies say which devices there are.
    """
    topology.use_no_accelerator()
    gpus = [name for name in topologies if gpu.names_a_gpu(name)]
    if gpus and (len(gpus) < len(topologies) or with_scaling):
        raise UsageError("--topology names GPUs or TPUs, not both; --scaling is for TPUs")
    if gpus:
        with gpu.dumps() as folder:  # before JAX is used
            gpu.run(checked(plan), topologies, only, folder)
        return
    plan = checked(plan)
    is_search = plan.settings.job == "search"
    if with_scaling and not is_search:
        raise UsageError("--scaling projects a search, and the config is of a training")
    known = (*PROGRAMS, "alone") if is_search else ("alone",)
    if "alone" in (only or ()) and plan.settings.standalone is None:
        raise UsageError("--only=alone: the search trains nothing alone")
    unknown = set(only or ()) - set(known)
    if unknown:
        raise UsageError(f"--only={sorted(unknown)[0]} is not one of {list(known)}")
    if with_scaling:
        check_scaling(topologies, only)
    devices = {name: topology.devices_of(name) for name in topologies}
    if "alone" in (only or (() if is_search else known)):
        check_batch_alone(plan, devices)
    compiled, display = [], Display()
    for name, chips in devices.items():
        programs = Programs(plan, name, chips)
        for which in only or (PROGRAMS if is_search else known):
            with display.phase(f"compile {which} for {name}", None, ""):
                program = programs.compiled(which)
            compiled.append(program)
            for figure, value in program.values.items():
                unit, _ = FIGURES[figure]
                _print(Figure(f"{which}_{figure}", [value], unit, program.setting))
    show(compiled)
    if with_scaling:
        project(plan.settings, compiled)


def checked(plan):
    """The plan for devices that are not here; raises UsageError."""
    plan = plan.replace(devices=0)
    plan.check()
    if not plan.settings.data.train_examples:
        raise UsageError(
            "config.data.train_examples=0 means all images, but none are loaded: give their number"
        )
    return plan


def check_batch_alone(plan, devices):
    """Raises UsageError where a topology's chips cannot share the batch of a network alone."""
    section = plan.settings.standalone
    batch = getattr(plan.settings, section).batch_size
    for name, chips in devices.items():
        if batch % len(chips):
            raise UsageError(
                f"--topology={name}: {len(chips)} chips do not divide "
                f"config.{section}.batch_size={batch}"
            )


def check_scaling(topologies, only):
    """Raises UsageError where a projection would lack a program."""
    if set(only or PROGRAMS) != set(PROGRAMS):
        raise UsageError("--scaling needs both programs; leave --only out")
    most = collections.defaultdict(int)
    for name in topologies:
        generation, chips = topology.split(name)
        most[generation] = max(most[generation], chips)
    for generation, chips in most.items():
        if generation not in roofline.GENERATIONS:
            raise UsageError(
                f"--scaling knows the peaks of {list(roofline.GENERATIONS)}, not of {generation}"
            )
        if chips == 1:
            raise UsageError(f"--scaling needs a {generation} topology with several chips as well")


def _print(figure):
    print(json.dumps(figure.row()), flush=True)


def show(compiled):
    """Prints what was compiled as a table on standard error."""
    table = Table(title="Programs for TPU, per chip", box=box.SIMPLE, padding=0)
    for name in ("topology", "program"):
        table.add_column(name, overflow="fold")
    for name in ("images", *(heading for _, heading in FIGURES.values())):
        table.add_column(name, justify="right")
    for program in compiled:
        values = (program.values.get(name) for name in FIGURES)
        numbers = ("" if value is None else f"{value:.4g}" for value in values)
        images = str(program.setting["images_a_device"])
        table.add_row(program.topology, program.name, images, *numbers)
    Console(stderr=True).print(table)


def project(settings, compiled):
    """Prints the projection of every generation that was compiled for."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for program in compiled:
        generation, _ = topology.split(program.topology)
        groups[generation][program.name].append(program.work)
    search = roofline.Search(
        batch=settings.supernet.batch_size,
        examples=settings.data.train_examples,
        epochs=settings.search.rounds_that_train * settings.supernet.epochs,
        pools=tuple(
            settings.search.scored_architectures(
                rescored=not settings.supernet.from_scratch
            ).tolist()
        ),
        path_per_device=settings.supernet.path_per_device,
    )
    for name, programs in groups.items():
        generation = roofline.GENERATIONS[name]
        training, (scoring, *_) = programs["train"], programs["score"]
        rows = list(roofline.project(training, scoring, search, generation))
        for figure in projected(name, settings, rows):
            _print(figure)
        show_projection(name, rows, roofline.assumptions(training, generation))


def projected(name, settings, rows):
    """The `Figure`s of a projection."""
    for row in rows:
        setting = {
            "generation": name,
            "chips": row.chips,
            "batch": row.batch,
            "batch_rule": row.batch_rule,
            "paths_a_step": row.paths,
            "steps": row.steps,
            "dtype": settings.network.dtype,
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
