"""What a job runs on, and the command that started it."""

import importlib.metadata
import os
import pathlib
import platform
import shlex
import sys

import jax

from launch.command import ARGV

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "ml_collections")


def facts(devices) -> dict:
    """Devices, processor cores, versions and the command line, as JSON knows them."""
    return {
        "command": _command(),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version()} | versions


def _command():
    """The command that can be typed again; None where no launcher was started."""
    if not ARGV:
        return None
    return shlex.join(["python", "-m", f"launch.{pathlib.Path(sys.argv[0]).stem}", *ARGV[1:]])
