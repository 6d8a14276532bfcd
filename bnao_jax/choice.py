"""Choices inside any Flax module: they make it a search space.

An architecture is one integer for each choice. It is a Flax collection, so that calls look as ever:

>>> import jax, jax.numpy as jnp
>>> from flax import linen as nn
>>> from bnao_jax.choice import Choice, collection
>>> from bnao_jax.places import places_of
>>> class Net(nn.Module):
...     @nn.compact
...     def __call__(self, x):
...         for n in range(2):
...             kinds = {"narrow": nn.Dense(3), "deep": nn.Sequential([nn.Dense(8), nn.Dense(3)])}
...             x = nn.relu(Choice(kinds, name=f"layer{n}")(x))
...         return nn.Dense(2)(x)
>>> net, x = Net(), jnp.ones((1, 3))
>>> places = places_of(net, x)
>>> [(place.name, place.options) for place in places]
[('layer0', ('narrow', 'deep')), ('layer1', ('narrow', 'deep'))]
>>> params = net.init(jax.random.key(0), x)["params"]  # those of all options
>>> run = jax.jit(net.apply)  # one program for all architectures
>>> for architecture in ([0, 1], [1, 1]):
...     y = run({"params": params, "architecture": collection(places, architecture)}, x)
>>> y.shape
(1, 2)

A Python integer is settled while tracing, a traced one while running. `along` does without the
collection; with Python integers a module then has the parameters of this path alone:

>>> from bnao_jax.choice import along
>>> with along(places, [0, 1]):
...     alone = net.init(jax.random.key(0), x)["params"]
>>> list(alone["layer0"]), list(alone["layer1"])
(['narrow'], ['deep'])
"""

import contextlib
import contextvars
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jax.extend.core import jaxpr_as_fun

from bnao_jax.nn.static_or_traced import is_static

COLLECTION, INDEX = "architecture", "index"


class ChoiceError(ValueError):
    """Choices that cannot be: the message names them."""


class Choice(nn.Module):
    """Runs one of several modules: the one that the architecture names.

    All take the same arguments and give outputs of the same shapes. Parameters of an option live
    under the choice's own name: `params["layer0"]["k3"]`. At initialisation all options are made.
    Traced, an option is recomputed in the backward pass: nothing but its inputs is kept, and what
    was not taken has gradients of zero. Collections other than "params" are passed through; those
    that are mutable change for the option taken alone.

    Attributes:
      options: modules by name; a function is an option without parameters.
      label: choices of the same label are one decision; by default each is its own.
    """

    options: Mapping[str, nn.Module | Callable]
    label: str | None = None

    @nn.compact
    def __call__(self, *args, **kwargs):
        """The output of the option that the architecture names, whose arguments these are.

        Raises:
          ChoiceError: there is no architecture, it names no option, or shapes differ.
        """
        check(self)
        names, index = tuple(self.options), _index(self)
        make = lambda name: option_of(self, name, parent=self)
        if self.is_initializing() and not (_ALONG.get() and is_static(index)):
            outputs = [make(name)(*args, **kwargs) for name in names]
            check_shapes(self, outputs)
            return outputs[index] if is_static(index) else outputs[0]
        if is_static(index):
            return make(names[index])(*args, **kwargs)
        return _traced(self, names, index, args, kwargs)


class Value(nn.Module):
    """A number, one of several: options that share their weights, bit widths for example.

    Attributes:
      options: the numbers.
      label: choices of the same label are one decision; by default each is its own.
    """

    options: tuple[float, ...]
    label: str | None = None

    @nn.compact
    def __call__(self):
        """The number that the architecture names: a Python number, or traced.

        Raises:
          ChoiceError: there is no architecture, or it names no option.
        """
        check(self)
        index = _index(self)
        return self.options[index] if is_static(index) else jnp.asarray(self.options)[index]


class _Function(nn.Module):
    """A function as an option."""

    function: Callable

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def option_of(choice: Choice, name, parent=None) -> nn.Module:
    """An option of a choice, bound to a parent under its own name, or not bound."""
    option = choice.options[name]
    option = option if isinstance(option, nn.Module) else _Function(option, parent=None)
    return option.copy(parent=parent, name=None if parent is None else name)


# Where the choices are.


