"""The ShuffleNetV2 block space: a block for each place of a chain, and, if asked for, its width.

Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019,
https://arxiv.org/abs/1904.00420; the blocks are those of Ma et al., "ShuffleNet V2", 2018,
https://arxiv.org/abs/1807.11164. Decisions: the kind of each block, then, with the choice of
channels, the width of each block's inside, 0.2, 0.4, ... 2.0 times half the stage's width.
"""

import dataclasses
import functools
from typing import NamedTuple

from bnao_jax.decisions import Decisions

KINDS = ("shuffle3", "shuffle5", "shuffle7", "xception")
RATIOS = 10  # widths to choose from
UNIT_RATIO = 5  # a choice r is (r + 1) / UNIT_RATIO
# The stride of the stem and of each stage's first block.
STRIDES = {"cifar": (1, 1, 2, 2, 2), "imagenet": (2, 2, 2, 2, 2)}


class Stage(NamedTuple):
    """A stage as multiples: `width` of the stem's channels, `blocks` of the outline's cells."""

    width: int
    blocks: int


STAGES = (Stage(4, 1), Stage(10, 1), Stage(20, 2), Stage(40, 1))


class Place(NamedTuple):
    """Where a block stands, and what its searched branch reads and gives.

    A first block of a stage has two branches that read all channels; what they give is
    concatenated. In the others half of the channels passes by.

    Attributes:
      stage: number of the stage, from 0.
      first: whether it is the first of its stage.
      stride: 1 or 2.
      inputs: channels its branches read.
      outputs: channels its main branch gives.
      base: half the stage's width, what the ratios are of.
    """

    stage: int
    first: bool
    stride: int
    inputs: int
    outputs: int
    base: int


class Run(NamedTuple):
    """Equal places in a row, `count` from block number `start` on."""

    place: Place
    start: int
    count: int

    @property
    def name(self) -> str:
        """The name of their shared weights."""
        return f"stage{self.place.stage}_{'first' if self.place.first else 'rest'}"


def width_of(base, choice):
    """Channels inside a block by its choice of width, integers or arrays; fractions are cut off."""
    return base * (choice + 1) // UNIT_RATIO


@functools.cache
def shufflenet_decisions(blocks: int, kinds: int, channel_choice: bool) -> Decisions:
    """The space of so many blocks of so many kinds, with or without the choice of channels."""
    widths = (RATIOS,) * blocks * channel_choice
    places = range(1, blocks + 1)
    labels = [f"block {n}" for n in places]
    labels += [f"width of block {n}" for n in places if channel_choice]
    return Decisions(
        name=f"ShuffleNetV2 ({blocks} blocks{', channels' if channel_choice else ''})",
        options=(kinds,) * blocks + widths,
        first_tokens=(1,) * blocks + (1 + kinds,) * len(widths),
        labels=tuple(labels),
    )


@dataclasses.dataclass(frozen=True)
class Outline:
    """What surrounds the searched blocks: stem, stages, 1x1 convolution, classifier.

    The defaults are the paper's network for ImageNet: 20 blocks of widths 64, 160,
    320, 640 between a stem of 16 and a last convolution of 1,024 channels.

    Attributes:
      channels: C, width of the stem; those of the stages and of the last convolution are multiples.
      cells: N; the stages have N, N, 2N, N blocks.
      classes: number of classes.
      stem: "cifar" (stem and first stage keep the resolution) or "imagenet" (all halve it).
      channel_choice: whether the widths inside the blocks are searched, too.
      stages: the stages, ever wider; their even widths are multiples of C.
      head: the last convolution's multiple of C.
      kinds: the kinds of block to choose from, of `KINDS`.
    """

    channels: int = 16
    cells: int = 4
    classes: int = 1000
    stem: str = "imagenet"
    channel_choice: bool = False
    stages: tuple[Stage, ...] = STAGES
    head: int = 64
    kinds: tuple[str, ...] = KINDS

    def __post_init__(self):
        for name, least in (("channels", 1), ("cells", 1), ("classes", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.stem not in STRIDES:
            raise ValueError(f"stem {self.stem!r} is not one of {sorted(STRIDES)}")
        if self.channel_choice and self.widths[0] < 2 * UNIT_RATIO:
            raise ValueError(
                f"channels={self.channels} makes blocks too narrow to choose a fifth of their "
                f"width; a stage needs at least {2 * UNIT_RATIO} channels"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each stage."""
        return tuple(self.channels * stage.width for stage in self.stages)

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return self.cells * sum(stage.blocks for stage in self.stages)

    @property
    def decisions(self) -> Decisions:
        """The decisions of the blocks."""
        return shufflenet_decisions(self.blocks, len(self.kinds), self.channel_choice)

    def runs(self) -> tuple[Run, ...]:
        """The blocks from input to output, equal ones together."""
        strides, before, start, runs = STRIDES[self.stem][1:], self.channels, 0, []
        for n, (width, stage) in enumerate(zip(self.widths, self.stages, strict=True)):
            half, count = width // 2, self.cells * stage.blocks
            first = Place(n, True, strides[n], before, width - before, half)
            runs.append(Run(first, start, 1))
            if count > 1:
                rest = Place(n, False, 1, half, half, half)
                runs.append(Run(rest, start + 1, count - 1))
            before, start = width, start + count
        return tuple(runs)

    def widest(self, place: Place) -> int:
        """Most channels inside a block: those of the shared weights."""
        return width_of(place.base, RATIOS - 1) if self.channel_choice else place.base

    def split_choices(self, architecture):
        """The kinds and the choices of width, or None, of an architecture, tuple or `[D, ...]`."""
        kinds, widths = architecture[: self.blocks], architecture[self.blocks :]
        return kinds, widths if self.channel_choice else None
