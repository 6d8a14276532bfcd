"""The programs of a search, compiled for devices that are not here."""

import dataclasses
import functools
import importlib.metadata
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import controller, data
from bnao_jax.controller import fitting
from bnao_jax.strategies.nao import controller_of
from bnao_jax.training import supernet as supernet_training
from launch.command import UsageError
from launch.compile import hlo, roofline, topology

PROGRAMS = ("train", "score")  # of a search, on TPUs; `alone` is compiled where it is named
ARCHITECTURES = 1_000  # random ones, whose costs are compared where nothing is searched


class Compiled(NamedTuple):
    """A program compiled for a topology, what it takes (by `job.FIGURES`), what a chip does."""

    topology: str
    name: str
    setting: dict
    values: dict
    work: roofline.Program


class Programs:
    """The training and the scoring program of a config on some devices, from shapes alone."""

    def __init__(self, plan, name, devices):
        self.topology, self.devices = name, devices
        if plan.settings.supernet is not None:
            plan = divisible(plan, name, len(devices))
        self.plan, self.settings = plan, plan.settings
        self.shape, classes = plan.form()
        self.space = plan.space(classes, self.shape)
        self.images = unseen_images(plan.settings, self.shape, classes)
        self.pool = self.space.decisions.sample(plan.key, sampled(plan.settings))
        self.cost = self.space.cost(self.pool, self.shape)
        self.macs = float(np.median(self.cost.macs))

    @functools.cached_property
    def programs(self):
        """Those of the supernet."""
        return self.plan.supernet(self.space, self.images, self.devices)

    @functools.cached_property
    def params(self):
        """The shapes of the shared weights."""
        params = self.space.initial_weights(self.plan.key, self.shape)
        return jax.eval_shape(lambda: params)

    def train(self):
        """The compiled training step, as `launch.search` calls it."""
        programs, images = self.programs, self.settings.data.train_examples
        momentum = jax.eval_shape(programs.recipe.optimizer.init, self.params)
        state = supernet_training.State(self.params, momentum, _int32())
        part, paths = (self._images(images), _int32(images)), (programs.sampler, programs.rules)
        # Arrays by their shapes; the train images are shapes already.
        shape = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        material = supernet_training.make_material(
            *(part, self.pool, self.cost.params, len(self.pool), *paths),
            total_steps=programs.recipe.total_steps,
        )
        material = jax.tree.map(shape, material)
        key = jax.eval_shape(lambda: jax.random.key(0))
        return self.programs.train.program(state, material, key, _int32())

    def score(self):
        """The compiled scoring of a pool, as `launch.search` calls it."""
        settings, decisions = self.settings.scoring, self.space.decisions.length
        count, images = len(self.devices), self.plan.scored_examples
        estimated = settings.statistics == "estimated"
        calibration = self._images(settings.calibration_images if estimated else 1)
        pool = _int32(count, 1, settings.per_dispatch, decisions)
        valid = self._images(images), _int32(images)
        return self.programs.evaluate.program.program(
            self.params, pool, _int32(count, 1), *valid, calibration
        )

    def fit(self):
        """The compiled fit of the controller, or None where the strategy has none."""
        if self.settings.search.strategy != "nao":
            return None
        model = controller_of(self.space.decisions, self.settings.nao)
        place = jax.sharding.SingleDeviceSharding(self.devices[0])
        here = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
        key, rows = jax.random.key(0), sampled(self.settings)
        arguments = jax.eval_shape(
            lambda: (
                controller.begin_fit(model, key),
                key,
                jnp.zeros((rows, model.length), jnp.int32),
                jnp.zeros(rows),
                *(jnp.int32(0),) * 2,
                *(jnp.float32(0),) * 4,
            )
        )
        fit = fitting.run_epochs
        lowered = fit.lower(model, self.settings.nao.batch_size, *jax.tree.map(here, arguments))
        return lowered.compile()

    def alone(self):
        """The compiled training step of the network of median cost alone, or None if none is."""
        if self.settings.standalone is None:
            return None
        median = self.pool[np.argsort(self.cost.macs)[len(self.pool) // 2]]
        arguments = self.space, self.images, median, self.plan.key, self.devices
        alone = self.plan.standalone(*arguments)
        state = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, alone.state))
        key = jax.eval_shape(lambda: jax.random.key(0))
        if self.settings.data.streamed:
            count = len(self.devices)
            shape = count, alone.recipe.batch_size // count
            batch = jax.ShapeDtypeStruct((*shape, *self.shape), jnp.uint8), _int32(*shape)
            return alone.train.program.program(state, *batch, key)
        count = self.settings.data.train_examples
        return alone.train.program(state, self._images(count), _int32(count), key, _int32())

    def compiled(self, name) -> Compiled:
        """Compiles a program and reads off what it takes."""
        started, busy = time.perf_counter(), time.process_time()
        program = {"train": self.train, "score": self.score, "alone": self.alone}[name]()
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        memory, work = program.memory_analysis(), self._work(name, program)
        values = {
            "compile_s": seconds,
            "temporary_MB": memory.temp_size_in_bytes / 1e6,
            "arguments_MB": memory.argument_size_in_bytes / 1e6,
            "arithmetic_GFLOP": work.flops / 1e9,
            "collective_MB": work.collective_bytes / 1e6,
        }
        if generation := roofline.GENERATIONS.get(topology.split(self.topology)[0]):
            values["estimate_s"] = work.cycles / generation.clock
        setting = self._setting(work.batch, program.cost_analysis())
        setting["compile_processor_s"] = round(busy, 1)
        return Compiled(self.topology, name, setting, values, work)

    def _work(self, name, program):
        one_step = name == "alone" and self.settings.data.streamed
        work_of = hlo.whole if one_step else hlo.main_loop
        memory, loop = program.memory_analysis(), work_of(program.as_text())
        if name != "score":
            section = "supernet" if name == "train" else self.settings.standalone
            batch = getattr(self.settings, section).batch_size // len(self.devices)
            flops = 3 * 2 * self.macs * batch  # forward and two backward
            moved = 2 * memory.output_size_in_bytes
        else:
            images = self.plan.scored_examples
            batch = min(self.settings.scoring.batch_size, images)
            flops = 2 * self.macs * -(-images // batch) * batch
            moved = memory.argument_size_in_bytes
        return roofline.Program(batch, flops, moved, loop.cycles, loop.collective_bytes)

    def _setting(self, batch, cost):
        network = self.settings.network
        return {
            "topology": self.topology,
            "devices": len(self.devices),
            "images_a_device": batch,
            "device": self.devices[0].device_kind,
            "dtype": network.dtype,
            "channels": network.channels,
            "cells": network.cells,
            "jax": jax.__version__,
            "libtpu": importlib.metadata.version("libtpu"),
            "xla_gflop": round(cost.get("flops", 0.0) / 1e9, 3),
            "xla_gbytes": round(cost.get("bytes accessed", 0.0) / 1e9, 3),
        }

    def _images(self, count):
        return jax.ShapeDtypeStruct((count, *self.shape), jnp.uint8)


def _int32(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def divisible(plan, name, count):
    """The plan with a batch that so many devices share; raises UsageError."""
    batch = -(-plan.settings.supernet.batch_size // count) * count
    if batch > plan.settings.data.train_examples:
        raise UsageError(f"--topology={name} has more devices than there are train images")
    return plan.replace(supernet=dataclasses.replace(plan.settings.supernet, batch_size=batch))


def sampled(settings) -> int:
    """Rows of the padded pool that training draws from."""
    if settings.search is None:
        return ARCHITECTURES
    return max(settings.search.initial, settings.search.proposals)


def unseen_images(settings, shape, classes):
    """A data set of the config's size that takes the memory of one image."""
    count = settings.data.train_examples + settings.data.valid_examples
    one = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    images, labels = np.broadcast_to(one, (count, *shape)), np.zeros(count, np.int32)
    none = images[:0], labels[:0]
    return data.ImageData("unseen", images, labels, np.arange(count), *none, classes)
