"""Shared weights that a search has left in its folder."""

import json
import pathlib

from bnao_jax import files
from launch.command import UsageError
from launch.inputs.trained import NEWEST, part_of, read_checkpoint
from launch.run import workdir

ALIKE = (
    *("space.name", "space.settings", "space.operations", "space.nodes", "space.channel_choice"),
    *("network.channels", "network.stem"),
)


def shared_weights(settings) -> dict:
    """The newest shared weights of the search in `settings.warm_start`, a tree of arrays.

    Raises:
      UsageError: there are none, or they are of another space, width or depth.
    """
    folder, what = pathlib.Path(settings.warm_start).expanduser(), "config.warm_start"
    try:
        before = json.loads(files.read_text(folder / workdir.CONFIG, links=False))
        theirs = {name: _field(before, name) for name in (*ALIKE, "network.cells")}
    except (OSError, ValueError, LookupError, TypeError):
        raise UsageError(f"{what}={folder} holds no search that can be read") from None
    for name, value in theirs.items():
        section, _, field = name.partition(".")
        if (ours := getattr(getattr(settings, section), field)) != value:
            raise UsageError(
                f"{what}={folder} was searched with config.{name}={value!r}; it is {ours!r} here"
            )
    arrays = read_checkpoint(folder, NEWEST).arrays
    if not (shared := part_of(arrays, "supernet/params/")):
        raise UsageError(f"{what}={folder} holds no shared weights")
    return shared


def _field(config, name):
    section, _, field = name.partition(".")
    return config[section][field]
