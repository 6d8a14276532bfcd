"""What jobs train and score: shared weights along paths, and networks alone."""

import dataclasses

import jax
import numpy as np

from bnao_jax import scoring
from bnao_jax.halving import Halving
from bnao_jax.parallel import replicate
from bnao_jax.training import supernet as supernet_training
from launch.run import image_feeds
from launch.run import job as jobs

ACCURACY, LOSS = range(2)  # rows of what is kept of an evaluation
NO_SCORES = np.zeros((2, 0), np.float32)


class TrainingJob(jobs.Job):
    """A job that trains. Its progress holds, as far as it needs them:

    supernet: shared weights, momentum, step.
    counts: int64[P], how often the architectures of the present pool were trained.
    partial: float32[2, …], accuracies and losses of the evaluation under way.
    final: training state of the network that is trained alone, or ().

    Methods that train or score keep it up to date, so that they go on where they were left.
    """

    def __init__(self, plan, folder, images):
        super().__init__(plan, folder, images)
        self.compiled = {}  # the programs of the supernets

    def network_facts(self) -> dict:
        """What is needed to make the network and to normalise its images, as JSON has it."""
        settings, images = self.settings, self.images
        return {
            "space": dataclasses.asdict(settings.space),
            "network": dataclasses.asdict(settings.network),
            "classes": images.classes,
            "image_shape": list(images.image_shape),
            "mean": [float(v) for v in images.mean],
            "std": [float(v) for v in images.std],
        }

    def counted(self, kind, units):
        """Hears of "steps" of the shared weights and of "scorings" that are done."""

    # Shared weights.

    def make_supernet(self, plan):
        """Makes the programs of a plan's supernet; returns its state before the first step.

        The plan may differ from the job's in its seed and its supernet alone.
        """
        settings = plan.settings
        # The seed is in the program only where it picks the edge that parts the momenta.
        split = settings.seed if settings.supernet.separate_momentum else None
        # How long the training is, is no part of the program.
        which = dataclasses.replace(settings.supernet, epochs=1), split
        if which not in self.compiled:
            self.compiled[which] = plan.supernet(self.space, self.images, self.devices)
        self.programs = self.compiled[which]
        total_steps = settings.supernet.steps(self.train_part.examples)
        self.recipe = dataclasses.replace(self.programs.recipe, total_steps=total_steps)
        return self.initial_supernet(plan)

    def initial_supernet(self, plan):
        """The state of the supernet before the first step."""
        params = self.space.initial_weights(plan.key, self.images.image_shape)
        return supernet_training.initial_state(self.recipe, params)

    def train_paths(
        self, pool, key, *, title, place, until=None, slot="supernet", phase="train", **facts
    ):
        """Trains the shared weights along the paths of a pool [P, D], until a step.

        Args:
          pool: the architectures; no more than `counts` has room for.
          key: of all random draws.
          title: what the display says.
          place: what an error adds to the step.
          until: by default the recipe's last step.
          slot: the part of the progress that is trained.
          phase: what the metrics call it.
          facts: what the metrics say beside step and loss.
        """
        examples, done = len(self.train_part.labels), int(getattr(self.progress, slot).step)
        programs, params = self.programs, self.cost_of(pool).params
        capacity = len(self.progress.counts)
        material = supernet_training.make_material(
            *(self.train_part, pool, params, capacity, programs.sampler, programs.rules),
            total_steps=self.recipe.total_steps,
        )
        material = replicate(material, self.devices)
        shown = self.display.phase(title, self.recipe.total_steps, "steps", done=done)
        with self.timed(phase if phase in self.PARTS else "train"), shown as advance:
            for step, steps in self.dispatches(self.recipe, examples, done, until):
                state = getattr(self.progress, slot)
                state, report = programs.train(state, material, key, np.int32(steps))
                self.check_finite(report, self.recipe, place)
                counts = self.progress.counts + np.asarray(report.counts)
                self.progress = self.progress._replace(**{slot: state}, counts=counts)
                loss, accuracy = float(report.loss), float(report.accuracy)
                rate = float(self.recipe.rate(step))
                self.metrics.write(
                    phase=phase,
                    **facts,
                    step=step + steps,
                    loss=loss,
                    accuracy=accuracy,
                    learning_rate=rate,
                )
                self.counted("steps", steps)
                advance(steps, f"loss {loss:.3f}")
                self.keeper.between(steps)

    def score_pool(self, pool, *, title, slot="supernet", part=None):
        """Accuracies and losses float32[2, P] by the shared weights, on the same images for all.

        What computes the same is scored once. `slot` is the part of the progress that holds the
        weights, `part` (images, labels), by default those of the validation part that score; of
        these only the promising architectures see all, where the config says so.
        """
        rows, places = scoring.distinct(self.space.effective(pool))
        settings, whole = self.settings.scoring, self.valid_part if part is None else part
        count = self.plan.scored_examples
        parts = settings.parts(count) if part is None else 1
        images = [
            tuple(a[:count].reshape(parts, -1, *a.shape[1:])[n] for a in whole)
            for n in range(parts)
        ]
        calibration = self.train_part.images[: settings.calibration_images]

        def on_scores(scores):
            partial = np.concatenate([self.progress.partial, np.stack(scores)], 1)
            self.progress = self.progress._replace(partial=partial)
            self.counted("scorings", len(scores.loss) / parts)
            advance(len(scores.loss))
            self.keeper.between()

        halving, at = Halving(len(rows), parts), 0
        done = self.progress.partial.shape[1]
        unit = "architectures" if parts == 1 else "scorings"
        phase = self.display.phase(title, halving.size, unit, done=done)
        with self.timed("score"), phase as advance:
            params = getattr(self.progress, slot).params
            for these, place in halving.work():
                left = these[max(0, done - at) :]
                if len(left):
                    self.programs.evaluate(
                        params, pool[rows[left]], images[place], calibration, progress=on_scores
                    )
                measured = self.progress.partial[:, at : at + len(these)]
                halving.record(these, place, measured)
                at += len(these)
        self.progress = self.progress._replace(partial=NO_SCORES)
        return self.finite(halving.scores()[:, places])

    def finite(self, measured):
        """Accuracies and losses in which a loss that is not finite is the worst of the others."""
        good = np.isfinite(measured[LOSS])
        if good.all():
            return measured
        if not good.any():
            raise jobs.TrainingError(f"no loss is finite in {self.where()}")
        self.say(
            f"warning: {np.sum(~good)} of {len(good)} losses are not finite; the worst is taken"
        )
        worst = np.where(good, measured[LOSS], measured[LOSS, good].max())
        return np.stack([measured[ACCURACY], worst])

    # Networks alone.

    def steps_standalone(self, architecture, key, standalone, state, feed, *, title, until=None):
        """Trains a network, `alone`, from a state until a step; yields after each dispatch.

        `feed` gives the images, see `feeds`. `progress.final` is the state by then. Yields (first
        step, steps, mean loss, accuracy).
        """
        _, train_key = jax.random.split(key)
        done = int(state.step)
        recipe, examples = standalone.recipe, self.train_part.examples
        phase = self.display.phase(title, recipe.total_steps, "steps", done=done)
        with self.timed("final"), phase as advance:
            for step, steps in self.dispatches(recipe, examples, done, until):
                arguments = *feed.at(step), train_key, np.int32(steps)
                state, loss, accuracy = standalone.train(state, *arguments)
                if not np.isfinite(loss):
                    raise jobs.TrainingError(
                        f"the training loss is not finite within the {steps} steps from {step} of "
                        f"{self.where()}, learning rate {float(recipe.rate(step)):.4g}, "
                        f"architecture {self.decisions.format(architecture)}"
                    )
                self.progress = self.progress._replace(final=state)
                advance(steps, f"loss {float(loss):.3f}")
                yield step, steps, float(loss), float(accuracy)
                self.keeper.between(steps)

    def train_standalone(self, architecture, key, *, title):
        """(validation accuracy, loss) of one architecture after the final's epochs."""
        standalone = self.plan.standalone(self.space, self.images, architecture, key, self.devices)
        state = self.progress.final or standalone.state
        feed = image_feeds.make_feed(
            self.settings, self.train_part, standalone.recipe, self.devices
        )
        for _ in self.steps_standalone(architecture, key, standalone, state, feed, title=title):
            pass
        with self.timed("final"):
            part = replicate(self.valid_part, self.devices)
            measures = jax.device_get(standalone.evaluate(self.progress.final or state, *part))
        self.progress = self.progress._replace(final=())
        return float(measures.accuracy), float(measures.loss)
