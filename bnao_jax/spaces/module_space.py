"""The search space of any Flax module with choices in it: everything is derived from the module.

>>> import jax, numpy as np
>>> from flax import linen as nn
>>> from bnao_jax.choice import Choice
>>> from bnao_jax.spaces.module_space import ModuleSpace
>>> class Net(nn.Module):
...     classes: int = 10
...     @nn.compact
...     def __call__(self, images):
...         x = nn.Conv(4, (3, 3))(images)
...         for n in range(2):
...             kinds = {"k1": nn.Conv(4, (1, 1)), "k3": nn.Conv(4, (3, 3)), "skip": lambda x: x}
...             x = nn.relu(Choice(kinds, name=f"layer{n}")(x))
...         return nn.Dense(self.classes)(x.mean((1, 2)))
>>> space = ModuleSpace(Net(), (8, 8, 3))
>>> space.decisions.format([1, 2]), space.decisions.parse("k1 skip").tolist()
('k3 skip', [0, 2])
>>> space.cost(np.array([[1, 2], [0, 0]]), (8, 8, 3)).params.tolist()
[310, 202]

`oneshot.OneShot(space, ...)` and `search.search` take it as any other.
"""

import collections
import contextlib
import dataclasses
import functools
import inspect
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bnao_jax.choice import ChoiceError, Place, along, check_shapes, decisions_of
from bnao_jax.cost import Layer, macs_in
from bnao_jax.decisions import ArchitectureError, Decisions
from bnao_jax.graph import Wire
from bnao_jax.nn.initialization import overlay
from bnao_jax.places import checked, of_arrays, once_for_equals, options_of, visiting
from bnao_jax.spaces.module_path import STATISTICS, Path, norms_of, told
from bnao_jax.spaces.space import Space

# What a module may say better than it is derived, by methods of these parameters; see `Space`.
OVERRIDDEN = {
    "layers": ("pool", "image_shape"),
    "macs": ("image_shape",),
    "least_weights": (),
    "inherit": ("shared", "architecture", "params"),
    "graph": (),
    "wires": ("architecture",),
    "effective": ("pool",),
    "features": ("pool",),
    "own_cost": ("pool", "image_shape"),
    "strata": ("pool",),
    "connected": ("pool",),
    "split": ("seed",),
}


@dataclasses.dataclass(frozen=True)
class NamedDecisions(Decisions):
    """A `Decisions` whose texts are the names of the options: `k3 k5 skip`.

    Attributes:
      names: of the options of each decision.
    """

    names: tuple[tuple[str, ...], ...] = ()

    def format(self, architecture) -> str:
        """The names of the options, with blanks between."""
        return " ".join(
            names[choice] for names, choice in zip(self.names, architecture, strict=True)
        )

    def parse(self, text: str) -> np.ndarray:
        """Reads the names of one architecture: int32[D].

        Raises:
          ArchitectureError: it names position, value and what is allowed.
        """
        words = text.split()
        for at, (word, names) in enumerate(zip(words, self.names, strict=False)):
            if word not in names:
                raise ArchitectureError(
                    f"{self.name}: {self._place(at)}: {word[:20]!r} is not one of "
                    f"{', '.join(names)}"
                )
        if len(words) != self.length:
            raise ArchitectureError(
                f"{self.name}: an architecture is {self.length} names, as in "
                f"{self.format([0] * self.length)!r}, not {len(words)}"
            )
        pairs = zip(words, self.names, strict=True)
        return np.array([names.index(word) for word, names in pairs], np.int32)