class Place(NamedTuple):
    """A choice inside a module.

    Attributes:
      path: of the choice, names of modules.
      name: of its decision: its label or, without one, its path.
      options: their names.
    """

    path: tuple[str, ...]
    name: str
    options: tuple[str, ...]


def decisions_of(places) -> dict[str, tuple[str, ...]]:
    """The options by decision, in order; those of one label are one."""
    return {place.name: place.options for place in places}


def collection(places, architecture) -> dict:
    """The collection "architecture" for `apply`: each choice's integer at its place.

    Args:
      places: of `places_of`.
      architecture: an integer for each decision; integers that are known stay settled.
    """
    numbers, tree = _numbered(places, architecture), {}
    for place in places:
        inner = tree
        for name in place.path:
            inner = inner.setdefault(name, {})
        inner[INDEX] = numbers[place.name]
    return tree


_ALONG = contextvars.ContextVar("along", default=None)


@contextlib.contextmanager
def along(places, architecture):
    """Within it, modules with these choices run along a path, and need no collection.

    Args:
      places: of `places_of`.
      architecture: an integer for each decision. Of those that are known, the options not taken
        make no parameters at initialisation.
    """
    token = _ALONG.set(_numbered(places, architecture))
    try:
        yield
    finally:
        _ALONG.reset(token)


_APART = contextvars.ContextVar("apart", default=())


def numbers_along():
    """Each decision's integer by its name where modules run `along` a path, else None."""
    return _ALONG.get()


@contextlib.contextmanager
def apart(path, numbers):
    """Within it, a module that is not bound stands at a path; `numbers` are of `numbers_along`."""
    tokens = _APART.set(path), _ALONG.set(numbers)
    try:
        yield
    finally:
        _APART.reset(tokens[0])
        _ALONG.reset(tokens[1])


def _numbered(places, architecture):
    """Each decision's integer by its name."""
    names = list(decisions_of(places))
    if len(architecture) != len(names):
        raise ChoiceError(f"an architecture is {len(names)} integers, not {len(architecture)}")
    return dict(zip(names, architecture, strict=True))


def path_of(module) -> tuple[str, ...]:
    """Where a module stands, also one that runs `apart`."""
    return (*_APART.get(), *module.path)


def place_of(choice) -> Place:
    """Where a choice stands."""
    path = path_of(choice)
    name = choice.label or "/".join(path) or "choice"
    return Place(path, name, tuple(map(str, choice.options)))


def _index(choice):
    """The integer of a choice; while all options are made, the first."""
    place, known = place_of(choice), _ALONG.get()
    if known is not None:
        if place.name not in known:
            raise ChoiceError(f"the architecture has no choice {place.name!r}")
        index = known[place.name]
    elif choice.is_initializing():
        choice.variable(COLLECTION, INDEX, lambda: jnp.int32(0))
        return 0
    elif choice.has_variable(COLLECTION, INDEX):
        index = choice.get_variable(COLLECTION, INDEX)
    else:
        raise ChoiceError(
            f"the choice {place.name!r} has no architecture: give the collection "
            f"{COLLECTION!r} to apply, see bnao_jax.choice.collection"
        )
    if not isinstance(index, jax.core.Tracer):
        if not 0 <= int(index) < len(place.options):
            raise ChoiceError(
                f"the choice {place.name!r} has the options 0 to {len(place.options) - 1}, "
                f"not {int(index)}"
            )
    return int(index) if is_static(index) else index


# One option of several, traced.


