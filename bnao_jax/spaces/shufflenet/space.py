"""The space of ShuffleNetV2 blocks."""

import dataclasses
import math

import numpy as np

from bnao_jax.spaces.shufflenet import cost, graph, network, supernet
from bnao_jax.spaces.shufflenet.outline import STRIDES, Outline
from bnao_jax.spaces.space import Space


@dataclasses.dataclass(frozen=True)
class ShuffleNetSpace(Outline, Space):
    """A kind of block for each place of a chain and, where asked for, its width."""

    name = "shufflenet"
    stems = tuple(STRIDES)
    # Those with widths need the choice of channels. "spos" and its sizes (3.5 M parameters, 323 M
    # multiply-adds) are of Guo et al., 2019, https://arxiv.org/abs/1904.00420.
    published = {
        "spos": "2 1 0 1 2 0 2 0 2 0 2 3 0 0 0 0 3 2 3 3",
        "spos_channels": (
            "0 0 3 1 1 1 0 0 2 0 2 1 1 0 2 0 2 1 3 2 6 5 3 5 2 6 3 4 2 5 7 5 4 6 7 4 4 5 4 3"
        ),
    }

    @classmethod
    def of(cls, space, network, classes):
        around = network.channels, network.cells, classes, network.stem
        return cls(*around, space.channel_choice)

    def supernet(self, dtype, axis_name=None):
        return supernet.Supernet(self, dtype, axis_name)

    def on_path(self, params, architecture):
        return supernet.on_path(self, params, architecture)

    def network(self, architecture, dtype, **heads):
        return network.Network(self, architecture, dtype=dtype, **heads)

    def layers(self, pool, image_shape):
        return cost.layers(self, pool, image_shape)

    def cost(self, pool, image_shape):
        return cost.cost(self, pool, image_shape)

    def macs(self, image_shape):
        return cost.macs_of(self, image_shape)

    def inherit(self, shared, architecture, params):
        return supernet.inherit(self, shared, architecture, params)

    def wires(self, architecture):
        return graph.wires(self, architecture)

    def features(self, pool):
        """Blocks of each kind in each stage, counted and, if searched, by their widths."""
        kinds, choices = self.split_choices(np.asarray(pool).T)  # [blocks, P]
        stages = np.array([run.place.stage for run in self.runs() for _ in range(run.count)])
        weights = [np.ones(kinds.shape)] + ([] if choices is None else [choices + 1.0])
        columns = [
            (weight * (kinds == kind))[stages == stage].sum(0)
            for weight in weights
            for stage in range(len(self.stages))
            for kind in range(len(self.kinds))
        ]
        return np.column_stack(columns)

    def least_weights(self):
        blocks = sum(
            math.prod(shape)
            for run in self.runs()
            for *_, shape in supernet.shared_weights(self, run)
        )
        return blocks + self.head * self.channels * (self.widths[-1] + self.classes)
