"""The choices in a module: where they stand, found by tracing it; equal options are traced once."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bnao_jax.choice import (
    Choice,
    ChoiceError,
    Place,
    Value,
    check,
    check_shapes,
    listed,
    option_of,
    place_of,
)


def places_of(module: nn.Module, *args, **kwargs) -> tuple[Place, ...]:
    """The choices of a module in the order of their first call; nothing is computed.

    Args:
      module: the outermost module.
      *args, **kwargs: what it is called with; arrays may be `jax.ShapeDtypeStruct`.

    Raises:
      ChoiceError: choices of one label differ, a choice stands inside another, or there is none.
    """
    found, known = {}, {}

    def visit(choice, args, kwargs):
        outputs = [shapes_of(option, args, kwargs, known) for option in options_of(choice)]
        check_shapes(choice, outputs)
        return jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), outputs[0])

    streams = {name: jax.random.key(0) for name in ("params", "dropout")}
    with visiting(visit, found):
        jax.eval_shape(lambda *a: module.init(streams, *a, **kwargs), *args)
    return checked(found.values(), module)


def visiting(visit, found):
    """A context in which `visit(choice, args, kwargs)` stands for the call of each `Choice`.

    A `Value` gives its first. `found` receives the `Place`s by their paths, in the order of their
    first calls.

    Raises:
      ChoiceError: a choice stands inside another.
    """
    running = []

    def watch(call, args, kwargs, context):
        choice = context.module
        if not isinstance(choice, (Choice, Value)) or context.method_name != "__call__":
            return call(*args, **kwargs)
        check(choice)
        place = place_of(choice)
        if running:
            raise ChoiceError(
                f"the choice {place.name!r} stands inside an option of the choice "
                f"{running[-1].name!r}: nested choices are not supported"
            )
        found.setdefault(place.path, place)
        if isinstance(choice, Value):
            return choice.options[0]
        running.append(place)
        try:
            return visit(choice, args, kwargs)
        finally:
            running.pop()

    return nn.intercept_methods(watch)


def checked(places, module) -> tuple[Place, ...]:
    """The places in a module; ChoiceError where there are none, or those of one label differ."""
    by_name = {}
    for place in places:
        first = by_name.setdefault(place.name, place)
        if first.options != place.options:
            raise ChoiceError(
                f"choices of the label {place.name!r} differ: {listed(first.options)} and "
                f"{listed(place.options)}"
            )
    if not by_name:
        raise ChoiceError(f"{type(module).__name__} has no Choice and no Value in it")
    return tuple(places)


def options_of(choice) -> list[nn.Module]:
    """The options of a choice, not bound."""
    return [option_of(choice, name) for name in choice.options]


def of_arrays(args, kwargs):
    """Shapes of the arrays among arguments, and a function that puts arrays in their places."""
    leaves, structure = jax.tree.flatten((args, kwargs))
    is_array = lambda leaf: isinstance(leaf, (jax.Array, np.ndarray, jax.ShapeDtypeStruct))
    places = [at for at, leaf in enumerate(leaves) if is_array(leaf)]
    shapes = [jax.ShapeDtypeStruct(leaves[at].shape, leaves[at].dtype) for at in places]

    def put(arrays):
        whole = leaves[:]
        for at, array in zip(places, arrays, strict=True):
            whole[at] = array
        return jax.tree.unflatten(structure, whole)

    return shapes, put


def once_for_equals(compute, option, args, kwargs, known):
    """`compute(option, shapes, put)` of `of_arrays`, or what `known` has of an equal call."""
    shapes, put = of_arrays(args, kwargs)
    try:
        constants, structure = jax.tree.flatten(put([None] * len(shapes)))
        constants = tuple((type(value), value) for value in constants)
        key = option, structure, constants, tuple((s.shape, s.dtype) for s in shapes)
        hash(key)
    except TypeError:  # lists of modules
        return compute(option, shapes, put)
    if key not in known:
        known[key] = compute(option, shapes, put)
    return known[key]


def shapes_of(option, args, kwargs, known):
    """Shapes of the output of an option; `known` has those of equal ones."""

    def compute(option, shapes, put):
        streams = {name: jax.random.key(0) for name in ("params", "dropout")}

        def run(arrays):
            args, kwargs = put(arrays)
            return option.init_with_output(streams, *args, **kwargs)[0]

        return jax.eval_shape(run, shapes)

    return once_for_equals(compute, option, args, kwargs, known)
