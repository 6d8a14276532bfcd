"""What networks cost: parameters and multiply-adds, layer by layer, and limits on them.

Shapes: P architectures.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

QUANTILES = {"smallest": 0.0, "median": 0.5, "largest": 1.0}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Costs of P stand-alone networks: int64[P] each.

    Attributes:
      params: parameters.
      macs: multiply-adds for one image.
    """

    params: np.ndarray
    macs: np.ndarray


class Layer(NamedTuple):
    """A part of P stand-alone networks.

    Attributes:
      name: where it is in the network.
      shape: of its output for one image: height, width, channels, the last int or int64[P]; of a
        classifier (classes,).
      params: parameters, int or int64[P].
      macs: multiply-adds for one image, int or int64[P].
      wire: the kind of its cell, and the place among that kind's `Wire`s of the one that it is the
        operation of; or None.
    """

    name: str
    shape: tuple
    params: np.ndarray
    macs: np.ndarray
    wire: tuple[str, int] | None = None


def total(layers, size: int) -> Cost:
    """The `Cost` of `size` networks that are made of these layers."""
    params, macs = np.zeros((2, size), np.int64)
    for layer in layers:
        params += layer.params
        macs += layer.macs
    return Cost(params, macs)


def limit(
    cost_of,
    *,
    max_params=None,
    max_macs=None,
    max_cost=None,
    max_latency=None,
    own_cost_of=None,
    latency_of=None,
):
    """`pool [P, D] -> bool[P]`: which architectures are within the limits; None without any.

    Args:
      cost_of: `pool -> Cost`.
      max_params: most parameters of a network alone, or None.
      max_macs: most multiply-adds for one image, or None.
      max_cost: most of the space's own cost, or None.
      max_latency: most seconds, or None.
      own_cost_of: `pool -> float[P]`, needed by `max_cost`.
      latency_of: `pool -> seconds float[P]`, needed by `max_latency`.
    """
    if max_params is max_macs is max_cost is max_latency is None:
        return None
    if max_cost is not None and own_cost_of is None:
        raise ValueError(f"max_cost={max_cost}: the space has no cost of its own")

    def accept(pool):
        cost, within = cost_of(pool), np.ones(len(pool), bool)
        if max_params is not None:
            within &= cost.params <= max_params
        if max_macs is not None:
            within &= cost.macs <= max_macs
        if max_cost is not None:
            within &= own_cost_of(pool) <= max_cost
        if max_latency is not None:
            within &= latency_of(pool) <= max_latency
        return within

    return accept


def spread(cost: Cost) -> dict[str, list[int]]:
    """The `QUANTILES` of parameters and multiply-adds, each one that occurs."""
    at = list(QUANTILES.values())
    of = lambda values: np.quantile(values, at, method="nearest").tolist()
    return {"parameters": of(cost.params), "multiply-adds": of(cost.macs)}


# Counted in a trace.


def macs_in(jaxpr) -> int:
    """Multiply-adds of the products and convolutions in a jaxpr.

    Loops count as often as they run, where that is known, else once; of branches the dearest does.
    """
    total = 0
    for equation in jaxpr.eqns:
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += math.prod(out.shape) * math.prod(shape[at] for at in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += math.prod(out.shape) * math.prod(kernel) // features
        elif name == "cond":
            total += max(macs_in(branch.jaxpr) for branch in equation.params["branches"])
        else:
            inner = sum(macs_in(each) for each in _inner(equation.params))
            total += inner * (equation.params["length"] if name == "scan" else 1)
    return total


def _inner(params):
    """The jaxprs among an equation's parameters."""
    for value in params.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            each = getattr(each, "jaxpr", each)
            if hasattr(each, "eqns"):
                yield each
