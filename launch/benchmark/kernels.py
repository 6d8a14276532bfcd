"""Single functions as parts of a benchmark: augmentation, costs, convolution, pooling.

Each takes a `Benchmark` and yields `Figure`s.
"""

import functools

import jax
import numpy as np

from bnao_jax.nn import depthwise_and_pooling
from bnao_jax.parallel import compiler_options

COSTS = 100_000  # architectures whose cost is computed


def augmentation(bench):
    """Seconds of augmenting a batch."""
    augment = jax.jit(bench.settings.data.augmentation(bench.images))
    keys = jax.random.split(jax.random.key(0), bench.batch_size)
    batch = jax.device_put(bench.images.train_images[: bench.batch_size])
    values = bench.repeated("augmentation", lambda: augment(keys, batch))
    yield bench.figure("augmentation_s", values, batch=bench.batch_size)


def cost_table(bench):
    """Seconds of computing costs."""
    pool = np.asarray(bench.space.decisions.random(jax.random.key(0), COSTS))
    values = bench.repeated("cost", lambda: bench.cost(pool), times=1)
    yield bench.figure("cost_table_s", values, architectures=COSTS)


def depthwise(bench):
    """Seconds of a 5x5 depthwise convolution of the first stage with its gradients."""
    rng = np.random.default_rng(0)
    x = _random(bench, rng, *_first_stage(bench))
    kernel = _random(bench, rng, bench.settings.network.channels, 5, 5)
    platform = bench.devices[0].platform
    for name, (forward, backward) in depthwise_and_pooling.FORMS.items():

        @functools.partial(jax.jit, compiler_options=compiler_options(platform))
        def both(x, kernel, forward=forward, backward=backward):
            y = forward(1, 1, True, x, kernel)
            return y, backward(1, 1, True, x, kernel, y)

        values = bench.repeated(f"depthwise, {name}", functools.partial(both, x, kernel))
        lowered_for = {"gpu": "cuda"}.get(platform, platform)
        chosen = depthwise_and_pooling.FORM_ON.get(lowered_for) == name
        yield bench.figure(f"depthwise_{name}_s", values, batch=bench.batch_size, chosen=chosen)


def pooling(bench):
    """Seconds of both poolings of the first stage with their gradients, and of one pass."""
    x = _random(bench, np.random.default_rng(0), *_first_stage(bench))
    options = compiler_options(bench.devices[0].platform)
    for name, pool in (
        ("max", depthwise_and_pooling.max_pool),
        ("average", depthwise_and_pooling.average_pool),
    ):

        @functools.partial(jax.jit, compiler_options=options)
        def both(x, pool=pool):
            y, gradient = jax.vjp(pool, x)
            return y, gradient(y)

        values = bench.repeated(f"{name} pooling", functools.partial(both, x))
        yield bench.figure(f"{name}_pooling_s", values, batch=bench.batch_size)
    values = bench.repeated("pass", functools.partial(jax.jit(lambda x: 2 * x), x))
    megabytes = 2 * x.nbytes / 1e6
    yield bench.figure("pass_s", values, batch=bench.batch_size, megabytes=megabytes)


def _first_stage(bench):
    """The shape [C, H, W, B] of a batch in the first stage."""
    height, width, _ = bench.images.image_shape
    return bench.settings.network.channels, height, width, bench.batch_size


def _random(bench, rng, *shape):
    """Normal numbers on the first device, in the network's type."""
    values = rng.normal(size=shape).astype(bench.settings.network.jax_dtype)
    return jax.device_put(values)
