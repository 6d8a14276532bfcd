"""Programs of a search compiled for GPUs that are not here, and what a step of them starts."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import mmap
import os
import pathlib
import re
import tempfile
import time

import jax
import numpy as np
from jax.experimental.topologies import get_topology_desc
from rich import box
from rich.console import Console
from rich.table import Table

from bnao_jax.parallel import OPTIONS, SWITCH
from bnao_jax.spaces.nao.outline import CELL_INPUTS, genes, loose_ends
from launch.command import UsageError
from launch.compile import launches
from launch.compile.programs import Programs
from launch.run.progress import Display

PLUGINS = ("xla_cuda12", "xla_cuda13")  # modules in jax_plugins
PROGRAMS = ("train", "score", "fit", "alone")
COLUMNS = {  # the heading of each and how its numbers are written
    "kernels": ("kernels", "{:,.0f}"),
    "host_waits": ("waits", "{:,.0f}"),
    "graph_launches": ("graphs", "{:,.0f}"),
    "gigabytes": ("GB", "{:.2f}"),
    "gflop": ("GFLOP", "{:.1f}"),
    "temporary_mb": ("temp. MB", "{:,.0f}"),
    "compile_s": ("compile, s", "{:.0f}"),
    "modelled_ms": ("model, ms", "{:.2f}"),
}
_DESCRIBED = re.compile(rb'device_description_str: "([^"]*)"')


def names_a_gpu(name) -> bool:
    """Whether a topology is the name of a GPU, such as "h100"; those of TPUs have a colon."""
    return ":" not in name and not re.fullmatch(r"v\d\w*", name)


@contextlib.contextmanager
def dumps():
    """A folder into which XLA writes what it compiles; to be entered before JAX is used."""
    with tempfile.TemporaryDirectory() as folder:
        # The sort of CUDA's library asks for a device.
        flags = f"--xla_dump_to={folder} --xla_dump_hlo_as_text"
        flags += " --xla_gpu_enable_cub_radix_sort=false"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
        yield folder


@functools.cache
def descriptions() -> dict[str, str]:
    """The NVIDIA GPUs that the installed plugin describes, and their descriptions.

    Raises UsageError where no plugin is installed, or where it describes none.
    """
    installed = importlib.util.find_spec("jax_plugins")
    names = [n for n in PLUGINS if installed and importlib.util.find_spec(f"jax_plugins.{n}")]
    if not names:
        raise UsageError(
            "the CUDA compiler, which needs no GPU, is not installed: pip install '.[cuda12]'"
        )
    origin = importlib.util.find_spec(f"jax_plugins.{names[0]}").origin
    library = pathlib.Path(origin).parent / "xla_cuda_plugin.so"
    found = {}
    with open(library, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for match in _DESCRIBED.finditer(memory):
            start, end = memory.rfind(b"\0", 0, match.start()) + 1, memory.find(b"\0", match.end())
            text = memory[start:end].decode()
            if 'platform_name: "CUDA"' in text:
                found[match[1].decode()] = text
    if not found:
        version = importlib.metadata.version("jaxlib")
        raise UsageError(f"the CUDA compiler of jaxlib {version} describes no GPUs; 0.12's does")
    return found


def description(name) -> str:
    """The description of a GPU by words of its name, "h100", "a100-40gb"; raises UsageError.

    Of several the fastest memory counts; a part of a GPU (MIG) only where the words name it.
    """
    found, words = descriptions(), re.split(r"[-_ ]", name.lower())
    split = {full: re.split(r"[- ]", full.lower()) for full in found}
    fits = [full for full in found if set(words) <= set(split[full])]
    whole = [full for full in fits if "mig" not in split[full]] if "mig" not in words else fits
    if not whole:
        known = ", ".join(sorted(found))
        raise UsageError(f"--topology={name} names none of the GPUs that are described: {known}")
    rate = lambda full: int(re.search(r"memory_bandwidth: (\d+)", found[full])[1])
    return found[max(whole, key=rate)]


def devices_of(name):
    """The one device of a GPU's name; raises UsageError."""
    text = description(name)
    return get_topology_desc(name, platform="cuda", topology="1x1x1", target_config=text).devices


