"""The benchmark of streamed images: what the host decodes a second, and what training consumes."""

import itertools
import json
import time

import jax
import numpy as np

from bnao_jax import training
from bnao_jax.data.pieces import TrainingPieces
from bnao_jax.data.streaming import Batches
from bnao_jax.nn.initialization import initialize
from bnao_jax.parallel import divide, own_places
from launch import fields, wiring
from launch.benchmarking import Figure, markdown, show
from launch.command import UsageError, enable_compilation_cache
from launch.progress import Display

PARTS = ("pipeline", "consumption")
LEAST_IMAGES, LEAST_SECONDS = 512, 2.0  # of a measurement


def run(config, *, only, lines, repeats, as_table):
    """Measures the parts named in `only` and prints the figures; see `launch.benchmark`."""
    if unknown := set(only or ()) - set(PARTS):
        raise UsageError(f"--only={sorted(unknown)[0]} is not one of {list(PARTS)} of a training")
    fields.check_fields(config, "train")
    if not wiring.is_streamed(config):
        raise UsageError(f"config.data.name={config.data.name!r} is in memory; nothing is streamed")
    images = wiring.load_data(config)
    wiring.check_data(config, images)
    outline = wiring.make_outline(config, images.classes)
    if lines is None:
        architecture = outline.space.sample(jax.random.key(config.seed), 1)[0]
    else:
        architecture = wiring.named("--archs", outline.space.parse_lines, lines)[0]
    enable_compilation_cache(config.compilation_cache)
    made, found = (config, images, outline, architecture, repeats), []
    for name in only or PARTS:
        for figure in {"pipeline": pipeline, "consumption": consumption}[name](*made):
            found.append(figure.row())
            if not as_table:
                print(json.dumps(found[-1]), flush=True)
    if as_table:
        print(markdown(found))
    show(found)


def pipeline(config, images, outline, architecture, repeats):
    """Images a second that this process's host makes ready, and for each second of a core."""
    del outline, architecture
    train, _ = wiring.split_data(config, images)
    devices = wiring.make_devices(config)
    pieces = TrainingPieces(
        *(train, wiring.make_random_crop(config), config.train.batch_size, config.seed),
        **dict(devices=len(devices), own=own_places(devices)),
    )
    size = config.train.batch_size * len(pieces.own) // len(devices)
    setting = dict(image_size=config.data.image_size, batch=size)
    for workers in dict.fromkeys((0, config.data.workers)):
        rates, of_core = [], []
        title = f"decode with {workers} workers"
        with (
            Display().phase(title, repeats, "runs") as advance,
            Batches(pieces, last=2**31 // len(pieces.own), workers=workers) as batches,
        ):
            # What has been made before the first is asked for would count as made in no time.
            for _ in itertools.islice(batches, 4 * max(workers, 1)):
                pass
            for _ in range(repeats):
                seen, started, used = 0, time.perf_counter(), time.process_time()
                while seen < LEAST_IMAGES or time.perf_counter() - started < LEAST_SECONDS:
                    next(batches)
                    seen += size
                rates.append(seen / (time.perf_counter() - started))
                of_core.append(seen / (time.process_time() - used))
                advance(1)
        yield Figure("pipeline", rates, "images/s", setting | {"workers": workers})
        if not workers:
            yield Figure("pipeline_of_a_core", of_core, "images/s", setting | {"workers": workers})


def consumption(config, images, outline, architecture, repeats):
    """Images a second that training consumes where they are on the devices already.

    On a CPU also for each second of a core, which does not depend on what else the machine does.
    """
    devices = wiring.make_devices(config)
    network, recipe, train, _ = wiring.make_alone(
        config, "train", outline, images, architecture, devices
    )
    shape, own = images.image_shape, own_places(devices)
    key, any_images = jax.random.key(config.seed), np.zeros((1, *shape), np.float32)
    params = initialize(network, key, any_images)
    state = training.initial_state(network, recipe, params, any_images)
    rng, rows = np.random.default_rng(0), recipe.batch_size // len(devices)
    random = lambda: (rng.integers(0, 256, (rows, *shape), np.uint8), np.zeros(rows, np.int32))
    batch = divide([random() for _ in own], devices)
    rates, of_core, title = [], [], f"train {recipe.batch_size} images a step"
    with Display().phase(title, repeats + 1, "steps") as advance:
        for _ in range(repeats + 1):  # the first compiles
            started, used = time.perf_counter(), time.process_time()
            state, *_ = train(state, itertools.repeat(batch), key, 1)
            jax.block_until_ready(state)
            rates.append(recipe.batch_size / (time.perf_counter() - started))
            of_core.append(recipe.batch_size / (time.process_time() - used))
            advance(1)
    cost = wiring.make_cost(config, outline, shape)(architecture[None])
    setting = {
        **dict(device=f"{len(devices)} {devices[0].platform} {devices[0].device_kind}"),
        **dict(jax=jax.__version__, dtype=config.network.dtype, batch=recipe.batch_size),
        **dict(image_size=config.data.image_size, channels=config.network.channels),
        **dict(cells=config.network.cells, macs=int(cost.macs[0]), params=int(cost.params[0])),
    }
    yield Figure("consumption", rates[1:], "images/s", setting)
    if devices[0].platform == "cpu":
        yield Figure("consumption_of_a_core", of_core[1:], "images/s", setting)
