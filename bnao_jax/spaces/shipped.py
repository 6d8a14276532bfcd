"""The spaces that come with the library, by name, and their settings; those of users' modules."""

import dataclasses
import importlib

import jax.numpy as jnp

from bnao_jax.settings import SWITCH, Rule, SettingError, Settings, one_of, setting, whole
from bnao_jax.spaces import imported
from bnao_jax.spaces.nao.outline import OPERATIONS, STEMS
from bnao_jax.spaces.space import Space

SPACES = {
    "nao": "bnao_jax.spaces.nao.space:NaoSpace",
    "nasbench201": "bnao_jax.spaces.nasbench201.space:NasBench201Space",
    "shufflenet": "bnao_jax.spaces.shufflenet.space:ShuffleNetSpace",
}
MODULES = {  # linen modules with choices
    "mobilenet": "bnao_jax.spaces.mobilenet:MobileNet",
    "quantised": "bnao_jax.spaces.quantised:QuantisedResNet",
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
NAME = Rule(
    lambda v: isinstance(v, str) and (v in SPACES or v in MODULES or imported.is_place(v)),
    f"{', '.join([*SPACES, *MODULES])}, or FILE.py:CLASS or package.module:CLASS, a linen module "
    "with choices",
)


def _are_fields(text):
    try:
        return isinstance(text, str) and imported.fields_of(text) is not None
    except ValueError:
        return False


FIELDS = Rule(_are_fields, "fields as in 'width=16, depth=3'")


@dataclasses.dataclass(frozen=True)
class SpaceSettings(Settings):
    """Which space is searched."""

    name: str = setting(
        "nao",
        NAME,
        "the search space: nao, nasbench201, shufflenet, mobilenet, quantised, or a linen module"
        " with choices by its place, FILE.py:CLASS or package.module:CLASS",
    )
    settings: str = setting(
        "",
        FIELDS,
        "of a module, mobilenet and quantised too: its fields, as in 'width=16, depth=3'",
    )
    operations: str = setting(
        "small", one_of(OPERATIONS), "of nao: candidate operations; small: 5, middle: 10"
    )
    # With this, channels and cells at their most, costs are within int64.
    nodes: int = setting(5, whole(1, 100), "of nao: B, nodes of a cell")
    channel_choice: bool = setting(
        False, SWITCH, "of shufflenet: whether the blocks' widths are searched, too"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.settings and not self.is_module:
            raise SettingError(f"settings={self.settings!r}: the space {self.name!r} has none")

    @property
    def is_module(self) -> bool:
        """Whether the space is a linen module with choices."""
        return self.name not in SPACES

    @property
    def is_code(self) -> bool:
        """Whether the space is a module outside of this library."""
        return self.is_module and self.name not in MODULES


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


def make(
    space: SpaceSettings,
    network: NetworkSettings,
    classes: int,
    image_shape=None,
    *,
    code: str = "",
) -> Space:
    """The space, with a network of the given size and number of classes around it.

    Args:
      space, network: the settings.
      classes: number of classes.
      image_shape: (H, W, C); only a space that is a module needs it.
      code: the place of the module, where the space is one. To import it runs its code, so this is
        the user's own word, and not the settings' name, which may come from anybody's folder.

    Raises:
      SettingError: it does not know the stem, or there is no such module.
      ValueError: sizes that cannot be, or code that may not be run.
    """
    if space.is_module:
        if image_shape is None:
            raise ValueError(f"the space {space.name!r} needs the shape of images")
        if space.is_code and code and not imported.is_place(code):
            raise ValueError(f"{code!r} is not of the form FILE.py:CLASS or package.module:CLASS")
        if space.is_code and not code:
            raise ValueError(
                f"the space {space.name!r} is code, which is not run unless the user names it: "
                f"--code={space.name}"
            )
        return imported.make(
            code if space.is_code else MODULES[space.name],
            space.settings,
            classes=classes,
            image_shape=tuple(image_shape),
            dtype=network.jax_dtype,
            check=space.is_code,
        )
    kind = named(space.name)
    if network.stem not in kind.stems:
        raise SettingError(
            f"stem={network.stem!r} must be {kind.stems[0]!r} with the space {space.name!r}"
        )
    return kind.of(space, network, classes)
