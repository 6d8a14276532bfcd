"""The benchmark of streamed images: what the host decodes a second, and what training consumes."""

import itertools
import time

import jax
import numpy as np

from bnao_jax.data.pieces import TrainingPieces
from bnao_jax.data.streaming import Batches
from bnao_jax.parallel import divide, own_places
from launch.command import UsageError, enable_compilation_cache
from launch.config.plan import named
from launch.measurements import Figure, publish
from launch.run.progress import Display

PARTS = ("pipeline", "consumption")
LEAST_IMAGES, LEAST_SECONDS = 512, 2.0  # of a measurement


def run(plan, *, only, lines, repeats, as_table):
    """Measures the parts named in `only` and prints the figures; see `launch.benchmark`."""
    if unknown := set(only or ()) - set(PARTS):
        raise UsageError(f"--only={sorted(unknown)[0]} is not one of {list(PARTS)} of a training")
    settings = plan.settings
    if not settings.data.streamed:
        name = settings.data.name
        raise UsageError(f"config.data.name={name!r} is in memory; nothing is streamed")
    images = plan.load()
    space = plan.space(images.classes, images.image_shape)
    if lines is None:
        architecture = space.decisions.sample(plan.key, 1)[0]
    else:
        architecture = named("--archs", space.decisions.parse_lines, lines)[0]
    enable_compilation_cache(settings.compilation_cache)
    measure = {
        "pipeline": lambda: pipeline(plan, images, repeats),
        "consumption": lambda: consumption(plan, images, space, architecture, repeats),
    }
    figures = (figure for name in only or PARTS for figure in measure[name]())
    publish(figures, as_table=as_table)


def pipeline(plan, images, repeats):
    """Images a second that this process's host makes ready, and for each second of a core."""
    settings = plan.settings
    train, _ = settings.data.parts(images, settings.seed)
    devices = plan.devices()
    pieces = TrainingPieces(
        train,
        settings.data.random_crop(),
        settings.train.batch_size,
        settings.seed,
        devices=len(devices),
        places=own_places(devices),
    )
    size = settings.train.batch_size * len(pieces.places) // len(devices)
    setting = dict(image_size=settings.data.image_size, batch=size)
    for workers in dict.fromkeys((0, settings.data.workers)):
        rates, of_core = [], []
        title = f"decode with {workers} workers"
        with (
            Display().phase(title, repeats, "runs") as advance,
            Batches(pieces, last=2**31 // len(pieces.places), workers=workers) as batches,
        ):
            # Batches made ready before the first is asked for would count as made in no time.
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


def consumption(plan, images, space, architecture, repeats):
    """Images a second that training consumes where they are on the devices already.

    On a CPU also for each second of a core, which does not depend on what else the machine does.
    """
    settings, devices, shape, key = plan.settings, plan.devices(), images.image_shape, plan.key
    standalone = plan.standalone(space, images, architecture, key, devices)
    recipe, train, state = standalone.recipe, standalone.train, standalone.state
    rng, rows = np.random.default_rng(0), recipe.batch_size // len(devices)
    random = lambda: (rng.integers(0, 256, (rows, *shape), np.uint8), np.zeros(rows, np.int32))
    batch = divide([random() for _ in own_places(devices)], devices)
    rates, of_core, title = [], [], f"train {recipe.batch_size} images a step"
    with Display().phase(title, repeats + 1, "steps") as advance:
        for _ in range(repeats + 1):  # the first compiles
            started, used = time.perf_counter(), time.process_time()
            state, *_ = train(state, itertools.repeat(batch), key, 1)
            jax.block_until_ready(state)
            rates.append(recipe.batch_size / (time.perf_counter() - started))
            of_core.append(recipe.batch_size / (time.process_time() - used))
            advance(1)
    cost = space.cost(architecture[None], shape)
    setting = {
        "device": f"{len(devices)} {devices[0].platform} {devices[0].device_kind}",
        "jax": jax.__version__,
        "dtype": settings.network.dtype,
        "batch": recipe.batch_size,
        "image_size": settings.data.image_size,
        "channels": settings.network.channels,
        "cells": settings.network.cells,
        "macs": int(cost.macs[0]),
        "params": int(cost.params[0]),
    }
    yield Figure("consumption", rates[1:], "images/s", setting)
    if devices[0].platform == "cpu":
        yield Figure("consumption_of_a_core", of_core[1:], "images/s", setting)
