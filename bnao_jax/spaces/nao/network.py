"""The stand-alone network of one architecture, all weights its own.

As a backbone, with maps from every stage:

>>> import jax, numpy as np
>>> from bnao_jax.nn.initialization import initialize
>>> from bnao_jax.spaces.nao.network import Network
>>> from bnao_jax.spaces.nao.outline import Outline
>>> network = Network(Outline(channels=4, cells=1, classes=3, nodes=1), (0, 4, 1, 4, 0, 2, 1, 3))
>>> images = np.ones((2, 16, 16, 3), np.float32)
>>> params = initialize(network, jax.random.key(0), images)
>>> apply = jax.jit(network.apply, static_argnames="features")
>>> apply({"params": params}, images).shape
(2, 3)
>>> [stage.shape for stage in apply({"params": params}, images, features=True)]
[(2, 16, 16, 4), (2, 8, 8, 8), (2, 4, 4, 16)]
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bnao_jax.nn import layers
from bnao_jax.nn.edge import Edge
from bnao_jax.nn.operations import Operation
from bnao_jax.spaces.nao.outline import (
    CELL_INPUTS,
    EDGES_PER_NODE,
    CellPlan,
    Outline,
    genes,
    loose_ends,
)


class Cell(nn.Module):
    """A cell: two inputs, B nodes, the loose ends concatenated."""

    plan: CellPlan
    candidates: tuple[Operation, ...]
    inputs: tuple[int, ...]
    choices: tuple[int, ...]
    axis_name: str | None = None

    @nn.compact
    def __call__(self, before, last, *, drop=None, given=False):
        """Maps of the cell; `drop` float32[E, B] multiplies what the edges return."""
        if self.plan.halve_first:
            first = self._halve(layers.relu(before), "first", given)
        else:
            first = self._fit(before, "first", given)
        states = [first, self._fit(last, "second", given)]
        for node in range(len(self.inputs) // EDGES_PER_NODE):
            edges = range(node * EDGES_PER_NODE, (node + 1) * EDGES_PER_NODE)
            states.append(sum(self._edge(edge, states, drop, given) for edge in edges))
        loose = loose_ends(np.array(self.inputs), len(states) - CELL_INPUTS)
        outputs = []
        for n in np.flatnonzero(loose):
            large = self.plan.reduction and n < CELL_INPUTS
            outputs.append(self._halve(states[n], f"halve{n}", given) if large else states[n])
        return jnp.concatenate(outputs)

    def _fit(self, x, name, given):
        if x.shape[0] == self.plan.width:
            return x
        module = layers.ReluPointwiseNorm(self.plan.width, self.axis_name, name=name)
        return module(x, given=given)

    def _halve(self, x, name, given):
        return layers.Halve(self.plan.width, self.axis_name, name=name)(x, given=given)

    def _edge(self, edge, states, drop, given):
        operation, read = self.candidates[self.choices[edge]], self.inputs[edge]
        stride = 2 if self.plan.reduction and read < CELL_INPUTS else 1
        module = Edge(operation, stride, self.axis_name, name=f"edge{edge}")
        y = module(states[read], given=given)
        if drop is None:
            return y
        return y * drop[edge].astype(y.dtype)[None, None, None]


class Network(nn.Module):
    """The network of one architecture.

    Attributes:
      outline: the network around the cells.
      architecture: D integers.
      dropout: drop rate before the classifier.
      auxiliary: whether to train an auxiliary head after the second reduction.
      dtype: type of the maps and products; parameters and statistics are float32.
      axis_name: device axis over which batch statistics run, or None for each device's own.
    """

    outline: Outline
    architecture: tuple[int, ...]
    dropout: float = 0.0
    auxiliary: bool = False
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, *, train=False, drop_path=None, given=False, features=False):
        """Returns logits float32[B, classes], in training with `auxiliary` a pair of them.

        Args:
          images: normalised images `[B, H, W, C]`.
          train: whether dropout (rng "dropout") and the auxiliary head are on.
          drop_path: a `layers.DropPath`, or None for none.
          given: normalise with the statistics in "batch_stats" instead of the batch's own, which
            are written there where the collection is mutable.
          features: whether to return, instead, the maps `[B, h, w, c]` at the end of each of the
            three resolutions, the finest first, as a list.
        """
        outline = self.outline
        inputs, choices = genes(np.array(self.architecture), outline.nodes)
        as_tuple = lambda values: tuple(int(v) for v in values)
        plan = outline.plan()
        stem = layers.STEMS[outline.stem](outline.channels, self.axis_name, name="stem")
        before, last = stem(layers.to_maps(images, self.dtype), given=given)
        auxiliary, stages = None, []
        drops = None if drop_path is None else drop_path.factors(len(plan), inputs.shape[1])
        for n, cell in enumerate(plan):
            kind, drop = int(cell.reduction), None if drops is None else drops[n]
            if cell.reduction:
                stages.append(layers.from_maps(last))
            module = Cell(
                cell,
                outline.candidates,
                as_tuple(inputs[kind]),
                as_tuple(choices[kind]),
                self.axis_name,
                name=f"cell{n}",
            )
            before, last = last, module(before, last, drop=drop, given=given)
            if self.auxiliary and n == 2 * outline.cells + 1:
                stride = 3 if outline.stem == "cifar" else 2
                head = layers.AuxiliaryHead(outline.classes, stride, self.axis_name, name="aux")
                if train or self.is_initializing():
                    auxiliary = head(last, given=given)
        if features:
            return [*stages, layers.from_maps(last)]
        classifier = layers.Classifier(outline.classes, self.dropout, name="classifier")
        logits = classifier(last, train=train)
        return (logits, auxiliary) if train and self.auxiliary else logits
