"""What every part of a benchmark shares: random images, architectures, and the clock."""

import functools
import statistics
import time

import jax
import numpy as np

from bnao_jax import data
from bnao_jax.parallel import replicate
from bnao_jax.training import supernet as supernet_training
from launch.benchmark.programs import Programs
from launch.command import UsageError
from launch.config.plan import named
from launch.measurements import Figure
from launch.run.progress import Display

TRAIN_IMAGES = 4_096  # random images to train on, at least
WORTH_TIMING = 0.2  # seconds: shorter work is repeated within a measurement


class Benchmark:
    """What is measured: a config on random images, with random architectures or those of `lines`.

    Attributes:
      pool: int32[P, D], the architectures to time.
      static: how many of them are also compiled alone.
      repeats: how often everything is timed.
      measured: medians of the figures so far, by name.
    """

    def __init__(self, plan, lines, architectures, static, repeats):
        self.plan, self.settings = plan, plan.settings
        self.static, self.repeats = static, repeats
        self.image_shape, classes = plan.form()
        self.space = plan.space(classes, self.image_shape)
        decisions = self.space.decisions
        if lines is None:
            self.pool = decisions.sample(plan.key, architectures)
        else:
            self.pool = named("--archs", decisions.parse_lines, lines)
            if not len(self.pool):
                raise UsageError("--archs holds no architecture")
        self.devices = plan.devices()
        self.images = _random_images(plan.settings, self.image_shape, classes)
        device = self.devices[0]
        self.setting = {
            "device": f"{len(self.devices)} {device.platform} {device.device_kind}",
            "jax": jax.__version__,
            "dtype": plan.settings.network.dtype,
            "channels": plan.settings.network.channels,
            "cells": plan.settings.network.cells,
        }
        self.display = Display()
        self.measured = {}

    @functools.cached_property
    def traced(self):
        """The programs that serve all architectures."""
        return Programs(self)

    @property
    def batch_size(self):
        return self.settings.supernet.batch_size

    def cost(self, pool):
        """The `Cost` of architectures int32[P, D] alone."""
        return self.space.cost(pool, self.image_shape)

    def material(self, train_part, pool, programs):
        """What a training of architectures int32[P, D] draws from, on the devices."""
        material = supernet_training.make_material(
            *(train_part, pool, self.cost(pool).params, len(pool)),
            *(programs.sampler, programs.rules),
            total_steps=programs.recipe.total_steps,
        )
        return replicate(material, self.devices)

    def figure(self, name, values, unit="s", **setting):
        """A `Figure` in this benchmark's setting, remembered for what is computed of it."""
        self.measured[name] = statistics.median(values)
        return Figure(name, values, unit, self.setting | setting)

    def repeated(self, title, function, times=None):
        """`repeats` values of seconds for one call of `function`."""
        with self.display.phase(title, self.repeats, "runs") as advance:
            times = enough(function) if times is None else times
            values = []
            for _ in range(self.repeats):
                values.append(seconds(function, times))
                advance(1)
        return values


def seconds(function, times=1) -> float:
    """Seconds that one of so many calls takes, its results computed."""
    started = time.perf_counter()
    for _ in range(times):
        jax.block_until_ready(function())
    return (time.perf_counter() - started) / times


def enough(function) -> int:
    """How many calls are worth timing; the first call compiles and is not counted."""
    seconds(function)
    return max(1, int(WORTH_TIMING / seconds(function)))


def _random_images(settings, shape, classes):
    """Random images with random labels, as many as the config's programs need."""
    rng = np.random.default_rng(0)
    valid = settings.data.valid_examples
    count = max(TRAIN_IMAGES, settings.supernet.batch_size, settings.final.batch_size) + valid
    images = rng.integers(0, 256, (count, *shape), np.uint8)
    labels = rng.integers(0, classes, count, np.int32)
    none = images[:0], labels[:0]
    return data.ImageData("random", images, labels, np.arange(count), *none, classes)
