"""Toys in place of training, and a way to break a job off, for the tests of jobs."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from bnao_jax import supernet_training


class Broken(Exception):
    """What a test breaks a job off with."""


def recipe(total_steps):
    """As much of a recipe as a job looks at."""
    return SimpleNamespace(
        total_steps=total_steps,
        batch_size=32,
        learning_rate=lambda step: jnp.float32(0.1),
        optimizer=SimpleNamespace(init=lambda params: ()),
    )


def train(rate=0.5, failing=-1):
    """Adds to the only weight a number that depends on the step; fails at a step."""

    def train(state, material, key, steps):
        weight, counts = state.params["w"], np.zeros(len(material.pool), np.int32)
        for step in range(int(state.step), int(state.step + steps)):
            weight = weight + np.float32(np.sin(step + 1.0)) * rate
            counts[step % 4] += 1
        failed = failing if int(state.step) <= failing < int(state.step + steps) else -1
        report = supernet_training.Report(1.0, 0.5, counts, failed, material.pool[0])
        return supernet_training.State({"w": weight}, state.optimizer, state.step + steps), report

    return train


def breaking_at(number):
    """A watch that breaks the job off before its `number`-th look at the signals."""

    def watch(job):
        between, left = job.keeper.between, number

        def watched(steps=0):
            nonlocal left
            left -= 1
            if left < 0:
                raise Broken
            between(steps)

        job.keeper.between = watched

    return watch


def watched(job_class, watch):
    """The class of a job that lets `watch(job)` see each job as it is made."""

    class Watched(job_class):
        def __init__(self, *args):
            super().__init__(*args)
            watch(self)

    return Watched
