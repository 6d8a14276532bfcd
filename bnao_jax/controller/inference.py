"""What a fitted controller says about sequences. Tokens are int32[N, D]."""

import functools

import jax

from bnao_jax.controller.model import NAO
from bnao_jax.controller.settings import Controller


@functools.partial(jax.jit, static_argnames="controller")
def embed(controller: Controller, params, tokens):
    """The embedding of each sequence, float32[N, hidden], of length 1. ValueError if not [N, D]."""
    controller.check(tokens)
    return NAO(controller).apply({"params": params}, tokens, method="embed")


@functools.partial(jax.jit, static_argnames="controller")
def predict(controller: Controller, params, tokens):
    """The predicted score of each sequence, float32[N] in (0, 1). ValueError if not [N, D]."""
    controller.check(tokens)

    def run(model):
        return model.predict(model.encode(tokens))

    return NAO(controller).apply({"params": params}, method=run)


@functools.partial(jax.jit, static_argnames="controller")
def reconstruct(controller: Controller, params, tokens):
    """Each sequence encoded and decoded greedily, int32[N, D]. ValueError if not [N, D]."""
    controller.check(tokens)

    def run(model):
        return model.decode(model.encode(tokens))

    return NAO(controller).apply({"params": params}, method=run)
