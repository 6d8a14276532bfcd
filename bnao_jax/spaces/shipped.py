"""The spaces that come with the library, by name, and their settings."""

import dataclasses
import importlib

import jax.numpy as jnp

from bnao_jax.settings import SWITCH, SettingError, Settings, one_of, setting, whole
from bnao_jax.spaces.nao.outline import OPERATIONS, STEMS
from bnao_jax.spaces.space import Space

SPACES = {
    "nao": "bnao_jax.spaces.nao.space:NaoSpace",
    "nasbench201": "bnao_jax.spaces.nasbench201.space:NasBench201Space",
    "shufflenet": "bnao_jax.spaces.shufflenet.space:ShuffleNetSpace",
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class SpaceSettings(Settings):
    """Which space is searched."""

    name: str = setting("nao", one_of(SPACES), "the search space")
    operations: str = setting(
        "small", one_of(OPERATIONS), "of nao: candidate operations; small: 5, middle: 10"
    )
    # With this, channels and cells at their most, costs are within int64.
    nodes: int = setting(5, whole(1, 100), "of nao: B, nodes of a cell")
    channel_choice: bool = setting(
        False, SWITCH, "of shufflenet: whether the blocks' widths are searched, too"
    )


@dataclasses.dataclass(frozen=True)
class NetworkSettings(Settings):
    """How large the network is, alone and with shared weights."""

    channels: int = setting(20, whole(2, 2**14), "C, width of the first stage")
    cells: int = setting(3, whole(1, 100), "N, (normal) cells a stage")
    stem: str = setting("cifar", one_of(STEMS), "cifar: full resolution, imagenet: an eighth")
    dtype: str = setting(
        "float32", one_of(DTYPES), "of maps and products; parameters are float32 always"
    )

    @property
    def jax_dtype(self):
        """The type."""
        return DTYPES[self.dtype]


def named(name) -> type[Space]:
    """The class of the shipped space of that name."""
    module, _, kind = SPACES[name].partition(":")
    return getattr(importlib.import_module(module), kind)


def make(space: SpaceSettings, network: NetworkSettings, classes: int) -> Space:
    """The space, with a network of the given size and number of classes around it.

    Raises:
      SettingError: it does not know the stem.
      ValueError: sizes that cannot be.
    """
    kind = named(space.name)
    if network.stem not in kind.stems:
        raise SettingError(
            f"stem={network.stem!r} must be {kind.stems[0]!r} with the space {space.name!r}"
        )
    return kind.of(space, network, classes)
