"""What a fitted controller says about sequences.

Tokens are int32[N, D]; ValueError where `Controller.check` raises it.
"""

import functools

import jax

from bnao_jax.controller.model import NAO
from bnao_jax.controller.settings import Controller


def embed(controller: Controller, params, tokens):
    """The embedding of each sequence, float32[N, hidden], of length 1."""
    return _checked(controller, NAO.embed, params, tokens)


def predict(controller: Controller, params, tokens):
    """The predicted score of each sequence, float32[N] in (0, 1)."""
    return _checked(controller, _predict, params, tokens)


def reconstruct(controller: Controller, params, tokens):
    """Each sequence encoded and decoded greedily, int32[N, D]."""
    return _checked(controller, _reconstruct, params, tokens)


def _checked(controller, method, params, tokens):
    controller.check(tokens)
    return _run(controller, method, params, tokens)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(controller, method, params, tokens):
    return NAO(controller).apply({"params": params}, tokens, method=method)


def _predict(model, tokens):
    return model.predict(model.encode(tokens))


def _reconstruct(model, tokens):
    return model.decode(model.encode(tokens))
