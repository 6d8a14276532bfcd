"""What each search space brings to a job, under the same names."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnao_jax.graph import Form, chain
from bnao_jax.spaces.nao import cost as nao_cost
from bnao_jax.spaces.nao import graph as nao_graph
from bnao_jax.spaces.nao import inheritance as nao_inheritance
from bnao_jax.spaces.nao import network as nao_network
from bnao_jax.spaces.nao import space as nao_space
from bnao_jax.spaces.nao import supernet as nao_supernet
from bnao_jax.spaces.nao import wires as nao_wires
from bnao_jax.spaces.nao.published import PUBLISHED as NAO_PUBLISHED
from bnao_jax.spaces.nasbench201 import cost as nasbench201_cost
from bnao_jax.spaces.nasbench201 import graph as nasbench201_graph
from bnao_jax.spaces.nasbench201 import inheritance as nasbench201_inheritance
from bnao_jax.spaces.nasbench201 import network as nasbench201_network
from bnao_jax.spaces.nasbench201 import space as nasbench201_space
from bnao_jax.spaces.nasbench201 import supernet as nasbench201_supernet
from bnao_jax.spaces.nasbench201 import wires as nasbench201_wires
from bnao_jax.spaces.nasbench201.published import PUBLISHED as NASBENCH201_PUBLISHED
from bnao_jax.spaces.shufflenet import cost as shufflenet_cost
from bnao_jax.spaces.shufflenet import inheritance as shufflenet_inheritance
from bnao_jax.spaces.shufflenet import network as shufflenet_network
from bnao_jax.spaces.shufflenet import space as shufflenet_space
from bnao_jax.spaces.shufflenet import supernet as shufflenet_supernet
from bnao_jax.spaces.shufflenet import wires as shufflenet_wires
from bnao_jax.spaces.shufflenet.published import PUBLISHED as SHUFFLENET_PUBLISHED
from launch.command import UsageError


def alone(config) -> str | None:
    """The section of a config that says how networks are trained alone, None if none are."""
    if "train" in config:
        return "train"
    if "study" in config:
        return None if config.truth else "final"
    return "final" if "final" in config and config.final.top else None


class Space(NamedTuple):
    """A search space.

    Attributes:
      outline: `(config, classes)` to the network around the searched part.
      supernet: `(outline, dtype, axis_name)` to the weight-sharing module.
      on_path: `(outline, params, architecture)` to masks of the weights used.
      network: `(outline, architecture, dtype, **settings)` to the module of one architecture alone.
      heads: names of the settings that `network` knows.
      cost: `(outline, pool, image_shape)` to a `Cost`.
      macs: `(outline, image_shape)` to the multiply-adds of an architecture in pure jnp; or None.
      layers: the same to the `Layer`s that it is the sum of.
      wires: `(outline, architecture)` to the `Wire`s of each kind of cell.
      inherit: `(outline, shared weights, architecture, weights of the network)` to the latter with
        shared ones among them, and how many numbers those are.
      strata: from a pool to the stratum int[P] of each, from 0; or None.
      connected: from a pool to whether anything of the input reaches the output, bool[P]; or None.
      split: from a seed to the decision that parts paths into groups with a momentum each; or None.
      graph: `(outline)` to the `Form` of its architectures as graphs.
      features: `(outline, pool)` to float64[P, F], of which the latency is roughly linear.
      weights: `(outline)` to the least number of weights of the supernet.
      published: names of published architectures, to their text forms.
      check: raises UsageError where a config asks for what the space has not.
      check_images: the same for (config, image_shape).
    """

    outline: Callable
    supernet: Callable
    on_path: Callable
    network: Callable
    heads: tuple[str, ...]
    cost: Callable
    macs: Callable | None
    layers: Callable
    wires: Callable
    inherit: Callable
    strata: Callable | None
    connected: Callable | None
    split: Callable | None
    graph: Callable[..., Form]
    features: Callable
    weights: Callable
    published: dict[str, str]
    check: Callable
    check_images: Callable


def _nao_outline(config, classes):
    network, space = config.network, config.space
    settings = network.channels, network.cells, classes, network.stem, space.operations, space.nodes
    return nao_space.Outline(*settings)


def _counts(choices, options):
    """How often each option occurs in the rows of choices [P, E]: float64[P, options]."""
    return (np.asarray(choices)[:, :, None] == np.arange(options)).sum(1).astype(float)


def _nao_features(outline, pool):
    inputs, choices = nao_space.genes(np.asarray(pool), outline.nodes)  # [P, kind of cell, E]
    loose = nao_space.loose_ends(inputs, outline.nodes).sum(-1)
    counts = [_counts(own, len(outline.candidates)) for own in choices.swapaxes(0, 1)]
    return np.column_stack([*counts, loose])


def _nao_weights(outline):
    nodes, plan = outline.nodes, outline.plan()
    units = sum(op.units for op in outline.candidates) * nodes * (nodes + 3)  # edge and input
    weights = sum((units + nodes + 2) * cell.width**2 for cell in plan)
    return weights + outline.classes * plan[-1].width


def _check_nao_images(config, image_shape):
    smallest = min(image_shape[:2])
    if config.network.stem == "imagenet":
        smallest = -(-smallest // 8)
    smallest = -(-smallest // 4)
    needed = 8 if config.network.stem == "cifar" else 7
    section = alone(config)
    if section and config[section].auxiliary and smallest < needed:
        raise UsageError(
            f"config.{section}.auxiliary=True needs maps of {needed}x{needed} before the "
            f"classifier; images of {image_shape} leave {smallest}x{smallest}"
        )


def _nasbench201_outline(config, classes):
    return nasbench201_space.Outline(config.network.channels, config.network.cells, classes)


def _nasbench201_split(seed):
    return int(np.random.RandomState(seed).randint(len(nasbench201_space.EDGES)))


def _nasbench201_features(outline, pool):
    del outline
    return _counts(pool, len(nasbench201_space.NAMES))


def _nasbench201_weights(outline):
    edges, kernels = len(nasbench201_space.EDGES), 1 + 9
    cells = sum(outline.cells * edges * kernels * width**2 for width in outline.widths)
    return cells + outline.classes * outline.widths[-1]


def _check_nasbench201(config):
    _check_fields(config, {"network.stem": "cifar"} | _plain(config))


def _plain(config):
    """What the fields must be in a space without drop path and auxiliary head."""
    wanted = {}
    if "supernet" in config:
        wanted |= {"supernet.drop_path_keep": 1}
    if section := alone(config):
        wanted |= {f"{section}.drop_path_keep": 1, f"{section}.auxiliary": False}
    return wanted


def _check_fields(config, wanted):
    """Raises UsageError where a field is not what the space needs."""
    for name, value in wanted.items():
        section, field = name.split(".")
        if config[section][field] != value:
            raise UsageError(
                f"config.{name}={config[section][field]!r} must be {value!r} with "
                f"config.space.name={config.space.name!r}"
            )


def _check_nasbench201_images(config, image_shape):
    del config
    if image_shape[0] % 4 or image_shape[1] % 4:
        raise UsageError(
            f"config.space.name='nasbench201' halves images twice; {image_shape[:2]} is not "
            "divisible by 4"
        )


def _shufflenet_outline(config, classes):
    network, searched = config.network, config.space.channel_choice
    settings = network.channels, network.cells, classes, network.stem, searched
    return shufflenet_space.Outline(*settings)


def _shufflenet_features(outline, pool):
    """Blocks of each kind in each stage, counted and, where they are searched, by their widths."""
    kinds, choices = outline.split(np.asarray(pool).T)  # [blocks, P]
    of_stage = np.array([run.place.stage for run in outline.runs() for _ in range(run.count)])
    weights = [np.ones(kinds.shape)] + ([] if choices is None else [choices + 1.0])
    columns = [
        (weight * (kinds == kind))[of_stage == stage].sum(0)
        for weight in weights
        for stage in range(len(outline.stages))
        for kind in range(len(outline.kinds))
    ]
    return np.column_stack(columns)


def _shufflenet_weights(outline):
    blocks = sum(
        math.prod(shape)
        for run in outline.runs()
        for *_, shape in shufflenet_supernet.shared_weights(outline, run)
    )
    return blocks + outline.head * outline.channels * (outline.widths[-1] + outline.classes)


SPACES = {
    "nao": Space(
        outline=_nao_outline,
        supernet=nao_supernet.Supernet,
        on_path=nao_supernet.on_path,
        network=nao_network.Network,
        heads=("dropout", "auxiliary"),
        cost=nao_cost.cost,
        macs=None,
        layers=nao_cost.layers,
        wires=nao_wires.wires,
        inherit=nao_inheritance.inherit,
        strata=None,
        connected=None,
        split=None,
        graph=nao_graph.graph_form,
        features=_nao_features,
        weights=_nao_weights,
        published=NAO_PUBLISHED,
        check=lambda config: None,
        check_images=_check_nao_images,
    ),
    "nasbench201": Space(
        outline=_nasbench201_outline,
        supernet=nasbench201_supernet.Supernet,
        on_path=nasbench201_supernet.on_path,
        network=nasbench201_network.Network,
        heads=("dropout",),
        cost=nasbench201_cost.cost,
        macs=None,
        layers=nasbench201_cost.layers,
        wires=nasbench201_wires.wires,
        inherit=nasbench201_inheritance.inherit,
        strata=nasbench201_space.strata,
        connected=nasbench201_space.connected,
        split=_nasbench201_split,
        graph=lambda outline: nasbench201_graph.graph_form(),
        features=_nasbench201_features,
        weights=_nasbench201_weights,
        published=NASBENCH201_PUBLISHED,
        check=_check_nasbench201,
        check_images=_check_nasbench201_images,
    ),
    "shufflenet": Space(
        outline=_shufflenet_outline,
        supernet=shufflenet_supernet.Supernet,
        on_path=shufflenet_supernet.on_path,
        network=shufflenet_network.Network,
        heads=("dropout",),
        cost=shufflenet_cost.cost,
        macs=shufflenet_cost.macs_of,
        layers=shufflenet_cost.layers,
        wires=shufflenet_wires.wires,
        inherit=shufflenet_inheritance.inherit,
        strata=None,
        connected=None,
        split=None,
        graph=lambda outline: chain(outline.space),
        features=_shufflenet_features,
        weights=_shufflenet_weights,
        published=SHUFFLENET_PUBLISHED,
        check=lambda config: _check_fields(config, _plain(config)),
        check_images=lambda config, image_shape: None,
    ),
}
