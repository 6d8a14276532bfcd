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


def constant(*, high):
    """`high` at every step."""
    return lambda step: jnp.float32(high)


RATES = ("cosine", "exponential", "linear")


def learning_rate(settings, steps_per_epoch):
    """The function of the step that a `recipe.RecipeSettings` names.

    Of other schedules than `RATES` it is constant: a rule of the path multiplies the update.
    """
    high, low = settings.learning_rate, settings.learning_rate_end
    if settings.schedule == "cosine":
        epochs = settings.epochs
        return cosine(high=high, low=low, epochs=epochs, steps_per_epoch=steps_per_epoch)
    if settings.schedule == "exponential":
        return exponential(high=high, decay=settings.rate_decay, steps_per_epoch=steps_per_epoch)
    if settings.schedule == "linear":
        return linear(high=high, low=low, steps=settings.epochs * steps_per_epoch)
    return constant(high=high)
