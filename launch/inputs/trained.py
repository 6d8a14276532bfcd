"""A trained network, as its training has left it in a folder."""

import dataclasses
import math
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from flax import errors, traverse_util
from flax import linen as nn

from bnao_jax import checkpoint as checkpoint_files
from bnao_jax.checkpoint import CheckpointError
from bnao_jax.training import network as network_training
from launch.command import UsageError
from launch.config import schema
from launch.config.plan import Plan, named, read
from launch.run import workdir

MOST_PIXELS = 2**28  # of an image, all colours; more is no image
BEST, NEWEST = "best", "newest"


class Trained(NamedTuple):
    """A network and its weights.

    Attributes:
      plan: of the training.
      facts: what network.json holds.
      network: the module.
      state: `training.State` without momentum.
      number: of the checkpoint.
    """

    plan: Plan
    facts: dict
    network: nn.Module
    state: network_training.State
    number: int


def load(folder, which=BEST, code="") -> Trained:
    """Reads a network.

    Args:
      folder: of its training.
      which: "best", the checkpoint that did best on validation images, or the newest, if there were
        none; or "newest".
      code: the place of its space, where that is code; see `allowed`.

    Raises:
      UsageError: the folder holds no training, or no checkpoint that can be read, or files that do
        not belong together.
    """
    folder = pathlib.Path(folder).expanduser()
    config = workdir.read_config(folder)
    if schema.job_of(config) != "train":
        raise UsageError(f"--workdir={folder} holds no training of launch.train")
    plan = read(config, "train")
    facts = workdir.read_network(folder)
    if not _are_facts(facts, plan.settings):
        raise UsageError(f"--workdir={folder}: its {workdir.NETWORK} does not fit its config")
    checkpoint = read_checkpoint(folder, which)
    part = lambda name: part_of(checkpoint.arrays, f"final/{name}/")
    params, statistics = part("params"), part("statistics")
    if not params or "final/step" not in checkpoint.arrays:
        raise UsageError(f"--workdir={folder}: its checkpoint holds no network")
    state = network_training.State(
        *(params, statistics, (), np.int32(checkpoint.arrays["final/step"])),
        average=part("average") or (),
    )
    plan = allowed(plan, code)
    space = plan.space(facts["classes"], facts["image_shape"])
    architecture = named("config.arch", space.decisions.parse, plan.settings.arch)
    network = plan.network(space, architecture, "train")
    images = np.zeros((1, *facts["image_shape"]), np.float32)
    for weights in (params, state.weights):
        variables = {"params": weights, "batch_stats": statistics}
        check_fit(folder, lambda v: network.apply(v, images, given=True), variables)
    return Trained(plan, facts, network, state, checkpoint.number)


def allowed(plan, code) -> Plan:
    """The plan of a folder with the place of its space, if that is code: the user's word for it.

    Raises:
      UsageError: the space is not code, or the place cannot be one.
    """
    if not code:
        return plan
    settings = plan.settings.space
    if not settings.is_code:
        raise UsageError(f"--code={code}: the space of the folder is {settings.name!r}")
    named("--code", dataclasses.replace, settings, name=code)
    return dataclasses.replace(plan, code=code)


def check_fit(folder, apply, weights):
    """Raises UsageError where a network cannot be applied to the weights of a folder."""
    try:
        jax.eval_shape(apply, weights)
    except (errors.FlaxError, ValueError, TypeError, KeyError):
        raise UsageError(
            f"--workdir={folder}: the weights of its checkpoint do not fit its network"
        ) from None


def _are_facts(facts, settings):
    """Whether network.json holds what a training with the settings has written."""
    is_size = lambda value: type(value) is int and 0 < value < 2**31
    is_number = lambda value: type(value) is float and math.isfinite(value)
    shape, moments = facts.get("image_shape"), (facts.get("mean"), facts.get("std"))
    return (
        all(is_size(facts.get(name)) for name in ("classes", "params", "macs"))
        and type(shape) is list
        and len(shape) == 3
        and all(map(is_size, shape))
        and math.prod(shape) <= MOST_PIXELS
        and all(type(v) is list and len(v) == shape[2] and all(map(is_number, v)) for v in moments)
        and all(value > 0 for value in moments[1])
        and facts.get("arch") == settings.arch
        and facts.get("space") == dataclasses.asdict(settings.space)
        and facts.get("network") == dataclasses.asdict(settings.network)
        and type(facts.get("preparation", "")) is str
    )


def read_checkpoint(folder, which=BEST):
    """The best or the newest `Checkpoint` of a job.

    Raises:
      UsageError: there is none, or it cannot be read.
    """
    path = folder / workdir.CHECKPOINTS
    if not path.is_dir():
        raise UsageError(f"--workdir={folder} holds no checkpoints")
    try:
        checkpoint = checkpoint_files.read(path, best=which == BEST)
    except CheckpointError as error:
        raise UsageError(f"--workdir={folder}: {error}") from None
    if checkpoint is None:
        raise UsageError(f"--workdir={folder} holds no checkpoint yet")
    return checkpoint


def part_of(arrays, prefix) -> dict:
    """The tree of those arrays of a checkpoint whose names begin with a prefix."""
    part = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return traverse_util.unflatten_dict(part, sep="/")
