"""One supernet: shared weights, trained along paths and scored; Algorithm 1's two slots.

With `search` and a strategy it is a whole search:

    space = NaoSpace(channels=8, cells=1, classes=10, nodes=3)
    shared = OneShot(space, (images, labels), (valid_images, valid_labels), capacity=100)
    strategy = nao_strategy(space.decisions, capacity=180)
    state = begin(jax.random.key(0), strategy, space.decisions.sample(jax.random.key(1), 100))
    slots = dict(train=shared.train, evaluate=shared.evaluate, rounds=3, proposals=40)
    population = search(jax.random.key(2), state, space.decisions, strategy, **slots).population
    print(space.decisions.format(population.pool[population.best(1)[0]]))

Shapes: P architectures of a pool, D decisions, N images.
"""

import dataclasses
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import data, scoring
from bnao_jax import sampler as samplers
from bnao_jax.parallel import AXIS, replicate
from bnao_jax.settings import (
    AT_LEAST_ZERO,
    INTERVAL,
    KEEP,
    SWITCH,
    SettingError,
    one_of,
    setting,
    whole,
)
from bnao_jax.spaces.space import Space
from bnao_jax.training import rates_and_momenta, schedule, supernet
from bnao_jax.training.recipe import Recipe, RecipeSettings, make_recipe

DISPATCH_SECONDS = 2.0  # of work between two reports of progress
# Schedules that depend on the path.
PATH_RATES = ("complexity", "complexity_mean")
MOST_INTERVALS = 100_000


