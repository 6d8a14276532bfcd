"""What a training takes from the search whose best architecture it trains."""

import pathlib

from ml_collections import ConfigDict

from bnao_jax.spaces import imported, shipped
from launch.command import UsageError
from launch.run import workdir

SPACE = ("name", "operations", "nodes", "channel_choice")
WHERE = ("data_dir", "path", "shrink")  # of images of the same name
IMAGES = ("name", *WHERE, "split", "flip", "pad", "cutout")
SIZE = ("channels", "cells", "stem", "dtype")
ALONE = ("auxiliary", "drop_path_keep")  # what not every space and size of image can


def take(config, folder, given) -> dict:
    """Sets fields of a training's config to those of the search in a folder.

    The space is always that of the search. Where the search used the data set that the config
    names, the recipe is meant for it and stays, the size of the network included; else images and
    network are those of the search, too. How many images train, and how, stays as the config says.

    Args:
      config: of a training; changed in place.
      folder: of a search or of a training.
      given: fields that the user has set, which stay: "space.nodes".

    Returns:
      the fields that have become others, with their values.

    Raises:
      UsageError: the folder's config cannot be read.
    """
    before, taken = workdir.read_config(pathlib.Path(folder).expanduser()), {}

    def section(name, fields, of=None):
        ours, theirs = config[name], _section(before, of or name)
        for field in fields:
            value, whole = theirs.get(field), f"{name}.{field}"
            if whole in given or field not in ours or value is None or value == ours[field]:
                continue
            try:
                ours[field] = taken[whole] = value
            except (TypeError, ValueError):
                raise UsageError(f"--arch={folder}: its {workdir.CONFIG} is damaged") from None

    theirs = _section(before, "space").get("name")
    named = "space.name" in given or config.space.name == theirs
    if imported.is_place(str(theirs)) and not named:
        raise UsageError(
            f"--arch={folder}: its space is code, which is not run unless you name it: "
            f"--config.space.name={theirs}"
        )
    section("space", SPACE)
    if config.space.name not in shipped.SPACES:
        section("space", ("settings",))
    images = _section(before, "data").get("name")
    if "image_size" in config.data or "data.name" in given or images is None:
        return taken
    if images == config.data.name:
        section("data", WHERE)
        section("network", ("stem",))
    else:
        section("data", IMAGES)
        section("network", SIZE)
        section("train", ALONE, of="train" if "train" in before else "final")
    return taken


def _section(config, name):
    section = config.get(name)
    return section if isinstance(section, ConfigDict) else {}
