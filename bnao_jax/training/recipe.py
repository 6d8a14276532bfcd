"""How networks are trained: what is set of it, and the recipe that a compiled step follows."""

import dataclasses
from collections.abc import Callable

import optax

from bnao_jax import data
from bnao_jax.data import Augmentation
from bnao_jax.nn.initialization import matrices
from bnao_jax.settings import (
    ABOVE_ZERO,
    ARCHITECTURES,
    AT_LEAST_ZERO,
    INT32,
    KEEP,
    LIMIT,
    SHARE,
    SWITCH,
    SettingError,
    Settings,
    one_of,
    setting,
    whole,
)
from bnao_jax.training import optimizer, schedule


@dataclasses.dataclass(frozen=True)
class RecipeSettings(Settings):
    """SGD with momentum, as all networks are trained."""

    epochs: int = setting(50, whole(1), "passes over the train images")
    batch_size: int = setting(64, whole(1), "images of a step, over all devices")
    schedule: str = setting(
        "cosine",
        one_of(schedule.RATES),
        "cosine to learning_rate_end, constant within an epoch; exponential by rate_decay an epoch;"
        " linear to learning_rate_end, by the step",
    )
    learning_rate: float = setting(0.025, AT_LEAST_ZERO, "in the first epoch")
    learning_rate_end: float = setting(
        0.001, AT_LEAST_ZERO, "of cosine and linear: after the last epoch"
    )
    rate_decay: float = setting(0.97, ABOVE_ZERO, "of exponential: factor an epoch")
    momentum: float = setting(0.9, SHARE, "of SGD")
    nesterov: bool = setting(False, SWITCH, "Nesterov's momentum")
    weight_decay: float = setting(3e-4, AT_LEAST_ZERO, "added to the gradient, times the weight")
    decay_vectors: bool = setting(True, SWITCH, "weight decay of scales and offsets, too")
    clip: float = setting(5.0, AT_LEAST_ZERO, "global norm of the gradient; 0: none")
    label_smoothing: float = setting(0.0, SHARE, "share of the label spread over all classes")
    drop_path_keep: float = setting(
        1.0, KEEP, "at the last cell and the last step; 1: no drop path"
    )

    def steps(self, examples) -> int:
        """Steps in all, with so many train images."""
        return self.epochs * data.steps_per_epoch(examples, self.batch_size)

    def check_examples(self, examples):
        """Raises SettingError where so many train images are too few, or their steps too many."""
        if self.batch_size > examples:
            raise SettingError(f"batch_size={self.batch_size} exceeds the {examples} train images")
        if (steps := self.steps(examples)) > INT32:
            raise SettingError(f"epochs={self.epochs} makes {steps} steps; the most is {INT32}")


@dataclasses.dataclass(frozen=True)
class StandaloneSettings(RecipeSettings):
    """How one architecture is trained alone."""

    dropout: float = setting(0.4, SHARE, "before the classifier")
    auxiliary: bool = setting(True, SWITCH, "auxiliary head with loss weight 0.4")
    average_decay: float = setting(
        0.0, SHARE, "of a running mean of the weights, to evaluate with; 0: none"
    )

    def check_space(self, space):
        """Raises SettingError where a space has not what is asked for."""
        lacking = f"the space {space.name!r} has no"
        if self.drop_path_keep != 1 and not space.has_drop_path:
            raise SettingError(
                f"drop_path_keep={self.drop_path_keep!r} must be 1: {lacking} drop path"
            )
        if self.dropout and "dropout" not in space.heads:
            raise SettingError(f"dropout={self.dropout!r} must be 0: {lacking} dropout to set")
        if self.auxiliary and "auxiliary" not in space.heads:
            raise SettingError(f"auxiliary=True must be False: {lacking} auxiliary head")


@dataclasses.dataclass(frozen=True)
class FinalSettings(StandaloneSettings):
    """The best architectures of a search, trained alone."""

    drop_path_reached: float = setting(
        0.2,
        KEEP,
        "of drop path, the share of its strength that the last step reaches: the published finals"
        " count their schedule as that of the whole training",
    )
    top: int = setting(
        0, whole(0, ARCHITECTURES), "best architectures trained alone and ranked again; 0: none"
    )


@dataclasses.dataclass(frozen=True)
class TrainSettings(StandaloneSettings):
    """One architecture, trained alone."""

    evaluate_every_epochs: int = setting(
        10, whole(1), "on the validation images, where there are any"
    )


@dataclasses.dataclass(frozen=True)
class StreamedTrainSettings(TrainSettings):
    """One architecture, trained alone on images that are streamed."""

    max_macs: int | None = setting(
        600_000_000,
        LIMIT,
        "multiply-adds of one image above which it refuses: the mobile setting; None: no limit",
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
      batch_size: images in a global batch, over all devices.
      total_steps: steps in all; of a supernet, of a round.
      learning_rate: function of the step and of the steps in all.
      optimizer: transformation whose update takes `learning_rate`, see `optimizer.sgd`.
      augmentation: what happens to training images.
      label_smoothing: 0..1.
      drop_path_keep: keep probability at the last cell when drop path has its full strength, or
        None.
      drop_path_reached: share of that strength that the last step reaches.
      auxiliary_weight: weight of the auxiliary head's loss, where there is one.
      average_decay: 0..1, weight of the past in the running mean of the weights, or None for none.
    """

    batch_size: int
    total_steps: int
    learning_rate: Callable
    optimizer: optax.GradientTransformationExtraArgs
    augmentation: Augmentation
    label_smoothing: float = 0.0
    drop_path_keep: float | None = None
    drop_path_reached: float = 1.0
    auxiliary_weight: float = 0.4
    average_decay: float | None = None

    def rate(self, step):
        """The learning rate of a step."""
        return self.learning_rate(step, self.total_steps)

    def keep(self, step, total_steps=None):
        """The keep probability of a step, of so many or of its own, at the last cell."""
        total_steps = self.total_steps if total_steps is None else total_steps
        share = self.drop_path_reached * (step + 1) / total_steps
        return 1 - (1 - self.drop_path_keep) * share


def make_recipe(settings: RecipeSettings, augmentation, examples, *, groups=None) -> Recipe:
    """The recipe for so many train images.

    Args:
      settings: what is set.
      augmentation: what happens to training images.
      examples: how many train images there are.
      groups: groups of paths with a momentum each, or None; see `optimizer.separated_momentum`.
    """
    per_epoch = data.steps_per_epoch(examples, settings.batch_size)
    return Recipe(
        batch_size=settings.batch_size,
        total_steps=settings.steps(examples),
        learning_rate=schedule.learning_rate(settings, per_epoch),
        optimizer=optimizer.sgd(
            momentum_decay=settings.momentum,
            weight_decay=settings.weight_decay,
            decayed=None if settings.decay_vectors else matrices,
            clip=settings.clip or None,
            nesterov=settings.nesterov,
            groups=groups,
        ),
        augmentation=augmentation,
        label_smoothing=settings.label_smoothing,
        drop_path_keep=None if settings.drop_path_keep == 1 else settings.drop_path_keep,
        drop_path_reached=getattr(settings, "drop_path_reached", 1.0),
        average_decay=getattr(settings, "average_decay", 0.0) or None,
    )
