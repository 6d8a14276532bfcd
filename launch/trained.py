"""A trained network, as its training has left it in a folder."""

import math
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from flax import errors, traverse_util
from flax import linen as nn
from ml_collections import ConfigDict

from bnao_jax import training
from bnao_jax.checkpoint import CheckpointError, Checkpoints
from launch import fields, wiring, workdir
from launch.command import UsageError

BEST, NEWEST = "best", "newest"


class Trained(NamedTuple):
    """A network and its weights.

    Attributes:
      config: of the training.
      facts: what network.json holds.
      network: the module.
      state: `training.State` without momentum.
      number: of the checkpoint.
    """

    config: ConfigDict
    facts: dict
    network: nn.Module
    state: training.State
    number: int


def load(folder, which=BEST) -> Trained:
    """Reads a network.

    `which`: "best", the checkpoint that did best on validation images, or the newest, if there were
    none; or "newest".

    Raises:
      UsageError: the folder holds no training, or no checkpoint that can be read, or files that do
        not belong together.
    """
    folder = pathlib.Path(folder).expanduser()
    config = workdir.read_config(folder)
    if fields.job_of(config) != "train":
        raise UsageError(f"--workdir={folder} holds no training of launch.train")
    fields.check_fields(config, "train")
    facts = workdir.read_network(folder)
    if not _are_facts(facts, config):
        raise UsageError(f"--workdir={folder}: its {workdir.NETWORK} does not fit its config")
    checkpoint = read_checkpoint(folder, which)
    part = lambda name: part_of(checkpoint.arrays, f"final/{name}/")
    params, statistics = part("params"), part("statistics")
    if not params or "final/step" not in checkpoint.arrays:
        raise UsageError(f"--workdir={folder}: its checkpoint holds no network")
    state = training.State(
        *(params, statistics, (), np.int32(checkpoint.arrays["final/step"])),
        average=part("average") or (),
    )
    outline = wiring.make_outline(config, facts["classes"])
    architecture = wiring.named("config.arch", outline.space.parse, config.arch)
    network = wiring.make_network(config, "train", outline, architecture)
    images = np.zeros((1, *facts["image_shape"]), np.float32)
    for weights in (params, state.weights):
        variables = {"params": weights, "batch_stats": statistics}
        try:
            jax.eval_shape(lambda v: network.apply(v, images, given=True), variables)
        except (errors.FlaxError, ValueError, TypeError, KeyError):
            raise UsageError(
                f"--workdir={folder}: the weights of its checkpoint do not fit its network"
            ) from None
    return Trained(config, facts, network, state, checkpoint.number)


def _are_facts(facts, config):
    """Whether network.json holds what a training of the config has written."""
    is_size = lambda value: type(value) is int and 0 < value < 2**31
    is_number = lambda value: type(value) is float and math.isfinite(value)
    shape, moments = facts.get("image_shape"), (facts.get("mean"), facts.get("std"))
    return (
        all(is_size(facts.get(name)) for name in ("classes", "params", "macs"))
        and type(shape) is list
        and len(shape) == 3
        and all(map(is_size, shape))
        and all(type(v) is list and len(v) == shape[2] and all(map(is_number, v)) for v in moments)
        and all(value > 0 for value in moments[1])
        and facts.get("arch") == config.arch
        and all(facts.get(name) == config[name].to_dict() for name in ("space", "network"))
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
        with Checkpoints(path) as checkpoints:
            found = checkpoints.best() if which == BEST else None
            found = found or checkpoints.newest()
    except CheckpointError as error:
        raise UsageError(f"--workdir={folder}: {error}") from None
    if found is None:
        raise UsageError(f"--workdir={folder} holds no checkpoint yet")
    return found


def part_of(arrays, prefix) -> dict:
    """The tree of those arrays of a checkpoint whose names begin with a prefix."""
    own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return traverse_util.unflatten_dict(own, sep="/")
