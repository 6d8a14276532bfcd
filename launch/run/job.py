"""A long job: kept on the way, continued, stopped where it is asked to."""

import contextlib
import functools
import json
import os
import time
import zlib

import jax
import numpy as np

from bnao_jax import files, oneshot
from bnao_jax.checkpoint import CheckpointError, Checkpoints
from bnao_jax.metrics import MetricsWriter
from bnao_jax.parallel import from_first
from launch.command import UsageError, enable_compilation_cache
from launch.run import machine, workdir
from launch.run.checkpointing import Keeper, Stopped
from launch.run.processes import on_first
from launch.run.progress import Display, fetching
from launch.run.tensorboard import check_events, events_of

COMPILATION = "/jax/core/compile/backend_compile_duration"  # or reading from the cache


def number_of(*arrays) -> int:
    """A number that other arrays would hardly have."""
    number = 0
    for array in arrays:
        number = zlib.crc32(np.ascontiguousarray(array), number)
    return number


def plain(value):
    """A number as JSON has it: None for NaN."""
    return None if np.isnan(value) else value


def facts_of(difference) -> dict:
    """A `comparison.Difference` as JSON has it."""
    return {
        "difference": difference.mean,
        "low": plain(difference.low),
        "high": plain(difference.high),
        "verdict": difference.verdict,
    }


class TrainingError(ValueError):
    """Training went astray."""


def run(make_job, plan, folder, *, finished, check_images=lambda images: None, restart=False):
    """Runs or continues a job in a folder; returns the exit status.

    Args:
      make_job: `(plan, folder or None, images) -> Job`; folder on the first process alone.
      plan: what is to be done.
      folder: path of the folder.
      finished: whether the job came to its end in a folder; says so if it did.
      check_images: raises UsageError where the job does not fit loaded images.
      restart: whether an earlier job there is set aside.
    """
    check_events(plan.settings)
    with contextlib.ExitStack() as held:
        claim = workdir.claimed(folder, json.loads(plan.text), restart=restart)
        folder = held.enter_context(on_first(claim))
        if from_first({"result": folder and finished(folder)})["result"]:
            return 0
        with fetching(plan.settings.data.name, quiet=folder is None) as on_part:
            images = plan.load(on_part)
        check_images(images)
        if folder is not None and getattr(images, "note", ""):
            print(images.note, flush=True)
        enable_compilation_cache(plan.settings.compilation_cache)
        job = make_job(plan, folder, images)
        try:
            with job.keeper.listening():
                job.open(held)
                job.keeper.between()  # the first program takes long to compile
                job.work()
        except Stopped as stopped:
            again = " without --restart" if restart else ""
            job.say(
                f"stopped by {stopped} in {job.where()}; the same command{again} goes on from "
                f"there (--workdir={folder})"
            )
            return stopped.status
        except BrokenPipeError:  # standard output's; `command.run` says so
            raise
        except (OSError, CheckpointError) as error:
            if folder is not None:
                job.check_folder()
            if isinstance(error, CheckpointError):
                raise
            raise UsageError(f"--workdir={folder} cannot be written any more: {error}") from error
    return 0


def finished_by(name, what, summary):
    """Returns `finished(folder)`: whether a job has left its last file there; says so if it has.

    Args:
      name: of the file, JSON.
      what: the job, in a word.
      summary: `(what the file holds, folder)` to the text that is printed again.
    """

    def finished(folder) -> bool:
        try:
            text = files.read_text(folder / name, links=False)
            lines = summary(json.loads(text), folder)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False
        print(f"This {what} is finished; --restart begins anew.\n{lines}")
        return True

    return finished


def _identity(folder):
    """What tells a folder from another one at the same path; None where there is none."""
    try:
        facts = os.stat(folder)
        return facts.st_dev, facts.st_ino
    except OSError:
        return None


