"""One code path for static and traced architectures.

A choice is either a Python integer, settled while tracing (one program per architecture), or a
traced integer, settled while running (one program for all architectures).
"""

import operator

import jax.numpy as jnp
import numpy as np
from jax import lax


def is_static(index):
    """Whether `index` is known while tracing."""
    return isinstance(index, (int, np.integer, np.bool_))


def choose(index, branches, *operands):
    """Returns `branches[index](*operands)`; branches that are not taken cost nothing."""
    if is_static(index):
        return branches[operator.index(index)](*operands)
    return lax.switch(index, branches, *operands)


def pick(values, row):
    """Entry `row` of a tuple of integers or of an array."""
    return values[row] if is_static(row) and isinstance(values, tuple) else jnp.asarray(values)[row]


def where(condition, yes, no):
    """`yes` where the condition holds, else `no`; a known condition computes nothing."""
    if is_static(condition):
        return yes if condition else no
    return jnp.where(condition, yes, no)


def fold(steps, body, carry, *, static, reverse=False):
    """Returns `carry` after `body(step, carry)` for each step: unrolled if static, else a loop.

    `steps` is an integer, which may be traced where `static` is false.
    """
    if static:
        for step in reversed(range(steps)) if reverse else range(steps):
            carry = body(step, carry)
        return carry
    if reverse:
        return lax.fori_loop(0, steps, lambda i, c: body(steps - 1 - i, c), carry)
    return lax.fori_loop(0, steps, body, carry)