@dataclasses.dataclass(frozen=True)
class ModuleSpace(Space):
    """The space of a linen module with `Choice` and `Value` in it.

    The module is called with normalised images `[B, H, W, C]` and, where it takes that, with
    `train`; it returns logits `[B, classes]`. `nn.BatchNorm` normalises as everywhere in this
    library, whatever `use_running_average` says: with the batch's own statistics, or with given
    ones. A field `dropout` receives that of a network alone. Methods of the module that
    are called as those in `OVERRIDDEN` take their place.

    Attributes:
      module: the linen module, not bound.
      image_shape: (H, W, C).
    """

    module: nn.Module
    image_shape: tuple[int, int, int]

    has_dropout = True
    channels = 0  # of its first stage: not known

    def __post_init__(self):
        object.__setattr__(self, "image_shape", tuple(map(int, self.image_shape)))
        for name, parameters in OVERRIDDEN.items():
            method = getattr(type(self.module), name, None)
            known = inspect.isfunction(method) and tuple(inspect.signature(method).parameters)
            if known == ("self", *parameters):
                object.__setattr__(self, name, getattr(self.module, name))
        self.decisions  # noqa: B018  what cannot be is said at once

    @property
    def name(self) -> str:
        """What the module's class is called."""
        return type(self.module).__name__

    @functools.cached_property
    def heads(self) -> tuple[str, ...]:
        """ "dropout", where the module has such a field."""
        return ("dropout",) if "dropout" in type(self.module).__dataclass_fields__ else ()

    # What the module is called with, and where its choices are.

    @property
    def _images(self):
        return jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)

    @property
    def places(self) -> tuple[Place, ...]:
        """The choices, in the order of their calls."""
        return self._counted.places

    @functools.cached_property
    def decisions(self) -> NamedDecisions:
        """One decision for each choice, or label; those of equal options share tokens."""
        options = decisions_of(self.places)
        first, tokens = {}, 1
        for names in options.values():
            if names not in first:
                first[names], tokens = tokens, tokens + len(names)
        return NamedDecisions(
            name=self.name,
            options=tuple(len(names) for names in options.values()),
            first_tokens=tuple(first[names] for names in options.values()),
            labels=tuple(options),
            names=tuple(options.values()),
        )

    @functools.cached_property
    def classes(self) -> int:
        """The width of the module's output."""
        return self._counted.classes

    @functools.cached_property
    def _at(self) -> dict[str, int]:
        """The decision of each name."""
        return {name: at for at, name in enumerate(decisions_of(self.places))}

    # Networks.

    def supernet(self, dtype, axis_name=None):
        return Path(self, None, dtype, axis_name)

    def network(self, architecture, dtype, **heads):
        if unknown := heads.keys() - set(self.heads):
            raise ValueError(f"{self.name} has no {min(unknown)}")
        architecture = tuple(int(choice) for choice in architecture)
        return Path(self, architecture, dtype, heads=tuple(heads.items()))

    @functools.lru_cache(maxsize=8)  # noqa: B019  spaces are few
    def statistics(self, architecture=None):
        """Shapes of "batch_stats" of a path int[D], or of all."""

        def init():
            images = jnp.zeros(self._images.shape)
            return self.module.init(jax.random.key(0), images, **told(self.module, False))

        one = contextlib.nullcontext() if architecture is None else along(self.places, architecture)
        with one, nn.intercept_methods(norms_of(False, None)):
            return jax.eval_shape(init).get(STATISTICS, {})

    def on_path(self, params, architecture):
        taken = {}
        for place in self.places:
            for option, name in enumerate(place.options):
                taken[(*place.path, name)] = architecture[self._at[place.name]] == option

        def used(path, leaf):
            names = tuple(key.key for key in path)
            for end in range(len(names)):
                if names[:end] in taken:
                    return jnp.reshape(taken[names[:end]], (1,) * leaf.ndim)
            return jnp.ones((1,) * leaf.ndim, bool)

        return jax.tree_util.tree_map_with_path(used, params)

    def inherit(self, shared, architecture, params):
        del architecture
        return overlay(params, shared)

    # Costs, counted in the trace.

    @functools.cached_property
    def _counted(self) -> "Counted":
        return counted(self.module, self._images)

    def layers(self, pool, image_shape):
        if tuple(image_shape) != self.image_shape:
            raise ValueError(f"{self.name} is made for images {self.image_shape}")
        pool, (*_, base, options) = np.asarray(pool), self._counted
        yield Layer("around the choices", (self.classes,), *base)
        for place, (shape, costs) in zip(self.places, options, strict=True):
            params, macs = np.array(costs, np.int64)[pool[:, self._at[place.name]]].T
            yield Layer("/".join(place.path), shape, params, macs)

    def macs(self, image_shape):
        del image_shape
        *_, (_, base), options = self._counted
        tables = [
            (self._at[place.name], jnp.array([macs for _, macs in costs], jnp.float32))
            for place, (_, costs) in zip(self.places, options, strict=True)
        ]
        return lambda architecture: base + sum(table[architecture[at]] for at, table in tables)

    def least_weights(self):
        return self._counted.base[0]

    def split(self, seed):
        """One decision, drawn by the seed."""
        return int(np.random.RandomState(seed).randint(self.decisions.length))

    def wires(self, architecture):
        names = [
            options[choice]
            for options, choice in zip(self.decisions.names, architecture, strict=True)
        ]
        states = ["input", *self.decisions.labels]
        chain = zip(states, names, states[1:], strict=False)
        return {"chain": [Wire(*wire) for wire in chain]}

    def check_images(self, image_shape, *, auxiliary=False):
        del auxiliary
        if tuple(image_shape) != self.image_shape:
            raise ValueError(f"{self.name} is made for images {self.image_shape}")


