"""Learning rates as functions of the step, which may be traced."""

import jax.numpy as jnp


def cosine(*, high, low, epochs, steps_per_epoch):
    """From `high` in the first epoch along a half cosine towards `low` after `epochs`.

    Constant within an epoch.
    """

    def rate(step):
        part = (step // steps_per_epoch) / epochs
        return low + 0.5 * (high - low) * (1 + jnp.cos(jnp.pi * part))

    return rate


def exponential(*, high, decay, steps_per_epoch):
    """`high` times `decay` for every epoch done."""
    return lambda step: high * jnp.power(decay, step // steps_per_epoch)


def linear(*, high, low, steps):
    """From `high` at the first step in equal parts towards `low` after so many `steps`."""
    return lambda step: high + (low - high) * (jnp.asarray(step, jnp.float32) / steps)
