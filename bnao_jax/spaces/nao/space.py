"""The space of NAO cells."""

import dataclasses

import numpy as np

from bnao_jax.spaces.nao import cost, graph, network, supernet
from bnao_jax.spaces.nao.outline import STEMS, Outline, genes, loose_ends
from bnao_jax.spaces.space import Space, option_counts

SMALLEST_AUXILIARY = {"cifar": 8, "imagenet": 7}  # sides of the maps that the auxiliary head reads


@dataclasses.dataclass(frozen=True)
class NaoSpace(Outline, Space):
    """Normal and reduction cells of B nodes with two edges each, repeated in three stages.

    >>> NaoSpace(channels=8, cells=1, classes=10, nodes=3).decisions.length
    24
    """

    name = "nao"
    heads = ("dropout", "auxiliary")
    stems = STEMS
    has_drop_path = True
    # Luo et al., "Neural Architecture Optimization", 2018, https://arxiv.org/abs/1808.07233: found
    # by weight sharing in the space "small" with B = 5; the text is that of the official release.
    # At C = 36, N = 6 it has 4,387,654 parameters without the auxiliary head.
    published = {
        "naonet_v2": (
            "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0 0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
        ),
    }

    @classmethod
    def of(cls, space, network, classes):
        around = network.channels, network.cells, classes, network.stem
        return cls(*around, space.operations, space.nodes)

    def supernet(self, dtype, axis_name=None):
        return supernet.Supernet(self, dtype, axis_name)

    def on_path(self, params, architecture):
        return supernet.on_path(self, params, architecture)

    def network(self, architecture, dtype, **heads):
        return network.Network(self, architecture, dtype=dtype, **heads)

    def layers(self, pool, image_shape):
        return cost.layers(self, pool, image_shape)

    def inherit(self, shared, architecture, params):
        return supernet.inherit(self, shared, architecture, params)

    def graph(self):
        return graph.graph_form(self)

    def wires(self, architecture):
        return graph.wires(self, architecture)

    def features(self, pool):
        inputs, choices = genes(np.asarray(pool), self.nodes)  # [P, kind of cell, E]
        loose = loose_ends(inputs, self.nodes).sum(-1)
        counts = [option_counts(cell, len(self.candidates)) for cell in choices.swapaxes(0, 1)]
        return np.column_stack([*counts, loose])

    def least_weights(self):
        nodes, plan = self.nodes, self.plan()
        units = sum(op.units for op in self.candidates) * nodes * (nodes + 3)  # edge and input
        weights = sum((units + nodes + 2) * cell.width**2 for cell in plan)
        return weights + self.classes * plan[-1].width

    def check_images(self, image_shape, *, auxiliary=False):
        side, least = min(image_shape[:2]), SMALLEST_AUXILIARY[self.stem]
        if self.stem == "imagenet":
            side = -(-side // 8)
        side = -(-side // 4)
        if auxiliary and side < least:
            raise ValueError(
                f"auxiliary=True needs maps of {least}x{least} before the classifier; images of "
                f"{image_shape} leave {side}x{side}"
            )
