"""The space of NAS-Bench-201."""

import dataclasses

import numpy as np

from bnao_jax.spaces.nasbench201 import cost, graph, network, outline, supernet
from bnao_jax.spaces.space import Space, option_counts


@dataclasses.dataclass(frozen=True)
class NasBench201Space(outline.Outline, Space):
    """One cell of six edges with five operations each, repeated in three stages."""

    name = "nasbench201"
    # The best of all 15,625 by test accuracy after 200 epochs, mean over the benchmark's seeds:
    # 94.37 % on CIFAR-10, 73.51 % on CIFAR-100. Dong, Yang, "NAS-Bench-201", 2020,
    # https://arxiv.org/abs/2001.00326.
    published = {
        "nasbench201_cifar10": (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
        ),
        "nasbench201_cifar100": (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
        ),
    }

    @classmethod
    def of(cls, space, network, classes):
        del space
        return cls(network.channels, network.cells, classes)

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
        return graph.graph_form()

    def wires(self, architecture):
        return graph.wires(self, architecture)

    def effective(self, pool):
        # An edge that is fed with zeros gives zeros: the norms have no offset.
        return np.where(graph.alive(pool), pool, outline.NONE)

    def features(self, pool):
        return option_counts(pool, len(outline.NAMES))

    def least_weights(self):
        edges, kernels = len(outline.EDGES), 1 + 9
        cells = sum(self.cells * edges * kernels * width**2 for width in self.widths)
        return cells + self.classes * self.widths[-1]

    def strata(self, pool):
        return outline.strata(pool)

    def connected(self, pool):
        return outline.connected(pool)

    def split(self, seed):
        return int(np.random.RandomState(seed).randint(len(outline.EDGES)))

    def check_images(self, image_shape, *, auxiliary=False):
        del auxiliary
        if image_shape[0] % 4 or image_shape[1] % 4:
            raise ValueError(
                f"the space 'nasbench201' halves images twice; {image_shape[:2]} is not divisible "
                "by 4"
            )