# Costs.


class Counted(NamedTuple):
    """The choices of a module, and what it costs: (parameters, multiply-adds for one image).

    Attributes:
      places: the choices, in the order of their first calls.
      classes: width of its output.
      base: the cost of what is around the choices.
      options: for each place the shape of its output for one image, and each option's cost.
    """

    places: tuple[Place, ...]
    classes: int
    base: tuple[int, int]
    options: tuple[tuple[tuple[int, ...], tuple[tuple[int, int], ...]], ...]


def counted(module, images) -> Counted:
    """Counts the parts of a module while it is traced, each option once, equal ones once.

    Raises:
      ChoiceError: choices that cannot be.
    """
    found, known, outputs_of, params, macs = {}, {}, {}, {}, collections.Counter()

    def visit(choice, args, kwargs):
        path, outputs = tuple(choice.path), []
        for n, option in enumerate(options_of(choice)):
            shapes, cost, y = once_for_equals(_cost_of, option, args, kwargs, known)
            outputs.append(y)
            params[path, n] = _size(shapes.get("params", {}))
            if not choice.is_initializing():
                if (path, n) in macs and STATISTICS in shapes:
                    raise ChoiceError(
                        f"the choice {'/'.join(path)!r} is called twice, and its options have "
                        "norms: each call has statistics of its own, and needs a choice of its own"
                    )
                macs[path, n] += cost
        check_shapes(choice, outputs)
        outputs_of[path] = outputs[0]
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), outputs[0])

    with nn.intercept_methods(norms_of(False, None)), visiting(visit, found):
        shapes, around, y = _cost_of(module, *of_arrays((images,), told(module, False)))
    places, name = checked(found.values(), module), type(module).__name__
    if not hasattr(y, "shape") or len(y.shape) != 2 or y.shape[0] != 1:
        given = jax.tree.map(lambda leaf: list(leaf.shape), y)
        raise ChoiceError(f"{name} returns {given} for one image, not logits [1, classes]")
    options = []
    for place in places:  # a `Value` has neither output nor cost
        costs = [(params.get((place.path, n), 0), macs[place.path, n]) for n in _numbers(place)]
        options.append((_shape_of_one(outputs_of.get(place.path)), tuple(costs)))
    base = _size(shapes.get("params", {})), around
    return Counted(places, int(y.shape[-1]), base, tuple(options))


def _numbers(place):
    return range(len(place.options))


def _shape_of_one(output):
    """Height, width and channels of maps `[1, H, W, C]` or `[C, H, W, 1]`."""
    shape = () if output is None else jax.tree.leaves(output)[0].shape
    if len(shape) == 4 and shape[0] != 1 and shape[3] == 1:
        return (*shape[1:3], shape[0])
    return shape[1:]


def _cost_of(module, arrays, put):
    """(shapes of the variables, multiply-adds, shape of the output) of a call; see `of_arrays`."""
    streams = lambda: {name: jax.random.key(0) for name in ("params", "dropout")}

    def init(arrays):
        args, kwargs = put(arrays)
        return module.init(streams(), *args, **kwargs)

    def apply(variables, arrays):
        args, kwargs = put(arrays)
        return module.apply(variables, *args, rngs=streams(), mutable=[STATISTICS], **kwargs)[0]

    shapes = dict(jax.eval_shape(init, arrays))
    traced, y = jax.make_jaxpr(apply, return_shape=True)(shapes, arrays)
    return shapes, macs_in(traced.jaxpr), y


def _size(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
