"""What a search or a training has left in its folder, for code of one's own.

    found = saved.load("runs/quick")
    print(found.result["against_random"], found.space.decisions.format(found.architecture))
    labels = found.predict(images).argmax(1)  # uint8 [N, H, W, C]

Shapes: N images of H x W pixels and C channels, D decisions.
"""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from bnao_jax import checkpoint, data, files
from bnao_jax.spaces import shipped
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings
from bnao_jax.spaces.space import Space

SHARED, ALONE = "supernet/params/", "final/params/"


class Saved(NamedTuple):
    """A finished search or training.

    Attributes:
      result: what result.json holds.
      space: the search space, with the network's size and number of classes.
      architecture: D integers: the best of the search, or the one that was trained.
      network: the linen module of the architecture; of a search the supernet.
      variables: "params" and, of a training, "batch_stats". Of a search they are shared weights.
      predict: from images uint8[N, H, W, C], prepared as those that it was trained on, to
        probabilities float32[N, classes]. With shared weights they are normalised by statistics of
        the images themselves: give many at once.
    """

    result: dict
    space: Space
    architecture: tuple
    network: Any
    variables: dict
    predict: Callable


def load(folder, *, best=True, code="") -> Saved:
    """Reads the folder of a finished search (`launch.search`) or training (`launch.train`).

    Args:
      folder: the run's.
      best: whether weights are those of the checkpoint with the best score, or the newest.
      code: the place of the space, "my_space.py:Net", where that is a module of the user's: a
        folder's word alone runs no code.

    Raises:
      OSError: a file is not there.
      ValueError: a file or checkpoint does not hold what a run leaves.
    """
    folder = pathlib.Path(folder).expanduser()
    facts, result = (_json(folder, name) for name in ("network.json", "result.json"))
    arrays = _arrays(folder, best)
    is_search = "best" in result
    try:
        settings = NetworkSettings(**facts["network"])
        size = settings, facts["classes"], tuple(facts["image_shape"])
        space = shipped.make(SpaceSettings(**facts["space"]), *size, code=code)
        text = result["best"][0]["arch"] if is_search else result["arch"]
        mean, std = (np.array(facts[name], np.float32) for name in ("mean", "std"))
    except (LookupError, TypeError) as error:
        raise ValueError(f"{folder}: its files do not hold what a run leaves: {error}") from None
    architecture = tuple(space.decisions.parse(text).tolist())
    if is_search:
        variables = {"params": _part(arrays, SHARED)}
        network = space.supernet(settings.jax_dtype)
        run = lambda variables, images: network.apply(variables, images, architecture)
    else:
        params = _part(arrays, "final/average/") or _part(arrays, ALONE)
        variables = {"params": params, "batch_stats": _part(arrays, "final/statistics/")}
        network = space.network(architecture, settings.jax_dtype)
        run = functools.partial(network.apply, given=True)
    if not variables["params"]:
        raise ValueError(f"{folder}: its checkpoint holds no weights")

    @jax.jit
    def probabilities(variables, images):
        logits = run(variables, data.normalise(images, mean, std))
        return jax.nn.softmax(logits.astype(jnp.float32))

    predict = lambda images: np.asarray(probabilities(variables, jnp.asarray(images)))
    return Saved(result, space, architecture, network, variables, predict)


def _json(folder, name):
    value = json.loads(files.read_text(folder / name, links=False))
    if not isinstance(value, dict):
        raise ValueError(f"{folder / name} holds no JSON object")
    return value


def _arrays(folder, best):
    kept = checkpoint.read(folder / "checkpoints", best=best) if folder.is_dir() else None
    if kept is None:
        raise ValueError(f"{folder} holds no checkpoint")
    return kept.arrays


def _part(arrays, prefix):
    part = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    return traverse_util.unflatten_dict(part, sep="/")