@dataclasses.dataclass(frozen=True)
class SupernetSettings(RecipeSettings):
    """How shared weights are trained."""

    epochs: int = setting(50, whole(1), "passes over the train images, of a round")
    schedule: str = setting(
        "cosine",
        one_of((*schedule.RATES, *PATH_RATES)),
        "cosine to learning_rate_end, constant within an epoch; exponential by rate_decay an epoch;"
        " linear to learning_rate_end, by the step; complexity: (1 - t/T) to a power that falls"
        " with the path's size (CaLR); complexity_mean: the same mean rate for all paths",
    )
    drop_path_keep: float = setting(
        0.9, KEEP, "at the last cell and the last step; 1: no drop path"
    )
    from_scratch: bool = setting(
        False, SWITCH, "every round begins with new weights and scores only its own architectures"
    )
    sampler: str = setting(
        "proportional",
        one_of(samplers.NAMES),
        "of the round's architectures: proportional to size (Eq. 3), uniform, of nasbench201 also"
        " stratified; of the whole space: whole_space (all equally likely), of shufflenet also"
        " constrained (an interval of macs_step between macs_least and macs_most, then an"
        " architecture within), in launch.rank also strictly_fair",
    )
    size_exponent: float = setting(
        1.0, AT_LEAST_ZERO, "of proportional: P(x) ~ size ** size_exponent"
    )
    macs_least: int | None = setting(None, INTERVAL, "of constrained: least multiply-adds")
    macs_most: int | None = setting(None, INTERVAL, "of constrained: most multiply-adds")
    macs_step: int | None = setting(None, INTERVAL, "of constrained: width of an interval")
    exponent_least: float = setting(
        0.25, AT_LEAST_ZERO, "of complexity: power for the largest path"
    )
    exponent_most: float = setting(4.0, AT_LEAST_ZERO, "of complexity: power for the smallest path")
    separate_momentum: bool = setting(
        False, SWITCH, "a momentum for each operation of one random edge (nasbench201)"
    )
    freeze_off_path: bool = setting(
        True, SWITCH, "no weight decay or momentum for weights off the path"
    )
    batch_norm: str = setting(
        "local", one_of(("local", "sync")), "statistics: local to a device, sync over all devices"
    )
    path_per_device: bool = setting(False, SWITCH, "every device draws its own architecture")

    def __post_init__(self):
        super().__post_init__()
        if self.batch_norm == "sync" and self.path_per_device:
            raise SettingError(
                "batch_norm='sync' needs the same path on every device; path_per_device=True goes "
                "with 'local'"
            )
        if self.sampler in ("whole_space", "constrained") and self.schedule in PATH_RATES:
            raise SettingError(
                f"schedule={self.schedule!r} knows the architectures of the pool; "
                f"sampler={self.sampler!r} draws from the whole space"
            )
        if self.sampler == "constrained":
            self._check_intervals()
        dynamic = self.separate_momentum or self.schedule in PATH_RATES
        if dynamic and self.path_per_device:
            raise SettingError(
                "path_per_device=True: a rate or a momentum that depends on the path needs the "
                "same path on every device"
            )
        if self.exponent_least > self.exponent_most:
            raise SettingError("exponent_least exceeds exponent_most")

    def _check_intervals(self):
        for name in ("macs_least", "macs_most", "macs_step"):
            if getattr(self, name) is None:
                raise SettingError(f"{name} is needed by sampler='constrained'")
        count, rest = divmod(self.macs_most - self.macs_least, self.macs_step)
        if rest or not 1 <= count <= MOST_INTERVALS:
            raise SettingError(
                f"macs_step={self.macs_step} does not divide what is between "
                f"macs_least={self.macs_least} and macs_most={self.macs_most} into 1 to "
                f"{MOST_INTERVALS} intervals"
            )

    def check_space(self, space: Space):
        """Raises SettingError where a space has not what is asked for."""
        lacking = f"the space {space.name!r} has no"
        if self.drop_path_keep != 1 and not space.has_drop_path:
            raise SettingError(
                f"drop_path_keep={self.drop_path_keep!r} must be 1: {lacking} drop path"
            )
        if self.sampler == "stratified" and space.strata is None:
            raise SettingError(f"sampler='stratified': {lacking} strata")
        if self.separate_momentum and space.split is None:
            raise SettingError(f"separate_momentum=True: {lacking} decisions to part the paths by")
        if self.sampler == "constrained" and space.macs is None:
            raise SettingError(
                f"sampler='constrained': {lacking} multiply-adds that are known inside a step"
            )

    def check_intervals(self, costs):
        """Raises SettingError where an interval holds none of some architectures' costs [P]."""
        least, most = self.macs_least, self.macs_most
        edges = np.arange(least, most + 1, self.macs_step)
        # An architecture at an edge belongs to both.
        held = [((low <= costs) & (costs <= high)).any() for low, high in pairwise(edges)]
        if not all(held):
            low, high = edges[held.index(False) :][:2] if any(held) else (least, most)
            raise SettingError(
                f"macs_least={least} and macs_most={most}: {low} to {high} hold none of "
                f"{len(costs)} random architectures, of {costs.min()} to {costs.max()} "
                "multiply-adds"
            )

    def make_sampler(self, space: Space, image_shape, split=None) -> samplers.Sampler:
        """The sampler; all paths of strict fairness agree on the decision `split`."""
        options = space.decisions.options
        if self.sampler == "proportional":
            return samplers.proportional(self.size_exponent)
        if self.sampler == "uniform":
            return samplers.uniform()
        if self.sampler == "stratified":
            return samplers.stratified(space.strata)
        if self.sampler == "strictly_fair":
            return samplers.strictly_fair(options, split)
        if self.sampler == "whole_space":
            return samplers.whole_space(options)
        limits = dict(least=self.macs_least, most=self.macs_most, step=self.macs_step)
        return samplers.constrained(options, space.macs(image_shape), **limits)

    def make_rules(self, split=None) -> tuple[rates_and_momenta.PathRule, ...]:
        """The rules of the paths; `split` is the decision that parts them into groups, or None."""
        powers, rules = (self.exponent_least, self.exponent_most), []
        if self.schedule == "complexity_mean":
            rules.append(rates_and_momenta.mean_complexity_rate(*powers))
        elif self.schedule == "complexity" and self.sampler == "strictly_fair":
            rules.append(rates_and_momenta.complexity_losses(*powers))
        elif self.schedule == "complexity":
            rules.append(rates_and_momenta.complexity_rate(*powers))
        if split is not None:
            rules.append(rates_and_momenta.separate_momentum(split))
        return tuple(rules)


class Programs(NamedTuple):
    """The compiled programs of a supernet.

    Attributes:
      train: see `training.supernet.make_train`.
      recipe: what it follows.
      evaluate: see `scoring.make_evaluate`.
      sampler: draws the paths.
      rules: what they tell the optimizer.
    """

    train: Callable
    recipe: Recipe
    evaluate: Callable
    sampler: samplers.Sampler
    rules: tuple[rates_and_momenta.PathRule, ...]


