"""What a search will do, said before it begins, and how long its rounds will take."""

import datetime
import os
import time

import numpy as np

from bnao_jax.halving import Halving
from bnao_jax.search import EVALUATE, TRAIN
from launch.run import workdir

STEPS, SCORINGS = "steps", "scorings"
CPU_RATE = 1.25e10  # multiply-adds and additions a second of a core; tells minutes from days
LONG = 12 * 3600  # seconds, beyond which a CPU is warned of
FILES = workdir.RESULT, workdir.POOL, workdir.METRICS, workdir.REPORT  # and smaller ones
MANY = 1024  # architectures, of a pool whose halves are nearly whole numbers
PASSES = 3  # a training step costs as much as so many passes forward


class Forecast:
    """The work of a search, and the time for what is left of its rounds.

    Args:
      job: the `Search`.
    """

    def __init__(self, job):
        self.job, settings = job, job.settings
        self.search, self.batch = settings.search, settings.supernet.batch_size
        self.steps = settings.supernet.steps(job.train_part.examples)  # of a round
        self.scored = self.search.scored_architectures(
            rescored=not settings.supernet.from_scratch
        )  # by round
        self.images = job.plan.scored_examples
        self.parts = settings.scoring.parts(self.images)
        self.share = Halving(MANY, self.parts).size / (MANY * self.parts)  # of scorings on all
        self.paces = {}  # seconds of a unit, since this process began: (units, seconds)
        self.last = None, 0.0  # what was counted last, and when

    def plan(self):
        """Yields what will be done, in lines."""
        rounds, trained = self.search.rounds, self.search.rounds_that_train
        few = f"{self.images // self.parts:,} to " if self.parts > 1 else ""
        yield (
            f"{rounds} {'rounds' if rounds > 1 else 'round'}: {trained * self.steps:,} steps of "
            f"{self.batch} images, {self.scored.sum():,} scorings on {few}{self.images:,} images"
        )
        settings = self.job.settings
        compared, top = settings.random_baseline, settings.final.top
        if count := compared.networks + compared.others:
            yield f"then {count} networks alone for {_epochs(compared)} each, compared"
        if top:
            best = "the best" if top == 1 else f"the {top} best"
            yield f"then {best} alone for {_epochs(settings.final)} each"
        if self.job.folder is not None:
            yield f"writes {', '.join(FILES)} and checkpoints into {self.job.folder}"
        seconds = self.work() / (CPU_RATE * (os.cpu_count() or 1))
        if self.job.devices[0].platform == "cpu" and seconds > LONG:
            yield (
                f"note: on this CPU the rounds may take {_in_words(seconds)}; "
                "configs/quickstart.py and configs/cifar.py:smoke end in minutes"
            )

    def work(self) -> float:
        """Multiplications and additions of all rounds, for architectures of median size."""
        macs = np.median(self.job.cost_of(self.job.progress.search.population.pool).macs)
        trained = self.search.rounds_that_train * self.steps * self.batch * PASSES
        return 2.0 * macs * (trained + self.share * self.scored.sum() * self.images)

    def count(self, kind, units):
        """Counts units that are done; the first after another kind compile, and are not timed."""
        (before, at), now = self.last, time.monotonic()
        self.last = kind, now
        if before == kind:
            done, seconds = self.paces.get(kind, (0, 0.0))
            self.paces[kind] = done + units, seconds + now - at

    def left(self) -> str:
        """The time for the rest of the rounds, in words; "" before it is known."""
        state, progress = self.job.progress.search, self.job.progress
        if STEPS not in self.paces or state.round > self.search.rounds:
            return ""
        pace = {kind: seconds / units for kind, (units, seconds) in self.paces.items()}
        pace.setdefault(SCORINGS, pace[STEPS] * self.images / (PASSES * self.batch))
        done, place = state.round - 1, state.phase
        steps = max(self.search.rounds_that_train - done, 0) * self.steps
        steps -= int(progress.supernet.step) if place == TRAIN else min(steps, self.steps)
        scorings = self.scored[done:].sum() if place in (TRAIN, EVALUATE) else 0
        if place not in (TRAIN, EVALUATE):
            scorings = self.scored[done + 1 :].sum()
        scorings = self.share * scorings - progress.partial.shape[1] / self.parts
        seconds = steps * pace[STEPS] + scorings * pace[SCORINGS]
        return f"rounds end in about {datetime.timedelta(seconds=round(seconds))}"


def _epochs(section):
    return f"{section.epochs} {'epoch' if section.epochs == 1 else 'epochs'}"


def _in_words(seconds):
    hours = seconds / 3600
    return f"{hours / 24:.0f} days" if hours > 48 else f"{hours:.0f} hours"
