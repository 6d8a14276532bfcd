"""The weight-sharing network of the NAO cell space.

Every (node, edge of the node, operation, input) has its own weights, stacked into one array
`[N, slots, …]` for each kind and each run of N equal cells, and gathered by slot. An architecture
is a static tuple (one program for it alone) or a traced int32[D] (one program for all).

In a training loop of one's own, a path drawn every step:

>>> import jax, jax.numpy as jnp, numpy as np, optax
>>> from bnao_jax import sampler
>>> from bnao_jax.nn.initialization import initialize
>>> from bnao_jax.spaces.nao.cost import cost
>>> from bnao_jax.spaces.nao.outline import Outline
>>> from bnao_jax.spaces.nao.supernet import Supernet
>>> outline = Outline(channels=2, cells=1, classes=2, nodes=1)
>>> pool = jnp.asarray(outline.decisions.sample(jax.random.key(0), 4))
>>> weights = sampler.log_proportional(cost(outline, pool, (8, 8, 3)).params)
>>> supernet, adam = Supernet(outline), optax.adam(1e-2)
>>> images = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype(np.float32)
>>> labels = np.arange(8) % 2
>>> params = initialize(supernet, jax.random.key(1), images, pool[0])
>>> @jax.jit  # one program for all paths
... def step(params, state, key):
...     def loss_of(params):
...         path = pool[sampler.draw_row(key, weights)]
...         logits = supernet.apply({"params": params}, images, path)
...         return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
...     loss, gradients = jax.value_and_grad(loss_of)(params)
...     updates, state = adam.update(gradients, state)
...     return optax.apply_updates(params, updates), state, loss
>>> state, losses = adam.init(params), []
>>> for key in jax.random.split(jax.random.key(2), 30):
...     params, state, loss = step(params, state, key)
...     losses.append(float(loss))
>>> bool(np.mean(losses[-5:]) < np.mean(losses[:5]))
True
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bnao_jax.nn import layers, operations
from bnao_jax.nn.initialization import overlay, parameter
from bnao_jax.nn.operations import IDENTITY, SKIP
from bnao_jax.spaces.nao import cells as nao_cells
from bnao_jax.spaces.nao.outline import CELL_INPUTS, EDGES_PER_NODE, Outline, genes


def _slot_bases(nodes):
    """First slot of each edge [E] and the number of slots; slot = base + input."""
    inputs = np.repeat(np.arange(nodes) + CELL_INPUTS, EDGES_PER_NODE)
    return np.cumsum(inputs) - inputs, int(inputs.sum())


def _slots(inputs, kind, nodes):
    """Slot of each edge [E] in the stacks of a kind of weights, given the inputs [E] read."""
    if kind == SKIP:  # only inputs of the cell are halved
        return CELL_INPUTS * np.arange(nodes * EDGES_PER_NODE) + jnp.minimum(inputs, 1)
    return _slot_bases(nodes)[0] + inputs


class SharedCells(nn.Module):
    """N equal cells of shared weights; calls `cells.run_cells` along one path."""

    outline: Outline
    cells: int
    width: int
    stride: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, inputs, path, *, drop=None, given=False):
        """Runs the cells on calibrated inputs; see `cells.run_cells`."""
        nodes, c = self.outline.nodes, self.width
        static = isinstance(path.inputs, tuple)
        dtype = inputs[0].dtype
        read = jnp.asarray(path.inputs)
        settings = nao_cells.Settings(
            self.outline.candidates, self.stride, c, self.axis_name, path if static else None
        )
        edges = settings.packing.pack(
            self._edge_stacks(), lambda kind, rows: rows[:, _slots(read, kind, nodes)]
        )
        weights = {
            "edges": edges,
            "combine": self._stack("combine", nodes + CELL_INPUTS, c, c),
            "norm": {key: self._stack(f"norm_{key}", c) for key in ("scale", "offset")},
        }
        if self.stride == 2:
            weights["halve"] = self._halve("halve", CELL_INPUTS)
        wide = lambda path: {"norm", "edges"} & {getattr(key, "key", None) for key in path}
        weights = jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf if wide(path) else leaf.astype(dtype), weights
        )
        outputs, statistics = nao_cells.run_cells(
            settings,
            None if static else path,
            weights,
            inputs,
            drop,
            layers.recorded_statistics(self, given),
        )
        layers.record_statistics(self, given, statistics)
        return outputs

    def _edge_stacks(self):
        """All edge weights: for each kind a list of units of stacks `[N, slots, …]`."""
        slots = _slot_bases(self.outline.nodes)[1]
        stacks = {}
        for op in self.outline.candidates:
            if op.units:
                shapes = operations.unit_shapes(op, self.stride, self.width)
                stacks[op.name] = [
                    self._unit(f"{op.name}_{u}", slots, shape) for u, shape in enumerate(shapes)
                ]
        if self.stride == 2 and IDENTITY in self.outline.candidates:
            stacks[SKIP] = [self._halve(SKIP, CELL_INPUTS * self.outline.nodes * EDGES_PER_NODE)]
        return stacks

    def _halve(self, name, copies):
        return self._unit(name, copies, *operations.unit_shapes(IDENTITY, 2, self.width))

    def _unit(self, name, copies, shapes):
        """Stacks `[N, copies, …]` of the weights of a unit."""
        own = lambda key, shape: self._stack(f"{name}_{key}", copies, *shape)
        return {
            part: {key: own(key, shape) for key, shape in arrays.items()}
            for part, arrays in shapes.items()
        }

    def _stack(self, name, *shape):
        return parameter(self, name, self.cells, *shape)


class Supernet(nn.Module):
    """The supernet.

    Attributes:
      outline: the network around the cells.
      dtype: type of the maps and products; parameters and statistics are float32.
      axis_name: device axis over which batch statistics run, or None for each device's own.
    """

    outline: Outline
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, architecture, *, drop_path=None, given=False):
        """Returns logits float32[B, classes].

        Args:
          images: normalised images `[B, H, W, C]`.
          architecture: a tuple of D integers, or int32[D], possibly traced.
          drop_path: a `layers.DropPath`, or None for none.
          given: normalise with the statistics in "batch_stats" instead of the batch's own, which
            are written there where the collection is mutable.

        Raises:
          ArchitectureError: the architecture is known and not of the space.
        """
        outline = self.outline
        outline.decisions.check_known(architecture)
        paths = _paths(architecture, outline.nodes)
        plan = outline.plan()
        drops = None
        if drop_path is not None:
            drops = drop_path.factors(len(self.outline.plan()), len(paths[0].inputs))
        stem = layers.STEMS[outline.stem](outline.channels, self.axis_name, name="stem")
        before, last = stem(layers.to_maps(images, self.dtype), given=given)
        at = 0
        while at < len(plan):
            cell = plan[at]
            count = 1 if cell.reduction else outline.cells
            inputs = self._calibrate(before, last, cell, at, count, given)
            cells = SharedCells(
                outline,
                count,
                cell.width,
                2 if cell.reduction else 1,
                self.axis_name,
                name=f"cells{at}",
            )
            drop = None if drops is None else drops[at : at + count]
            follower, out = cells(inputs, paths[cell.reduction], drop=drop, given=given)
            before, last = last if count == 1 else follower, out
            at += count
        return layers.Classifier(outline.classes, name="classifier")(last)

    def _calibrate(self, before, last, cell, at, count, given):
        """Brings the inputs of the first cells of a run to its width and resolution."""

        def fit(x, name, halve=False):
            if halve:
                module = layers.Halve(cell.width, self.axis_name, name=name)
                return module(layers.relu(x), given=given)
            if x.shape[0] == cell.width:
                return x
            module = layers.ReluPointwiseNorm(cell.width, self.axis_name, name=name)
            return module(x, given=given)

        first = fit(before, f"cell{at}_first", cell.halve_first)
        second = fit(last, f"cell{at}_second")
        third = None
        if count > 1 and last.shape[0] != cell.width:
            third = fit(last, f"cell{at + 1}_first")
        return first, second, third


def _paths(architecture, nodes):
    """The paths of the normal and the reduction cell."""
    if isinstance(architecture, tuple):
        inputs, choices = genes(np.array(architecture), nodes)
        return [nao_cells.static_path(i, c) for i, c in zip(inputs, choices, strict=True)]
    inputs, choices = genes(jnp.asarray(architecture), nodes)
    return [nao_cells.traced_path(i, c) for i, c in zip(inputs, choices, strict=True)]


def on_path(outline: Outline, params, architecture):
    """Which weights the architecture uses: a tree like `params` of bool, `[N, slots, 1…]` or 1s.

    `architecture` int32[D] may be traced. Everything outside the cells is always used.
    """
    space_paths = _paths(jnp.asarray(architecture), outline.nodes)
    plan = outline.plan()
    numbers = {op.name: n for n, op in enumerate(outline.candidates)}

    def used(tree_path, leaf):
        module, name = tree_path[0].key, tree_path[-1].key
        if not module.startswith("cells"):
            return jnp.ones((1,) * leaf.ndim, bool)
        path = space_paths[plan[int(module.removeprefix("cells"))].reduction]
        slots = _slots_used(path, name, numbers, leaf.shape[1], outline.nodes)
        return slots.reshape(1, -1, *(1,) * (leaf.ndim - 2))

    return jax.tree_util.tree_map_with_path(used, params)


def _slots_used(path, name, numbers, slots, nodes):
    """bool[slots], or bool[1] for weights every path uses."""
    if name == "combine":
        return path.loose
    if name.startswith("halve"):
        return path.loose[:CELL_INPUTS]
    edge_ops = [op for op in numbers if name.startswith(op)]
    if name.startswith(SKIP):
        taken = (path.operations == numbers[IDENTITY.name]) & (path.inputs < CELL_INPUTS)
        at = _slots(path.inputs, SKIP, nodes)
    elif edge_ops:
        taken = path.operations == numbers[edge_ops[0]]
        at = _slots(path.inputs, edge_ops[0], nodes)
    else:
        return jnp.ones(1, bool)
    return jnp.zeros(slots, bool).at[at].max(taken)


# From shared weights to a network alone.


def inherit(outline: Outline, shared, architecture, params):
    """(`params` with shared weights in place of their own, how many numbers were taken).

    Taken are stem, operations, and calibrations where their inputs are as wide. The stand-alone
    cell joins its loose ends where the supernet's mixes them, so most inputs are wider.

    Args:
      outline: of both networks.
      shared: "params" of the `Supernet`.
      architecture: int32[D].
      params: "params" of the `Network`, which it is to begin with.
    """
    inputs, choices = genes(np.array(architecture), outline.nodes)
    offered = {name: shared[name] for name in ("stem", "classifier")}
    plan, at = outline.plan(), 0
    while at < len(plan):
        kind = int(plan[at].reduction)
        count = 1 if kind else outline.cells
        for n in range(count):
            stacks = {name: stack[n] for name, stack in shared[f"cells{at}"].items()}
            cell = cell_weights(outline, stacks, inputs[kind], choices[kind])
            for side in ("first", "second"):
                cell[side] = shared.get(f"cell{at + n}_{side}", {})
            offered[f"cell{at + n}"] = cell
        at += count
    return overlay(params, offered)


def cell_weights(outline: Outline, stacks, inputs, choices):
    """The weights of a stand-alone cell among those of a shared one.

    `stacks` are those of one of N equal cells, `[slots, …]`; inputs and choices `[E]`.
    """
    cell, base = {}, 0
    for edge, (read, choice) in enumerate(zip(inputs, choices, strict=True)):
        operation = outline.candidates[choice]
        names = {f"{operation.name}_{unit}_": base + read for unit in range(operation.units)}
        prefixes = {prefix: f"unit{unit}_" for unit, prefix in enumerate(names)}
        if operation == IDENTITY and read < CELL_INPUTS:
            names[f"{SKIP}_"], prefixes[f"{SKIP}_"] = CELL_INPUTS * edge + read, "unit0_"
        weights = {
            prefixes[prefix] + name.removeprefix(prefix): stack[slot]
            for prefix, slot in names.items()
            for name, stack in stacks.items()
            if name.startswith(prefix)
        }
        if weights:
            cell[f"edge{edge}"] = weights
        base += edge // EDGES_PER_NODE + CELL_INPUTS
    for state in range(CELL_INPUTS):
        if "halve_first" in stacks:
            cell[f"halve{state}"] = {
                "first": stacks["halve_first"][state],
                "second": stacks["halve_second"][state],
                "norm": {key: stacks[f"halve_{key}"][state] for key in ("scale", "offset")},
            }
    return cell