def run(plan, names, only, folder):
    """Compiles for every GPU and prints a line of JSON for each program, then a table.

    `folder` is that of `dumps`.
    """
    known = PROGRAMS if plan.settings.job == "search" else ("alone",)
    unknown = set(only or ()) - set(known)
    if unknown:
        raise UsageError(f"--only={sorted(unknown)[0]} is not one of {list(known)}")
    devices = {name: devices_of(name) for name in names}
    rows, display = [], Display()
    for name, chips in devices.items():
        programs = Programs(plan, name, chips)
        for which in only or known:
            with display.phase(f"compile {which} for {name}", None, ""):
                row = compiled(programs, which, folder)
            if row is not None:
                print(json.dumps(row), flush=True)
                rows.append(row)
    show(rows)


def compiled(programs, which, folder):
    """What a step of a program starts, moves and takes: a row; None where there is no program.

    One step of training or of the controller's fit; one architecture on one batch in scoring.
    """
    for old in pathlib.Path(folder).glob("*.*"):
        if old.is_file():
            old.unlink()
    started = time.perf_counter()
    program = getattr(programs, which)()
    if program is None:
        return None
    seconds = time.perf_counter() - started
    concurrent = os.environ.get(SWITCH) != "off" and "CONCURRENT" in OPTIONS["gpu"].values()
    one = launches.read(folder, shares_of(programs), concurrent=concurrent).round()
    if which == "score":
        images, batch = programs.plan.scored_examples, programs.settings.scoring.batch_size
        one = one.times(1 / -(-images // batch))
    network = programs.settings.network
    return {
        "topology": programs.topology,
        "program": which,
        "space": programs.settings.space.name,
        "dtype": network.dtype,
        "channels": network.channels,
        "cells": network.cells,
        "jax": jax.__version__,
        "kernels": round(one.kernels),
        "host_waits": round(one.host_waits, 1),
        "graph_launches": round(one.graph_launches, 1),
        "gigabytes": round(one.bytes / 1e9, 3),
        "gflop": round(one.flops / 1e9, 2),
        "temporary_mb": round(program.memory_analysis().temp_size_in_bytes / 1e6, 1),
        "compile_s": round(seconds, 1),
        "modelled_ms": round(1e3 * one.seconds, 3),
    }


def shares_of(programs):
    """How often the architectures of the pool take each branch of a choice of so many branches.

    All equally often but in the reduction cells of NAO: there an edge reads an input of the cell,
    its first half of branches, or a node; its gradient is looked for in both places and found in
    one; and an input is rarely loose.
    """
    outline = programs.space
    if outline.name != "nao":
        return lambda branches: None
    inputs, _ = genes(np.asarray(programs.pool), outline.nodes)
    reduction, count = inputs[:, 1], len(outline.candidates)
    reads_input = float((reduction < CELL_INPUTS).mean())
    loose = float(np.mean([loose_ends(row, outline.nodes)[:CELL_INPUTS] for row in reduction]))
    known = {
        2 * count: [reads_input / count] * count + [(1 - reads_input) / count] * count,
        count + 1: [0.5 / count] * count + [0.5],
        2: [1 - loose, loose],
    }
    return known.get


def show(rows):
    """Prints the rows as a table on standard error."""
    table = Table(title="One step on a GPU", box=box.SIMPLE, padding=0)
    for name in ("GPU", "program", "type"):
        table.add_column(name, overflow="fold")
    for heading, _ in COLUMNS.values():
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = (form.format(row[name]) for name, (_, form) in COLUMNS.items())
        table.add_row(row["topology"], row["program"], row["dtype"], *numbers)
    console = Console(stderr=True)
    console.print(table)
    console.print(
        "Modelled, not timed: bytes, operations and the least time of each kernel, with constants "
        "estimated for an H100. One step, or one architecture on one batch; choices are averaged "
        "over random architectures."
    )
