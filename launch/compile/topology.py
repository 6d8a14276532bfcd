"""TPU topologies by their names, and their devices without a TPU."""

import importlib.util
import os
import re

import jax
import numpy as np
from jax.experimental.topologies import get_topology_desc

from launch.command import UsageError

EXAMPLE = "for example v5e:4x4 or v4:2x2x2"
# Cloud TPU runs the two cores of these chips as one device.
OPTIONS = {"v4": {"chip_config_name": "megacore"}}
# libtpu only compiles here: it need not look for its slice, nor keep other processes out.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def use_no_accelerator():
    """Leaves TPUs and GPUs alone; to be called before JAX looks for devices."""
    jax.config.update("jax_platforms", "cpu")
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)


def split(name):
    """The generation and the number of chips of a topology's name; raises UsageError."""
    generation, sides = _sides(name)
    return generation, int(np.prod(sides))


def _sides(name):
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name)
    if not match:
        raise UsageError(f"--topology={name} is not a generation and its chips, {EXAMPLE}")
    return match[1], [int(side) for side in match[2].split("x")]


def devices_of(name):
    """The devices of a TPU topology, without a TPU; raises UsageError."""
    generation, sides = _sides(name)
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError("the TPU compiler is not installed: pip install '.[tpu]' (or libtpu)")
    options = dict(OPTIONS.get(generation, {}))
    if 1 in sides[:2]:  # libtpu takes hosts of 2 x 2 chips for granted
        options["chips_per_host_bounds"] = [min(2, side) for side in sides[:2]] + [1]
    try:
        topology = get_topology_desc(name, platform="tpu", **options)
    except RuntimeError as error:
        raise UsageError(f"--topology={name}, {EXAMPLE}: {error}") from None
    return topology.devices
