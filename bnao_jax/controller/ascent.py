"""New sequences from steps up the gradient of the predicted score."""

import functools

import jax
import jax.numpy as jnp

from bnao_jax.controller.model import NAO
from bnao_jax.controller.settings import Controller


def ascend(controller: Controller, params, tokens, step_size):
    """Sequences int32[K, D] decoded from tokens [K, D] moved one step up the predicted score.

    Every encoder output moves by `step_size` times the gradient of the predicted score with
    respect to it and is normalised again (NAO, arXiv 1808.07233); the embedding follows
    from the moved outputs, and the decoder emits greedily, allowed tokens only. Many rows may come
    back unchanged or equal to each other: the caller keeps the unseen and enlarges the step (1, 2,
    .. 50 in Balanced NAO). `step_size` is traced: one program serves them all.

    Raises:
      ValueError: if tokens is not an integer array [K, D].
    """
    tokens = jnp.asarray(tokens)
    controller.check(tokens)
    return _ascend(controller, params, tokens, jnp.asarray(step_size, jnp.float32))


@functools.partial(jax.jit, static_argnames="controller")
def _ascend(controller, params, tokens, step_size):
    def run(model):
        return model.decode(model.uphill(model.encode(tokens), step_size))

    return NAO(controller).apply({"params": params}, method=run)
