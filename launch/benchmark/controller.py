"""The controller's parts of a benchmark: its fit, and the ascent in its embedding.

Each takes a `Benchmark` and yields `Figure`s.
"""

import functools

import jax
import numpy as np

from bnao_jax import controller
from bnao_jax.strategies.nao import controller_of

FIT_STEPS = 50  # of a measurement


def fit(bench):
    """Seconds of a step of the fit, and of the whole fit of the first round's pool."""
    settings = bench.settings.nao
    rows = FIT_STEPS * settings.batch_size
    tokens, targets = _tokens(bench, rows), np.linspace(0, 1, rows, dtype=np.float32)
    run = functools.partial(
        controller.fit,
        controller_of(bench.space.decisions),
        jax.random.key(0),
        tokens,
        targets,
        epochs=1,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        trade_off=settings.trade_off,
    )
    values = bench.repeated("controller", lambda: run()[0])
    values = [value / FIT_STEPS for value in values]
    yield bench.figure("controller_step_s", values, batch=settings.batch_size)
    pool = round(bench.settings.search.initial * (1 - settings.held_out))
    steps = settings.epochs * -(-pool * settings.exchanges // settings.batch_size)
    whole = [value * steps for value in values]
    yield bench.figure("controller_fit_projected_s", whole, steps=steps, architectures=pool)


def ascent(bench):
    """Seconds of one ascent with decoding."""
    count, model = bench.settings.nao.parents, controller_of(bench.space.decisions)
    tokens, params = _tokens(bench, count), controller.init(model, jax.random.key(0))
    move = lambda: controller.ascend(model, params, tokens, 1.0)
    yield bench.figure("ascent_decode_s", bench.repeated("ascent", move), rows=count)


def _tokens(bench, count):
    """Token sequences of random architectures."""
    pool = bench.space.decisions.random(jax.random.key(1), count)
    return np.asarray(bench.space.decisions.to_tokens(pool))
