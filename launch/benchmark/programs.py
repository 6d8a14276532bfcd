"""The programs that a benchmark measures: training and scoring of a supernet."""

import jax
import numpy as np

from bnao_jax import data
from bnao_jax.parallel import replicate
from bnao_jax.training import supernet as supernet_training


class Programs:
    """Training and scoring of the architectures of a benchmark, by their rows in its pool.

    With `only`, an architecture as a tuple, both programs are of it alone.
    """

    def __init__(self, bench, only=None):
        plan, space, images = bench.plan, bench.space, bench.images
        self.pool, self.devices = bench.pool, bench.devices
        programs = plan.supernet(space, images, self.devices, only=only)
        self.train, self.evaluate = programs.train, programs.evaluate
        params = space.initial_weights(plan.key, images.image_shape)
        self.params = jax.device_get(params)  # training takes the memory of the device's copy
        part, valid = data.split(images, plan.settings.data.valid_examples, seed=0)
        self.material = bench.material(part, self.pool, programs)
        state = supernet_training.initial_state(programs.recipe, self.params)
        self.state = replicate(state, self.devices)
        self.key = replicate(jax.random.key(0), self.devices)
        scoring = plan.settings.scoring
        count = scoring.batch_size
        self.valid = replicate((valid[0][:count], valid[1][:count]), self.devices)
        self.calibration = part.images[: scoring.calibration_images]

    def step(self, row, steps=1):
        """The loss after so many training steps of a row of the pool."""
        self.state, report = self.train(*self._arguments(row, steps))
        return report.loss

    def score(self, rows):
        """The accuracies of rows of the pool on one batch."""
        pool = self.pool[np.asarray(rows)]
        return self.evaluate(self.params, pool, self.valid, self.calibration).accuracy

    def compiled_training(self):
        """The compiled training step."""
        return self.train.program(*self._arguments(0, 1))

    def compiled_scoring(self):
        """The compiled programs of scoring that were used."""
        return list(self.evaluate.program.programs.values())

    def _arguments(self, row, steps):
        weights = np.where(np.arange(len(self.pool)) == row, 0.0, -np.inf).astype(np.float32)
        state = self.state._replace(step=np.int32(0))
        prepared = self.material.prepared._replace(log_weights=weights)
        return state, self.material._replace(prepared=prepared), self.key, np.int32(steps)
