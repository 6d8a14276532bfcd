"""The training job: one architecture alone, from random or shared weights to its accuracy."""

import contextlib
import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from bnao_jax import data
from bnao_jax.checkpoint import fill
from bnao_jax.measures import as_json
from bnao_jax.training import network as network_training
from launch import words
from launch.command import UsageError
from launch.config.plan import named
from launch.inputs.warm_start import shared_weights
from launch.plots import style
from launch.run import image_feeds, machine, workdir
from launch.run import job as jobs
from launch.run.training_job import TrainingJob
from launch.train import plot as plots


def run(plan, folder, *, restart=False) -> int:
    """Runs or continues the training of a plan in a folder; returns the exit status."""
    named("config.arch", plan.space().decisions.parse, plan.settings.arch)
    if plan.settings.warm_start:
        shared_weights(plan.settings)
    make = lambda *parts: Training(*parts)
    finished = jobs.finished_by(workdir.RESULT, "training", summary)
    check_images = lambda images: check_macs(plan, images)
    return jobs.run(
        make, plan, folder, finished=finished, check_images=check_images, restart=restart
    )


def check_macs(plan, images):
    """Raises UsageError where the network exceeds the mobile setting on loaded images."""
    if not plan.settings.data.streamed or (most := plan.settings.train.max_macs) is None:
        return
    space = plan.space(images.classes, images.image_shape)
    architecture = space.decisions.parse(plan.settings.arch)[None]
    macs_in = lambda space: int(space.cost(architecture, images.image_shape).macs[0])
    macs = lambda channels: macs_in(dataclasses.replace(space, channels=channels))
    if (counted := macs_in(space)) > most:
        narrower = range(space.channels - space.channels % 2, 1, -2)
        fitting = next((n for n in narrower if macs(n) <= most), None)
        way = "" if fitting is None else f"--config.network.channels={fitting} is within it, "
        raise UsageError(
            f"config.arch has {counted / 1e6:.1f} M multiply-adds on images {images.image_shape}; "
            f"config.train.max_macs allows {most / 1e6:.1f} M: {way}--config.train.max_macs=None "
            "lifts it"
        )


class Progress(NamedTuple):
    """How far a training has come: all that a checkpoint holds.

    Attributes:
      final: `training.State`.
      epochs: float64[E, 5], of each dispatch that ended an epoch: epoch, mean training loss and
        accuracy since the one before, validation loss and accuracy (NaN where not evaluated).
      sums: float64[3], of the epoch under way: steps, summed loss, summed accuracy.
    """

    final: network_training.State
    epochs: np.ndarray
    sums: np.ndarray


NO_SUMS = np.zeros(3)