class Job:
    """What all jobs share. The others say what they do (`work`) and how far they are (`where`).

    `progress` is a tree of arrays: all that a checkpoint holds. `restore` takes it up.

    Attributes:
      PARTS: what the time is counted of; compilation, which is within them, is counted beside.
    """

    PARTS = ()

    def __init__(self, plan, folder, images):
        self.plan, self.folder, self.images = plan, folder, images
        self.settings = plan.settings
        self.identity = folder and _identity(folder)
        self.devices = plan.devices()
        self.train_part, self.valid_part = plan.settings.data.parts(images, plan.settings.seed)
        self.space = plan.space(images.classes, images.image_shape)
        self.decisions = self.space.decisions
        self.cost_of = lambda pool: self.space.cost(pool, images.image_shape)
        self.progress = None
        self.seconds = dict.fromkeys((*self.PARTS, "compilation"), 0.0)
        self.running = None  # the part that takes time now, and since when
        self.display = Display(quiet=folder is None)
        self.keeper = Keeper(
            self.save,
            every_steps=plan.settings.checkpoint_every_steps,
            every_seconds=plan.settings.checkpoint_every_seconds,
        )

    def work(self):
        """Does the job."""
        raise NotImplementedError

    def where(self) -> str:
        """The present place in the job, in words."""
        raise NotImplementedError

    def restore(self, arrays):
        """Takes up the progress that a checkpoint holds."""
        raise NotImplementedError

    def weights(self, progress):
        """The part of the progress that has to be finite."""
        raise NotImplementedError

    # Keeping and continuing.

    def open(self, held):
        """Opens the files, and goes on from the newest checkpoint, if there is one."""
        self.checkpoints, position, seconds = None, 0, 0.0
        self.device_counts = {len(self.devices)}
        if others := self.others_than(from_first(self.inputs())):
            number = jax.process_index()
            raise UsageError(f"process {number} has other {others[0]} than process 0")
        if self.folder is not None:
            if not (self.folder / workdir.CONFIG).exists():
                self.describe()  # without it nobody could tell what the rest belongs to
            path = self.folder / workdir.CHECKPOINTS
            self.checkpoints = held.enter_context(Checkpoints(path))
        if kept := self.newest():
            try:
                facts = kept["facts"]
                spent, position, seconds = facts["spent"], facts["metrics"], facts["seconds"]
                others = self.others_than(facts["inputs"])
                self.seconds = {part: float(spent[part]) for part in self.seconds}
                self.device_counts |= {int(count) for count in facts["devices"]}
            except (LookupError, TypeError, ValueError):
                raise CheckpointError("the checkpoint is of another program") from None
            if others:
                raise UsageError(f"the job in --workdir began with other {others[0]}")
            self.restore(kept["arrays"])
            self.say(f"continuing from checkpoint {kept['number']}: {self.where()}")
            if len(self.device_counts) > 1:
                counts = " and ".join(map(str, sorted(self.device_counts)))
                self.say(
                    f"note: on {counts} devices by turns it does not come to the same end bit for "
                    "bit (statistics of a device's part of a batch, roundings)"
                )
        if self.folder is not None:
            self.describe()
        path, on_row = self.folder and self.folder / workdir.METRICS, None
        if self.folder is not None and self.settings.tensorboard:
            on_row = held.enter_context(events_of(self.folder / workdir.EVENTS, seconds))
        self.metrics = MetricsWriter(
            path,
            position=position,
            seconds=seconds,
            on_row=on_row,
            on_damage=lambda text: self.say(f"warning: {text}"),
        )
        held.callback(self.metrics.close)
        jax.monitoring.register_event_duration_secs_listener(self.on_duration)
        held.callback(jax.monitoring.unregister_event_duration_listener, self.on_duration)

    def describe(self):
        """Writes what the job is and what it runs on."""
        files.write(self.folder / workdir.CONFIG, self.plan.text + "\n")
        workdir.write_json(self.folder / workdir.MACHINE, machine.facts(self.devices))

    def on_duration(self, event, seconds, **facts):
        """Counts the time of compilation; jax calls it."""
        del facts
        if event == COMPILATION:
            self.seconds["compilation"] += seconds

    def newest(self):
        """The newest checkpoint as a dict, on every process; None if there is none."""
        checkpoint = None
        if self.checkpoints is not None:
            kept = self.checkpoints.newest(lambda text: self.say(f"warning: {text}"))
            checkpoint = kept and kept._asdict()
        return from_first(checkpoint)

    def save(self, score, *, wait):
        """Writes a checkpoint; on the first process alone."""
        if self.checkpoints is None:
            return
        self.check_folder()
        progress = jax.tree.map(np.array, self.progress)
        for leaf in jax.tree.leaves(self.weights(progress)):
            if not np.isfinite(leaf).all():
                raise TrainingError(f"the weights are not finite in {self.where()}")
        facts = {
            "where": self.where(),
            "inputs": self.inputs(),
            "devices": sorted(self.device_counts),
            "spent": self.spent(),
            "metrics": self.metrics.position,
            "seconds": self.metrics.seconds,
        }
        self.checkpoints.save(progress, facts, score=score)
        if wait:
            self.checkpoints.wait()

    def check_folder(self):
        """Raises UsageError where the folder is no longer the one that the job began in."""
        if _identity(self.folder) != self.identity:
            raise UsageError(
                f"--workdir={self.folder} has been moved or removed while the run wrote to it; it "
                "goes on where it is now, from what was kept"
            )

    def inputs(self) -> dict[str, int]:
        """For each thing that comes from a file, a number that another would hardly have."""
        return {"images": self._images_number}

    def others_than(self, inputs):
        """Names of the inputs that are not these."""
        return [name for name, number in self.inputs().items() if inputs[name] != number]

    @functools.cached_property
    def _images_number(self):
        number = 0
        for part in (self.train_part, self.valid_part):
            number = part.crc32(number)
        return number

    def say(self, text):
        """Prints a line; on the first process alone."""
        if self.folder is not None:
            print(text, flush=True)

    @contextlib.contextmanager
    def timed(self, part):
        """Adds the time of the block to that of a part."""
        self.running = part, time.monotonic()
        try:
            yield
        finally:
            self.seconds, self.running = self.spent(), None

    def spent(self):
        """Seconds of each part so far."""
        seconds = dict(self.seconds)
        if self.running:
            part, started = self.running
            seconds[part] += time.monotonic() - started
        return seconds

    def dispatches(self, recipe, examples, step, until=None):
        """Yields (first step, steps); see `oneshot.dispatches`."""
        agree = lambda steps: from_first({"steps": steps})["steps"]
        yield from oneshot.dispatches(recipe, examples, step, until, agree=agree)

    def check_finite(self, report, recipe, place):
        """Raises TrainingError where a step's loss was not finite; `place` is added to the step."""
        if (step := int(report.failed_step)) >= 0:
            rate = float(recipe.rate(step))
            raise TrainingError(
                f"the training loss is not finite at step {step}{place}, learning rate {rate:.4g}, "
                f"architecture {self.decisions.format(np.asarray(report.failed))}"
            )
