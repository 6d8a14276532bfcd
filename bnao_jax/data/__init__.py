"""Labelled images in memory, their loaders, and what a compiled training step does with them."""

from bnao_jax.data.augmentation import Augmentation, augment, example_keys, normalise
from bnao_jax.data.batches import (
    batch_at,
    batch_indices,
    epoch_permutation,
    steps_per_epoch,
    training_batch,
)
from bnao_jax.data.images import DataError, ImageData, Images, shrink, split
from bnao_jax.data.loading import FORMS, LOADERS, form, load

__all__ = [
    "FORMS",
    "LOADERS",
    "Augmentation",
    "DataError",
    "ImageData",
    "Images",
    "augment",
    "batch_at",
    "batch_indices",
    "epoch_permutation",
    "example_keys",
    "form",
    "load",
    "normalise",
    "shrink",
    "split",
    "steps_per_epoch",
    "training_batch",
]
