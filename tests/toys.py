"""Toys in place of training, and a way to break a job off, for the tests of jobs."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import oneshot
from bnao_jax.spaces.space import Space
from bnao_jax.training import network as network_training
from bnao_jax.training import supernet as supernet_training
from bnao_jax.training.recipe import Recipe
from bnao_jax.training.standalone import Standalone
from launch.config.plan import Plan, plan


class Broken(Exception):
    """What a test breaks a job off with."""


def recipe(total_steps, batch_size=32):
    """As much of a recipe as a job looks at."""
    return Recipe(
        total_steps=total_steps,
        batch_size=batch_size,
        learning_rate=lambda step, total_steps: jnp.float32(0.1),
        optimizer=SimpleNamespace(init=lambda params: ()),
        augmentation=None,
    )


def train(rate=0.5, failing=-1):
    """Adds to the only weight a number that depends on the step; fails at a step."""

    def train(state, material, key, steps):
        weight, counts = state.params["w"], np.zeros(len(material.prepared.pool), np.int32)
        for step in range(int(state.step), int(state.step + steps)):
            weight = weight + np.float32(np.sin(step + 1.0)) * rate
            counts[step % 4] += 1
        failed = failing if int(state.step) <= failing < int(state.step + steps) else -1
        report = supernet_training.Report(1.0, 0.5, counts, failed, material.prepared.pool[0])
        return supernet_training.State({"w": weight}, state.optimizer, state.step + steps), report

    return train


def put_for_supernets(patch, *, evaluate, training=None, weight=lambda seed: 1.0):
    """Lets all supernets be toys of one weight, and each dispatch train one step.

    `weight(seed)` is what they begin with.
    """

    def supernet(plan, space, images, devices):
        paths = plan.settings.supernet.make_sampler(space, images.image_shape)
        return oneshot.Programs(training or train(), recipe(None), evaluate, paths, ())

    def initial_weights(space, key, image_shape):
        return {"w": np.float32(weight(int(jax.random.key_data(key)[-1])))}

    patch.setattr(Plan, "supernet", supernet)
    patch.setattr(Space, "initial_weights", initial_weights)
    patch.setattr(oneshot, "DISPATCH_SECONDS", 0.0)


def put_for_networks(patch, make, *, weight=0.0):
    """Lets networks alone be toys of one weight, and each dispatch train one step.

    `make(plan, images, architecture)` gives their recipe, training and evaluation.
    """

    def standalone(plan, space, images, architecture, key, devices):
        state = network_training.State({"w": np.float64(weight)}, {}, (), np.int32(0))
        return Standalone(None, *make(plan, images, architecture), state)

    patch.setattr(Plan, "standalone", standalone)
    patch.setattr(oneshot, "DISPATCH_SECONDS", 0.0)


def exchange(job, **programs):
    """Gives a job other programs: `train`, `evaluate`."""
    job.programs = job.programs._replace(**programs)


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


def run(job, config, *args, **kwargs):
    """`job.run` of the plan of a config."""
    return job.run(plan(config), *args, **kwargs)
