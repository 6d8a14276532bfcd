"""The training job: one architecture alone, from random or shared weights to its accuracy."""

import contextlib
import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from bnao_jax import data, training
from bnao_jax.checkpoint import fill
from launch import feeds, jobs, machine, pictures, wiring, workdir
from launch.command import UsageError
from launch.fields import check_fields
from launch.spaces import SPACES
from launch.trainings import TrainingJob
from launch.warm_start import shared_weights


def run(config, folder, *, restart=False) -> int:
    """Runs or continues the training of a config in a folder; returns the exit status."""
    make = lambda *made: Training(*made)
    checks = dict(
        check=check,
        check_data=check_data,
        finished=jobs.finished_by(workdir.RESULT, "training", summary),
    )
    return jobs.run(make, config, folder, restart=restart, **checks)


def check(config):
    """Raises UsageError naming the first field that cannot be; needs neither data nor compiler."""
    check_fields(config, "train")
    outline = wiring.make_outline(config, classes=10)
    wiring.named("config.arch", outline.space.parse, config.arch)
    SPACES[config.space.name].check(config)
    wiring.check_machine(config)
    if config.warm_start:
        shared_weights(config)


def check_data(config, images):
    """Raises UsageError where the config does not fit the images, or exceeds the mobile setting."""
    wiring.check_data(config, images)
    if not wiring.is_streamed(config) or (most := config.train.max_macs) is None:
        return
    outline = wiring.make_outline(config, images.classes)
    architecture = outline.space.parse(config.arch)[None]

    def macs(channels):
        narrow = dataclasses.replace(outline, channels=channels)
        return int(wiring.make_cost(config, narrow, images.image_shape)(architecture).macs[0])

    if (found := macs(outline.channels)) > most:
        narrower = range(outline.channels - outline.channels % 2, 1, -2)
        fitting = next((n for n in narrower if macs(n) <= most), None)
        way = "" if fitting is None else f"--config.network.channels={fitting} is within it, "
        raise UsageError(
            f"config.arch has {found / 1e6:.1f} M multiply-adds on images {images.image_shape}; "
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

    final: training.State
    epochs: np.ndarray
    sums: np.ndarray


NO_SUMS = np.zeros(3)


class Training(TrainingJob):
    """One training: what it is made of, and how far it has come."""

    PARTS = ("final", "evaluate")

    def __init__(self, config, folder, images):
        super().__init__(config, folder, images)
        self.architecture = self.space.parse(config.arch)
        self.key = jax.random.key(config.seed)
        made = self.make_alone(self.architecture, self.key)
        self.network, self.recipe, self.train_steps, self.evaluate_network, state = made
        self.inherited = 0  # weights that a search has trained
        self.pace = {}  # of the last epoch, where images are streamed
        if config.warm_start:
            state, self.inherited = self.warm(state)
        self.per_epoch = data.steps_per_epoch(self.train_part.examples, self.recipe.batch_size)
        self.progress = Progress(state, np.zeros((0, 5)), NO_SUMS)

    def warm(self, state):
        """The state with the shared weights of a search, and how many of them there are."""
        inherit = SPACES[self.config.space.name].inherit
        shared = shared_weights(self.config)
        params, count = inherit(self.outline, shared, self.architecture, state.params)
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
        return f"epoch {step // self.per_epoch + 1} of {self.config.train.epochs}, step {step}"

    def work(self):
        """Trains, evaluates on the way, and writes what came of it."""
        told = f"{self.space.format(self.architecture)[:60]}: {self.cost().params[0]:,} parameters"
        begun = f", {self.inherited:,} of them from {self.config.warm_start}"
        self.say(f"{told}{begun if self.inherited else ''}")
        feed = feeds.make_feed(self.config, self.train_part, self.recipe, self.devices)
        every = self.config.train.evaluate_every_epochs * self.per_epoch
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
        config, images, cost = self.config, self.images, self.cost()
        return {
            "arch": config.arch,
            "space": config.space.to_dict(),
            "network": config.network.to_dict(),
            "classes": images.classes,
            "image_shape": list(images.image_shape),
            "mean": [float(v) for v in images.mean],
            "std": [float(v) for v in images.std],
            "params": int(cost.params[0]),
            "macs": int(cost.macs[0]),
        } | ({"preparation": feeds.preparation(config)} if wiring.is_streamed(config) else {})

    def train_until(self, until, feed):
        """Trains until a step."""
        arguments = (self.recipe, self.train_steps, self.progress.final, feed)
        feed.pace()  # from here on
        steps = self.steps_alone(
            *(self.architecture, self.key, *arguments), title="train", until=until
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
                    **dict(phase="train", epoch=row[0], step=end, loss=row[1], accuracy=row[2]),
                    learning_rate=float(self.recipe.learning_rate(step)),
                    **self.pace,
                )

    def evaluate(self):
        """Evaluates on the validation images, by which the checkpoint competes."""
        found = self.measure(self.valid_part)
        self.progress.epochs[-1, 3:] = found.loss, found.accuracy
        epoch = int(self.progress.epochs[-1, 0])
        self.metrics.write(
            phase="valid", epoch=epoch, loss=float(found.loss), accuracy=float(found.accuracy)
        )
        self.say(
            f"epoch {epoch} of {self.config.train.epochs}: training loss "
            f"{self.progress.epochs[-1, 1]:.4f}, validation accuracy {float(found.accuracy):.4f}"
            f"{feeds.told(self.pace)}"
        )
        self.keeper.keep(float(found.accuracy))
        self.keeper.between()

    def measure(self, part):
        """The network's measures on images and labels, running statistics in the norms."""
        fed = feeds.one_pass(self.config, part, self.recipe.batch_size, self.devices)
        with self.timed("evaluate"), fed as images:
            return jax.tree.map(np.asarray, self.evaluate_network(self.progress.final, *images))

    def cost(self):
        """Parameters and multiply-adds of the network."""
        return self.cost_of(self.architecture[None])

    def finish(self):
        """Tests the last weights, writes the files, prints the summary."""
        self.keeper.keep(wait=True)
        parts = wiring.noted_parts(self.config, self.images)
        found = {}
        for name in ("test", "valid"):
            part, note = parts[name]
            found[name] = as_json(self.measure(part)) | {"note": note} if part.examples else None
        if self.folder is None:
            return
        cost, rows = self.cost(), self.progress.epochs
        result = {
            "arch": self.space.format(self.architecture),
            "space": self.space.name,
            "params": int(cost.params[0]),
            "macs": int(cost.macs[0]),
            **found,
            "train": {
                "loss": rows[-1, 1],
                "accuracy": rows[-1, 2],
                "images": self.train_part.examples,
            },
            "epochs": self.config.train.epochs,
            "inherited": self.inherited,
            "seed": self.config.seed,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "devices": [f"{d.platform} {d.device_kind}" for d in self.devices],
            "versions": machine.versions(),
        }
        pictures.write(self.folder, training=pictures.training(rows))
        workdir.write_json(self.folder / workdir.RESULT, result)
        print(summary(result, self.folder))


def as_json(measures) -> dict:
    """`Measures` as JSON values."""
    held = np.maximum(measures.images, 1)
    by_class = [
        float(share) if count else None
        for share, count in zip(measures.right / held, measures.images, strict=True)
    ]
    return {
        "top1": float(measures.accuracy),
        "top5": float(measures.top5),
        "loss": float(measures.loss),
        "images": int(measures.images.sum()),
        "top1_of_class": by_class,
    }


def summary(result, folder) -> str:
    """The end of a training in a few readable lines."""
    lines = [
        "",
        result["arch"],
        f"  {result['params'] / 1e6:.3f} M parameters, {result['macs'] / 1e6:.1f} M multiply-adds",
        f"  training accuracy {result['train']['accuracy']:.4f} (augmented, last epoch)",
    ]
    for name, part in (("validation", result["valid"]), ("test", result["test"])):
        if part:
            lines.append(
                f"  {name} accuracy {part['top1']:.4f}, top-5 {part['top5']:.4f}, loss "
                f"{part['loss']:.4f} on {part['note']}"
            )
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in result["seconds"].items())
    return "\n".join([*lines, "", f"Time: {spent}", f"Files: {folder}/"])