class Training(TrainingJob):
    """One training: what it is made of, and how far it has come."""

    PARTS = ("final", "evaluate")

    def __init__(self, plan, folder, images):
        super().__init__(plan, folder, images)
        self.architecture, self.key = self.decisions.parse(self.settings.arch), plan.key
        self.standalone = plan.standalone(
            self.space, images, self.architecture, self.key, self.devices
        )
        self.recipe, state = self.standalone.recipe, self.standalone.state
        self.inherited = 0  # weights that a search has trained
        self.pace = {}  # of the last epoch, where images are streamed
        if self.settings.warm_start:
            state, self.inherited = self.warm(state)
        self.per_epoch = data.steps_per_epoch(self.train_part.examples, self.recipe.batch_size)
        self.progress = Progress(state, np.zeros((0, 5)), NO_SUMS)

    def warm(self, state):
        """The state with the shared weights of a search, and how many of them there are."""
        shared = shared_weights(self.settings)
        params, count = self.space.inherit(shared, self.architecture, state.params)
        average = jax.tree.map(np.array, params) if state.average else ()
        return state._replace(params=params, average=average), count

    def weights(self, progress):
        """The network's weights and its momentum."""
        return progress.final.params, progress.final.optimizer

    def restore(self, arrays):
        """Takes up the progress that a checkpoint holds."""
        self.progress = fill(self.progress, arrays)

    def where(self) -> str:
        """The present place, in words."""
        step = int(self.progress.final.step)
        if step == self.recipe.total_steps:
            return "the end"
        return f"epoch {step // self.per_epoch + 1} of {self.settings.train.epochs}, step {step}"

    def work(self):
        """Trains, evaluates on the way, and writes what came of it."""
        text = self.decisions.format(self.architecture)[:60]
        warm = f", {self.inherited:,} of them from {self.settings.warm_start}"
        size = f"{self.cost().params[0]:,} parameters"
        self.say(f"{text}: {size}{warm if self.inherited else ''}")
        feed = image_feeds.make_feed(self.settings, self.train_part, self.recipe, self.devices)
        every = self.settings.train.evaluate_every_epochs * self.per_epoch
        with contextlib.closing(feed):
            while True:
                step = int(self.progress.final.step)
                if self.is_due(step, every):
                    self.evaluate()
                if step == self.recipe.total_steps:
                    break
                self.train_until(min(step - step % every + every, self.recipe.total_steps), feed)
        self.finish()

    def is_due(self, step, every) -> bool:
        """Whether an evaluation after a step is still to be made."""
        if step == 0 or not self.valid_part.examples:
            return False
        at_end = step % every == 0 or step == self.recipe.total_steps
        return at_end and bool(np.isnan(self.progress.epochs[-1, -1]))

    def open(self, held):
        """Opens the files, and says what is trained, for those who read the weights later."""
        super().open(held)
        if self.folder is not None:
            workdir.write_json(self.folder / workdir.NETWORK, self.described())

    def described(self):
        """What network.json holds: all that it takes to use the weights."""
        cost = self.cost()
        facts = self.network_facts() | {
            "arch": self.settings.arch,
            "params": int(cost.params[0]),
            "macs": int(cost.macs[0]),
        }
        if self.settings.data.streamed:
            facts["preparation"] = image_feeds.preparation(self.settings)
        return facts

    def train_until(self, until, feed):
        """Trains until a step."""
        feed.pace()  # from here on
        steps = self.steps_standalone(
            self.architecture,
            self.key,
            self.standalone,
            self.progress.final,
            feed,
            title="train",
            until=until,
        )
        for step, count, loss, accuracy in steps:
            sums = self.progress.sums + count * np.array([1, loss, accuracy])
            self.progress = self.progress._replace(sums=sums)
            end = step + count
            if end % self.per_epoch == 0:
                row = [end // self.per_epoch, *sums[1:] / sums[0], np.nan, np.nan]
                self.progress = self.progress._replace(
                    epochs=np.vstack([self.progress.epochs, row]), sums=NO_SUMS
                )
                self.pace = feed.pace()
                self.metrics.write(
                    phase="train",
                    epoch=row[0],
                    step=end,
                    loss=row[1],
                    accuracy=row[2],
                    learning_rate=float(self.recipe.rate(step)),
                    **self.pace,
                )

    def evaluate(self):
        """Evaluates on the validation images, by which the checkpoint competes."""
        measures = self.measure(self.valid_part)
        loss, accuracy = float(measures.loss), float(measures.accuracy)
        self.progress.epochs[-1, 3:] = measures.loss, measures.accuracy
        epoch = int(self.progress.epochs[-1, 0])
        self.metrics.write(phase="valid", epoch=epoch, loss=loss, accuracy=accuracy)
        self.say(
            f"epoch {epoch} of {self.settings.train.epochs}: training loss "
            f"{self.progress.epochs[-1, 1]:.4f}, validation accuracy {accuracy:.4f}"
            f"{image_feeds.in_words(self.pace)}"
        )
        self.keeper.keep(accuracy)
        self.keeper.between()

    def measure(self, part):
        """The network's measures on images and labels, running statistics in the norms."""
        fed = image_feeds.one_pass(self.settings, part, self.recipe.batch_size, self.devices)
        with self.timed("evaluate"), fed as images:
            return jax.tree.map(np.asarray, self.standalone.evaluate(self.progress.final, *images))

    def cost(self):
        """Parameters and multiply-adds of the network."""
        return self.cost_of(self.architecture[None])

    def finish(self):
        """Tests the last weights, writes the files, prints the summary."""
        self.keeper.keep(wait=True)
        parts = self.settings.data.noted_parts(self.images, self.settings.seed)
        measured = {}
        for name in ("test", "valid"):
            part, note = parts[name]
            measured[name] = as_json(self.measure(part)) | {"note": note} if part.examples else None
        if self.folder is None:
            return
        cost, rows = self.cost(), self.progress.epochs
        result = {
            "arch": self.decisions.format(self.architecture),
            "space": self.decisions.name,
            "params": int(cost.params[0]),
            "macs": int(cost.macs[0]),
            **measured,
            "train": {
                "loss": rows[-1, 1],
                "accuracy": rows[-1, 2],
                "images": self.train_part.examples,
            },
            "epochs": self.settings.train.epochs,
            "inherited": self.inherited,
            "seed": self.settings.seed,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "devices": [f"{d.platform} {d.device_kind}" for d in self.devices],
            "versions": machine.versions(),
        }
        style.write_png(self.folder, training=plots.training(rows))
        workdir.write_json(self.folder / workdir.RESULT, result)
        print(summary(result, self.folder))


def summary(result, folder) -> str:
    """The end of a training in a few readable lines."""
    lines = [
        "",
        result["arch"],
        f"  {words.costs(result['params'], result['macs'])}",
        f"  training accuracy {result['train']['accuracy']:.4f} (augmented, last epoch)",
    ]
    for name, part in (("validation", result["valid"]), ("test", result["test"])):
        if part:
            lines.append(
                f"  {name} accuracy {part['top1']:.4f}, top-5 {part['top5']:.4f}, loss "
                f"{part['loss']:.4f} on {part['note']}"
            )
    return "\n".join([*lines, "", words.time_spent(result["seconds"]), f"Files: {folder}/"])
