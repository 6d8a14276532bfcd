"""Learning rates as functions of the step and of the steps in all, which may both be traced."""

import jax.numpy as jnp


def cosine(*, high, low, steps_per_epoch):
    """From `high` in the first epoch along a half cosine towards `low` after the last.

    Constant within an epoch.
    """

    def rate(step, total_steps):
        part = (step // steps_per_epoch) / (total_steps // steps_per_epoch)
        return low + 0.5 * (high - low) * (1 + jnp.cos(jnp.pi * part))

    return rate


def exponential(*, high, decay, steps_per_epoch):
    """`high` times `decay` for every epoch done."""
    return lambda step, total_steps: high * jnp.power(decay, step // steps_per_epoch)


def linear(*, high, low):
    """From `high` at the first step in equal parts towards `low` after the last."""
    part = lambda step, total_steps: jnp.asarray(step, jnp.float32) / total_steps
    return lambda step, total_steps: high + (low - high) * part(step, total_steps)


def constant(*, high):
    """`high` at every step."""
    return lambda step, total_steps: jnp.float32(high)


RATES = ("cosine", "exponential", "linear")


def learning_rate(settings, steps_per_epoch):
    """The function of the step and of the steps in all that a `recipe.RecipeSettings` names.

    Of other schedules than `RATES` it is constant: a rule of the path multiplies the update.
    """
    high, low = settings.learning_rate, settings.learning_rate_end
    if settings.schedule == "cosine":
        return cosine(high=high, low=low, steps_per_epoch=steps_per_epoch)
    if settings.schedule == "exponential":
        return exponential(high=high, decay=settings.rate_decay, steps_per_epoch=steps_per_epoch)
    if settings.schedule == "linear":
        return linear(high=high, low=low)
    return constant(high=high)
