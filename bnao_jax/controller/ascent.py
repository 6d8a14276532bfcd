"""New sequences from steps up the gradient of the predicted score."""

import functools

import jax
import jax.numpy as jnp

from bnao_jax.controller.model import NAO
from bnao_jax.controller.settings import Controller


def ascend(controller: Controller, params, tokens, step_size, *, key=None, jitter=0.0):
    """Sequences int32[K, D] decoded from tokens [K, D] moved one step up the predicted score.

    Every encoder output moves by `step_size` times the gradient of the predicted score with
    respect to it and is normalised again (NAO, arXiv 1808.07233); the embedding follows
    from the moved outputs, and the decoder emits greedily, allowed tokens only. Many rows may come
    back unchanged or equal to each other: the caller keeps the unseen and enlarges the step (1, 2,
    .. 50 in Balanced NAO). With a key, noise of expected length `jitter` is added to every output,
    whose own length is 1, so that many steps do not end in the same few sequences (not in the
    papers). `step_size` and `jitter` are traced: one program serves them all.

    Raises:
      ValueError: if tokens is not an integer array [K, D].
    """
    controller.check(tokens)
    tokens = jnp.asarray(tokens)
    numbers = jnp.asarray(step_size, jnp.float32), jnp.asarray(jitter, jnp.float32)
    return _ascend(controller, params, tokens, *numbers, key)


@functools.partial(jax.jit, static_argnames="controller")
def _ascend(controller, params, tokens, step_size, jitter, key):
    def run(model):
        outputs, noise = model.encode(tokens), 0.0
        if key is not None:
            noise = jitter * jax.random.normal(key, outputs.shape) / outputs.shape[-1] ** 0.5
        return model.decode(model.uphill(outputs, step_size, noise))

    return NAO(controller).apply({"params": params}, method=run)
