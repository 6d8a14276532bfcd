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
    model, tokens = _model_and_tokens(bench, rows)
    run = functools.partial(
        controller.fit,
        model,
        jax.random.key(0),
        tokens,
        np.linspace(0, 1, rows, dtype=np.float32),
        epochs=1,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        trade_off=settings.trade_off,
    )
    values = bench.repeated("controller", lambda: run()[0])
    values = [value / FIT_STEPS for value in values]
    yield bench.figure("controller_step_s", values, batch=settings.batch_size)
    initial = bench.settings.search.initial
    pool = initial - settings.tested(initial)
    rows = pool * max(settings.exchanges, 1) + settings.unlabelled
    steps = settings.epochs_of(rows) * -(-rows // settings.batch_size)
    whole = [value * steps for value in values]
    yield bench.figure("controller_fit_projected_s", whole, steps=steps, architectures=pool)


def ascent(bench):
    """Seconds of one ascent with decoding."""
    count = bench.settings.nao.parents
    model, tokens = _model_and_tokens(bench, count)
    params = controller.init(model, jax.random.key(0))
    move = lambda: controller.ascend(model, params, tokens, 1.0)
    yield bench.figure("ascent_decode_s", bench.repeated("ascent", move), rows=count)


def _model_and_tokens(bench, count):
    """The controller of the config, and the token sequences of random architectures."""
    model = controller_of(bench.space.decisions, bench.settings.nao)
    pool = bench.space.decisions.random(jax.random.key(1), count)
    return model, np.asarray(pool + model.first[None])