def make_programs(
    space: Space,
    settings: SupernetSettings,
    how: scoring.Scoring,
    *,
    augmentation,
    examples,
    image_shape,
    devices,
    dtype=jnp.float32,
    seed=0,
    paths: samplers.Sampler | None = None,
    only=None,
) -> Programs:
    """Makes the programs that train and score shared weights; they compile when they are called.

    Args:
      space: the search space.
      settings: how the weights are trained.
      how: how pools are scored.
      augmentation: what happens to training images.
      examples: how many train images there are.
      image_shape: (H, W, C).
      devices: the devices.
      dtype: of maps and products, where `how` says nothing else of scoring.
      seed: picks the decision that parts the momenta, where they are parted.
      paths: a sampler of one's own, instead of the one that the settings name.
      only: an architecture as a tuple: both programs are of it alone, whatever they are given.
    """
    axis_name = AXIS if settings.batch_norm == "sync" else None
    over_devices, on_one = space.supernet(dtype, axis_name), space.supernet(how.dtype or dtype)

    def apply(params, batch, architecture, drop_path, dropout_key):
        of_training = dict(train=True, rngs={"dropout": dropout_key}) if space.has_dropout else {}
        return over_devices.apply(
            {"params": params}, batch, only or architecture, drop_path=drop_path, **of_training
        )

    def apply_scoring(params, statistics, batch, architecture):
        architecture = only or architecture
        if statistics is not None:
            variables = {"params": params, "batch_stats": statistics}
            return on_one.apply(variables, batch, architecture, given=True), statistics
        variables, mutable = {"params": params}, ["batch_stats"]
        logits, changed = on_one.apply(variables, batch, architecture, mutable=mutable)
        return logits, changed.get("batch_stats", {})

    split = space.split(seed) if settings.separate_momentum else None
    groups = None if split is None else space.decisions.options[split]
    recipe = make_recipe(settings, augmentation, examples, groups=groups)
    paths = settings.make_sampler(space, image_shape, split) if paths is None else paths
    rules = settings.make_rules(split)
    train = supernet.make_train(
        apply,
        space.on_path,
        recipe,
        devices,
        sampler=paths,
        rules=rules,
        path_per_device=settings.path_per_device,
        freeze_off_path=settings.freeze_off_path,
    )
    return Programs(train, recipe, scoring.make_evaluate(apply_scoring, how, devices), paths, rules)


def dispatches(recipe, examples, step, until=None, *, agree=lambda steps: steps):
    """Yields (first step, steps): as many as fit the time between two reports and the epoch.

    Args:
      recipe: of the training.
      examples: how many train images there are.
      step: the first.
      until: the step that the last dispatch ends at; by default the recipe's last.
      agree: `steps -> steps`: makes all processes agree, or they would wait for each other in vain.
    """
    until = recipe.total_steps if until is None else until
    per_epoch = data.steps_per_epoch(examples, recipe.batch_size)
    steps, calls = 1, 0
    while step < until:
        steps = min(steps, per_epoch - step % per_epoch, until - step)
        started = time.monotonic()
        yield step, steps
        each = (time.monotonic() - started) / steps
        step, calls = step + steps, calls + 1
        if calls > 1:  # the first call compiles
            steps = agree(max(1, int(DISPATCH_SECONDS / each)))