def _traced(choice, names, index, args, kwargs):
    """The output of the option that a traced integer names; changes mutable collections."""
    options = {name: option_of(choice, name) for name in names}
    collections = {
        kind: {name: tree[name] for name in names if name in tree}
        for kind, tree in choice.variables.items()
        if kind != COLLECTION
    }
    params = collections.pop("params", {})
    mutable = [kind for kind in collections if choice.is_mutable_collection(kind)]
    streams = {name: choice.make_rng(name) for name in choice.scope.rngs if name != "params"}
    leaves, structure = jax.tree.flatten((args, kwargs))
    # By their places: what has a gradient, other arrays, and what is known while tracing.
    xs, others, constants = {}, {}, {}
    for at, leaf in enumerate(leaves):
        is_array = isinstance(leaf, (jax.Array, np.ndarray))
        has_gradient = is_array and jnp.issubdtype(leaf.dtype, jnp.inexact)
        (xs if has_gradient else others if is_array else constants)[at] = leaf

    def branch(name):
        def run(params, xs, rest):
            others, collections, streams = rest
            whole = constants | others | xs
            args, kwargs = jax.tree.unflatten(structure, [whole[at] for at in range(len(whole))])
            variables = {kind: tree[name] for kind, tree in collections.items() if name in tree}
            if name in params:
                variables["params"] = params[name]
            y, changed = options[name].apply(
                variables, *args, rngs=streams, mutable=mutable, **kwargs
            )
            after = {
                kind: collections[kind] | ({name: changed[kind]} if kind in changed else {})
                for kind in mutable
            }
            return y, after

        return run

    operands = params, xs, (others, collections, streams)
    branches = [_traced_once(branch(name), *operands) for name in names]
    y, after = _switch(branches, index, *operands)
    for kind, tree in after.items():
        for name, value in tree.items():
            choice.put_variable(kind, name, value)
    return y


def _traced_once(function, *operands):
    """The function as its trace on such operands.

    Its gradient is traced later, where `along` and flax's interceptors are over.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*operands)
    run, structure = jaxpr_as_fun(closed), jax.tree.structure(shapes)
    return lambda *operands: structure.unflatten(run(*jax.tree.leaves(operands)))


def _switch(branches, index, params, xs, rest):
    """`branches[index](params, xs, rest) -> (y, after)`, its gradient of y by recomputing.

    Automatic differentiation would keep the residuals of all branches.
    """

    @jax.custom_vjp
    def run(index, params, xs, rest):
        return lax.switch(index, branches, params, xs, rest)

    def forward(index, params, xs, rest):
        return run(index, params, xs, rest), (index, params, xs, rest)

    def back(branch):
        def pull(params, xs, rest, gradient):
            return jax.vjp(lambda p, x: branch(p, x, rest)[0], params, xs)[1](gradient)

        return pull

    def backward(saved, gradients):
        index, params, xs, rest = saved
        pulls = [back(branch) for branch in branches]
        d_params, d_xs = lax.switch(index, pulls, params, xs, rest, gradients[0])
        return None, d_params, d_xs, None

    run.defvjp(forward, backward)
    return run(index, params, xs, rest)


# What cannot be.


def check(choice):
    """Raises ChoiceError where the options of a choice cannot be."""
    place = place_of(choice)
    if isinstance(choice, Value):
        is_number = lambda o: isinstance(o, (int, float)) and not isinstance(o, bool)
        wrong = [option for option in choice.options if not is_number(option)]
        if wrong:
            raise ChoiceError(f"the choice {place.name!r} is of {wrong[0]!r}, which is no number")
    elif not isinstance(choice.options, Mapping):
        raise ChoiceError(f"the choice {place.name!r} needs its options by name: a dict")
    for name in place.options:
        if not name or name.split() != [name] or "/" in name or name == INDEX:
            raise ChoiceError(
                f"the choice {place.name!r} calls an option {name!r}: a name has neither blanks "
                f"nor slashes, and is not {INDEX!r}"
            )
    if len(set(place.options)) < max(1, len(place.options)):
        raise ChoiceError(f"the choice {place.name!r} needs options, each once")


def check_shapes(choice, outputs):
    """Raises ChoiceError where options give outputs of other shapes than the first."""
    names = tuple(choice.options)
    shapes = [shapes_in(output) for output in outputs]
    for name, shape in zip(names, shapes, strict=True):
        if shape != shapes[0]:
            raise ChoiceError(
                f"options of the choice {place_of(choice).name!r} give different outputs: "
                f"{names[0]} {in_words(shapes[0])}, {name} {in_words(shape)}"
            )


def shapes_in(tree):
    """The tree with (shape, type) in place of arrays."""
    return jax.tree.map(lambda y: (jnp.shape(y), jnp.result_type(y)), tree)


def in_words(shape) -> Any:
    """What `shapes_in` gives, as a message says it."""
    is_one = isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[0], tuple)
    return f"{shape[1].name}{list(shape[0])}" if is_one else shape


def listed(options) -> str:
    """Names of options in words."""
    return ", ".join(options)
