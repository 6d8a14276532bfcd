"""One architecture alone, ready to be trained: network, recipe, compiled programs, first state."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from flax import linen as nn

from bnao_jax.nn.initialization import initialize
from bnao_jax.training import network as in_memory
from bnao_jax.training import streamed
from bnao_jax.training.recipe import Recipe, RecipeSettings, make_recipe

EVALUATED_AT_ONCE = 500  # images


class Standalone(NamedTuple):
    """What `make_standalone` makes.

    Attributes:
      network: the linen module.
      recipe: how it is trained.
      train: see `network.make_train`, or `streamed.make_train`.
      evaluate: see `network.make_evaluate`, or `streamed.make_evaluate`.
      state: before the first step.
    """

    network: nn.Module
    recipe: Recipe
    train: Callable
    evaluate: Callable
    state: in_memory.State


def make_standalone(
    network: nn.Module,
    settings: RecipeSettings,
    augmentation,
    *,
    examples: int,
    image_shape,
    classes: int,
    key,
    devices,
    is_streamed: bool = False,
) -> Standalone:
    """Makes one architecture's network ready to be trained.

    Args:
      network: the linen module of the architecture.
      settings: how it is trained.
      augmentation: what happens to training images.
      examples: how many train images there are.
      image_shape: (H, W, C).
      classes: number of classes.
      key: random key of the initial weights.
      devices: the devices.
      is_streamed: whether the host streams batches, or all images are on the devices.
    """
    recipe = make_recipe(settings, augmentation, examples)
    colours = augmentation.mean, augmentation.std
    if is_streamed:
        train = streamed.make_train(network, recipe, devices)
        logits = in_memory.make_logits(network, *colours)
        evaluate = streamed.make_evaluate(logits, classes, devices)
    else:
        train = in_memory.make_train(network, recipe, devices)
        evaluate = in_memory.make_evaluate(
            network, *colours, batch_size=EVALUATED_AT_ONCE, classes=classes
        )
    any_images = np.zeros((1, *image_shape), np.float32)
    params = initialize(network, jax.random.split(key)[0], any_images)
    state = in_memory.initial_state(network, recipe, params, any_images)
    return Standalone(network, recipe, train, evaluate, state)