class OneShot:
    """Shared weights of a space on images of one's own, for `search.search`.

    Attributes:
      params: the shared weights.
      losses: mean training loss of every dispatch so far.
    """

    def __init__(
        self,
        space: Space,
        train,
        valid,
        *,
        capacity: int,
        settings: SupernetSettings | None = None,
        score: scoring.ScoringSettings | None = None,
        paths: samplers.Sampler | None = None,
        augmentation: data.Augmentation | None = None,
        devices=None,
        dtype=jnp.float32,
        seed: int = 0,
        report=lambda text: None,
    ):
        """Makes the initial weights.

        Args:
          space: the search space.
          train: (images uint8[N, H, W, C], labels int[N]) to train on.
          valid: the same, other ones, to score with.
          capacity: most architectures of a round.
          settings: how the weights are trained; Balanced NAO's numbers by default.
          score: how architectures are scored.
          paths: a sampler of one's own, instead of the one that the settings name.
          augmentation: what happens to training images; by default they are normalised, flipped and
            moved by up to four pixels.
          devices: by default all of this process.
          dtype: of maps and products.
          seed: of all random draws.
          report: receives a line after every dispatch of training.

        Raises:
          ValueError: images, labels or settings that do not fit each other.
        """
        self.space, self.capacity = space, capacity
        self.devices = jax.local_devices() if devices is None else devices
        self.settings = SupernetSettings() if settings is None else settings
        self.score = scoring.ScoringSettings() if score is None else score
        if self.score.score not in ("accuracy", "loss"):
            raise ValueError(
                f"score={self.score.score!r} is standardised among all that was searched: use "
                "`measure` with `objective.score`"
            )
        if not space.has_drop_path:
            self.settings = dataclasses.replace(self.settings, drop_path_keep=1.0)
        self.settings.check_space(space)
        self.train_part, self.valid_part = (
            data.check_images(*part, space.classes) for part in (train, valid)
        )
        self.image_shape, of_valid = (
            part.images.shape[1:] for part in (self.train_part, self.valid_part)
        )
        if of_valid != self.image_shape:
            raise ValueError(
                f"validation images are {of_valid}, images to train on {self.image_shape}"
            )
        space.check_images(self.image_shape)
        examples = self.train_part.examples
        if self.settings.batch_size > examples:
            raise ValueError(
                f"batch_size={self.settings.batch_size} exceeds the {examples} train images"
            )
        if augmentation is None:
            mean, std = data.moments(self.train_part.images)
            augmentation = data.Augmentation(tuple(mean.tolist()), tuple(std.tolist()))
        self.programs = make_programs(
            space,
            self.settings,
            self.score.scoring(self.valid_part.examples, augmentation),
            augmentation=augmentation,
            examples=examples,
            image_shape=self.image_shape,
            devices=self.devices,
            dtype=dtype,
            seed=seed,
            paths=paths,
        )
        self.key, self.report, self.losses = jax.random.key(seed), report, []
        self.params = space.initial_weights(self.key, self.image_shape)

    def train(self, number, pool):
        """Trains the weights for a round of this number along paths of a pool: counts int64[P]."""
        if len(pool) > self.capacity:
            raise ValueError(f"{len(pool)} architectures exceed the capacity {self.capacity}")
        pool = self.space.decisions.check(pool)
        programs, costs = self.programs, self.space.cost(pool, self.image_shape).params
        material = supernet.make_material(
            *(self.train_part, pool, costs, self.capacity, programs.sampler, programs.rules),
            total_steps=programs.recipe.total_steps,
        )
        material = replicate(material, self.devices)
        if self.settings.from_scratch:
            self.params = self.space.initial_weights(self.key, self.image_shape)
        key = jax.random.fold_in(jax.random.fold_in(self.key, 1), number)
        counts = np.zeros(self.capacity, np.int64)
        state = supernet.initial_state(programs.recipe, self.params)
        for step, steps in dispatches(programs.recipe, self.train_part.examples, 0):
            state, report = programs.train(state, material, key, np.int32(steps))
            self.params, counts = state.params, counts + np.asarray(report.counts)
            if int(report.failed_step) >= 0:
                architecture = self.space.decisions.format(np.asarray(report.failed))
                raise FloatingPointError(
                    f"the training loss is not finite at step {int(report.failed_step)}, "
                    f"architecture {architecture}"
                )
            self.losses.append(float(report.loss))
            total, loss = programs.recipe.total_steps, self.losses[-1]
            self.report(f"round {number}: step {step + steps} of {total}, loss {loss:.3f}")
        return counts[: len(pool)]

    def evaluate(self, number, pool):
        """Scores float32[P] of a pool with the present weights: accuracies or negative losses."""
        del number
        scores = self.measure(pool)
        return scores.accuracy if self.score.score == "accuracy" else -scores.loss

    def measure(self, pool) -> scoring.Scores:
        """Validation accuracies and losses of a pool with the present weights."""
        count = self.score.examples(self.valid_part.examples)
        valid = tuple(part[:count] for part in self.valid_part)
        calibration = self.train_part.images[: self.score.calibration_images]
        pool = self.space.decisions.check(pool)
        rows, places = scoring.distinct(self.space.effective(pool))
        scores = self.programs.evaluate(self.params, pool[rows], valid, calibration)
        return scoring.Scores(scores.accuracy[places], scores.loss[places])
